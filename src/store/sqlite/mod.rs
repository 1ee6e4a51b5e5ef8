//! The queue in one SQLite file.
//!
//! `schema` and `place` say what may be opened, `transaction` how anything is written, then a file
//! for each group of verbs. What was measured to arrive at this shape stands with each choice.
//!
//! Invariant: nothing in a process that has a connection opens or closes the database or its
//! `-shm` file by other means. POSIX locks belong to the process, so the first close would drop
//! SQLite's, and another process's commit could vanish.

mod agree;
mod alarm;
mod behind;
mod breaker;
mod carry;
mod change;
mod claim;
mod condition;
mod copy;
mod dead_letters;
mod death;
mod forget;
mod front;
mod gate;
mod job_row;
mod letter;
mod letters;
mod list;
mod log;
mod place;
mod presence;
mod publish;
mod push;
mod query;
mod recorded;
mod revision;
mod row;
mod schema;
mod settle;
mod step;
mod step_file;
mod steps;
mod subscription;
mod task;
mod tasks;
mod terms;
mod topic;
mod topics;
mod transaction;
mod undo;
mod upkeep;
mod wish;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, FileControl, OpenFlags};

use self::front::Front;
use self::gate::Gate;
use self::log::Log;
use self::presence::Presence;
use self::row::Explain as _;
use self::step_file::Folder;
use super::{
    Access, Ahead, Cancelled, Mark, NewWorker, Orphan, Part, Place, Pushed, Removed, Result, Standing, Store, Stray,
    Tidy, Turn, Turned, Updated, Worker,
};
use crate::clock::{Moment, Timestamp, Uptime};
use crate::job::{
    Attempt, Chunk, Context, EnvVars, Filter, IdRange, Job, JobChange, JobId, Lease, NewJob, Pace, Page, Progress,
    Queue, QueueName, QueueSettings, Retention, StateKind, Stream, Token, Wish, WorkerId,
};

/// How long a verb waits for the write lock.
///
/// An import of a million lines holds it for a few seconds, and a push from cron had better wait
/// for that than fail. Half a minute is no longer busy but stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many statements a connection keeps at hand: more than a worker uses in a round of turns. A
/// statement that has to be read anew takes as long as a job to be settled.
const STATEMENTS: usize = 128;

/// How long a glance waits. A completion that makes the user wait is worse than none.
const GLANCE_PATIENCE: Duration = Duration::from_millis(50);

/// The SQLite engine, on one connection.
#[derive(Debug)]
pub struct SqliteStore {
    conn: Connection,
    path: PathBuf,
    log: Log,
    gate: Gate,
    presence: Presence,
    folder: Folder,
    /// Files of steps whose rows are gone, which go when that survives a power cut.
    dropped_files: Vec<String>,
    patience: Duration,
    /// What the last turn knew of what there is to claim.
    front: Option<Front>,
}

impl SqliteStore {
    /// Opens the queue file at `path`.
    ///
    /// # Errors
    ///
    /// Those of [`super::open`].
    pub fn open(path: &Path, access: Access) -> Result<Self> {
        let path = place::ready(path, access)?;
        let wal = place::beside(&path, "-wal");
        let wal_may_be_new = is_empty(&wal);
        let lock = place::beside(&path, "-lock");
        let mut gate = Gate::new(lock.clone());
        let patience = if access == Access::Glance { GLANCE_PATIENCE } else { PATIENCE };
        // One at a time makes a queue of an empty file: the change to a write-ahead log does not
        // wait for others, it fails where anyone else looks at the file.
        let pass = is_empty(&path).then(|| gate.pass(patience));
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut conn = Connection::open_with_flags(&path, flags).explain(&path)?;
        prepare(&conn, patience).explain(&path)?;
        schema::ensure(&mut conn, &path, access)?;
        if wal_may_be_new && access != Access::Glance {
            // No commit may come before the log's name is safe in its folder. Every process that
            // could be the first to write to the log passes here before it does.
            place::sync_folder(&path)?;
        }
        drop(pass);
        let (presence, log, folder) = (Presence::new(path.clone(), lock), Log::new(wal), Folder::of(&path));
        Ok(Self { conn, gate, presence, folder, dropped_files: Vec::new(), path, log, patience, front: None })
    }

    /// Describes the file.
    ///
    /// # Errors
    ///
    /// Those of any read.
    pub fn place(&self) -> Result<Place> {
        use std::os::unix::fs::MetadataExt as _;
        let meta = self.path.metadata().map_err(|source| super::Error::refused(&self.path, source))?;
        let journal: String = self.conn.query_row("pragma journal_mode", [], |row| row.get(0)).explain(&self.path)?;
        Ok(Place {
            path: self.path.clone(),
            bytes: meta.len(),
            wal_bytes: self.log.path().metadata().map_or(0, |meta| meta.len()),
            file_system: place::file_system(&self.path)?,
            owner: meta.uid(),
            is_mount_point: place::is_mount_point(&self.path),
            schema: self.conn.query_row("pragma user_version", [], |row| row.get(0)).explain(&self.path)?,
            journal_cure: (journal != "wal").then(|| "pragma journal_mode = wal".to_owned()),
            journal,
        })
    }
}

/// The files and folders of the queue at `path`; nothing where it is not there.
pub(super) fn parts(path: &Path) -> Vec<Part> {
    place::parts(path)
}

/// Bytes that are free for the queue at `path`, if that can be known.
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    place::free_bytes(path).ok()
}

/// The folder of bells that belongs to a queue file.
pub(super) fn bells(path: &Path) -> PathBuf {
    place::beside(path, "-wake")
}

/// Whether there is nothing in the file, or no file.
fn is_empty(path: &Path) -> bool {
    path.metadata().map_or(true, |meta| meta.len() == 0)
}

/// What holds for every connection.
fn prepare(conn: &Connection, patience: Duration) -> rusqlite::Result<()> {
    conn.busy_timeout(patience)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // Closing would checkpoint and delete the log: five syncs for a lone push instead of one.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Otherwise every new value of a parameter has a statement read anew, in case it tells that a
    // partial index would do. What is to match one stands in the statement's own text here.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // `normal` commits without a sync; `make_durable` syncs the log afterwards, outside the write
    // lock, so that processes share one sync. Checkpoints are `upkeep`'s.
    conn.execute_batch(
        "pragma synchronous = normal; pragma wal_autocheckpoint = 0; pragma journal_size_limit = 33554432;",
    )
}

impl Store for SqliteStore {
    fn push_each(
        &mut self,
        jobs: &mut dyn Iterator<Item = NewJob>,
        now: Timestamp,
        told: &mut dyn FnMut(Pushed),
    ) -> Result<()> {
        self.write_durably(|tx| push::push(tx, jobs, now, told))
    }

    fn enroll(&mut self, worker: &NewWorker, at: Moment) -> Result<WorkerId> {
        let (queue, lock) = self.presence.paths();
        let (id, byte) = self.write(|tx| {
            let id = upkeep::next_worker(tx)?;
            // Before the commit: a worker on the books whose byte is free would be taken for dead.
            let (byte, whereabouts) = presence::hold((&queue, &lock), id)?;
            upkeep::enroll(tx, id, worker, whereabouts, at)?;
            Ok((id, byte))
        })?;
        self.presence.keep(id, byte);
        self.dropped_files.extend(self.folder.orphans(&self.conn)?);
        if !self.dropped_files.is_empty() {
            self.vouch()?;
        }
        Ok(id)
    }

    fn retire(&mut self, worker: WorkerId, now: Timestamp) -> Result<()> {
        self.write(|tx| upkeep::retire(tx, worker, now))?;
        self.presence.give_back(worker);
        Ok(())
    }

    fn workers(&mut self) -> Result<Vec<Worker>> {
        upkeep::workers(&self.conn, &self.path, &self.presence)
    }

    fn turn(&mut self, turn: &Turn<'_>, now: Timestamp) -> Result<Turned> {
        claim::turn(self, turn, now)
    }

    fn try_turn(&mut self, turn: &Turn<'_>, now: Timestamp) -> Result<Option<Turned>> {
        let patience = std::mem::replace(&mut self.patience, Duration::ZERO);
        let turned = self.conn.busy_timeout(Duration::ZERO).explain(&self.path);
        let turned = turned.and_then(|()| claim::turn(self, turn, now));
        self.patience = patience;
        self.conn.busy_timeout(patience).explain(&self.path)?;
        match turned {
            Err(super::Error::Busy { .. }) => Ok(None),
            done => done.map(Some),
        }
    }

    fn make_durable(&mut self) -> Result<()> {
        self.vouch()
    }

    fn renew(
        &mut self,
        worker: WorkerId,
        leases: &[Lease],
        lease_until: Uptime,
        at: Moment,
    ) -> Result<Vec<(Lease, Standing)>> {
        self.write(|tx| {
            upkeep::renew(tx, worker, lease_until, at.now)?;
            upkeep::standings(tx, leases).explain(tx.path())
        })
    }

    fn standings(&mut self, leases: &[Lease]) -> Result<Vec<(Lease, Standing)>> {
        upkeep::standings(&self.conn, leases).explain(&self.path)
    }

    fn wish(&mut self, lease: Lease, wish: &Wish) -> Result<Standing> {
        self.write(|tx| wish::wish(tx, lease, wish))
    }

    fn note_progress(&mut self, lease: Lease, progress: &Progress) -> Result<Standing> {
        self.write(|tx| wish::note_progress(tx, lease, progress))
    }

    fn lost(&mut self, uptime: Uptime) -> Result<Vec<Orphan>> {
        upkeep::lost(self, uptime)
    }

    fn take_away(&mut self, lease: Lease, uptime: Uptime) -> Result<bool> {
        self.write_durably(|tx| upkeep::take_away(tx, lease, uptime).explain(tx.path()))
    }

    fn mark(&self, lease: Lease, is_held: &dyn Fn() -> bool) -> Result<Option<OwnedFd>> {
        let mark = self.presence.mark(lease)?;
        // In this order: whoever takes the job away from here on finds the mark.
        if is_held() {
            return Ok(Some(mark));
        }
        let standings = upkeep::standings(&self.conn, &[lease]).explain(&self.path)?;
        Ok((standings[0].1 != Standing::Lost).then_some(mark))
    }

    fn marked(&self, lease: Lease) -> Result<Option<Mark>> {
        let whereabouts = upkeep::whereabouts_of(&self.conn, lease).explain(&self.path)?;
        self.presence.marked(lease, whereabouts)
    }

    fn cancel_each(&mut self, ids: &[JobId], now: Timestamp) -> Result<Vec<Cancelled>> {
        self.write_durably(|tx| ids.iter().map(|&id| change::cancel(tx, id, now)).collect())
    }

    fn update(&mut self, id: JobId, change: &JobChange, now: Timestamp) -> Result<Updated> {
        self.write_durably(|tx| change::update(tx, id, change, now))
    }

    fn forget(&mut self, ids: &[JobId], states: &[StateKind]) -> Result<Vec<JobId>> {
        self.write_durably(|tx| forget::forget(tx, ids, states))
    }

    fn prune(&mut self, queue: &QueueName, keep: &Retention, now: Timestamp) -> Result<usize> {
        let limit = (forget::PORTION, now);
        let has_outlived = !forget::outlived(&self.conn, queue, keep, limit).explain(&self.path)?.is_empty();
        let is_pace_untidy = forget::has_untidy_pace(&self.conn, queue, now).explain(&self.path)?;
        if !has_outlived && !is_pace_untidy {
            return Ok(0);
        }
        self.write(|tx| {
            if is_pace_untidy {
                forget::tidy_pace(tx, queue, now)?;
            }
            forget::prune(tx, queue, keep, limit)
        })
    }

    fn prunable(&mut self, queue: &QueueName, keep: &Retention, limit: usize, now: Timestamp) -> Result<usize> {
        Ok(forget::outlived(&self.conn, queue, keep, (limit, now)).explain(&self.path)?.len())
    }

    fn remove_queue(&mut self, queue: &QueueName) -> Result<Removed> {
        self.write_durably(|tx| forget::remove_queue(tx, queue))
    }

    fn pause(&mut self, queue: &QueueName, is_paused: bool, now: Timestamp) -> Result<Option<bool>> {
        self.write_durably(|tx| change::pause(tx, queue, is_paused, now))
    }

    fn configure(&mut self, queue: &QueueName, change: &mut dyn FnMut(&mut QueueSettings)) -> Result<()> {
        self.write_durably(|tx| change::configure(tx, queue, change))
    }

    fn settings(&mut self, queue: &QueueName) -> Result<Option<QueueSettings>> {
        query::settings(&self.conn, queue).explain(&self.path)
    }

    fn queues(&mut self) -> Result<Vec<Queue>> {
        let workers = self.workers()?;
        query::queues(&self.conn, &workers).explain(&self.path)
    }

    fn job(&mut self, id: JobId) -> Result<Option<Job>> {
        query::job(&self.conn, id).explain(&self.path)
    }

    fn jobs(&mut self, filter: &Filter, page: Page) -> Result<Vec<Job>> {
        list::jobs(&self.conn, filter, page).explain(&self.path)
    }

    fn matching(&mut self, filter: &Filter) -> Result<Vec<(JobId, StateKind)>> {
        list::matching(&self.conn, filter).explain(&self.path)
    }

    fn standing_of(&mut self, ids: &[IdRange]) -> Result<Vec<(JobId, StateKind)>> {
        query::standing_of(&self.conn, ids).explain(&self.path)
    }

    fn context(&mut self, id: JobId) -> Result<Option<(Context, EnvVars)>> {
        query::context(&self.conn, id).explain(&self.path)
    }

    fn attempts(&mut self, id: JobId) -> Result<Vec<Attempt>> {
        query::attempts(&self.conn, id).explain(&self.path)
    }

    fn output(&mut self, id: JobId, token: Token, stream: Stream, offset: u64) -> Result<Vec<Chunk>> {
        query::output(&self.conn, (id, token), stream, offset).explain(&self.path)
    }

    fn ahead(&mut self, job: &Job, limit: usize) -> Result<Ahead> {
        query::ahead(&self.conn, job, limit).explain(&self.path)
    }

    fn pace(&mut self, since: Timestamp) -> Result<Vec<(QueueName, Pace)>> {
        query::pace(&self.conn, since).explain(&self.path)
    }

    fn blocking_keys(&mut self, limit: usize, now: Timestamp) -> Result<Vec<JobId>> {
        query::blocking_keys(&self.conn, now, limit).explain(&self.path)
    }

    fn overdue(&mut self, due_before: Timestamp, limit: usize) -> Result<Vec<JobId>> {
        query::overdue(&self.conn, due_before, limit).explain(&self.path)
    }

    fn strays(&mut self) -> Result<Vec<Stray>> {
        let mut strays = schema::strays(&self.conn).explain(&self.path)?;
        // With another schema, what is asked of the tables would mean another thing.
        if strays.is_empty() {
            strays = agree::disagreements(&self.conn).explain(&self.path)?;
        }
        Ok(strays)
    }

    fn examine(&mut self) -> Result<Vec<String>> {
        copy::examine(&self.conn).explain(&self.path)
    }

    fn back_up(&mut self, to: &Path) -> Result<()> {
        copy::back_up(&self.conn, &self.folder, to)
    }

    fn check_place(&mut self) -> Result<()> {
        let moved = |path: &Path| Err(super::Error::Moved { path: path.to_owned() });
        let mut has_moved = 0;
        self.conn.file_control(Some("main"), FileControl::HasMoved(&mut has_moved)).explain(&self.path)?;
        if has_moved != 0 {
            return moved(&self.path);
        }
        self.open_log()?;
        // Without the lock file workers still find each other.
        if self.log.has_moved() { moved(self.log.path()) } else { Ok(()) }
    }

    fn version(&mut self) -> Result<u64> {
        self.conn.query_row("pragma data_version", [], |row| row.get(0)).explain(&self.path)
    }

    fn tidy(&mut self, how: Tidy) -> Result<()> {
        upkeep::tidy(&self.conn, self.log.path(), how).explain(&self.path)
    }
}

#[cfg(test)]
mod tests {
    crate::store::conformance::suite!(|folder: &std::path::Path| {
        super::SqliteStore::open(&folder.join("queue.db"), crate::store::Access::Create)
    });
}
