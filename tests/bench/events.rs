//! Queue files with subscriptions, and who publishes to them in the bench itself.

use std::path::Path;

use qctl::clock::{Clock as _, SystemClock};
use qctl::job::{Labels, NewEvent, Topic};
use qctl::store::{self, Access, Store, Target, Tidy};

use crate::place::{Place, succeed};
use crate::trouble::Outcome;

/// Where all is published.
pub(crate) const TOPIC: &str = "bench.event";

/// The label by which those who want a share of the events tell them.
const LABEL: &str = "part";

/// A payload of 1 KiB, a JSON object.
pub(crate) fn payload() -> String {
    const FRAME: usize = r#"{"filler":""}"#.len();
    format!(r#"{{"filler":"{}"}}"#, "x".repeat(1024 - FRAME))
}

/// A new queue with `n` subscriptions that get what is published to the topic.
pub(crate) fn subscribed(n: usize) -> Outcome<Place> {
    let place = Place::new()?;
    subscribe(&place, n, &[])?;
    Ok(place)
}

/// Makes `n` subscriptions, each with a queue of its own, to jobs that do nothing.
pub(crate) fn subscribe(place: &Place, n: usize, options: &[&str]) -> Outcome<()> {
    for nth in 1..=n {
        let name = format!("s{nth}");
        let add = ["subscription", "add", &name, TOPIC].into_iter().chain(options.iter().copied());
        succeed(&mut place.qctl(&add.chain(["--", "true"]).collect::<Vec<_>>()))?;
    }
    Ok(())
}

/// One process that publishes again and again.
pub(crate) struct Publisher {
    store: Box<dyn Store>,
    event: NewEvent,
    n_published: usize,
}

impl Publisher {
    /// One who publishes to this file, what has a payload of 1 KiB.
    pub(crate) fn new(file: &Path) -> store::Result<Self> {
        let event = NewEvent {
            topic: Topic::new(TOPIC).expect("a name of two words is a topic"),
            key: None,
            key_until: SystemClock::default().now(),
            labels: Labels::new(),
            payload: Some(payload().into_bytes()),
            is_lazy: false,
        };
        Ok(Self { store: store::open(&Target::Sqlite(file.to_owned()), Access::Create)?, event, n_published: 0 })
    }

    /// Publishes one event, durably.
    pub(crate) fn publish(&mut self) -> store::Result<()> {
        self.n_published += 1;
        self.store.publish(&self.event, SystemClock::default().now()).map(drop)
    }

    /// The same, with a label of which there are `n` values, which come in turns.
    pub(crate) fn publish_part(&mut self, n: usize) -> store::Result<()> {
        self.event.labels = Labels::from([(LABEL.to_owned(), (self.n_published % n).to_string())]);
        self.publish()
    }

    /// What every `qctl publish` does at its end.
    pub(crate) fn tidy(&mut self) -> store::Result<()> {
        self.store.tidy(Tidy::Passing)
    }
}

/// A new queue without subscriptions and with `n` events, of which each `n_parts`th has the label `part=0`.
pub(crate) fn published(n: usize, n_parts: usize) -> Outcome<Place> {
    let place = Place::new()?;
    let mut publisher = Publisher::new(&place.path("queue.db"))?;
    for nth in 0..n {
        publisher.publish_part(n_parts)?;
        if nth % 100 == 0 {
            publisher.tidy()?;
        }
    }
    publisher.tidy()?;
    Ok(place)
}
