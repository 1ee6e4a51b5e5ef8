//! `qctl retry`

use clap_complete::ArgValueCandidates;

use super::{Answer, Ctx, complete, selection, value};
use crate::exit::Exit;
use crate::job::{IdRange, StateKind};
use crate::render::json::Change;
use crate::store::Retried;

/// Put jobs back that are dead, cancelled or have succeeded
///
/// They keep their ids; their attempts are counted from zero.
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
        let states = [StateKind::Succeeded, StateKind::Dead, StateKind::Cancelled];
        let now = ctx.now();
        let jobs = selection::named(ctx.store()?, &self.ids)?;
        let mut exit = Exit::Done;
        let mut ready = Vec::new();
        let mut changes = Vec::new();
        for (id, before) in jobs {
            let (outcome, state) = match ctx.store()?.retry(id, &states, now)? {
                Retried::Ready => {
                    ready.push(id);
                    ctx.ui.hint(format_args!("job {id} is ready"));
                    ("retried", Some(StateKind::Ready))
                }
                Retried::WrongState(state) => {
                    ctx.ui.say(format_args!("job {id} is {}; there is nothing to retry", state.name()));
                    exit = exit.or(Exit::Refused);
                    ("refused", Some(state))
                }
                Retried::KeyTaken(holder) => {
                    ctx.ui.say(format_args!("job {id} stays as it is: job {holder} is newer and holds its key"));
                    exit = exit.or(Exit::Refused);
                    ("key_taken", Some(before))
                }
                Retried::Unknown => {
                    exit = exit.or(Exit::NotFound);
                    ("not_found", None)
                }
            };
            changes.push(Change { id, outcome, state });
        }
        ctx.announce_jobs(&ready)?;
        ctx.answer_changes(&changes)?;
        Ok(exit)
    }
}
