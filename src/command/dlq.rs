//! `qctl dlq`: dead letters

mod account;
mod check;
mod drop;
mod edit;
mod export;
mod groups;
mod list;
mod pacing;
mod purge;
mod requeue;
mod sampling;
mod select;
mod show;
mod tasks;
mod undo;

use check::Check;
use drop::Discard;
use export::Export;
use groups::Groups;
use list::List;
use purge::Purge;
pub(crate) use requeue::Requeue;
use show::Show;
use tasks::Tasks;
use undo::Undo;

use super::{Answer, Ctx};

/// Look at dead letters, requeue them, drop them, take them elsewhere
///
/// A job that will not be tried again by itself waits here until someone decides.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq groups                        what they died of
  qctl dlq show 42
  qctl dlq requeue --group 4f1c09ab --sample 5 --rate 10/s
  qctl dlq tasks                         how far it is
  qctl dlq drop 42
  qctl dlq undo                          bring back what was dropped last")]
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
    Tasks(Tasks),
    Drop(Discard),
    Undo(Undo),
    Purge(Purge),
    Export(Export),
    Check(Check),
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
            Verb::Undo(verb) => verb.run(ctx),
            Verb::Purge(verb) => verb.run(ctx),
            Verb::Export(verb) => verb.run(ctx),
        }
    }
}
