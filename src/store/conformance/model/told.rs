//! What a queue tells of itself when it is looked at.

use std::collections::BTreeMap;

use super::{Entry, Model};
use crate::clock::Timestamp;
use crate::job::{JobId, Lease, QueueName, State, StateKind, Tally};
use crate::store::Standing;

impl Model {
    pub(crate) fn standing(&self, lease: Lease) -> Standing {
        match self.jobs.get(&lease.job) {
            Some(entry) if entry.lease() == lease => match entry.job.state {
                State::Running { cancel_requested: true, .. } => Standing::CancelRequested,
                State::Running { cancel_requested: false, .. } => Standing::Held,
                _ => Standing::Lost,
            },
            _ => Standing::Lost,
        }
    }

    pub(crate) fn tally(&self, queue: &QueueName) -> Tally {
        let mut tally = Tally::default();
        let jobs = self.jobs.values().filter(|entry| entry.job.queue == *queue);
        jobs.for_each(|entry| tally.add(entry.kind(), 1));
        tally
    }

    /// Since when the first in line waits that has waited longest: one is the first of each priority.
    pub(crate) fn oldest_ready(&self, queue: &QueueName) -> Option<Timestamp> {
        let ready = self.jobs.values().filter(|one| one.job.queue == *queue && one.kind() == StateKind::Ready);
        let mut first: BTreeMap<i32, Timestamp> = BTreeMap::new();
        for entry in ready {
            first.entry(entry.job.priority).or_insert(entry.job.run_at);
        }
        first.into_values().min()
    }

    /// The dead, the last to die first.
    pub(crate) fn dead(&self) -> Vec<JobId> {
        let mut dead: Vec<&Entry> = self.jobs.values().filter(|entry| entry.kind() == StateKind::Dead).collect();
        dead.sort_by_key(|entry| std::cmp::Reverse((entry.job.state.finished_at(), entry.job.id)));
        dead.into_iter().map(|entry| entry.job.id).collect()
    }

    /// Dead and cancelled jobs that hold their key.
    pub(crate) fn blocking_keys(&self, now: Timestamp) -> Vec<JobId> {
        let blocks = |entry: &&Entry| {
            matches!(entry.kind(), StateKind::Dead | StateKind::Cancelled)
                && entry.job.key.as_deref().is_some_and(|key| entry.holds(key, now))
        };
        self.jobs.values().filter(blocks).map(|entry| entry.job.id).collect()
    }
}
