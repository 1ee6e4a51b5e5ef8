//! How an attempt ended, and what is done about it.

use std::time::Duration;

use super::id::{Lease, Token};
use super::state::Reason;
use super::wish::Heed;
use crate::clock::Timestamp;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit status 0.
    Succeeded,
    /// Another status, a signal, or it could not be started.
    Failed,
    /// It was stopped for taking too long.
    Timeout,
    /// Its worker died.
    Lost,
    /// Its worker had to go, and handed it back.
    Released,
    /// It asked to be run later.
    Snoozed,
    /// It said that it will never succeed.
    Buried,
    /// Someone took it back while it ran.
    Cancelled,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 8] = [
        Self::Succeeded,
        Self::Failed,
        Self::Timeout,
        Self::Lost,
        Self::Released,
        Self::Snoozed,
        Self::Buried,
        Self::Cancelled,
    ];

    /// The word for it, the same everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
            Self::Released => "released",
            Self::Snoozed => "snoozed",
            Self::Buried => "buried",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the attempt is one of the job's `max_attempts`.
    ///
    /// What a worker does to a job (dying, going home) is never held against the job.
    pub const fn is_counted(self) -> bool {
        !matches!(self, Self::Lost | Self::Released | Self::Snoozed)
    }
}

/// What an attempt used, with the processes that it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// The largest memory of any one process, in bytes.
    pub max_rss_bytes: u64,
}

/// All that is known of an attempt when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Its exit status, if it exited.
    pub exit_code: Option<i32>,
    /// The signal it died of, if it did.
    pub signal: Option<i32>,
    /// The last line of its stderr, else what happened; `None` on success.
    pub error: Option<String>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What it used; `None` where its worker did not see it end.
    pub usage: Option<Usage>,
    /// Bytes it wrote to stdout, kept or not.
    pub stdout_bytes: u64,
    /// Bytes it wrote to stderr, kept or not.
    pub stderr_bytes: u64,
    /// Whether some of its output was not kept.
    pub is_truncated: bool,
    /// The name of the worker that ran it.
    pub worker: String,
}

/// An attempt in the history of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which one: the token it ran under.
    pub token: Token,
    /// How it ended; `None`: it runs.
    pub report: Option<Report>,
    /// When it was started.
    pub started_at: Timestamp,
    /// The name of the worker that ran it.
    pub worker: String,
}

/// Where a job goes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Succeed,
    /// Again, not before this instant.
    Retry {
        /// The end of the backoff.
        due: Timestamp,
    },
    /// Again, as soon as a worker is free.
    HandBack,
    /// Given up.
    Die {
        /// Why.
        reason: Reason,
    },
    /// Taken back.
    Cancel,
}

impl Verdict {
    /// Whether nothing more happens to the job by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeed | Self::Die { .. } | Self::Cancel)
    }
}

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Some bytes that an attempt wrote, and where in the stream they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Which stream.
    pub stream: Stream,
    /// How many bytes of the stream stand before these.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Bytes of the stream from this offset up to this chunk are no longer kept; those stored
    /// earlier are to be dropped.
    pub drops_from: Option<u64>,
}

impl Chunk {
    /// The offset behind the last byte.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// A worker's word on one attempt.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The permission to give it.
    pub lease: Lease,
    /// Where the job goes, unless the attempt asked for something else.
    pub verdict: Verdict,
    /// What is made of that.
    pub heed: Heed,
    /// How the attempt ended; `None` where nothing was started, so that no attempt is recorded and
    /// none is counted.
    pub report: Option<Report>,
    /// The output that has not been stored yet.
    pub output: Vec<Chunk>,
}
