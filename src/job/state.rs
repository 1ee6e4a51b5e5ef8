//! Where a job stands; each state holds exactly what is true in it.

use std::sync::Arc;

use super::attempt::Outcome;
use super::group::GroupName;
use super::id::{JobId, Lease, QueueName, Token};
use super::new::{Command, Context, EnvVars, Labels};
use super::topic::Delivery;
use super::wish::Progress;
use crate::clock::Timestamp;

/// A job as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// What it runs.
    pub command: Option<Command>,
    /// Where it stands.
    pub state: State,
    /// -100 to 100, higher first.
    pub priority: i32,
    /// Attempts that count, the running one included.
    pub attempt: u32,
    /// How many it has.
    pub max_attempts: u32,
    /// Workers lost under it in a row.
    pub crashes: u32,
    /// Attempts that asked to be run again later; they do not count.
    pub snoozes: u32,
    /// Its idempotency key.
    pub key: Option<String>,
    /// Its labels.
    pub labels: Labels,
    /// Bytes on its standard input.
    pub payload_bytes: u64,
    /// When it was pushed.
    pub created_at: Timestamp,
    /// When it was, or will be, due.
    pub run_at: Timestamp,
    /// When its last attempt started.
    pub started_at: Option<Timestamp>,
    /// Not started by then: expired.
    pub expires_at: Option<Timestamp>,
    /// How its last attempt ended.
    pub last: Option<Ending>,
    /// How far along the attempt that runs, or ran last, said it was.
    pub progress: Option<Progress>,
    /// What it is the delivery of, if it is one.
    pub delivery: Option<Box<Delivery>>,
    /// The group of dead jobs that it is in.
    pub group: Option<GroupName>,
}

/// How an attempt ended, in brief.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The kind of end.
    pub outcome: Outcome,
    /// Its exit status, if it exited.
    pub exit_code: Option<i32>,
    /// The signal it died of, if it did.
    pub signal: Option<i32>,
    /// The last line of its stderr, else what happened; `None` on success.
    pub error: Option<String>,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for something that must come first.
    Blocked,
    /// Waits for its time.
    Scheduled {
        /// Which is this.
        due: Timestamp,
    },
    /// Waits for a worker.
    Ready {
        /// Since when it could have run.
        since: Timestamp,
    },
    /// A worker has it.
    Running {
        /// Under this token.
        token: Token,
        /// The name of the worker.
        worker: String,
        /// Since when.
        since: Timestamp,
        /// Whether it has been asked to stop.
        cancel_requested: bool,
    },
    /// Waits for its backoff to end.
    Retrying {
        /// When that is.
        due: Timestamp,
    },
    /// Has done what it should.
    Succeeded {
        /// When.
        at: Timestamp,
    },
    /// Will not be tried again until someone says so.
    Dead {
        /// Since when.
        at: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// Was taken back.
    Cancelled {
        /// When.
        at: Timestamp,
    },
}

impl State {
    /// The state without its facts.
    pub fn kind(&self) -> StateKind {
        match self {
            Self::Blocked => StateKind::Blocked,
            Self::Scheduled { .. } => StateKind::Scheduled,
            Self::Ready { .. } => StateKind::Ready,
            Self::Running { .. } => StateKind::Running,
            Self::Retrying { .. } => StateKind::Retrying,
            Self::Succeeded { .. } => StateKind::Succeeded,
            Self::Dead { .. } => StateKind::Dead,
            Self::Cancelled { .. } => StateKind::Cancelled,
        }
    }

    /// When the job was done with, if it is.
    pub fn finished_at(&self) -> Option<Timestamp> {
        match self {
            Self::Succeeded { at } | Self::Dead { at, .. } | Self::Cancelled { at } => Some(*at),
            Self::Blocked
            | Self::Scheduled { .. }
            | Self::Ready { .. }
            | Self::Running { .. }
            | Self::Retrying { .. } => None,
        }
    }
}

/// The names of the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateKind {
    /// Waits for something that must come first.
    Blocked,
    /// Waits for its time.
    Scheduled,
    /// Waits for a worker.
    Ready,
    /// A worker has it.
    Running,
    /// Waits for its backoff to end.
    Retrying,
    /// Has done what it should.
    Succeeded,
    /// Given up.
    Dead,
    /// Taken back.
    Cancelled,
}

impl StateKind {
    /// Every state, in the order in which a job may pass through them.
    pub const ALL: [Self; 8] = [
        Self::Blocked,
        Self::Scheduled,
        Self::Ready,
        Self::Running,
        Self::Retrying,
        Self::Succeeded,
        Self::Dead,
        Self::Cancelled,
    ];

    /// The word for it, the same everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Scheduled => "scheduled",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens to the job by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Dead | Self::Cancelled)
    }
}

/// Why a job is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Every attempt failed.
    Exhausted,
    /// It exited with a status that is final.
    Permanent,
    /// Its workers died under it, again and again.
    Crashed,
    /// It was not started in time.
    Expired,
    /// It said so itself.
    Buried,
    /// A recorded step may or may not have happened.
    Uncertain,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Exhausted, Self::Permanent, Self::Crashed, Self::Expired, Self::Buried, Self::Uncertain];

    /// The word for it, the same everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Permanent => "permanent",
            Self::Crashed => "crashed",
            Self::Expired => "expired",
            Self::Buried => "buried",
            Self::Uncertain => "uncertain",
        }
    }
}

/// A job in the hands of a worker, with all it needs to run it.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The permission to report on it.
    pub lease: Lease,
    /// The job, in state `Running`.
    pub job: Job,
    /// Where and how it runs.
    pub context: Arc<Context>,
    /// Variables given for this job.
    pub env: EnvVars,
    /// Bytes for its standard input; `None`: `/dev/null`.
    pub payload: Option<Vec<u8>>,
}
