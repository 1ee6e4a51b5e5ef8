//! Circuit breakers: when a queue is stopped because its attempts fail of one cause.
//!
//! Closed, a breaker counts; open, it lets in one job at a time, as a trial, until one succeeds.

use std::fmt;

use super::group::Cause;
use super::id::QueueName;
use crate::clock::Timestamp;

/// When a queue is stopped: once so many of its last attempts failed of one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    n_failures: usize,
    n_attempts: usize,
}

impl BreakerRule {
    /// The most attempts that are kept in mind.
    pub const MAX_ATTEMPTS: usize = 1000;

    /// `n_failures` of the last `n_attempts`; `None` where there are none, or too many.
    pub fn new(n_failures: usize, n_attempts: usize) -> Option<Self> {
        let is_possible = n_failures >= 1 && n_failures <= n_attempts && n_attempts <= Self::MAX_ATTEMPTS;
        is_possible.then_some(Self { n_failures, n_attempts })
    }

    /// How many must have failed.
    pub fn n_failures(self) -> usize {
        self.n_failures
    }

    /// Of how many.
    pub fn n_attempts(self) -> usize {
        self.n_attempts
    }
}

impl fmt::Display for BreakerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.n_failures, self.n_attempts)
    }
}

/// That a queue is stopped by its breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tripped {
    /// Since when.
    pub since: Timestamp,
    /// What its attempts failed of.
    pub cause: Cause,
    /// How many of them did.
    pub n_failures: usize,
    /// Of the last so many.
    pub n_attempts: usize,
    /// From when on the next job is tried.
    pub next_trial: Timestamp,
}

/// That a breaker has stopped its queue, or lets it go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerNews {
    /// The queue.
    pub queue: QueueName,
    /// How it is stopped; `None`: it goes on.
    pub tripped: Option<Tripped>,
}
