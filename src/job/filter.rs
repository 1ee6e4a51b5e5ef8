//! Which jobs are meant, and how many there are.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::breaker::{BreakerRule, Tripped};
use super::group::{GroupName, GroupRule, MAX_PROGRAM};
use super::hook::Hook;
use super::id::{IdRange, JobId, QueueName};
use super::new::{Backoff, Defaults, Due, Jitter, Terms};
use super::state::{Reason, StateKind};
use crate::clock::Timestamp;

/// Which jobs are meant. Every condition that is given must hold; none given means every job.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// One of these numbers.
    pub ids: Vec<IdRange>,
    /// In one of these queues.
    pub queues: Vec<QueueName>,
    /// In one of these states.
    pub states: Vec<StateKind>,
    /// With all of these labels.
    pub labels: Vec<(String, String)>,
    /// Pushed at this instant or later.
    pub since: Option<Timestamp>,
    /// Pushed before this instant.
    pub until: Option<Timestamp>,
    /// Done with at this instant or later.
    pub ended_since: Option<Timestamp>,
    /// Done with before this instant.
    pub ended_until: Option<Timestamp>,
    /// Dead, in one of these groups.
    pub groups: Vec<GroupName>,
    /// Dead, for one of these reasons.
    pub reasons: Vec<Reason>,
    /// With a last attempt that exited with one of these.
    pub exit_codes: Vec<RangeInclusive<i32>>,
    /// With this in its last error or its command.
    pub text: Option<Pattern>,
}

/// What is looked for in a job's last error and in its command.
#[derive(Clone, Debug)]
pub struct Pattern(regex::bytes::Regex);

impl Pattern {
    /// Takes a regular expression as one.
    ///
    /// # Errors
    ///
    /// Where it is none, or a far too large one.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        regex::bytes::RegexBuilder::new(pattern).size_limit(MAX_PROGRAM).build().map(Self)
    }

    /// The regular expression.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it is found in the error, or in the command as it is kept: the arguments of a program are parted by NUL.
    pub fn is_in(&self, error: Option<&str>, command: Option<&[u8]>) -> bool {
        error.is_some_and(|error| self.0.is_match(error.as_bytes()))
            || command.is_some_and(|bytes| self.0.is_match(bytes))
    }
}

/// Which stretch of the jobs that match.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Only jobs beyond this one, in the direction of travel.
    pub after: Option<JobId>,
    /// At most this many.
    pub limit: usize,
    /// Oldest first, instead of newest first.
    pub oldest_first: bool,
}

/// How many jobs stand in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([i64; StateKind::ALL.len()]);

impl Tally {
    /// How many stand in this state.
    pub fn get(&self, state: StateKind) -> i64 {
        self.0[state as usize]
    }

    /// Counts `n` more (fewer, if negative).
    pub fn add(&mut self, state: StateKind, n: i64) {
        let count = &mut self.0[state as usize];
        *count = count.saturating_add(n);
    }

    /// Whether no job is counted, or the jobs that came and went balance.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|&n| n == 0)
    }

    /// The states that count something, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (StateKind, i64)> + '_ {
        StateKind::ALL.into_iter().map(|state| (state, self.get(state))).filter(|&(_, n)| n != 0)
    }
}

/// What a queue has instead of the built-in defaults; `None` leaves the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// How often a job is tried.
    pub max_attempts: Option<u32>,
    /// The pause between attempts.
    pub backoff: Option<Backoff>,
    /// The share of it drawn at random.
    pub jitter: Option<Jitter>,
    /// How long an attempt may take; `Some(None)`: for ever.
    pub timeout: Option<Option<Duration>>,
    /// From TERM to KILL.
    pub kill_after: Option<Duration>,
    /// Exit statuses that are final.
    pub dead_on: Option<Vec<RangeInclusive<i32>>>,
    /// The priority of a job.
    pub priority: Option<i32>,
    /// How long finished jobs are kept; `Some(None)`: for ever.
    pub keep: Option<Option<Duration>>,
    /// How many finished jobs are kept; `Some(None)`: all.
    pub keep_rows: Option<Option<u64>>,
    /// Which of its dead jobs belong together; `Some(None)`: by the usual rule.
    pub group_by: Option<Option<GroupRule>>,
    /// What is run when one of its jobs dies; `Some(None)`: nothing.
    pub on_dead: Option<Option<Hook>>,
    /// How long one hook counts for all that die of one cause.
    pub on_dead_every: Option<Duration>,
    /// For how long one of its jobs may be dead before that is said; `Some(None)`: for ever.
    pub keep_dead: Option<Option<Duration>>,
    /// How many of its jobs may be dead before that is said; `Some(None)`: any number.
    pub keep_dead_rows: Option<Option<u64>>,
    /// When it is stopped because its attempts fail; `Some(None)`: never.
    pub breaker: Option<Option<BreakerRule>>,
    /// How long it is from one trial to the next then.
    pub breaker_probe: Option<Duration>,
}

impl QueueSettings {
    /// This, and where it says nothing, the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            max_attempts: self.max_attempts.or(other.max_attempts),
            backoff: self.backoff.or(other.backoff),
            jitter: self.jitter.or(other.jitter),
            timeout: self.timeout.or(other.timeout),
            kill_after: self.kill_after.or(other.kill_after),
            dead_on: self.dead_on.or(other.dead_on),
            priority: self.priority.or(other.priority),
            keep: self.keep.or(other.keep),
            keep_rows: self.keep_rows.or(other.keep_rows),
            group_by: self.group_by.or(other.group_by),
            on_dead: self.on_dead.or(other.on_dead),
            on_dead_every: self.on_dead_every.or(other.on_dead_every),
            keep_dead: self.keep_dead.or(other.keep_dead),
            keep_dead_rows: self.keep_dead_rows.or(other.keep_dead_rows),
            breaker: self.breaker.or(other.breaker),
            breaker_probe: self.breaker_probe.or(other.breaker_probe),
        }
    }

    /// The terms of a job that says this of itself, in a queue that says the other.
    pub fn terms(&self, queue: &Self) -> Terms {
        let default = Terms::default();
        Terms {
            backoff: self.backoff.clone().or_else(|| queue.backoff.clone()).unwrap_or(default.backoff),
            jitter: self.jitter.or(queue.jitter).unwrap_or(default.jitter),
            dead_on: self.dead_on.clone().or_else(|| queue.dead_on.clone()).unwrap_or(default.dead_on),
            timeout: self.timeout.or(queue.timeout).unwrap_or(default.timeout),
            kill_after: self.kill_after.or(queue.kill_after).unwrap_or(default.kill_after),
        }
    }

    /// Its priority, in the same way.
    pub fn priority(&self, queue: &Self) -> i32 {
        self.priority.or(queue.priority).unwrap_or(Defaults::PRIORITY)
    }

    /// How often it is tried, in the same way.
    pub fn max_attempts(&self, queue: &Self) -> u32 {
        self.max_attempts.or(queue.max_attempts).unwrap_or(Defaults::MAX_ATTEMPTS)
    }
}

/// Which finished jobs of a queue are forgotten: succeeded and cancelled ones, never dead ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Those that ended before this instant; `None`: none for their age.
    pub before: Option<Timestamp>,
    /// The oldest of more than so many; `None`: none for their number.
    pub max_rows: Option<u64>,
}

/// What is to become different of a job; `None` leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobChange {
    /// Its priority.
    pub priority: Option<i32>,
    /// When it may run.
    pub due: Option<Due>,
    /// The queue that it moves to, made if need be.
    pub queue: Option<QueueName>,
    /// How long each further attempt may take; `Some(None)`: for ever.
    pub timeout: Option<Option<Duration>>,
    /// How often it is tried.
    pub max_attempts: Option<u32>,
}

/// A queue as the store has it.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its name.
    pub name: QueueName,
    /// Since when it is paused, if it is.
    pub paused_at: Option<Timestamp>,
    /// How it is stopped by its breaker, if it is.
    pub tripped: Option<Tripped>,
    /// What it has of its own.
    pub settings: QueueSettings,
    /// How many jobs it holds.
    pub tally: Tally,
    /// Since when the first in line waits: the oldest of the first ready jobs of each priority. A
    /// job that came back late, with an older number, may stand before one that waits longer.
    pub oldest_ready: Option<Timestamp>,
    /// How many live workers serve it.
    pub n_workers: usize,
    /// When a worker that served it was last there, as far as that was recorded.
    pub served_until: Option<Timestamp>,
}
