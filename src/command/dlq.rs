//! `qctl dlq`: dead letters

mod account;
mod drop;
mod list;
mod pacing;
mod requeue;
mod sampling;
mod select;
mod show;
mod tasks;

use drop::Discard;
use list::List;
pub(crate) use requeue::Requeue;
use show::Show;
use tasks::Tasks;

use super::{Answer, Ctx};

/// Look at dead letters, requeue them, drop them
///
/// A job that will not be tried again by itself waits here until someone decides.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq list
  qctl dlq show 42
  qctl dlq requeue -Q mail
  qctl dlq requeue -Q mail --sample 5 --rate 10/s
  qctl dlq tasks")]
pub(crate) struct Dlq {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    List(List),
    Show(Show),
    Requeue(Box<Requeue>),
    Drop(Discard),
    Tasks(Tasks),
}

impl Dlq {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        match self.verb {
            Verb::List(verb) => verb.run(ctx),
            Verb::Show(verb) => verb.run(ctx),
            Verb::Requeue(verb) => verb.run(ctx),
            Verb::Drop(verb) => verb.run(ctx),
            Verb::Tasks(verb) => verb.run(ctx),
        }
    }
}
