//! Jobs that are waited for, and where they stand by now.

use std::time::Duration;

use super::Ctx;
use crate::exit::Failure;
use crate::job::{IdRange, JobId, StateKind};
use crate::render::progress::Progress;
use crate::render::waited::{Fate, Totals};

/// The jobs that are waited for, in order of their numbers.
#[derive(Default)]
pub(super) struct Awaited {
    pub(super) pending: Vec<JobId>,
    pub(super) succeeded: Vec<JobId>,
    /// Those that died, were cancelled or deleted, in the order in which that was seen.
    pub(super) failed: Vec<JobId>,
    n_running: usize,
    /// What the queue was like when it was looked at last.
    version: Option<u64>,
}

impl Awaited {
    /// All of them pending.
    pub(super) fn new(mut pending: Vec<JobId>) -> Self {
        pending.sort_unstable();
        pending.dedup();
        Self { pending, ..Self::default() }
    }

    /// Looks where those stand that were not done with, unless nothing has changed since.
    pub(super) fn look(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        // Asked for first: what changes from here on is seen now or the next time.
        let version = Some(ctx.store()?.version()?);
        if std::mem::replace(&mut self.version, version) == version {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let standings = ctx.store()?.standing_of(&ranges(&pending))?;
        // What was deleted meanwhile did not succeed, as far as anyone can tell.
        self.failed.extend(pending.iter().filter(|id| standings.binary_search_by_key(id, |(known, _)| known).is_err()));
        self.n_running = 0;
        for (id, state) in standings {
            match Fate::from(state) {
                Fate::Succeeded => self.succeeded.push(id),
                Fate::Failed => self.failed.push(id),
                Fate::Pending => self.pending.push(id),
            }
            self.n_running += usize::from(state == StateKind::Running);
        }
        Ok(())
    }

    /// How far it is.
    pub(super) fn progress(&self, elapsed: Duration) -> Progress {
        Progress {
            n_succeeded: self.succeeded.len(),
            n_failed: self.failed.len(),
            n_running: self.n_running,
            n_waiting: self.pending.len() - self.n_running,
            elapsed,
        }
    }

    /// How many of them came to which end.
    pub(super) fn totals(&self) -> Totals {
        Totals { n_succeeded: self.succeeded.len(), n_failed: self.failed.len(), n_pending: self.pending.len() }
    }
}

/// The same jobs as the fewest ranges, for a store that is asked once for each; they are in order.
pub(super) fn ranges(ids: &[JobId]) -> Vec<IdRange> {
    let runs = ids.chunk_by(|one, next| one.get() == next.get() - 1);
    runs.map(|run| IdRange { first: run[0], last: run[run.len() - 1] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_one_range() {
        let ids: Vec<JobId> = [1, 2, 3, 7, 9, 10].into_iter().filter_map(JobId::new).collect();
        let ends = |range: &IdRange| (range.first.get(), range.last.get());
        assert_eq!(ranges(&ids).iter().map(ends).collect::<Vec<_>>(), [(1, 3), (7, 7), (9, 10)]);
        assert!(ranges(&[]).is_empty());
    }
}
