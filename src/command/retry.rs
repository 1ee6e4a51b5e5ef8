//! `qctl retry`

use clap_complete::ArgValueCandidates;

use super::{Answer, Ctx, complete, selection, value};
use crate::exit::Exit;
use crate::job::{IdRange, StateKind};
use crate::store::Retried;

/// Put jobs back that are dead, cancelled or have succeeded
///
/// They keep their ids; their attempts are counted from zero.
#[derive(clap::Args, Debug)]
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
        for (id, _) in jobs {
            match ctx.store()?.retry(id, &states, now)? {
                Retried::Ready => {
                    ready.push(id);
                    ctx.ui.hint(format_args!("job {id} is ready"));
                }
                Retried::WrongState(state) => {
                    ctx.ui.say(format_args!("job {id} is {}; there is nothing to retry", state.name()));
                    exit = exit.or(Exit::Refused);
                }
                Retried::KeyTaken(holder) => {
                    ctx.ui.say(format_args!("job {id} stays as it is: job {holder} is newer and holds its key"));
                    exit = exit.or(Exit::Refused);
                }
                Retried::Unknown => exit = exit.or(Exit::NotFound),
            }
        }
        ctx.announce_jobs(&ready)?;
        Ok(exit)
    }
}
