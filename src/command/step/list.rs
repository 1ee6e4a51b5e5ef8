//! `qctl step list`

use clap_complete::ArgValueCandidates;

use crate::command::{Answer, Ctx, complete, lease, selection, value};
use crate::exit::Exit;
use crate::job::JobId;
use crate::render::{json, plain, table};
use crate::ui::Format;

/// List the steps of a job, in the order in which they were begun
///
/// In a pipe: name, state, attempt, started_at, ended_at, exit_code, bytes and key, parted by tabs.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl step list 42
  qctl step list 42 --json | jq -r '.steps[] | select(.state == \"uncertain\").name'")]
pub(super) struct List {
    /// The job [default: the one that this is inside of]
    #[arg(value_name = "ID", value_parser = value::id, add = ArgValueCandidates::new(complete::jobs))]
    job: Option<JobId>,
}

impl List {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let job = match self.job {
            Some(job) => job,
            None => lease::own(ctx)?.job,
        };
        let store = ctx.store()?;
        if store.job(job)?.is_none() {
            return Err(selection::unknown(job.into()));
        }
        let steps = store.steps(job)?;
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => ctx.ui.print(&json::document("steps", steps.iter().map(json::step).collect()))?,
            Format::Plain => ctx.ui.print(&plain::steps(&steps, look))?,
            Format::Table if steps.is_empty() => ctx.ui.hint(format_args!("job {job} has no steps on record")),
            Format::Table => ctx.ui.print(&table::steps(&steps, look))?,
        }
        Ok(Exit::Done)
    }
}
