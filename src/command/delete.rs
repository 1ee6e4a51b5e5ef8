//! `qctl delete`

use clap_complete::ArgValueCandidates;

use super::chosen::Chosen;
use super::{Answer, Ctx, complete};
use crate::exit::Exit;
use crate::job::{JobId, StateKind};
use crate::render::json::Change;
use crate::render::words;

/// Forget jobs that are done with, and their output
///
/// What is not done with is refused: cancel it first. A key that the job still holds is free then;
/// pruning, in contrast, keeps such a job.
#[derive(clap::Args, Debug)]
#[command(mut_arg("ids", |ids| ids.add(ArgValueCandidates::new(complete::final_jobs))))]
#[command(after_help = "\
Examples:
  qctl delete 42 --dry-run
  qctl delete 1-100
  qctl delete -s cancelled --until 7d")]
pub(crate) struct Delete {
    #[command(flatten)]
    chosen: Chosen,
    /// Say what would happen, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Delete {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let states: Vec<StateKind> = StateKind::ALL.into_iter().filter(|state| state.is_final()).collect();
        let jobs = self.chosen.resolve(ctx, &states)?;
        let finished: Vec<JobId> = jobs.iter().filter(|(_, state)| state.is_final()).map(|&(id, _)| id).collect();
        let gone = if self.dry_run {
            ctx.ui.say(format_args!("would delete {}", words::count(finished.len(), "job")));
            finished
        } else {
            let gone = ctx.forget(&finished, &states)?;
            ctx.ring()?;
            ctx.ui.hint(format_args!("deleted {}", words::count(gone.len(), "job")));
            gone
        };
        let mut exit = Exit::Done;
        let mut changes = Vec::new();
        for (id, state) in jobs {
            if gone.binary_search(&id).is_ok() {
                let outcome = if self.dry_run { "would_delete" } else { "deleted" };
                changes.push(Change { id, outcome, state: self.dry_run.then_some(state), holder: None });
            } else {
                ctx.ui.say(format_args!("job {id} is {}; cancel it first: qctl cancel {id}", state.name()));
                changes.push(Change { id, outcome: "refused", state: Some(state), holder: None });
                exit = exit.or(Exit::Refused);
            }
        }
        ctx.answer_changes(&changes)?;
        Ok(exit)
    }
}
