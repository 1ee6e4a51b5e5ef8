//! `qctl listen`

use std::time::Duration;

use super::waiter::Waiter;
use super::{Answer, Ctx, value};
use crate::exit::Exit;
use crate::job::{EventId, TopicPattern};
use crate::render::topic;

/// Print events as they are published, as JSON Lines
///
/// Nothing is consumed and nobody else gets less: it only reads the log of events. Each is one line:
/// its id, topic, key, labels, published_at and payload (payload_base64 where that is not UTF-8).
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl listen 'order.>'
  qctl listen order.created --from 1h | jq -r .payload
  qctl listen '>' --from all --no-follow > events.jsonl")]
pub(crate) struct Listen {
    /// Which topics: * is one token, > is one or more at the end
    #[arg(value_name = "PATTERN", value_parser = value::topics)]
    pattern: TopicPattern,
    /// The first event: new, all, an event's id, or a time
    #[arg(long, value_name = "new|all|EVENT|T", default_value = "new")]
    from: String,
    /// End after so many
    #[arg(short = 'n', long, value_name = "N", value_parser = value::limit)]
    limit: Option<usize>,
    /// End with what is on record now
    #[arg(long)]
    no_follow: bool,
}

/// How many events are read at a time: a long read would keep the log from being folded back.
const PAGE: usize = 500;

/// How long it waits at the most before it looks by itself.
const LOOK: Duration = Duration::from_secs(1);

impl Listen {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let from = ctx.event_from("--from", &self.from)?;
        let mut waiter = Waiter::for_reader(ctx);
        // Where nothing is to come, nothing is made to wait for it.
        if self.no_follow {
            ctx.store()?
        } else {
            ctx.store_or_create()?
        };
        ctx.known_place(from)?;
        let (mut next, _) = ctx.store()?.event_from(from)?;
        let mut n_left = self.limit.unwrap_or(usize::MAX);
        while n_left > 0 {
            waiter.hush();
            let events = ctx.store()?.events(next, PAGE)?;
            let Some(last) = events.last() else {
                if self.no_follow {
                    break;
                }
                waiter.wait(ctx, LOOK)?;
                continue;
            };
            next = EventId::new(last.id.get() + 1).unwrap_or(next);
            let mut lines = String::new();
            for event in events.iter().filter(|event| self.pattern.matches(&event.topic)).take(n_left) {
                lines.push_str(&topic::event(event).to_string());
                lines.push('\n');
                n_left -= 1;
            }
            ctx.ui.raw(lines.as_bytes())?;
        }
        Ok(Exit::Done)
    }
}
