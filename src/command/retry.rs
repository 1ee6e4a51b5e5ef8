//! `qctl retry`

use clap_complete::ArgValueCandidates;

use super::chosen::Chosen;
use super::{Answer, CHANGED_AT_ONCE, Ctx, complete};
use crate::exit::Exit;
use crate::job::{JobId, Revival, StateKind};
use crate::render::json::Change;
use crate::render::words;
use crate::store::Retried;

/// Put jobs back that are dead, cancelled or have succeeded
///
/// They keep their ids; their attempts are counted from zero. A job whose key a newer one holds by now
/// stays as it is and is reported; the others are put back.
#[derive(clap::Args, Debug)]
#[command(mut_arg("ids", |ids| ids.add(ArgValueCandidates::new(complete::final_jobs))))]
#[command(after_help = "\
Examples:
  qctl retry 42
  qctl retry 40-49
  qctl retry -Q ci --exit-code 75 --since 1h --dry-run")]
pub(crate) struct Retry {
    #[command(flatten)]
    chosen: Chosen,
    /// Say what would happen, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Retry {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let jobs = self.chosen.resolve(ctx, &STATES)?;
        if self.dry_run {
            return ctx.would_change(("retry", "would_retry"), &jobs, &STATES);
        }
        let mut changes = Vec::new();
        let exit = retry(ctx, &jobs, &mut changes)?;
        ctx.answer_changes(&changes)?;
        Ok(exit)
    }
}

/// The states of jobs that can be put back.
const STATES: [StateKind; 3] = [StateKind::Succeeded, StateKind::Dead, StateKind::Cancelled];

fn retry(ctx: &mut Ctx, jobs: &[(JobId, StateKind)], changes: &mut Vec<Change>) -> Answer {
    let now = ctx.now();
    let mut exit = Exit::Done;
    for portion in jobs.chunks(CHANGED_AT_ONCE) {
        let ids: Vec<JobId> = portion.iter().map(|&(id, _)| id).collect();
        let put_back = ctx.store()?.put_back(&ids, &STATES, &Revival::default(), now)?;
        ctx.announce(&put_back.queues)?;
        for (&job, (_, answer)) in portion.iter().zip(put_back.answers) {
            exit = exit.or(tell(ctx, job, answer, changes));
        }
    }
    Ok(exit)
}

/// Says what became of a job, and notes it.
fn tell(ctx: &Ctx, (id, before): (JobId, StateKind), answer: Retried, changes: &mut Vec<Change>) -> Exit {
    let (mut holder, mut exit) = (None, Exit::Done);
    let (outcome, state) = match answer {
        Retried::Ready => {
            ctx.ui.hint(format_args!("job {id} is ready"));
            ("retried", Some(StateKind::Ready))
        }
        Retried::WrongState(state) => {
            ctx.ui.say(format_args!("job {id} is {}; there is nothing to retry", state.name()));
            exit = Exit::Refused;
            ("refused", Some(state))
        }
        Retried::KeyTaken(other) => {
            ctx.ui.say(words::key_taken(id, before, other));
            holder = Some(other);
            exit = Exit::Refused;
            ("key_taken", Some(before))
        }
        Retried::Unknown | Retried::NoStep => {
            exit = Exit::NotFound;
            ("not_found", None)
        }
    };
    changes.push(Change { id, outcome, state, holder });
    exit
}
