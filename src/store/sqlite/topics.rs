//! The part of the contract that is about events, each verb in one transaction.

use super::row::Explain as _;
use super::{SqliteStore, publish, subscription, topic};
use crate::clock::Timestamp;
use crate::job::{
    Backlog, EventId, LogRetention, NewEvent, NewSubscription, QueueName, Rate, StartAt, Subscription, Topic,
    TopicEvent, TopicPattern, TopicTally,
};
use crate::store::{Published, Result, Subscribed, Topics};

impl Topics for SqliteStore {
    fn publish(&mut self, event: &NewEvent, now: Timestamp) -> Result<Published> {
        self.write_durably(|tx| publish::publish(tx, event, now))
    }

    fn subscribe(&mut self, subscription: &NewSubscription, now: Timestamp) -> Result<Subscribed> {
        self.write_durably(|tx| subscription::subscribe(tx, subscription, now))
    }

    fn unsubscribe(&mut self, name: &QueueName) -> Result<bool> {
        self.write_durably(|tx| subscription::unsubscribe(tx, name))
    }

    fn subscriptions(&mut self) -> Result<Vec<Subscription>> {
        subscription::subscriptions(&self.conn).explain(&self.path)
    }

    fn subscribed_to(&mut self, topic: &Topic) -> Result<Vec<Subscription>> {
        subscription::subscribed_to(&self.conn, topic).explain(&self.path)
    }

    fn backlog(&mut self, of: &Subscription) -> Result<Vec<Backlog>> {
        subscription::backlog(&self.conn, of).explain(&self.path)
    }

    fn pause_subscription(&mut self, name: &QueueName, is_paused: bool, now: Timestamp) -> Result<Option<bool>> {
        self.write_durably(|tx| subscription::pause(tx, name, is_paused, now))
    }

    fn rewind(&mut self, name: &QueueName, to: StartAt, rate: Option<Rate>) -> Result<Option<QueueName>> {
        self.write_durably(|tx| subscription::rewind(tx, name, to, rate))
    }

    fn topics(&mut self) -> Result<Vec<TopicTally>> {
        topic::topics(&self.conn).explain(&self.path)
    }

    fn keep_events(&mut self, pattern: &TopicPattern, keep: LogRetention) -> Result<()> {
        self.write_durably(|tx| topic::keep(tx, pattern, keep))
    }

    fn event_from(&mut self, from: StartAt) -> Result<(EventId, i64)> {
        subscription::event_from(&self.conn, from).explain(&self.path)
    }

    fn events(&mut self, first: EventId, limit: usize) -> Result<Vec<TopicEvent>> {
        subscription::events(&self.conn, first, limit).explain(&self.path)
    }

    fn prune_events(&mut self, now: Timestamp) -> Result<usize> {
        if topic::outlived(&self.conn, 1, now).explain(&self.path)?.is_empty() {
            return Ok(0);
        }
        self.write(|tx| topic::forget(tx, now))
    }

    fn prunable_events(&mut self, limit: usize, now: Timestamp) -> Result<usize> {
        Ok(topic::outlived(&self.conn, limit, now).explain(&self.path)?.len())
    }
}
