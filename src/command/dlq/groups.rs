//! `qctl dlq groups`

use super::select::Which;
use crate::command::{Answer, Ctx, excess};
use crate::exit::{Exit, Failure};
use crate::job::{Filter, Group};
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
        let groups = self.groups(ctx)?;
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

    fn groups(&self, ctx: &mut Ctx) -> Result<Vec<Group>, Failure> {
        let filter = self.which.filter(ctx)?;
        let mut groups = ctx.store()?.groups(&filter.queues)?;
        groups.retain(|group| is_meant(&filter, group));
        if self.which.is_of_single_jobs() {
            for group in &mut groups {
                let queues = vec![group.queue.clone()];
                let own = Filter { queues, groups: vec![group.name.clone()], ..filter.clone() };
                let dead = ctx.store()?.dead(&own, usize::MAX >> 1)?;
                (group.n, group.sample) = (dead.len() as u64, dead.first().copied());
            }
            groups.retain(|group| group.n > 0);
            groups.sort_by_key(|group| std::cmp::Reverse((group.n, group.last_at)));
        }
        Ok(groups)
    }
}

/// Whether a group is one of those that are asked for.
fn is_meant(filter: &Filter, group: &Group) -> bool {
    let is_named = filter.groups.is_empty() || filter.groups.contains(&group.name);
    let has_reason = filter.reasons.is_empty() || filter.reasons.contains(&group.reason);
    let exited = |code| filter.exit_codes.iter().any(|codes| codes.contains(&code));
    is_named && has_reason && (filter.exit_codes.is_empty() || group.cause.exit_code.is_some_and(exited))
}
