//! `qctl cancel`

use clap_complete::ArgValueCandidates;

use super::chosen::Chosen;
use super::{Answer, CHANGED_AT_ONCE, Ctx, complete};
use crate::exit::Exit;
use crate::job::{JobId, StateKind};
use crate::render::json::Change;
use crate::store::Cancelled;

/// Take jobs back
///
/// A waiting job is gone at once. A running one gets TERM, then KILL, and is not tried again.
#[derive(clap::Args, Debug)]
#[command(mut_arg("ids", |ids| ids.add(ArgValueCandidates::new(complete::open_jobs))))]
#[command(after_help = "\
Examples:
  qctl cancel 42          take it back, also while it runs
  qctl cancel 40-49
  qctl cancel -Q mail -l build=481        all of them that are not done with")]
pub(crate) struct Cancel {
    #[command(flatten)]
    chosen: Chosen,
    /// Say what would happen, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Cancel {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let now = ctx.now();
        let open: Vec<StateKind> = StateKind::ALL.into_iter().filter(|state| !state.is_final()).collect();
        let jobs = self.chosen.resolve(ctx, &open)?;
        if self.dry_run {
            return ctx.would_change(("cancel", "would_cancel"), &jobs, &open);
        }
        let mut exit = Exit::Done;
        let mut changes = Vec::new();
        let ids: Vec<JobId> = jobs.into_iter().map(|(id, _)| id).collect();
        let mut answers = Vec::new();
        for portion in ids.chunks(CHANGED_AT_ONCE) {
            answers.extend(ctx.store()?.cancel_each(portion, now)?);
        }
        for (id, answer) in ids.into_iter().zip(answers) {
            let (outcome, state) = match answer {
                Cancelled::AtOnce => {
                    ctx.ui.hint(format_args!("cancelled job {id}"));
                    ("cancelled", Some(StateKind::Cancelled))
                }
                Cancelled::Asked => {
                    ctx.ui.hint(format_args!("asked the worker to stop job {id}"));
                    ("asked", Some(StateKind::Running))
                }
                Cancelled::AlreadyFinal(state) => {
                    ctx.ui.say(format_args!("job {id} has already {}", past(state.name())));
                    exit = exit.or(Exit::Refused);
                    ("refused", Some(state))
                }
                Cancelled::Unknown => {
                    exit = exit.or(Exit::NotFound);
                    ("not_found", None)
                }
            };
            changes.push(Change { id, outcome, state, holder: None });
        }
        ctx.ring()?;
        ctx.answer_changes(&changes)?;
        Ok(exit)
    }
}

/// `dead` is no past tense.
fn past(state: &str) -> String {
    match state {
        "dead" => "died".to_owned(),
        "cancelled" => "been cancelled".to_owned(),
        state => state.to_owned(),
    }
}
