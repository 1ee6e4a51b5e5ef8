//! `qctl dlq`: dead letters

mod drop;
mod edit;
mod export;
mod list;
mod purge;
mod requeue;
mod select;
mod show;
mod undo;

use drop::Discard;
use export::Export;
use list::List;
use purge::Purge;
pub(crate) use requeue::Requeue;
use show::Show;
use undo::Undo;

use super::{Answer, Ctx};

/// Look at dead letters, requeue them, drop them, take them elsewhere
///
/// A job that will not be tried again by itself waits here until someone decides.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq list
  qctl dlq show 42
  qctl dlq requeue -Q mail
  qctl dlq drop 42
  qctl dlq undo                   bring back what was dropped last")]
pub(crate) struct Dlq {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    List(List),
    Show(Show),
    Requeue(Requeue),
    Drop(Discard),
    Undo(Undo),
    Purge(Purge),
    Export(Export),
}

impl Dlq {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        match self.verb {
            Verb::List(verb) => verb.run(ctx),
            Verb::Show(verb) => verb.run(ctx),
            Verb::Requeue(verb) => verb.run(ctx),
            Verb::Drop(verb) => verb.run(ctx),
            Verb::Undo(verb) => verb.run(ctx),
            Verb::Purge(verb) => verb.run(ctx),
            Verb::Export(verb) => verb.run(ctx),
        }
    }
}
