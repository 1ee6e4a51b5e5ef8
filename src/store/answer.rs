//! What the verbs of a store are told and what they answer: words of the domain, never row counts.

use std::time::Duration;

use crate::clock::{Timestamp, Uptime};
use crate::job::{
    BreakerNews, Chunk, Claimed, Context, DropId, Granted, Job, JobId, Lease, QueueName, QueuePattern, Settlement,
    StateKind, StepPath, StepRefusal, Tally, Verdict, WorkerId,
};

/// What became of one pushed job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its number, or that of the job that holds its key.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Which of the two.
    pub outcome: PushOutcome,
    /// Where that job stands.
    pub state: StateKind,
    /// The job that had the key, as the push found it; `None` where none had.
    pub met: Option<Box<Met>>,
}

/// A job that holds the key of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// The job.
    pub job: Job,
    /// Until when it holds the key should it end before; `None`: until it ends.
    pub held_until: Option<Timestamp>,
    /// Whether it runs something else than what was pushed.
    pub is_other_command: bool,
    /// Whether it has another payload.
    pub is_other_payload: bool,
}

impl Met {
    /// Whether it is another job than what was pushed, and not the same once more.
    pub fn differs(&self) -> bool {
        self.is_other_command || self.is_other_payload
    }
}

impl Pushed {
    /// Its queue, if a worker of it has something to do now.
    pub fn ready_queue(&self) -> Option<&QueueName> {
        (self.state == StateKind::Ready).then_some(&self.queue)
    }
}

/// Whether a push made a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// A new one.
    Created,
    /// None: its key is held.
    Existing {
        /// The holder runs something else, or has another payload.
        differs: bool,
    },
    /// None, but the holder of its key had not started and now is what was pushed.
    Replaced,
}

/// A worker that registers.
#[derive(Clone, Debug)]
pub struct NewWorker {
    /// The name of its machine.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// Which queues it serves, as it was told; empty: every one.
    pub queues: Vec<QueuePattern>,
    /// How many jobs it runs at the same time.
    pub n_slots: usize,
    /// How long it may be silent.
    pub lease: Duration,
    /// Whether it has a handler, so that it can serve jobs without a command.
    pub has_handler: bool,
}

/// A registered worker.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its number.
    pub id: WorkerId,
    /// What it said of itself.
    pub about: NewWorker,
    /// Since when it works.
    pub since: Timestamp,
    /// When it was last heard of.
    pub heartbeat_at: Timestamp,
    /// Until when it keeps its jobs without being heard of again. Comparable while it is alive: it
    /// is then of this boot of this machine.
    pub lease_until: Uptime,
    /// Whether its process lives.
    pub is_alive: bool,
    /// The jobs that it runs.
    pub running: Vec<JobId>,
}

/// Which queues a worker serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// Those that match one of these; none given: every queue.
    pub patterns: Vec<QueuePattern>,
    /// But not these.
    pub except: Vec<QueueName>,
}

impl Serving {
    /// Whether jobs of this queue are taken.
    pub fn includes(&self, queue: &QueueName) -> bool {
        let is_asked_for = self.patterns.is_empty() || self.patterns.iter().any(|pattern| means(pattern, queue));
        is_asked_for && !self.except.contains(queue)
    }
}

/// Whether a worker that is told to serve this serves the queue: who serves one by its name runs its hooks too.
fn means(pattern: &QueuePattern, queue: &QueueName) -> bool {
    pattern.matches(queue) || queue.has_hooks_of() == Some(pattern.as_str())
}

/// What a worker brings to a turn, and what it wants.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Who.
    pub worker: WorkerId,
    /// What ended.
    pub settlements: &'a [Settlement],
    /// What was printed by attempts that still run.
    pub output: &'a [(Lease, Vec<Chunk>)],
    /// Which queues it serves.
    pub serving: &'a Serving,
    /// How many jobs it can start.
    pub n_wanted: usize,
}

/// What a turn brought.
#[derive(Debug, Default)]
pub struct Turned {
    /// What became of each settlement, in their order.
    pub settled: Vec<Settled>,
    /// Jobs to run, in the order in which they should start.
    pub claimed: Vec<Claimed>,
    /// Jobs that died because they were not started in time.
    pub expired: Vec<Job>,
    /// Queues, served or not, that are open and in which jobs fell due.
    pub promoted: Vec<QueueName>,
    /// Queues, served or not, that are open and into which hooks were pushed for what died.
    pub alarmed: Vec<QueueName>,
    /// Queues, served or not, that their breaker has stopped by what was settled, or lets go on.
    pub breakers: Vec<BreakerNews>,
    /// When the next waiting job of a served queue falls due, or one is tried in a queue that its breaker has stopped.
    pub next_due: Option<Timestamp>,
    /// More fell due than one turn makes ready: take another at once.
    pub is_behind: bool,
}

/// Whether a report still counted.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It did.
    Recorded,
    /// It did, and this was recorded, for the attempt had asked for it.
    AsWished(Granted),
    /// It did, but is not one of the job's attempts: it was a trial of a queue that its breaker has stopped, and failed as
    /// those before. This follows.
    Uncounted(Verdict),
    /// The lease was lost: the job belongs to someone else, or to no one.
    LeaseLost,
}

/// How a job that a worker thinks it holds really stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds it.
    Held,
    /// It holds it and should stop it.
    CancelRequested,
    /// It does not hold it.
    Lost,
}

/// A running job whose worker is gone.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// The lease that its worker had.
    pub lease: Lease,
    /// The job.
    pub job: Job,
    /// How it runs.
    pub context: Context,
    /// Its process, where the worker is not dead but hangs: its lease ran out. It may hold the mark
    /// itself, having been stopped between making it and having started the attempt.
    pub hung_pid: Option<u32>,
    /// Whether the job was taken away from it, which may have woken since.
    pub is_taken: bool,
}

impl Orphan {
    /// Whether the worker, should it wake, can still start the attempt and report on it.
    pub fn is_contested(&self) -> bool {
        self.hung_pid.is_some() && !self.is_taken
    }
}

/// A held mark, as the kernel tells it in `/proc/PID/fdinfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The device of the marked file.
    pub device: u64,
    /// The inode of the marked file.
    pub inode: u64,
    /// The byte that is locked.
    pub byte: i64,
}

/// What became of a cancellation.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It was waiting and is gone.
    AtOnce,
    /// It runs; its worker has been asked.
    Asked,
    /// It had ended before, like this.
    AlreadyFinal(StateKind),
    /// There is no such job.
    Unknown,
}

/// What became of a retry.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It is ready.
    Ready,
    /// It stands in a state that this is not for.
    WrongState(StateKind),
    /// A newer job holds its key.
    KeyTaken(JobId),
    /// It has no such step to be run from.
    NoStep,
    /// There is no such job.
    Unknown,
}

/// What became of jobs that were to be dropped.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The record of which they can be brought back; `None` where none was made because none was dead.
    pub record: Option<DropId>,
    /// Those that were dropped, in their order.
    pub ids: Vec<JobId>,
}

/// What became of a job that was taken in dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buried {
    /// Its number.
    pub id: JobId,
    /// The job that holds its key, so that this one does not as it did before.
    pub holder: Option<JobId>,
}

/// What became of steps that were to be forgotten.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// These are, in the order in which they were begun.
    Steps(Vec<StepPath>),
    /// The job runs; nothing was done.
    Running,
    /// The job has no such step; nothing was done.
    NoStep(StepPath),
    /// There is no such job.
    NoJob,
}

/// What became of a step whose output somebody told from outside.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettledStep {
    /// It is recorded.
    Recorded,
    /// It was recorded before; nothing was done.
    Before,
    /// The job runs; nothing was done.
    Running,
    /// There is no such job.
    NoJob,
}

/// What is to be done about a step that lets time pass.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slept {
    /// Nothing: it has passed.
    Passed,
    /// The attempt is to end; the next one comes at this time.
    Until(Timestamp),
    /// Nothing: the attempt is refused it.
    Refused(StepRefusal),
}

/// What became of an update.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// It is as was asked, and stands there now.
    Done(StateKind),
    /// It stands in a state in which that cannot be changed any more.
    WrongState(StateKind),
    /// Another job holds its key in the queue that it was to move to.
    KeyTaken(JobId),
    /// There is no such job.
    Unknown,
}

/// What became of the removal of a queue.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone, with its settings.
    Gone,
    /// It has jobs, and stays.
    NotEmpty(Tally),
    /// This subscription delivers to it, and it stays.
    Subscribed(QueueName),
    /// There is no such queue.
    Unknown,
}

/// How many jobs go before one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// At least so many.
    pub n: usize,
    /// There may be more; they were not counted.
    pub is_more: bool,
}

/// How thorough the housekeeping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tidy {
    /// A process that leaves again, while no worker lives.
    Passing,
    /// A worker, between jobs.
    Working,
    /// A worker that leaves.
    Leaving,
}
