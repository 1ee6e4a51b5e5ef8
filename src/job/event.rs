//! What a worker can report. It prints nothing itself.

use std::time::Duration;

use super::attempt::{Report, Verdict};
use super::breaker::BreakerNews;
use super::id::{QueueName, WorkerId};
use super::state::Job;

/// Something that a worker did or saw.
#[derive(Debug)]
pub enum Event<'a> {
    /// It is ready to work.
    Up {
        /// Its number.
        worker: WorkerId,
    },
    /// It started an attempt.
    Started {
        /// Of this job.
        job: &'a Job,
    },
    /// An attempt ended and was recorded.
    Ended {
        /// Of this job, as it was when claimed.
        job: &'a Job,
        /// How.
        report: &'a Report,
        /// What follows.
        verdict: Verdict,
        /// Whether it is one of the job's `max_attempts`.
        is_counted: bool,
        /// The last lines of its stderr, for the report of a death.
        last_words: &'a [u8],
    },
    /// A job was not started in time, and is dead.
    Expired {
        /// This one.
        job: &'a Job,
    },
    /// The lease of a running job was lost; it was stopped and nothing was recorded.
    LeaseLost {
        /// Of this job.
        job: &'a Job,
    },
    /// A queue is left alone: its jobs have no command and the worker no handler.
    NothingToRun {
        /// Found out by this job, which was handed back.
        job: &'a Job,
    },
    /// A queue was stopped by its breaker, or goes on.
    Breaker {
        /// Which, and how.
        news: &'a BreakerNews,
    },
    /// The queue file could not be used for a moment; the worker tries again.
    Trouble {
        /// What the store said.
        message: &'a str,
        /// After this long.
        retry_in: Duration,
    },
    /// It runs fewer jobs at the same time than it should: there are not enough files for more.
    Cramped {
        /// As many as it should.
        n_wanted: usize,
        /// As many as it does.
        n_fitting: usize,
        /// How many files it may have open.
        limit: usize,
    },
    /// It is on its way out.
    Stopping {
        /// Why.
        reason: StopReason,
        /// How many jobs still run.
        n_running: usize,
    },
}

/// Why a worker stops taking jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It was told to by a signal.
    Signal,
    /// A second signal: what runs is stopped now.
    SignalTwice,
    /// A third: what runs is killed now.
    SignalThrice,
}

impl Event<'_> {
    /// The queue it happened in, where it happened in one.
    pub fn queue(&self) -> Option<&QueueName> {
        match self {
            Self::Started { job }
            | Self::Ended { job, .. }
            | Self::Expired { job }
            | Self::LeaseLost { job }
            | Self::NothingToRun { job } => Some(&job.queue),
            Self::Breaker { news } => Some(&news.queue),
            Self::Up { .. } | Self::Trouble { .. } | Self::Cramped { .. } | Self::Stopping { .. } => None,
        }
    }
}
