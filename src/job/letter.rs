//! Dead letters beyond their state: all that there is to tell of one, what was replaced in it, and what was dropped.

use super::group::GroupName;
use super::id::JobId;
use super::new::{Command, NewJob};
use super::state::{Ending, Reason};
use super::topic::Delivery;
use super::wish::Progress;
use crate::clock::Timestamp;

/// A dead job with all that is needed to have it elsewhere, but for what its attempts and its steps left.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The job, due when it was and with the expiry that it had.
    pub job: NewJob,
    /// What became of it.
    pub past: Past,
}

/// What became of a dead job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// When it was pushed.
    pub created_at: Timestamp,
    /// When its last attempt started.
    pub started_at: Option<Timestamp>,
    /// When it was given up.
    pub died_at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// How its last attempt ended.
    pub last: Option<Ending>,
    /// Attempts that counted.
    pub attempt: u32,
    /// Workers lost under it in a row.
    pub crashes: u32,
    /// Attempts that asked to be run again later.
    pub snoozes: u32,
    /// How far along its last attempt said it was.
    pub progress: Option<Progress>,
    /// Whether it holds its key.
    pub holds_key: bool,
    /// The group of dead jobs that it named itself.
    pub group: Option<GroupName>,
    /// What it is the delivery of. Elsewhere it is of none: the event is not there.
    pub delivery: Option<Box<Delivery>>,
}

/// What of a job can be replaced when it is put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The bytes on its standard input.
    Payload(Option<Vec<u8>>),
    /// What it runs.
    Command(Option<Command>),
}

/// That a part of a job was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// When.
    pub at: Timestamp,
    /// What was there before.
    pub old: Part,
}

/// The number of a drop, rising and never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DropId(i64);

impl DropId {
    /// The drop of this number.
    pub const fn new(id: i64) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl std::fmt::Display for DropId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Jobs that were dropped together and can be brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropRecord {
    /// Its number.
    pub id: DropId,
    /// When that was.
    pub at: Timestamp,
    /// How many jobs it still has.
    pub n_jobs: usize,
}

/// A job that was brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its number, which it had before.
    pub id: JobId,
    /// The job that holds its key by now, so that this one does not.
    pub holder: Option<JobId>,
}
