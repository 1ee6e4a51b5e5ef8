//! `qctl publish`

use serde_json::json;

use super::key::{self, Key};
use super::payload_options::PayloadOptions;
use super::{Answer, Ctx, value};
use crate::exit::Exit;
use crate::job::{Defaults, EnvVars, Labels, NewEvent, Topic};
use crate::render::words;
use crate::store::{PublishOutcome, Published};
use crate::ui::Format;

/// Publish an event to all who subscribe to its topic
///
/// Prints the event's id and nothing else. Once it has, the event and what it leads to survive a crash of the
/// machine. Each subscription gets a job in its own queue, which is tried, delayed and given up by itself; whoever
/// publishes knows none of them. The payload goes to the standard input of each.
///
/// Without a subscriber the event is kept all the same: one that comes later can begin with it. Where more than 16
/// subscriptions get it, or with --lazy, only the event is written, and workers make the deliveries.
///
/// With --key the event is published once: another publish of the key to the topic within 24 hours prints the id
/// of the first. Inside of a step (qctl step) an event without --key gets one, made from the step and from what is published.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl publish user.signed-up --payload '{\"id\":17}'
  qctl publish order.created --key order-17 -l region=eu --payload-file order.json
  generate | qctl publish report.ready --stdin")]
pub(crate) struct Publish {
    /// Where to: tokens parted by dots, such as order.created
    #[arg(value_name = "TOPIC", value_parser = value::topic)]
    topic: Topic,
    /// Idempotency key, unique in the topic; auto: made from topic and payload
    #[arg(long, value_name = "KEY", value_parser = value::key)]
    key: Option<Key>,
    #[command(flatten)]
    payload: PayloadOptions,
    /// Label, for filters; the deliveries have it too
    #[arg(short = 'l', long = "label", value_name = "K=V", value_parser = value::label)]
    labels: Vec<(String, String)>,
    /// Leave the deliveries to workers
    #[arg(long)]
    lazy: bool,
}

impl Publish {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let now = ctx.now();
        let payload = self.payload.read()?;
        let labels: Labels = self.labels.into_iter().collect();
        let deed = (None, payload.as_deref(), self.topic.as_str().as_bytes());
        let key = self.key.or_else(Key::of_surroundings).map(|key| match key {
            Key::Given(key) => key,
            Key::Auto => key::auto(deed.0, deed.1, deed.2),
            Key::OfStep(step) => key::of_step(&step, deed, &EnvVars::new(), &labels),
        });
        let event = NewEvent {
            topic: self.topic,
            key,
            key_until: now.plus(Defaults::KEY_TTL),
            labels,
            payload,
            is_lazy: self.lazy,
        };
        let published = ctx.store_or_create()?.publish(&event, now)?;
        let printed = match ctx.ui.format {
            Format::Json => ctx.ui.print(&document(&published)),
            Format::Table | Format::Plain => ctx.ui.print(&published.id.to_string()),
        };
        // It is published, whether its id could be told or not.
        ctx.announce(&published.queues)?;
        printed?;
        explain(ctx, &event, &published);
        Ok(Exit::Done)
    }
}

fn document(published: &Published) -> String {
    let (outcome, differs) = match published.outcome {
        PublishOutcome::Created => ("created", false),
        PublishOutcome::Existing { differs } => ("existing", differs),
    };
    json!({
        "v": 1,
        "id": published.id.get(),
        "outcome": outcome,
        "differs": differs,
        "delivered": published.n_delivered,
        "left_to_workers": published.n_left,
    })
    .to_string()
}

/// Says what is not plain: to a person also who gets it.
fn explain(ctx: &Ctx, event: &NewEvent, published: &Published) {
    let (id, topic) = (published.id, &event.topic);
    match published.outcome {
        PublishOutcome::Existing { differs: true } => ctx.ui.say(format_args!(
            "event {id} of {topic} has this key, and another payload or other labels; nothing was published"
        )),
        PublishOutcome::Existing { differs: false } => {
            ctx.ui.hint(format_args!("event {id} of {topic} has this key; nothing was published"));
        }
        PublishOutcome::Created => match published.n_delivered + published.n_left {
            0 => ctx
                .ui
                .hint(format_args!("no subscription gets this event of {topic}; it is on record for those to come")),
            n => ctx.ui.hint(format_args!("it goes to {}", words::count(n, "subscription"))),
        },
    }
}
