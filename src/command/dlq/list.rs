//! `qctl dlq list`

use super::select::Which;
use crate::command::{Answer, Ctx, excess, value};
use crate::exit::Exit;
use crate::job::StateKind;
use crate::render::{json, plain, table};
use crate::ui::Format;

/// List dead jobs, the last to die first
///
/// In a pipe: id, queue, reason, attempt, died_at, error, command and group, parted by tabs.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq list -Q mail --limit 10
  qctl dlq list --grep 'connection refused' --since 1h
  qctl dlq list --json | jq -r '.jobs[].error' | sort | uniq -c")]
pub(super) struct List {
    #[command(flatten)]
    which: Which,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value::limit)]
    limit: usize,
}

impl List {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let ids = self.which.dead(ctx, self.limit)?;
        let mut jobs = Vec::new();
        for id in ids {
            jobs.extend(ctx.store()?.job(id)?.filter(|job| job.state.kind() == StateKind::Dead));
        }
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => ctx.ui.print(&json::document("jobs", jobs.iter().map(json::job).collect()))?,
            Format::Plain => ctx.ui.print(&plain::dead(&jobs, look))?,
            Format::Table if jobs.is_empty() => ctx.ui.hint("no dead jobs"),
            Format::Table => ctx.ui.print(&table::dead(&jobs, look))?,
        }
        excess::hint(ctx, &self.which.queue)?;
        Ok(Exit::Done)
    }
}
