//! `qctl subscription`: who gets which events; making one stands in a file of its own.

mod add;

use clap_complete::ArgValueCandidates;
use serde_json::json;

use super::{Answer, Ctx, complete, subscribers, value};
use crate::exit::{Exit, Failure};
use crate::job::{QueueName, Rate};
use crate::render::{detail, json, plain, table, topic};
use crate::ui::Format;

/// Say who gets which events
///
/// A subscription is a queue that gets a job for each event of its topics: it has its own workers, attempts,
/// backoff, priority, pause and dead letters, and one that fails is no other's concern.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl subscription add welcome user.signed-up -- ./welcome.sh
  qctl subscription list
  qctl work -Q welcome")]
pub(crate) struct Subscription {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    Add(Box<add::Add>),
    List(List),
    Show(Show),
    Remove(Remove),
    Pause(Pause),
    Resume(Resume),
    Rewind(Rewind),
}

impl Subscription {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        match self.verb {
            Verb::Add(verb) => verb.run(ctx),
            Verb::List(verb) => verb.run(ctx),
            Verb::Show(verb) => verb.run(ctx),
            Verb::Remove(verb) => verb.run(ctx),
            Verb::Pause(Pause { which }) => pause(ctx, &which.name, true),
            Verb::Resume(Resume { which }) => pause(ctx, &which.name, false),
            Verb::Rewind(verb) => verb.run(ctx),
        }
    }
}

/// The one that a verb is about.
#[derive(clap::Args, Debug)]
struct Which {
    /// The subscription
    #[arg(value_name = "NAME", value_parser = value::subscription, add = ArgValueCandidates::new(complete::subscriptions))]
    name: QueueName,
}

/// List subscriptions
///
/// In a pipe: name, pattern, queue, paused, lag and command, parted by tabs. The lag is how many events of its
/// topics are still to be delivered.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl subscription list
  qctl subscription list --json | jq '.subscriptions[] | select(.lag > 1000).name'")]
struct List {}

impl List {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let all = ctx.store()?.subscriptions()?;
        subscribers::print(ctx, &all, "no subscriptions")?;
        Ok(Exit::Done)
    }
}

/// Show a subscription
///
/// What it gets, what its jobs run and under which terms, its own before those of its queue, and how far it is behind.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl subscription show welcome")]
struct Show {
    #[command(flatten)]
    which: Which,
}

impl Show {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let all = ctx.store()?.subscriptions()?;
        let one = all.into_iter().find(|one| one.name == self.which.name).ok_or_else(|| unknown(&self.which.name))?;
        let queue = ctx.store()?.settings(&one.queue)?.unwrap_or_default();
        let pairs = detail::subscription(&one, &queue, &ctx.ui.look);
        match ctx.ui.format {
            Format::Json => {
                ctx.ui.print(&json::document("subscription", topic::subscription_with_terms(&one, &queue)))?;
            }
            Format::Plain => ctx.ui.print(&plain::pairs(pairs))?,
            Format::Table => ctx.ui.print(&table::pairs(&pairs))?,
        }
        ctx.ui.hint(format_args!(
            "\nits jobs: qctl list -Q {}   its dead letters: qctl dlq list -Q {}",
            one.queue, one.queue
        ));
        Ok(Exit::Done)
    }
}

/// Remove a subscription
///
/// It gets no further events. What it was delivered are jobs like any: they stay in its queue.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl subscription remove welcome
  qctl subscription remove welcome && qctl queue delete welcome --yes")]
struct Remove {
    #[command(flatten)]
    which: Which,
}

impl Remove {
    fn run(self, ctx: &mut Ctx) -> Answer {
        if !ctx.store()?.unsubscribe(&self.which.name)? {
            return Err(unknown(&self.which.name));
        }
        ctx.ring()?;
        done(ctx, &self.which.name, "removed")
    }
}

/// Stop the deliveries to a subscription
///
/// What is published meanwhile is delivered after `resume`, in order, as far as it is still on record. Its queue
/// is paused with it, where it has the same name and no other subscription delivers to it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl subscription pause welcome")]
struct Pause {
    #[command(flatten)]
    which: Which,
}

/// Go on with the deliveries to a subscription
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl subscription resume welcome")]
struct Resume {
    #[command(flatten)]
    which: Which,
}

fn pause(ctx: &mut Ctx, name: &QueueName, is_paused: bool) -> Answer {
    let now = ctx.now();
    let Some(has_changed) = ctx.store()?.pause_subscription(name, is_paused, now)? else {
        return Err(unknown(name));
    };
    let queue = ctx.store()?.subscriptions()?.into_iter().find(|one| one.name == *name).map(|one| one.queue);
    ctx.announce(&queue)?;
    let word = if is_paused { "paused" } else { "resumed" };
    if !has_changed {
        ctx.ui.hint(format_args!("{name} was {word} before"));
    }
    done(ctx, name, word)
}

/// Deliver again, from an event or a time on
///
/// What was published from there on is delivered once more, the named event included, as far as it is still on
/// record; what waits in its queue already is run too. `--to new` passes over all that was not delivered yet.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl subscription rewind welcome --to 4711
  qctl subscription rewind analytics --to 7d --rate 100/s
  qctl subscription rewind welcome --to new")]
struct Rewind {
    #[command(flatten)]
    which: Which,
    /// From where on: an event's id, a time, all, or new
    #[arg(long, value_name = "EVENT|T|all|new")]
    to: String,
    /// At most so many in a time, until it has caught up: 100/s, 90/m, 5/h
    #[arg(long, value_name = "N/s", value_parser = value::rate)]
    rate: Option<Rate>,
}

impl Rewind {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let to = ctx.event_from("--to", &self.to)?;
        ctx.known_place(to)?;
        let queue = ctx.store()?.rewind(&self.which.name, to, self.rate)?.ok_or_else(|| unknown(&self.which.name))?;
        ctx.announce([&queue])?;
        let lag = ctx.store()?.subscriptions()?.into_iter().find(|one| one.name == self.which.name).map(|one| one.lag);
        match lag.and_then(|lag| usize::try_from(lag).ok()).unwrap_or(0) {
            0 => ctx.ui.hint("nothing of its topics is to be delivered before something is published"),
            1 => ctx.ui.hint(format_args!("1 event of its topics is to be delivered, by whoever works {queue}")),
            n => ctx.ui.hint(format_args!("{n} events of its topics are to be delivered, by whoever works {queue}")),
        }
        done(ctx, &self.which.name, "rewound")
    }
}

fn unknown(name: &QueueName) -> Failure {
    Failure::not_found(format!("there is no subscription {name}")).hint("see which there are: qctl subscription list")
}

fn done(ctx: &Ctx, name: &QueueName, outcome: &str) -> Answer {
    if ctx.ui.format == Format::Json {
        ctx.ui.print(&json!({ "v": 1, "subscription": name.as_str(), "outcome": outcome }).to_string())?;
    }
    Ok(Exit::Done)
}
