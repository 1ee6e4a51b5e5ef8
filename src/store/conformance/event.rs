//! What the promises about events have in common: making events and subscriptions, and seeing what was delivered.

use std::time::Duration;

use super::bench::{Bench, job, queue, serving};
use crate::clock::Timestamp;
use crate::job::{
    Claimed, Command, EnvVars, EventId, Filter, Job, Labels, NewEvent, NewSubscription, Page, QueueSettings, Rate,
    StartAt, StateKind, Subscription, Topic, TopicPattern, Where,
};
use crate::store::{PublishOutcome, Published, Serving, Subscribed};

pub(super) fn topic(text: &str) -> Topic {
    Topic::new(text).expect("a topic")
}

pub(super) fn pattern(text: &str) -> TopicPattern {
    TopicPattern::new(text).expect("a pattern")
}

pub(super) fn event_id(id: i64) -> EventId {
    EventId::new(id).expect("a number above zero")
}

/// So many in so many seconds.
pub(super) fn rate(n: u32, secs: u64) -> Rate {
    Rate { n, per: Duration::from_secs(secs) }
}

/// An event of this topic, without key, labels and payload.
pub(super) fn event(text: &str) -> NewEvent {
    NewEvent {
        topic: topic(text),
        key: None,
        key_until: Timestamp::from_millis(0),
        labels: Labels::new(),
        payload: None,
        is_lazy: false,
    }
}

/// Says more of an event.
pub(super) trait EventDraft {
    fn payload(self, bytes: &[u8]) -> Self;
    fn label(self, name: &str, value: &str) -> Self;
    fn key(self, key: &str, until: Timestamp) -> Self;
    fn lazy(self) -> Self;
}

impl EventDraft for NewEvent {
    fn payload(self, bytes: &[u8]) -> Self {
        Self { payload: Some(bytes.to_vec()), ..self }
    }

    fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    fn key(self, key: &str, until: Timestamp) -> Self {
        Self { key: Some(key.to_owned()), key_until: until, ..self }
    }

    fn lazy(self) -> Self {
        Self { is_lazy: true, ..self }
    }
}

/// A subscription that begins with what is published next, in a queue of its own name.
pub(super) fn subscription(name: &str, topics: &str) -> NewSubscription {
    NewSubscription {
        name: queue(name),
        pattern: pattern(topics),
        only: Where::new(),
        queue: queue(name),
        command: Some(Command::Shell("handle".into())),
        env: EnvVars::new(),
        context: (*job("a").context).clone(),
        own: QueueSettings::default(),
        from: StartAt::New,
        rate: None,
    }
}

/// Says more of a subscription.
pub(super) trait SubscriptionDraft {
    fn on(self, name: &str) -> Self;
    fn only(self, name: &str, value: &str) -> Self;
    fn from(self, from: StartAt) -> Self;
    fn at_rate(self, rate: Rate) -> Self;
}

impl SubscriptionDraft for NewSubscription {
    fn on(self, name: &str) -> Self {
        Self { queue: queue(name), ..self }
    }

    fn only(mut self, name: &str, value: &str) -> Self {
        self.only.insert(name.to_owned(), value.to_owned());
        self
    }

    fn from(self, from: StartAt) -> Self {
        Self { from, ..self }
    }

    fn at_rate(self, rate: Rate) -> Self {
        Self { rate: Some(rate), ..self }
    }
}

impl Bench<'_> {
    /// Makes a subscription that must be a new one.
    pub(super) fn subscribe(&mut self, new: &NewSubscription) {
        assert_eq!(self.store.subscribe(new, self.now).expect("an answer"), Subscribed::Created);
    }

    /// Publishes an event that must be a new one.
    pub(super) fn publish(&mut self, event: &NewEvent) -> Published {
        let published = self.store.publish(event, self.now).expect("published");
        assert_eq!(published.outcome, PublishOutcome::Created);
        published
    }

    /// Publishes so many events of one topic; answers the number of the last.
    pub(super) fn publish_many(&mut self, n: usize, event: &NewEvent) -> i64 {
        (0..n).map(|_| self.publish(event).id.get()).last().expect("at least one")
    }

    /// A subscription that must exist.
    pub(super) fn subscription(&mut self, name: &str) -> Subscription {
        let all = self.store.subscriptions().expect("the subscriptions");
        all.into_iter().find(|one| one.name.as_str() == name).expect("a subscription of this name")
    }

    /// The deliveries to a subscription that are jobs, the oldest first.
    pub(super) fn deliveries(&mut self, name: &str) -> Vec<Job> {
        let page = Page { after: None, limit: usize::MAX, oldest_first: true };
        let jobs = self.store.jobs(&Filter::default(), page).expect("every job");
        jobs.into_iter().filter(|job| job.delivery.as_ref().is_some_and(|of| of.subscription == name)).collect()
    }

    /// The numbers of the events that a subscription was delivered, in the order of the deliveries.
    pub(super) fn got(&mut self, name: &str) -> Vec<i64> {
        let event = |job: &Job| job.delivery.as_ref().map(|of| of.event.get());
        self.deliveries(name).iter().filter_map(event).collect()
    }

    /// The numbers of the events on record.
    pub(super) fn on_record(&mut self) -> Vec<i64> {
        let events = self.store.events(event_id(1), usize::MAX).expect("the events");
        events.iter().map(|event| event.id.get()).collect()
    }

    /// Takes one turn that claims nothing, of a worker that serves these queues.
    pub(super) fn deliver(&mut self, queues: &[&str]) {
        let _ = self.turn(&[], &serving(queues, &[]), 0);
    }

    /// Takes turns that claim nothing until there is nothing more to do at once.
    pub(super) fn deliver_all(&mut self) {
        while self.turn(&[], &Serving::default(), 0).is_behind {}
    }

    /// How many jobs are ready, by the counters.
    pub(super) fn all_ready(&mut self) -> i64 {
        self.store.queues().expect("the queues").iter().map(|queue| queue.tally.get(StateKind::Ready)).sum()
    }

    /// Claims the one job of this queue that must be there to claim.
    pub(super) fn claim_of(&mut self, queue: &str) -> Claimed {
        self.turn(&[], &serving(&[queue], &[]), 1).claimed.pop().expect("a job to claim")
    }

    /// Fails unless everything that is kept twice agrees and every row can be.
    pub(super) fn assert_sound(&mut self) {
        let strays: Vec<String> = self.store.strays().expect("a look").into_iter().map(|stray| stray.what).collect();
        assert_eq!((strays, self.store.examine().expect("a look")), (Vec::new(), Vec::new()));
        self.assert_counters_agree();
    }
}
