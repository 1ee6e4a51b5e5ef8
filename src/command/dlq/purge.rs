//! `qctl dlq purge`

use clap_complete::ArgValueCandidates;

use super::drop::{answer, drop_all};
use super::select::{dead_in, would};
use crate::command::{Answer, Ctx, complete, value};
use crate::job::QueueName;
use crate::render::words;

/// Drop every dead job; for a day: qctl dlq undo
///
/// Asks before it does so. Keys that the jobs still hold are free then.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq purge --dry-run
  qctl dlq purge -Q mail --yes")]
pub(super) struct Purge {
    /// Only those of this queue
    #[arg(short = 'Q', long, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: Vec<QueueName>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Forget them for good, at once
    #[arg(long)]
    no_undo: bool,
    /// Say what would happen, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Purge {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let dead = dead_in(ctx, &self.queue)?;
        if self.dry_run {
            return would(ctx, "drop", &dead);
        }
        if !self.yes {
            let names: Vec<&str> = self.queue.iter().map(QueueName::as_str).collect();
            let of = if names.is_empty() { String::new() } else { format!(" of {}", names.join(", ")) };
            let how = if self.no_undo { "for good" } else { "(for a day: qctl dlq undo)" };
            ctx.ui.confirm(&format!("drop {}{of} {how}?", words::count(dead.len(), "dead job")))?;
        }
        let dropped = drop_all(ctx, &dead, self.no_undo)?;
        // Those that left meanwhile were not asked for by their numbers.
        answer(ctx, &dropped, 0)
    }
}
