//! The part of the contract that is about dead letters, each verb in one transaction.

use super::row::Explain as _;
use super::{SqliteStore, letter, revision, undo};
use crate::clock::Timestamp;
use crate::job::{DropId, DropRecord, JobId, Letter, Part, Restored, Revision};
use crate::store::{Buried, Dropped, Letters, Result};

impl Letters for SqliteStore {
    fn drop_dead(&mut self, ids: &[JobId], onto: Option<DropId>, now: Timestamp) -> Result<Dropped> {
        self.write_durably(|tx| undo::drop_dead(tx, ids, onto, now))
    }

    fn drops(&mut self) -> Result<Vec<DropRecord>> {
        undo::drops(&self.conn).explain(&self.path)
    }

    fn restore(&mut self, drop: DropId, now: Timestamp) -> Result<Vec<Restored>> {
        self.write_durably(|tx| undo::restore(tx, drop, now))
    }

    fn forget_dropped(&mut self, before: Timestamp) -> Result<usize> {
        if undo::outlived(&self.conn, before).explain(&self.path)?.is_empty() {
            return Ok(0);
        }
        self.write(|tx| undo::forget_dropped(tx, before))
    }

    fn revise(&mut self, new: &[(JobId, &Part)], now: Timestamp) -> Result<()> {
        self.write_durably(|tx| revision::revise_dead(tx, new, now))
    }

    fn revisions(&mut self, id: JobId) -> Result<Vec<Revision>> {
        revision::revisions(&self.conn, id).explain(&self.path)
    }

    fn payload(&mut self, id: JobId) -> Result<Option<Vec<u8>>> {
        revision::payload(&self.conn, id).explain(&self.path)
    }

    fn letters(&mut self, ids: &[JobId]) -> Result<Vec<(JobId, Letter)>> {
        letter::letters(&self.conn, ids).explain(&self.path)
    }

    fn bury_each(
        &mut self,
        letters: &mut dyn Iterator<Item = Letter>,
        now: Timestamp,
        told: &mut dyn FnMut(Buried),
    ) -> Result<()> {
        self.write_durably(|tx| letter::bury(tx, letters, now, told))
    }
}
