//! Whatever reads text from outside, open to the tests that feed it garbage: those in `tests/faults`,
//! which see only what is public, and the fuzz targets in `tests/fuzz`. Not part of any promise.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::draft::Finisher;
use super::key::{AUTO, Key};
use super::{import, value};
use crate::clock::Timestamp;
use crate::job::{Backoff, IdRange, NewJob, QueueName, QueuePattern};

/// What is wrong with a text and what would be right, in one line.
pub type Read<T> = Result<T, String>;

/// The lines of `import`, in queues that have nothing of their own.
pub fn import_lines(text: &[u8], now: Timestamp) -> Vec<Read<NewJob>> {
    let mut finisher = Finisher::new(now);
    import::drafts(text, now).into_iter().map(|draft| draft.map(|draft| finisher.finish(draft))).collect()
}

/// A length of time.
pub fn duration(text: &str) -> Read<Duration> {
    value::duration(text)
}

/// An instant.
pub fn instant(text: &str, now: Timestamp, zone: &TimeZone) -> Read<Timestamp> {
    value::instant(text, now, zone)
}

/// The name of a queue.
pub fn queue(text: &str) -> Read<QueueName> {
    value::queue(text)
}

/// A pattern of the names of queues.
pub fn pattern(text: &str) -> Read<QueuePattern> {
    value::pattern(text)
}

/// A run of job numbers.
pub fn ids(text: &str) -> Read<IdRange> {
    value::ids(text)
}

/// Exit statuses.
pub fn codes(text: &str) -> Read<Vec<RangeInclusive<i32>>> {
    value::codes(text).map(|codes| codes.0)
}

/// A backoff.
pub fn backoff(text: &str) -> Read<Backoff> {
    value::backoff(text)
}

/// A label's name and value.
pub fn label(text: &str) -> Read<(String, String)> {
    value::label(text)
}

/// An idempotency key.
pub fn key(text: &str) -> Read<String> {
    value::key(text).map(|key| match key {
        Key::Given(text) | Key::OfStep(text) => text,
        Key::Auto => AUTO.to_owned(),
    })
}
