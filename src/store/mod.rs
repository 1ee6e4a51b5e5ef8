//! Where jobs are kept: the contract, and the engines that fulfil it.
//!
//! [`Store`] speaks of pushing, claiming and settling, never of tables. Each verb is one
//! transaction; each is told what time it is; each answers in words of the domain. What a verdict
//! should be is decided above (`policy`); the store only records it. `conformance` is the contract
//! as tests, and every engine must pass it.
//!
//! One engine so far: SQLite ([`sqlite`]). Nothing outside this room knows SQL.

mod answer;
#[cfg(test)]
pub(crate) mod conformance;
mod dead_letters;
mod error;
mod letters;
pub mod sqlite;
mod step_file;
mod steps;
mod tasks;
mod topics;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

pub use answer::{
    Ahead, Buried, Cancelled, Dropped, Forgotten, Mark, Met, NewWorker, Orphan, PushOutcome, Pushed, Removed, Retried,
    Serving, Settled, SettledStep, Slept, Standing, Tidy, Turn, Turned, Updated, Worker,
};
pub use dead_letters::DeadLetters;
pub use error::{Error, Result};
pub use letters::Letters;
pub use step_file::StepFile;
pub use steps::Steps;
pub use tasks::{Carried, Directed, Direction, PutBack, Tasks};
pub use topics::{PublishOutcome, Published, Subscribed, Topics};

use crate::clock::{Moment, Timestamp, Uptime};
use crate::job::{
    Attempt, Chunk, Context, EnvVars, Filter, IdRange, Job, JobChange, JobId, Lease, NewJob, Pace, Page, Progress,
    Queue, QueueName, QueueSettings, Retention, StateKind, Stream, Token, Wish, WorkerId,
};

/// A durable queue of jobs.
///
/// What holds for every engine:
///
/// - A verb takes effect whole or not at all, and what it answered survives a power cut once it
///   has returned. The exceptions are named: a claim, a heartbeat, live output and what a running attempt
///   says of itself may be forgotten, because forgetting them only means that work is done again or seen
///   later.
/// - A lease (job, token, state `running`) is the only permission to report on a job. A report
///   under any other is answered with [`Settled::LeaseLost`] and changes nothing.
/// - The cost of [`Store::turn`] depends neither on the backlog nor on the history.
/// - A queue that has a breaker ([`BreakerRule`](crate::job::BreakerRule)) is stopped in the transaction that settles the
///   attempt with which too many of its last have failed of one cause. From then on one job may be claimed in each
///   interval, whoever asks, as a trial, the next one in line each time. A trial that fails of that cause is not counted as
///   an attempt of its job, which does not die of it; one that succeeds lets the queue go on. Attempts that were lost,
///   handed back, snoozed or cancelled say nothing, nor do those that ran when the queue was stopped.
pub trait Store: Send + DeadLetters + Letters + Steps + Tasks + Topics {
    /// Queues jobs, all or none, in their order. `told` learns what becomes of each, in the same order,
    /// before they are queued: of what is not queued in the end it has learnt nothing.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTaken`] where a key is held and its push asked to be refused; then nothing was
    /// queued. [`Error::Unknown`] where the jobs may or may not be queued.
    fn push_each(
        &mut self,
        jobs: &mut dyn Iterator<Item = NewJob>,
        now: Timestamp,
        told: &mut dyn FnMut(Pushed),
    ) -> Result<()>;

    /// Queues jobs as [`Store::push_each`] does; answers what became of them.
    ///
    /// # Errors
    ///
    /// Those of [`Store::push_each`].
    fn push(&mut self, jobs: &mut dyn Iterator<Item = NewJob>, now: Timestamp) -> Result<Vec<Pushed>> {
        let mut pushed = Vec::new();
        self.push_each(jobs, now, &mut |one| pushed.push(one))?;
        Ok(pushed)
    }

    /// Registers a worker, alive from now until this store is dropped, retired or its process ends.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn enroll(&mut self, worker: &NewWorker, at: Moment) -> Result<WorkerId>;

    /// Takes a worker off the books, or lets that be done once it has no jobs: those that it still
    /// holds are lost as soon as it is no longer there.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn retire(&mut self, worker: WorkerId, now: Timestamp) -> Result<()>;

    /// Which workers are registered, living and dead.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn workers(&mut self) -> Result<Vec<Worker>>;

    /// A worker's whole cycle: records what ended and what was printed, makes ready what fell due,
    /// buries what expired, delivers what subscriptions are still to get, carries tasks on, and claims what may run,
    /// highest priority first, then oldest. What dies calls the hook of its queue: a job in the queue beside, with the
    /// group as its key, pushed in the same transaction. The deliveries and the hooks survive a power cut once it has
    /// returned.
    ///
    /// # Errors
    ///
    /// Those of any write; the caller may repeat the call after [`Error::is_passing`] ones.
    fn turn(&mut self, turn: &Turn<'_>, now: Timestamp) -> Result<Turned>;

    /// The same, unless somebody else is writing just now: then nothing is done, and the answer is `None`.
    ///
    /// # Errors
    ///
    /// Those of any write; after [`Error::is_passing`] ones nothing was done.
    fn try_turn(&mut self, turn: &Turn<'_>, now: Timestamp) -> Result<Option<Turned>>;

    /// Makes what was settled and pushed so far survive a power cut.
    ///
    /// [`Store::push`] does this by itself. A worker calls it after a [`Store::turn`] that settled
    /// something and before it says so to anyone; so does who says what a [`Store::prune`] forgot.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] where the system could not confirm it.
    fn make_durable(&mut self) -> Result<()>;

    /// Prolongs a worker's lease and tells how the jobs that it thinks it holds really stand.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn renew(
        &mut self,
        worker: WorkerId,
        leases: &[Lease],
        lease_until: Uptime,
        at: Moment,
    ) -> Result<Vec<(Lease, Standing)>>;

    /// Tells how jobs that a worker thinks it holds really stand.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn standings(&mut self, leases: &[Lease]) -> Result<Vec<(Lease, Standing)>>;

    /// Notes what a running attempt asks for when it ends, in the place of what it asked for before. It is
    /// forgotten when the attempt has ended, however it did; a settlement that records the end applies its
    /// rule to it. Of an attempt whose lease is lost nothing is noted.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn wish(&mut self, lease: Lease, wish: &Wish) -> Result<Standing>;

    /// Notes how far along a running attempt is, until the next one starts; as [`Store::wish`] does.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn note_progress(&mut self, lease: Lease, progress: &Progress) -> Result<Standing>;

    /// The running jobs whose worker is dead, or silent for longer than its lease, and those that
    /// have been taken away.
    ///
    /// Workers that are dead and hold nothing are forgotten on the way.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn lost(&mut self, uptime: Uptime) -> Result<Vec<Orphan>>;

    /// Takes a running job from its worker, if that is still silent at `uptime`; answers whether the
    /// job is taken now. Its worker can no longer start it and report on it, should it wake: all that
    /// still can be recorded of the attempt is that it was lost, by whoever has seen to it that none
    /// of its processes is left.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn take_away(&mut self, lease: Lease, uptime: Uptime) -> Result<bool>;

    /// A file that keeps the attempt's mark for as long as anyone has it open: to be inherited by
    /// the attempt's processes and then closed by the worker. `None` where the lease is lost. To be
    /// asked of the store on which its worker was enrolled: the two are found in the same place then,
    /// whatever becomes of the files.
    ///
    /// An attempt may be started only with its mark in hand. A worker that was stopped since it
    /// claimed the job learns here that it was taken away; and from whoever has the mark in hand by
    /// then it is not given to anyone else before the mark is free.
    ///
    /// `is_held` is asked once the mark is made, and may say that the lease holds beyond doubt, which a
    /// worker knows whose own has not ended by its clock: nobody takes a job away before. Where it says
    /// no, the books are looked into.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] where the mark cannot be made, and those of any read.
    fn mark(&self, lease: Lease, is_held: &dyn Fn() -> bool) -> Result<Option<OwnedFd>>;

    /// Whether the attempt's mark is still held, that is, whether any of its processes may live.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] where that cannot be known.
    fn marked(&self, lease: Lease) -> Result<Option<Mark>>;

    /// Takes a job back: at once if it waits, else its worker is asked to stop it. Once that has been
    /// asked the job does not run again: a settlement that would put it back cancels it.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn cancel(&mut self, id: JobId, now: Timestamp) -> Result<Cancelled> {
        let [answer] = self.cancel_each(&[id], now)?[..] else { unreachable!("one job has one answer") };
        Ok(answer)
    }

    /// The same of several in one transaction; answers what became of each, in their order.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn cancel_each(&mut self, ids: &[JobId], now: Timestamp) -> Result<Vec<Cancelled>>;

    /// Changes what may still be changed of a job, all of it or nothing.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn update(&mut self, id: JobId, change: &JobChange, now: Timestamp) -> Result<Updated>;

    /// Forgets those of `ids` that stand in one of `states`, with all that they left; answers which. Keys that
    /// they still held are free then.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn forget(&mut self, ids: &[JobId], states: &[StateKind]) -> Result<Vec<JobId>>;

    /// Forgets the oldest finished jobs of a queue that are no longer to be kept, at most so many
    /// that nobody waits long; answers how many. To be called again until that is none.
    ///
    /// A job that still holds its key is kept until it does not. Of the queue's pace a portion is forgotten
    /// that nobody asks for any more, and one folded of which nobody asks any more when exactly; that does
    /// not count.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn prune(&mut self, queue: &QueueName, keep: &Retention, now: Timestamp) -> Result<usize>;

    /// How many jobs [`Store::prune`] would forget, counted up to `limit`.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn prunable(&mut self, queue: &QueueName, keep: &Retention, limit: usize, now: Timestamp) -> Result<usize>;

    /// Removes a queue that has no jobs, with its settings.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn remove_queue(&mut self, queue: &QueueName) -> Result<Removed>;

    /// Stops (or resumes) the claiming of a queue's jobs, also where its breaker has stopped it; answers whether that
    /// changed anything,
    /// `None` where there is no such queue.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn pause(&mut self, queue: &QueueName, is_paused: bool, now: Timestamp) -> Result<Option<bool>>;

    /// Sets what a queue has of its own, making it if need be. `change` gets what it has now.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn configure(&mut self, queue: &QueueName, change: &mut dyn FnMut(&mut QueueSettings)) -> Result<()>;

    /// What a queue has of its own; `None` where there is no such queue.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn settings(&mut self, queue: &QueueName) -> Result<Option<QueueSettings>>;

    /// Every queue, by name.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn queues(&mut self) -> Result<Vec<Queue>>;

    /// One job.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn job(&mut self, id: JobId) -> Result<Option<Job>>;

    /// One page of the jobs that match.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn jobs(&mut self, filter: &Filter, page: Page) -> Result<Vec<Job>>;

    /// All jobs that match, the oldest first, with where they stand.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn matching(&mut self, filter: &Filter) -> Result<Vec<(JobId, StateKind)>>;

    /// How many of these jobs stand in which state, and how many do not exist.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn standing_of(&mut self, ids: &[IdRange]) -> Result<Vec<(JobId, StateKind)>>;

    /// Where and how a job runs, and the variables given for it.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn context(&mut self, id: JobId) -> Result<Option<(Context, EnvVars)>>;

    /// The attempts of a job, oldest first, a running one included.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn attempts(&mut self, id: JobId) -> Result<Vec<Attempt>>;

    /// The kept output of one attempt from `offset` of the stream on, in order.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn output(&mut self, id: JobId, token: Token, stream: Stream, offset: u64) -> Result<Vec<Chunk>>;

    /// How many ready jobs of its queue go before this one, counted up to `limit`.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn ahead(&mut self, job: &Job, limit: usize) -> Result<Ahead>;

    /// The pace of every queue, by name, since the slot in which `since` lies; queues in which nothing
    /// went on are left out.
    ///
    /// An hour that is long over may have been folded into its first slot: [`Pace::counted_from`] says since
    /// when to ask, so that the answer is the same before and after.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn pace(&mut self, since: Timestamp) -> Result<Vec<(QueueName, Pace)>>;

    /// Dead and cancelled jobs, at most `limit`, that hold their key, so that whoever pushes it is
    /// answered with them.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn blocking_keys(&mut self, limit: usize, now: Timestamp) -> Result<Vec<JobId>>;

    /// Jobs, at most `limit`, that have been due since before `due_before` and that no worker made
    /// ready, the longest due first.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn overdue(&mut self, due_before: Timestamp, limit: usize) -> Result<Vec<JobId>>;

    /// What somebody changed in how the queue is kept: parts of the schema that are missing, are
    /// another or are not qctl's; and what is kept twice and does not agree, such as the counters.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn strays(&mut self) -> Result<Vec<Stray>>;

    /// What is wrong inside the file, a line each; nothing, if it is sound. Reads all of it.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn examine(&mut self) -> Result<Vec<String>>;

    /// Writes a copy of the queue as of one instant into a new file, which survives a power cut once
    /// this has returned. Others go on meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] where the file is there already or cannot be written.
    fn back_up(&mut self, to: &Path) -> Result<()>;

    /// Whether the queue is still where it was when it was opened: who goes on with a file that has
    /// been moved, deleted or replaced works for nobody.
    ///
    /// # Errors
    ///
    /// [`Error::Moved`], and those of any read.
    fn check_place(&mut self) -> Result<()>;

    /// A number that is another one whenever anyone else has changed anything.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn version(&mut self) -> Result<u64>;

    /// Housekeeping of the files, never needed for correctness; quick, and quiet about what it
    /// could not do.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn tidy(&mut self, how: Tidy) -> Result<()>;
}

/// The engine and the place of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A SQLite file.
    Sqlite(PathBuf),
}

/// How a queue is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read or change what is there: a missing file is [`Error::Missing`].
    Existing,
    /// To put something in: a missing file is made.
    Create,
    /// To glance: as `Existing`, but nothing is migrated and nothing waited for.
    Glance,
}

/// Opens a queue.
///
/// # Errors
///
/// [`Error::Missing`], [`Error::NotAQueue`], [`Error::TooNew`], [`Error::UnsafePlace`] and
/// [`Error::Refused`], each before anything was changed.
pub fn open(target: &Target, access: Access) -> Result<Box<dyn Store>> {
    match target {
        Target::Sqlite(path) => Ok(Box::new(sqlite::SqliteStore::open(path, access)?)),
    }
}

/// The folder beside a queue in which those who wait for it hang their bells.
pub fn bells(target: &Target) -> PathBuf {
    match target {
        Target::Sqlite(path) => sqlite::bells(path),
    }
}

/// Whether there is something at the place of a queue.
pub fn exists(target: &Target) -> bool {
    match target {
        Target::Sqlite(path) => path.symlink_metadata().is_ok_and(|meta| meta.len() > 0),
    }
}

/// What can be said of a queue without changing it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// The size in bytes of what is not yet folded into it.
    pub wal_bytes: u64,
    /// The kind of file system.
    pub file_system: String,
    /// The number of its owner.
    pub owner: u32,
    /// Whether something is mounted on the file itself, and not on its folder.
    pub is_mount_point: bool,
    /// Its schema.
    pub schema: u32,
    /// How it is kept consistent.
    pub journal: String,
    /// The statement that makes that what it should be; `None` where it is.
    pub journal_cure: Option<String>,
}

/// A file or folder that belongs to a queue.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// The number of its owner.
    pub owner: u32,
    /// The number of its group.
    pub group: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Whether it is a symbolic link.
    pub is_link: bool,
    /// What this process may do with it.
    pub reach: Reach,
}

impl Part {
    /// Whether others than its owner may write it, and so run commands as whoever works the queue.
    ///
    /// A link has no permissions of its own, and is not followed. A group whose number is its owner's is taken for that user's own, as most systems make one for
    /// each: a folder made with a umask of 002 is then still closed to others.
    pub fn is_writable_by_others(&self) -> bool {
        let by_group = self.mode & 0o020 != 0 && self.group != self.owner;
        !self.is_link && (by_group || self.mode & 0o002 != 0)
    }
}

/// What a process may do with a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Read and write it; of a folder, also enter it.
    Full,
    /// Its file system is mounted for reading only.
    ReadOnly,
    /// Its owner or its permissions forbid some of that.
    Denied,
}

/// Something in the schema of a queue that this qctl did not make so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// What is so: `index job_ready is missing`.
    pub what: String,
    /// The statement that would put it right, where one can without losing anything.
    pub cure: Option<String>,
}

/// The files and folders of a queue as far as they are there, the queue file first and the folder in
/// which it lies last; nothing where there is no queue file.
///
/// Nothing is opened, so this also answers where [`open`] fails.
pub fn parts(target: &Target) -> Vec<Part> {
    match target {
        Target::Sqlite(path) => sqlite::parts(path),
    }
}

/// Bytes that are free for a queue on its file system; `None` where that cannot be known. Nothing is
/// opened for this either.
pub fn free_bytes(target: &Target) -> Option<u64> {
    match target {
        Target::Sqlite(path) => sqlite::free_bytes(path),
    }
}

/// Describes a queue.
///
/// # Errors
///
/// Those of [`open`].
pub fn place(target: &Target) -> Result<Place> {
    match target {
        Target::Sqlite(path) => sqlite::SqliteStore::open(path, Access::Existing)?.place(),
    }
}
