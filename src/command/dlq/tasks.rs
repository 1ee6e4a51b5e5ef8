//! `qctl dlq tasks`

use clap_complete::ArgValueCandidates;
use serde_json::json;

use super::account::{account, unknown};
use crate::command::{Answer, Ctx, complete, value};
use crate::exit::{Exit, Failure};
use crate::job::TaskId;
use crate::render::{json, plain, table, task};
use crate::store::{Directed, Direction};
use crate::ui::Format;

/// See how far requeues are that take their time, and direct them
///
/// A requeue with --sample, --rate or --ramp is a task. The workers of any queue carry it on. In a pipe the list has: id,
/// phase, jobs, released, skipped, rate, created_at and selection, parted by tabs. A task that is over is forgotten after
/// 30 days.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq tasks
  qctl dlq tasks show 3
  qctl dlq tasks pause 3")]
pub(super) struct Tasks {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    List(List),
    Show(Show),
    Pause(Pause),
    Resume(Resume),
    Cancel(Cancel),
}

impl Tasks {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        match self.verb {
            None => List {}.run(ctx),
            Some(Verb::List(verb)) => verb.run(ctx),
            Some(Verb::Show(verb)) => verb.run(ctx),
            Some(Verb::Pause(verb)) => verb.which.direct(ctx, Direction::Pause),
            Some(Verb::Resume(verb)) => verb.which.direct(ctx, Direction::Resume),
            Some(Verb::Cancel(verb)) => verb.which.direct(ctx, Direction::Cancel),
        }
    }
}

#[derive(clap::Args, Debug)]
struct Which {
    /// The task
    #[arg(value_name = "ID", value_parser = value::task, add = ArgValueCandidates::new(complete::tasks))]
    id: TaskId,
}

/// List the tasks, the newest first
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl dlq tasks list --json | jq '.tasks[] | select(.phase == \"releasing\")'")]
struct List {}

impl List {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let tasks = ctx.store()?.tasks()?;
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => ctx.ui.print(&json::document("tasks", tasks.iter().map(task::json).collect()))?,
            Format::Plain => ctx.ui.print(&task::plain(&tasks, look))?,
            Format::Table if tasks.is_empty() => ctx.ui.hint("no tasks"),
            Format::Table => ctx.ui.print(&task::table(&tasks, look))?,
        }
        Ok(Exit::Done)
    }
}

/// Show how far a task is
///
/// How many jobs it has put back, what became of them, of what they died again, and when it is expected to end.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl dlq tasks show 3")]
struct Show {
    #[command(flatten)]
    which: Which,
}

impl Show {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let (report, relapsed) = account(ctx, self.which.id)?;
        let pairs = task::pairs(&report, &relapsed, &ctx.ui.look);
        match ctx.ui.format {
            Format::Json => ctx.ui.print(&json::document("task", task::json_report(&report, &relapsed)))?,
            Format::Plain => ctx.ui.print(&plain::pairs(pairs))?,
            Format::Table => ctx.ui.print(&table::pairs(&pairs))?,
        }
        Ok(Exit::Done)
    }
}

/// Have a task wait
///
/// It puts no more jobs back until `resume`; its time stands still. What it has put back goes on.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl dlq tasks pause 3")]
struct Pause {
    #[command(flatten)]
    which: Which,
}

/// Have a task go on that was paused
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl dlq tasks resume 3")]
struct Resume {
    #[command(flatten)]
    which: Which,
}

/// End a task
///
/// What it has put back goes on; the other jobs stay dead.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl dlq tasks cancel 3")]
struct Cancel {
    #[command(flatten)]
    which: Which,
}

impl Which {
    fn direct(self, ctx: &mut Ctx, how: Direction) -> Answer {
        let (id, now) = (self.id, ctx.now());
        let word = match how {
            Direction::Pause => "paused",
            Direction::Resume => "resumed",
            Direction::Cancel => "cancelled",
        };
        let task = match ctx.store()?.direct_task(id, how, now)? {
            Directed::Changed(task) => task,
            Directed::Unchanged(task) => {
                ctx.ui.hint(format_args!("task {id} was {} before", task.phase.name()));
                task
            }
            Directed::Ended(task) => {
                let message = format!("task {id} is {}", task.phase.name());
                return Err(Failure::refused(message).hint(format!("qctl dlq tasks show {id}")));
            }
            Directed::Unknown => return Err(unknown(id)),
        };
        ctx.ring()?;
        if ctx.ui.format == Format::Json {
            let document = json!({ "v": 1, "task": id.get(), "outcome": word, "phase": task.phase.name() });
            ctx.ui.print(&document.to_string())?;
        }
        Ok(Exit::Done)
    }
}
