//! The part of the contract that is about dead letters: dropping them so that they can be brought back, putting them
//! back with something replaced, and taking them from one queue file to another.

use crate::clock::Timestamp;
use crate::job::{DropId, DropRecord, JobId, Letter, Part, Restored, Revision};
use crate::store::{Buried, Dropped, Result};

/// What is done with dead letters.
pub trait Letters {
    /// Drops those of `ids` that are dead, onto a record of which they can be brought back: that of this number, or a
    /// new one. To everything else they are forgotten, and a key that they held is free.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn drop_dead(&mut self, ids: &[JobId], onto: Option<DropId>, now: Timestamp) -> Result<Dropped>;

    /// What was dropped and can be brought back, the newest first.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn drops(&mut self) -> Result<Vec<DropRecord>>;

    /// Brings back jobs of one drop as they were, at most so many that nobody waits long; answers which. To be
    /// called again until that is none. A queue that is gone by now is made anew.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn restore(&mut self, drop: DropId, now: Timestamp) -> Result<Vec<Restored>>;

    /// Forgets for good jobs that were dropped before then, at most so many that nobody waits long; answers how
    /// many. To be called again until that is none.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn forget_dropped(&mut self, before: Timestamp) -> Result<usize>;

    /// Gives dead jobs this in the place of what they had, which is kept as a [`Revision`]; others stay as they are.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn revise(&mut self, new: &[(JobId, &Part)], now: Timestamp) -> Result<()>;

    /// What was replaced in a job, the first time first.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn revisions(&mut self, id: JobId) -> Result<Vec<Revision>>;

    /// The bytes for the standard input of a job; `None` where it has none, or is not there.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn payload(&mut self, id: JobId) -> Result<Option<Vec<u8>>>;

    /// All there is to tell of those of `ids` that are dead, in their order.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn letters(&mut self, ids: &[JobId]) -> Result<Vec<(JobId, Letter)>>;

    /// Takes in jobs that died elsewhere, all or none, in their order, under numbers of their own. `told` learns
    /// what becomes of each as [`super::Store::push_each`] says.
    ///
    /// # Errors
    ///
    /// Those of [`super::Store::push_each`].
    fn bury_each(
        &mut self,
        letters: &mut dyn Iterator<Item = Letter>,
        now: Timestamp,
        told: &mut dyn FnMut(Buried),
    ) -> Result<()>;
}
