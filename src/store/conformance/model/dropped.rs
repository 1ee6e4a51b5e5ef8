//! Forgetting jobs, and dropping dead ones so that they can be brought back.

use super::{Entry, Model};
use crate::clock::Timestamp;
use crate::job::{JobId, Restored, StateKind};

impl Model {
    pub(in super::super) fn forget(&mut self, ids: &[JobId], states: &[StateKind]) -> Vec<JobId> {
        let mut forgotten = ids.to_vec();
        forgotten.retain(|id| self.jobs.get(id).is_some_and(|entry| states.contains(&entry.kind())));
        self.jobs.retain(|id, _| !forgotten.contains(id));
        forgotten
    }

    pub(in super::super) fn drop_dead(&mut self, ids: &[JobId]) -> Vec<JobId> {
        let is_dead = |entry: &mut Entry| entry.kind() == StateKind::Dead;
        let dropped: Vec<Entry> = ids
            .iter()
            .filter_map(|&id| self.jobs.get_mut(&id).is_some_and(is_dead).then(|| self.jobs.remove(&id))?)
            .collect();
        let ids = dropped.iter().map(|entry| entry.job.id).collect();
        self.dropped.extend((!dropped.is_empty()).then_some(dropped));
        ids
    }

    /// Brings back what was dropped last.
    pub(in super::super) fn restore(&mut self, now: Timestamp) -> Vec<Restored> {
        let mut entries = self.dropped.pop().unwrap_or_default();
        entries.sort_by_key(|entry| entry.job.id);
        let mut restored = Vec::new();
        for mut entry in entries {
            let key = entry.job.key.clone().filter(|key| entry.holds(key, now));
            let holder = key.and_then(|key| self.holder(&entry.job.queue, &key, now)).map(|holder| holder.job.id);
            entry.is_without_key |= holder.is_some();
            restored.push(Restored { id: entry.job.id, holder });
            self.queues.entry(entry.job.queue.clone()).or_default();
            self.jobs.insert(entry.job.id, entry);
        }
        restored
    }
}
