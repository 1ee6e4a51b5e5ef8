//! Which dead jobs a verb deals with, and what it says of them.

use clap_complete::ArgValueCandidates;
use serde_json::Value;

use crate::command::{Answer, Ctx, complete, selection, value};
use crate::exit::{Exit, Failure};
use crate::job::{IdRange, JobId, QueueName, StateKind};
use crate::render::{json, words};
use crate::ui::Format;

/// Which dead jobs a verb deals with.
#[derive(clap::Args, Debug)]
pub(super) struct Selection {
    /// The jobs; 3-7 is a range
    #[arg(value_name = "ID", value_parser = value::ids, add = ArgValueCandidates::new(complete::dead_jobs))]
    ids: Vec<IdRange>,
    /// Every dead job
    #[arg(long, conflicts_with_all = ["ids", "queue"])]
    all: bool,
    /// Every dead job of this queue
    #[arg(short = 'Q', long, value_name = "NAME", value_parser = value::queue, conflicts_with = "ids", add = ArgValueCandidates::new(complete::queues))]
    queue: Vec<QueueName>,
    /// Say what would happen, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Dead jobs, and others with where they stand.
pub(super) type Meant = (Vec<JobId>, Vec<(JobId, StateKind)>);

impl Selection {
    /// Whether nothing is said of which.
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.ids.is_empty() && self.queue.is_empty()
    }

    /// The dead jobs that are meant, and those that were named and are not dead.
    pub(super) fn resolve(&self, ctx: &mut Ctx) -> Result<Meant, Failure> {
        if self.all || !self.queue.is_empty() {
            return Ok((dead_in(ctx, &self.queue, usize::MAX >> 1)?, Vec::new()));
        }
        if self.ids.is_empty() {
            return Err(Failure::usage("no dead jobs are named").hint("give job numbers, -Q QUEUE or --all"));
        }
        let (dead, others): (Vec<_>, Vec<_>) =
            selection::named(ctx.store()?, &self.ids)?.into_iter().partition(|(_, state)| *state == StateKind::Dead);
        Ok((dead.into_iter().map(|(id, _)| id).collect(), others))
    }
}

/// The dead jobs of these queues (of all, if none is named), which must exist.
pub(super) fn dead_in(ctx: &mut Ctx, queues: &[QueueName], limit: usize) -> Result<Vec<JobId>, Failure> {
    for queue in queues {
        ctx.known_queue(queue)?;
    }
    Ok(ctx.store()?.dead(queues, limit)?)
}

/// Says which of the named jobs are not dead; answers how many.
pub(super) fn skip(ctx: &Ctx, others: &[(JobId, StateKind)]) -> usize {
    for (id, state) in others {
        ctx.ui.say(format_args!("job {id} is {}, not dead", state.name()));
    }
    others.len()
}

pub(super) fn would(ctx: &Ctx, verb: &str, ids: &[JobId]) -> Answer {
    match ctx.ui.format {
        Format::Json => ctx.ui.print(&json::document(&format!("would_{verb}"), json::ids(ids)))?,
        Format::Table | Format::Plain => {
            ctx.ui.say(format_args!("would {verb} {}", words::count(ids.len(), "job")));
            let lines: Vec<String> = ids.iter().map(ToString::to_string).collect();
            ctx.ui.print(&lines.join("\n"))?;
        }
    }
    Ok(Exit::Done)
}

pub(super) fn done(ctx: &Ctx, document: &Value, (what, n): (&str, usize), n_skipped: usize) -> Answer {
    if ctx.ui.format == Format::Json {
        ctx.ui.print(&document.to_string())?;
    } else {
        ctx.ui.hint(format_args!("{what} {}", words::count(n, "job")));
    }
    Ok(if n_skipped > 0 { Exit::Refused } else { Exit::Done })
}
