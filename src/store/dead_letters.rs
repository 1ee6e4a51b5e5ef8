//! The part of the contract that is about dead jobs.

use super::Result;
use crate::clock::Timestamp;
use crate::job::{Filter, Group, JobId, QueueName};

/// What can be asked of the dead-letter queue.
pub trait DeadLetters {
    /// The groups of the dead jobs that match, the largest first; each counts only those. States are not looked at.
    ///
    /// Costs as much as there are groups, however many jobs are dead, unless something is asked for that jobs of one
    /// group may have or not: a number, a label, an instant, a text.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn groups(&mut self, filter: &Filter) -> Result<Vec<Group>>;

    /// When the first of the jobs died that are dead now in one of `queues` (in any, if empty). Costs the same.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn oldest_death(&mut self, queues: &[QueueName]) -> Result<Option<Timestamp>>;

    /// The numbers of the dead jobs that match, at most `limit`, the last to die first. States are not looked at.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn dead(&mut self, filter: &Filter, limit: usize) -> Result<Vec<JobId>>;
}
