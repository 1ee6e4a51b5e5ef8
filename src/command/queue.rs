//! `qctl queue`

use std::time::Duration;

use clap_complete::ArgValueCandidates;

use super::value::{self, Codes, Limit};
use super::{Answer, Ctx, complete};
use crate::exit::{Exit, Failure};
use crate::job::{Backoff, Jitter, QueueName};
use crate::render::{detail, json, plain, table};
use crate::ui::Format;

/// Look at queues, pause them, set their defaults
#[derive(clap::Args, Debug)]
pub(crate) struct Queue {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    List(List),
    Show(Show),
    Set(Set),
    Pause(Pause),
    Resume(Resume),
}

impl Queue {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        match self.verb {
            Verb::List(verb) => verb.run(ctx),
            Verb::Show(verb) => verb.run(ctx),
            Verb::Set(verb) => verb.run(ctx),
            Verb::Pause(verb) => set_paused(ctx, &verb.queues, true),
            Verb::Resume(verb) => set_paused(ctx, &verb.queues, false),
        }
    }
}

/// List queues
#[derive(clap::Args, Debug)]
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
struct Show {
    /// The queue
    #[arg(value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: QueueName,
}

impl Show {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let queues = ctx.store()?.queues()?;
        let queue = queues.iter().find(|queue| queue.name == self.queue).ok_or_else(|| unknown(&self.queue))?;
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => {
                let mut value = json::queue(queue, look.now);
                let settings = detail::settings(&queue.settings).into_iter();
                value["defaults"] =
                    settings.map(|(name, value, _)| (name.replace('-', "_"), serde_json::Value::from(value))).collect();
                ctx.ui.print(&json::document("queue", value))?;
            }
            Format::Plain => ctx.ui.print(&plain::pairs(detail::queue(queue, look)))?,
            Format::Table => ctx.ui.print(&table::pairs(&detail::queue(queue, look)))?,
        }
        Ok(Exit::Done)
    }
}

/// Set what jobs of a queue get where their push does not say, making the queue if need be
#[derive(clap::Args, Debug)]
struct Set {
    /// The queue
    #[arg(value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: QueueName,
    /// How often a job is tried, 1 to 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_attempts: Option<u32>,
    /// Pause between attempts: exp:BASE..CAP, fixed:D, list:D,D,…
    #[arg(long, value_name = "P", value_parser = value::backoff)]
    backoff: Option<Backoff>,
    /// Share of each pause drawn at random: none, half, full
    #[arg(long, value_name = "J", value_parser = value::jitter)]
    jitter: Option<Jitter>,
    /// How long each attempt may take
    #[arg(long, value_name = "D|none", value_parser = value::positive_or_none)]
    timeout: Option<Limit>,
    /// From TERM to KILL, when an attempt is stopped
    #[arg(long, value_name = "D", value_parser = value::duration)]
    kill_after: Option<Duration>,
    /// Exit statuses that are final, such as 65,100-110, or none
    #[arg(long, value_name = "CODES", value_parser = value::codes)]
    dead_on: Option<Codes>,
    /// -100 to 100, higher first
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-100..=100))]
    priority: Option<i32>,
}

impl Set {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let queue = self.queue.clone();
        if self.says_nothing() {
            return Err(Failure::usage("nothing is set").hint(format!("qctl queue show {queue} shows what can be")));
        }
        ctx.store_or_create()?.configure(&queue, &mut |settings| {
            settings.max_attempts = self.max_attempts.or(settings.max_attempts);
            settings.backoff = self.backoff.clone().or(settings.backoff.take());
            settings.jitter = self.jitter.or(settings.jitter);
            settings.timeout = self.timeout.map(|Limit(timeout)| timeout).or(settings.timeout);
            settings.kill_after = self.kill_after.or(settings.kill_after);
            settings.dead_on = self.dead_on.clone().map(|Codes(codes)| codes).or(settings.dead_on.take());
            settings.priority = self.priority.or(settings.priority);
        })?;
        Ok(Exit::Done)
    }

    fn says_nothing(&self) -> bool {
        let Self { queue: _, max_attempts, backoff, jitter, timeout, kill_after, dead_on, priority } = self;
        max_attempts.is_none()
            && backoff.is_none()
            && jitter.is_none()
            && timeout.is_none()
            && kill_after.is_none()
            && dead_on.is_none()
            && priority.is_none()
    }
}

/// Have workers leave queues alone; what runs goes on
#[derive(clap::Args, Debug)]
struct Pause {
    /// The queues
    #[arg(required = true, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queues: Vec<QueueName>,
}

/// Have workers serve queues again
#[derive(clap::Args, Debug)]
struct Resume {
    /// The queues
    #[arg(required = true, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queues: Vec<QueueName>,
}

fn set_paused(ctx: &mut Ctx, queues: &[QueueName], is_paused: bool) -> Answer {
    let now = ctx.now();
    let store = ctx.store()?;
    // All are looked at before the first is touched.
    for queue in queues {
        if store.settings(queue)?.is_none() {
            return Err(unknown(queue));
        }
    }
    for queue in queues {
        let has_changed = ctx.store()?.pause(queue, is_paused, now)?;
        let word = if is_paused { "paused" } else { "open" };
        match has_changed {
            Some(true) => ctx.ui.hint(format_args!("{queue} is {word}")),
            Some(false) => ctx.ui.hint(format_args!("{queue} was {word} before")),
            None => return Err(unknown(queue)),
        }
    }
    if is_paused {
        ctx.ring()?
    } else {
        ctx.announce(queues)?
    }
    Ok(Exit::Done)
}

fn unknown(queue: &QueueName) -> Failure {
    Failure::not_found(format!("there is no queue {queue}")).hint("qctl queue list")
}
