//! `qctl queue`: looking at queues and pausing them; setting and clearing them stand in files of their own.

mod clear;
mod set;

use clap_complete::ArgValueCandidates;

use super::{Answer, Ctx, complete, excess, selection, value};
use crate::exit::{Exit, Failure};
use crate::job::{self, QueueName};
use crate::render::{self, detail, json, plain, table};
use crate::ui::Format;

/// Look at queues, pause them, set their defaults
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl queue list
  qctl queue pause mail
  qctl queue set mail --timeout 5m")]
pub(crate) struct Queue {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    List(List),
    Show(Show),
    Set(Box<set::Set>),
    Pause(Pause),
    Resume(Resume),
    Purge(clear::Purge),
    Delete(clear::Delete),
}

impl Queue {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        match self.verb {
            Verb::List(verb) => verb.run(ctx),
            Verb::Show(verb) => verb.run(ctx),
            Verb::Set(verb) => verb.run(ctx),
            Verb::Pause(verb) => set_paused(ctx, &verb.queues, true),
            Verb::Resume(verb) => set_paused(ctx, &verb.queues, false),
            Verb::Purge(verb) => verb.run(ctx),
            Verb::Delete(verb) => verb.run(ctx),
        }
    }
}

/// List queues
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl queue list
  qctl queue list --json | jq '.queues[] | select(.dead > 0).name'")]
struct List {}

impl List {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let queues = ctx.store()?.queues()?;
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => {
                let queues = queues.iter().map(|queue| json::queue(queue, look.now)).collect();
                ctx.ui.print(&json::document("queues", queues))?;
            }
            Format::Plain => ctx.ui.print(&plain::queues(&queues, look))?,
            Format::Table if queues.is_empty() => ctx.ui.hint("no queues"),
            Format::Table => ctx.ui.print(&table::queues(&queues, look))?,
        }
        Ok(Exit::Done)
    }
}

/// Show a queue and its defaults
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl queue show mail")]
struct Show {
    /// The queue
    #[arg(value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: QueueName,
}

impl Show {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let queue = found(ctx, &self.queue)?;
        let queue = &queue;
        let now = ctx.now();
        let beyond = excess::of(ctx.store()?, queue, now)?;
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => {
                let mut value = json::queue(queue, look.now);
                let settings = detail::settings(&queue.settings).into_iter();
                value["defaults"] =
                    settings.map(|(name, value, _)| (name.replace('-', "_"), serde_json::Value::from(value))).collect();
                value["on_dead_cwd"] = detail::hook_folder(&queue.settings).into();
                value["excess"] = render::excess::json(beyond.as_ref());
                ctx.ui.print(&json::document("queue", value))?;
            }
            Format::Plain => ctx.ui.print(&plain::pairs(detail::queue(queue, look)))?,
            Format::Table => ctx.ui.print(&table::pairs(&detail::queue(queue, look)))?,
        }
        excess::hint(ctx, std::slice::from_ref(&queue.name))?;
        Ok(Exit::Done)
    }
}

/// Have workers leave queues alone; what runs goes on
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl queue pause mail media")]
struct Pause {
    /// The queues
    #[arg(required = true, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queues: Vec<QueueName>,
}

/// Have workers serve queues again
///
/// Also one that its circuit breaker has stopped (qctl queue set --breaker): it goes on as if nothing had failed.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl queue resume mail media")]
struct Resume {
    /// The queues
    #[arg(required = true, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queues: Vec<QueueName>,
}

fn set_paused(ctx: &mut Ctx, queues: &[QueueName], is_paused: bool) -> Answer {
    let now = ctx.now();
    // All are looked at before the first is touched.
    for queue in queues {
        ctx.known_queue(queue)?;
    }
    for queue in queues {
        let has_changed = ctx.store()?.pause(queue, is_paused, now)?;
        let word = if is_paused { "paused" } else { "open" };
        match has_changed {
            Some(true) => ctx.ui.hint(format_args!("{queue} is {word}")),
            Some(false) => ctx.ui.hint(format_args!("{queue} was {word} before")),
            None => return Err(selection::unknown_queue(queue)),
        }
    }
    if is_paused {
        ctx.ring()?
    } else {
        ctx.announce(queues)?
    }
    if ctx.ui.format == Format::Json {
        return List {}.run(ctx);
    }
    Ok(Exit::Done)
}

/// The queue of this name, with how its jobs stand.
fn found(ctx: &mut Ctx, name: &QueueName) -> Result<job::Queue, Failure> {
    let queue = ctx.store()?.queues()?.into_iter().find(|queue| queue.name == *name);
    queue.ok_or_else(|| selection::unknown_queue(name))
}
