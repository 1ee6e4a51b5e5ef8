//! The part of the contract that is about events: publishing, subscribing, the log.

use crate::clock::Timestamp;
use crate::job::{
    Backlog, EventId, LogRetention, NewEvent, NewSubscription, QueueName, Rate, StartAt, Subscription, Topic,
    TopicEvent, TopicPattern, TopicTally,
};
use crate::store::Result;

/// A log of events, and subscriptions to it, each of which gets a job for each of its events.
///
/// What holds for every engine, besides what [`super::Store`] says:
///
/// - An event and what it leads to is one transaction: its deliveries are queued, or that they are still to be made
///   is on record.
/// - Of each event a subscription gets one delivery, in the order of publication, whoever makes it; and another
///   one only after it was rewound.
/// - What nobody works does not keep events on record.
pub trait Topics {
    /// Publishes an event. Each subscription gets it at once that is not paused, has nothing older to get and not too
    /// much that waits, unless there are many of them or it is to be lazy; to the others it is delivered by
    /// [`super::Store::turn`] of a worker that serves their queue.
    ///
    /// # Errors
    ///
    /// Those of [`super::Store::push_each`] but for the key.
    fn publish(&mut self, event: &NewEvent, now: Timestamp) -> Result<Published>;

    /// Makes a subscription, and its queue if need be.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn subscribe(&mut self, subscription: &NewSubscription, now: Timestamp) -> Result<Subscribed>;

    /// Removes a subscription; what it was delivered stays in its queue. Answers whether there was one.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn unsubscribe(&mut self, name: &QueueName) -> Result<bool>;

    /// Every subscription, by name.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn subscriptions(&mut self) -> Result<Vec<Subscription>>;

    /// The subscriptions that would get an event of this topic, but for which of them they want, by name.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn subscribed_to(&mut self, topic: &Topic) -> Result<Vec<Subscription>>;

    /// What a subscription has still to get, by topic.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn backlog(&mut self, of: &Subscription) -> Result<Vec<Backlog>>;

    /// Stops (or resumes) the deliveries to a subscription, and with them its queue, where that is its alone.
    /// What is published meanwhile it gets later. Answers whether that changed anything, `None` where there is
    /// no such subscription.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn pause_subscription(&mut self, name: &QueueName, is_paused: bool, now: Timestamp) -> Result<Option<bool>>;

    /// Has a subscription get what was published from there on, once more or not at all; answers whether there is
    /// one, and its queue.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn rewind(&mut self, name: &QueueName, to: StartAt, rate: Option<Rate>) -> Result<Option<QueueName>>;

    /// Every topic that has events on record, and every pattern with settings, by name.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn topics(&mut self) -> Result<Vec<TopicTally>>;

    /// Sets how long the events of the topics of a pattern stay on record.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn keep_events(&mut self, pattern: &TopicPattern, keep: LogRetention) -> Result<()>;

    /// The number of the first event from there on, or of the next one to be published; and of the last one, 0
    /// before the first.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn event_from(&mut self, from: StartAt) -> Result<(EventId, i64)>;

    /// Events on record, at most `limit`, in their order, from `first` on.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn events(&mut self, first: EventId, limit: usize) -> Result<Vec<TopicEvent>>;

    /// Forgets a portion of the events that are no longer to be kept; answers how many. To be called again until
    /// that is none. An event that still holds its key is kept until it does not.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn prune_events(&mut self, now: Timestamp) -> Result<usize>;

    /// How many [`Topics::prune_events`] would forget in all, counted up to `limit`.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn prunable_events(&mut self, limit: usize, now: Timestamp) -> Result<usize>;
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its number, or that of the one that has its key.
    pub id: EventId,
    /// Which of the two.
    pub outcome: PublishOutcome,
    /// How many deliveries were queued.
    pub n_delivered: usize,
    /// How many are left to workers.
    pub n_left: usize,
    /// The queues of both.
    pub queues: Vec<QueueName>,
}

/// Whether an event was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It was.
    Created,
    /// Its key is held.
    Existing {
        /// The event that holds it has another payload or other labels.
        differs: bool,
    },
}

/// What became of a subscription.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// It was made.
    Created,
    /// One of this name is there, and is the same.
    Existing,
    /// One of this name is there, and is another; nothing was done.
    Other,
}
