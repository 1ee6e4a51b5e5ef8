//! `qctl dlq groups`

use super::select::Which;
use crate::command::{Answer, Ctx, excess};
use crate::exit::Exit;
use crate::render::{group, json};
use crate::ui::Format;

/// Show what dead jobs died of, the most frequent cause first
///
/// A group is one cause: queue, reason, exit status or signal, and the last line of stderr without the parts that
/// vary, which are numbers, ids, hex, times, paths and what is quoted. A queue may have a rule of its own (queue set
/// --group-by), and a job may name its group (self bury --group). FIRST and LAST are of all that ever died of it. In a
/// pipe: group, queue, jobs, reason, end, first_at, last_at, sample and cause, parted by tabs.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq groups
  qctl dlq groups -Q mail --since 1h
  qctl dlq list --group 4f1c09ab
  qctl dlq requeue --group 4f1c09ab --sample 5")]
pub(super) struct Groups {
    #[command(flatten)]
    which: Which,
}

impl Groups {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let filter = self.which.filter(ctx)?;
        let groups = ctx.store()?.groups(&filter)?;
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => ctx.ui.print(&json::document("groups", groups.iter().map(group::json).collect()))?,
            Format::Plain => ctx.ui.print(&group::plain(&groups, look))?,
            Format::Table if groups.is_empty() => ctx.ui.hint("no dead jobs"),
            Format::Table => {
                ctx.ui.print(&group::table(&groups, look))?;
                ctx.ui
                    .hint("\nsee some: qctl dlq list --group GROUP   again: qctl dlq requeue --group GROUP --sample 5");
            }
        }
        excess::hint(ctx, &self.which.queue)?;
        Ok(Exit::Done)
    }
}
