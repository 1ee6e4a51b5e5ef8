//! `qctl retry`

use clap_complete::ArgValueCandidates;

use super::{Answer, Ctx, complete, selection, value};
use crate::exit::Exit;
use crate::job::{IdRange, JobId, StateKind};
use crate::render::json::Change;
use crate::render::words;
use crate::store::Retried;

/// Put jobs back that are dead, cancelled or have succeeded
///
/// They keep their ids; their attempts are counted from zero. A job whose key a newer one holds by now
/// stays as it is and is reported; the others are put back.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl retry 42
  qctl retry 40-49")]
pub(crate) struct Retry {
    /// The jobs; 3-7 is a range
    #[arg(required = true, value_name = "ID", value_parser = value::ids, add = ArgValueCandidates::new(complete::final_jobs))]
    ids: Vec<IdRange>,
}

impl Retry {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let jobs = selection::named(ctx.store()?, &self.ids)?;
        let mut changes = Vec::new();
        let done = retry(ctx, &jobs, &mut changes);
        // Also where it broke off: those before are ready, and someone may wait for them.
        let ready: Vec<JobId> = changes.iter().filter(|one| one.outcome == RETRIED).map(|one| one.id).collect();
        ctx.announce_jobs(&ready)?;
        let exit = done?;
        ctx.answer_changes(&changes)?;
        Ok(exit)
    }
}

/// The outcome of a job that was put back.
const RETRIED: &str = "retried";

fn retry(ctx: &mut Ctx, jobs: &[(JobId, StateKind)], changes: &mut Vec<Change>) -> Answer {
    let states = [StateKind::Succeeded, StateKind::Dead, StateKind::Cancelled];
    let now = ctx.now();
    let mut exit = Exit::Done;
    for &(id, before) in jobs {
        let mut holder = None;
        let (outcome, state) = match ctx.store()?.retry(id, &states, None, now)? {
            Retried::Ready => {
                ctx.ui.hint(format_args!("job {id} is ready"));
                (RETRIED, Some(StateKind::Ready))
            }
            Retried::WrongState(state) => {
                ctx.ui.say(format_args!("job {id} is {}; there is nothing to retry", state.name()));
                exit = exit.or(Exit::Refused);
                ("refused", Some(state))
            }
            Retried::KeyTaken(other) => {
                ctx.ui.say(words::key_taken(id, before, other));
                holder = Some(other);
                exit = exit.or(Exit::Refused);
                ("key_taken", Some(before))
            }
            Retried::Unknown | Retried::NoStep => {
                exit = exit.or(Exit::NotFound);
                ("not_found", None)
            }
        };
        changes.push(Change { id, outcome, state, holder });
    }
    Ok(exit)
}
