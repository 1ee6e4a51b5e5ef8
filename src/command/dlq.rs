//! `qctl dlq`: dead letters

mod account;
mod check;
mod drop;
mod groups;
mod list;
mod pacing;
mod requeue;
mod sampling;
mod select;
mod show;
mod tasks;

use check::Check;
use drop::Discard;
use groups::Groups;
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
  qctl dlq groups                        what they died of
  qctl dlq show 42
  qctl dlq requeue --group 4f1c09ab --sample 5 --rate 10/s
  qctl dlq tasks                         how far it is")]
pub(crate) struct Dlq {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    List(List),
    Groups(Groups),
    Show(Show),
    Requeue(Box<Requeue>),
    Drop(Discard),
    Check(Check),
    Tasks(Tasks),
}

impl Dlq {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        match self.verb {
            Verb::List(verb) => verb.run(ctx),
            Verb::Groups(verb) => verb.run(ctx),
            Verb::Show(verb) => verb.run(ctx),
            Verb::Requeue(verb) => verb.run(ctx),
            Verb::Drop(verb) => verb.run(ctx),
            Verb::Check(verb) => verb.run(ctx),
            Verb::Tasks(verb) => verb.run(ctx),
        }
    }
}
