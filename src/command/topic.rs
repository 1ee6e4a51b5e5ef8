//! `qctl topic`: what was published where, how long it is kept, and who would get it.

use super::value::{self, Limit, Rows};
use super::{Answer, Ctx, subscribers};
use crate::exit::{Exit, Failure};
use crate::job::{LogRetention, Topic as Name, TopicPattern};
use crate::render::{json, plain, table, topic};
use crate::ui::Format;

/// Look at topics, and set how long their events are kept
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl topic list
  qctl topic test order.created
  qctl topic set 'order.>' --keep 30d")]
pub(crate) struct Topic {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    List(List),
    Test(Test),
    Set(Set),
}

impl Topic {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        match self.verb {
            Verb::List(verb) => verb.run(ctx),
            Verb::Test(verb) => verb.run(ctx),
            Verb::Set(verb) => verb.run(ctx),
        }
    }
}

/// List the topics that have events on record, and the patterns that were set
///
/// In a pipe: name, events, bytes and last_at, parted by tabs. On a terminal also how long the events are kept.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl topic list
  qctl topic list --json | jq '.topics | max_by(.bytes)'")]
struct List {}

impl List {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let topics = ctx.store()?.topics()?;
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => ctx.ui.print(&json::document("topics", topics.iter().map(topic::topic).collect()))?,
            Format::Plain => ctx.ui.print(&plain::topics(&topics, look))?,
            Format::Table if topics.is_empty() => ctx.ui.hint("no topics"),
            Format::Table => ctx.ui.print(&table::topics(&topics, look))?,
        }
        Ok(Exit::Done)
    }
}

/// Say which subscriptions would get an event of a topic
///
/// What they want of it with --where is not looked at.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl topic test order.created.eu")]
struct Test {
    /// The topic
    #[arg(value_name = "TOPIC", value_parser = value::topic)]
    topic: Name,
}

impl Test {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let all = ctx.store()?.subscribed_to(&self.topic)?;
        subscribers::print(ctx, &all, "no subscription gets it")?;
        Ok(Exit::Done)
    }
}

/// Set how long the events of topics are kept, for whoever comes later
///
/// A week unless something is set; where several patterns match a topic, the one that says more about it counts
/// first. What is left out stays as it is. While an event's key is held it is kept in any case; that a
/// subscription has still to get it keeps it no longer.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl topic set '>' --keep 3d --keep-bytes 1G
  qctl topic set 'metrics.*' --keep 1h --keep-rows 10000
  qctl topic set order.created --keep none")]
struct Set {
    /// Which topics: * is one token, > is one or more at the end
    #[arg(value_name = "PATTERN", value_parser = value::topics)]
    pattern: TopicPattern,
    /// How long after its publication an event is kept
    #[arg(long, value_name = "D|none", value_parser = value::positive_or_none)]
    keep: Option<Limit>,
    /// How many events of each topic are kept, the newest
    #[arg(long, value_name = "N|none", value_parser = value::rows_or_none)]
    keep_rows: Option<Rows>,
    /// How many bytes of payloads of each topic are kept, the newest: 512K, 64M, 2G
    #[arg(long, value_name = "N|none", value_parser = value::bytes_or_none)]
    keep_bytes: Option<Rows>,
}

impl Set {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let rows = |limit: Option<Rows>| limit.map(|Rows(limit)| limit);
        let keep = LogRetention {
            keep: self.keep.map(|Limit(keep)| keep),
            rows: rows(self.keep_rows),
            bytes: rows(self.keep_bytes),
        };
        if keep == LogRetention::default() {
            return Err(Failure::usage("nothing is set").hint("--keep, --keep-rows or --keep-bytes"));
        }
        ctx.store_or_create()?.keep_events(&self.pattern, keep)?;
        ctx.ring()?;
        if ctx.ui.format == Format::Json {
            let topics = ctx.store()?.topics()?;
            let one = topics.iter().find(|one| one.name == self.pattern.as_str());
            ctx.ui.print(&json::document("topic", one.map(topic::topic).unwrap_or_default()))?;
        }
        Ok(Exit::Done)
    }
}
