//! `qctl cancel`

use clap_complete::ArgValueCandidates;

use super::{Answer, Ctx, complete, selection, value};
use crate::exit::Exit;
use crate::job::IdRange;
use crate::store::Cancelled;

/// Take jobs back
///
/// A waiting job is gone at once. A running one gets TERM, then KILL, and is not tried again.
#[derive(clap::Args, Debug)]
pub(crate) struct Cancel {
    /// The jobs; 3-7 is a range
    #[arg(required = true, value_name = "ID", value_parser = value::ids, add = ArgValueCandidates::new(complete::open_jobs))]
    ids: Vec<IdRange>,
}

impl Cancel {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let now = ctx.now();
        let jobs = selection::named(ctx.store()?, &self.ids)?;
        let mut exit = Exit::Done;
        for (id, _) in jobs {
            match ctx.store()?.cancel(id, now)? {
                Cancelled::AtOnce => ctx.ui.hint(format_args!("cancelled job {id}")),
                Cancelled::Asked => ctx.ui.hint(format_args!("asked the worker to stop job {id}")),
                Cancelled::AlreadyFinal(state) => {
                    ctx.ui.say(format_args!("job {id} has already {}", past(state.name())));
                    exit = exit.or(Exit::Refused);
                }
                Cancelled::Unknown => exit = exit.or(Exit::NotFound),
            }
        }
        ctx.ring()?;
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
