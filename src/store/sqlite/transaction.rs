//! How anything is written: one short transaction, then the log is synced outside of it.
//!
//! The counters of jobs by state are changed in the same transaction, by whoever moves a job, so
//! that they agree with the rows at every instant and nobody ever has to count the history.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior, named_params};

use super::SqliteStore;
use super::gate::Pass;
use super::row::{self, Explain as _};
use super::upkeep;
use crate::clock::Timestamp;
use crate::job::StateKind;
use crate::store::{Error, Result, Store as _};

/// How long it waits for others until it can fold the log back after a failed sync.
const MENDING: Duration = Duration::from_secs(1);

/// A write transaction, with what it will change in the counters.
pub(super) struct Txn<'c> {
    tx: Transaction<'c>,
    path: &'c Path,
    counted: RefCell<BTreeMap<(i64, &'static str), i64>>,
    moved_since: RefCell<BTreeSet<(StateKind, i64)>>,
    paced: RefCell<BTreeMap<Beat, i64>>,
    alarmed: RefCell<BTreeSet<i64>>,
    dropped_files: RefCell<Vec<String>>,
    left_causes: RefCell<BTreeMap<(i64, String), i64>>,
}

/// What a transaction answers, and whether it put anything on record that has to survive a power cut.
pub(super) struct Entry<T> {
    pub(super) answer: T,
    pub(super) is_on_record: bool,
}

impl<T> Entry<T> {
    /// Nothing that matters was written.
    pub(super) fn none(answer: T) -> Self {
        Self { answer, is_on_record: false }
    }

    /// Something was.
    pub(super) fn made(answer: T) -> Self {
        Self { answer, is_on_record: true }
    }
}

/// More numbers than anybody uses up, and few enough for what is derived from the number of a job: those of
/// its pieces of output and of its byte in the lock file.
pub(super) const MAX_NUMBER: i64 = 1 << 38;

/// A row of `pace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Beat {
    pub(super) queue_id: i64,
    pub(super) slot: Timestamp,
    pub(super) what: &'static str,
    /// Milliseconds, rounded.
    pub(super) took: u64,
}

impl SqliteStore {
    /// Does `work` in one transaction, committed but not yet synced.
    ///
    /// The lock is waited for only at the beginning; once it is held nothing else can be busy.
    pub(super) fn write<T>(&mut self, work: impl FnOnce(&Txn<'_>) -> Result<T>) -> Result<T> {
        self.open_log()?;
        // What was known of it is of before. A turn, which sees to it itself, has taken it along.
        self.front = None;
        let pass = self.gate.pass(self.patience);
        if self.patience.is_zero() && matches!(pass, Pass::None) {
            return Err(Error::Busy { waited: Duration::ZERO });
        }
        let busy = |error| match row::error(error, &self.path) {
            Error::Busy { .. } => Error::Busy { waited: self.patience },
            other => other,
        };
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(busy)?;
        let txn = Txn {
            tx,
            path: &self.path,
            counted: RefCell::default(),
            moved_since: RefCell::default(),
            paced: RefCell::default(),
            alarmed: RefCell::default(),
            dropped_files: RefCell::default(),
            left_causes: RefCell::default(),
        };
        let done = work(&txn)?;
        self.dropped_files.extend(txn.commit()?);
        Ok(done)
    }

    /// Does `work` in one transaction and answers once it would survive a power cut.
    pub(super) fn write_durably<T>(&mut self, work: impl FnOnce(&Txn<'_>) -> Result<T>) -> Result<T> {
        let done = self.write(work)?;
        self.vouch()?;
        Ok(done)
    }

    /// The same where `work` says itself whether it put anything on record that has to survive one.
    pub(super) fn write_on_record<T>(&mut self, work: impl FnOnce(&Txn<'_>) -> Result<Entry<T>>) -> Result<T> {
        let Entry { answer, is_on_record } = self.write(work)?;
        if is_on_record {
            self.vouch()?;
        }
        Ok(answer)
    }

    /// Sees to it that the log is open before anything is committed.
    pub(super) fn open_log(&mut self) -> Result<()> {
        if !self.log.is_closed() || self.log.open()? {
            return Ok(());
        }
        let journal: String = self.conn.query_row("pragma journal_mode", [], |row| row.get(0)).explain(&self.path)?;
        // SQLite has a log open by now; one without a name would take along all that is put into it.
        if journal == "wal" { Err(Error::Moved { path: self.log.path().to_owned() }) } else { Ok(()) }
    }

    /// Answers once everything committed so far would survive a power cut, in the file that others see.
    pub(super) fn vouch(&mut self) -> Result<()> {
        let synced = self.log.sync();
        if synced.is_err() {
            // What others commit comes to lie behind frames that may be lost, and would be lost with
            // them. Folded back they are written once more.
            let _ = upkeep::fold(&self.conn, MENDING);
        }
        synced?;
        self.check_place()?;
        // Not before: a power cut would bring the rows back without them. Those of who never asks are swept up.
        self.folder.remove(&std::mem::take(&mut self.dropped_files));
        Ok(())
    }
}

impl<'c> Txn<'c> {
    /// The file that is written, for messages.
    pub(super) fn path(&self) -> &'c Path {
        self.path
    }

    /// Notes that `n` jobs of a queue came to stand in `state`, or left it, if negative.
    pub(super) fn count(&self, queue_id: i64, state: StateKind, n: i64) {
        *self.counted.borrow_mut().entry((queue_id, state.name())).or_default() += n;
        self.moved_since.borrow_mut().insert((state, queue_id));
    }

    /// How many more jobs of a queue stand in `state` than the counters say before they are written.
    pub(super) fn counted(&self, queue_id: i64, state: StateKind) -> i64 {
        self.counted.borrow().get(&(queue_id, state.name())).copied().unwrap_or(0)
    }

    /// The states, with the queue, that jobs came to stand in or left since this was last asked.
    pub(super) fn moved_since(&self) -> BTreeSet<(StateKind, i64)> {
        self.moved_since.take()
    }

    /// Notes that the hook of a queue was pushed, into the queue of this number.
    pub(super) fn note_alarm(&self, queue_id: i64) {
        self.alarmed.borrow_mut().insert(queue_id);
    }

    /// The queues into which hooks were pushed since this was last asked.
    pub(super) fn alarmed(&self) -> BTreeSet<i64> {
        self.alarmed.take()
    }

    /// Notes that something took a certain time.
    pub(super) fn note_pace(&self, beat: Beat) {
        *self.paced.borrow_mut().entry(beat).or_default() += 1;
    }

    /// Gives the next number of a sequence of the file.
    pub(super) fn next(&self, sequence: &'static str) -> Result<i64> {
        let next = self.following(sequence, self.last(sequence)?)?;
        self.use_up(sequence, 1);
        Ok(next)
    }

    /// The number that follows `last` in a sequence.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] where `last` is none that the sequence can have given.
    pub(super) fn following(&self, sequence: &str, last: i64) -> Result<i64> {
        if (0..MAX_NUMBER).contains(&last) {
            return Ok(last + 1);
        }
        let source = format!("the last number of a {sequence} cannot be {last}").into();
        Err(Error::Corrupt { path: self.path.to_owned(), source })
    }

    /// The number that a sequence gave last; 0 before the first.
    pub(super) fn last(&self, sequence: &'static str) -> Result<i64> {
        let mut query = self
            .prepare_cached("select coalesce(max(n), 0) from counter where queue_id = 0 and what = :sequence")
            .explain(self.path)?;
        let written: i64 =
            query.query_row(named_params! { ":sequence": sequence }, |row| row.get(0)).explain(self.path)?;
        let used_up = self.counted.borrow().get(&(0, sequence)).copied().unwrap_or(0);
        Ok(written.saturating_add(used_up))
    }

    /// Notes that the next `n` numbers of a sequence were given.
    pub(super) fn use_up(&self, sequence: &'static str, n: i64) {
        *self.counted.borrow_mut().entry((0, sequence)).or_default() += n;
    }

    /// Notes files of steps that nobody needs once this is committed and survives a power cut.
    pub(super) fn drop_files(&self, names: impl IntoIterator<Item = String>) {
        self.dropped_files.borrow_mut().extend(names);
    }

    /// Notes that a job is no longer among those of a queue that are dead of this cause.
    pub(super) fn note_left(&self, queue_id: i64, cause: String) {
        *self.left_causes.borrow_mut().entry((queue_id, cause)).or_default() += 1;
    }

    fn write_left_causes(&self) -> Result<()> {
        let sql = "update cause set n = n - :n where queue_id = :queue and name = :name";
        for ((queue_id, name), n) in self.left_causes.take() {
            let mut update = self.tx.prepare_cached(sql).explain(self.path)?;
            update.execute(named_params! { ":queue": queue_id, ":name": name, ":n": n }).explain(self.path)?;
        }
        Ok(())
    }

    /// Answers the files that are to be removed once this survives a power cut.
    fn commit(self) -> Result<Vec<String>> {
        self.write_counters()?;
        self.write_pace()?;
        self.write_left_causes()?;
        let path = self.path;
        // SQLite may have written the commit before the failure was reported: not a "no".
        self.tx.commit().map_err(|error| match row::error(error, path) {
            Error::Backend(source) | Error::Failing { source, .. } => Error::Unknown { path: path.to_owned(), source },
            other => other,
        })?;
        Ok(self.dropped_files.into_inner())
    }

    /// Writes what was counted and used up so far, which a commit does anyway.
    pub(super) fn write_counters(&self) -> Result<()> {
        let sql = "insert into counter (queue_id, what, n) values (:queue, :what, :n)
            on conflict (queue_id, what) do update set n = n + excluded.n";
        for ((queue_id, what), n) in self.counted.take().into_iter().filter(|&(_, n)| n != 0) {
            let mut upsert = self.tx.prepare_cached(sql).explain(self.path)?;
            upsert.execute(named_params! { ":queue": queue_id, ":what": what, ":n": n }).explain(self.path)?;
        }
        Ok(())
    }

    fn write_pace(&self) -> Result<()> {
        for (beat, n) in self.paced.borrow().iter() {
            let sql = "insert into pace (queue_id, slot, what, took, n) values (:queue, :slot, :what, :took, :n)
                on conflict (queue_id, slot, what, took) do update set n = n + excluded.n";
            let mut upsert = self.tx.prepare_cached(sql).explain(self.path)?;
            upsert
                .execute(named_params! {
                    ":queue": beat.queue_id,
                    ":slot": beat.slot,
                    ":what": beat.what,
                    ":took": beat.took,
                    ":n": n,
                })
                .explain(self.path)?;
        }
        Ok(())
    }
}

impl Deref for Txn<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.tx
    }
}
