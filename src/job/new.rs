//! What is pushed: a command, when it may run, and the terms under which it is tried.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::id::{QueueName, is_name_byte};
use crate::clock::Timestamp;

/// What a job runs. Bytes, because a path or an argument need not be UTF-8; none holds a NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A line for `sh -c`.
    Shell(Vec<u8>),
    /// A program and its arguments, run as they are; never empty.
    Program(Vec<Vec<u8>>),
}

/// The shell that runs shell lines; by its full path, so that it is started the quick way and not
/// looked for where a job's `PATH` points.
const SHELL: &[u8] = b"/bin/sh";

impl Command {
    /// The words that run it.
    pub fn argv(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Shell(line) => vec![SHELL.to_vec(), b"-c".to_vec(), line.clone()],
            Self::Program(words) => words.clone(),
        }
    }
}

/// Names and values of environment variables, in the order they are set.
pub type EnvVars = Vec<(Vec<u8>, Vec<u8>)>;

/// What is shared by jobs pushed from one place: where and how each attempt runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The working directory, absolute.
    pub cwd: Vec<u8>,
    /// The variables kept from the push: `PATH`, `LANG`, `LC_*`, `TZ` and no others.
    pub env: EnvVars,
    /// How failures are met.
    pub terms: Terms,
}

/// How long an attempt may take and what follows a failed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The pause before the next attempt.
    pub backoff: Backoff,
    /// The share of that pause that is drawn at random.
    pub jitter: Jitter,
    /// Exit statuses that are final.
    pub dead_on: Vec<RangeInclusive<i32>>,
    /// When an attempt is told to end; `None`: never.
    pub timeout: Option<Duration>,
    /// How long after TERM it is killed.
    pub kill_after: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            backoff: Backoff::Exponential { base: Duration::from_secs(10), cap: Duration::from_secs(3600) },
            jitter: Jitter::Half,
            dead_on: Vec::new(),
            timeout: None,
            kill_after: Duration::from_secs(10),
        }
    }
}

/// How the pause grows from failure to failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// Doubling from `base`, at most `cap`.
    Exponential {
        /// The first pause.
        base: Duration,
        /// The longest pause.
        cap: Duration,
    },
    /// Always the same.
    Fixed(Duration),
    /// One after the other, the last repeated; never empty.
    List(Vec<Duration>),
}

/// Which share of a pause is drawn at random, so that jobs that failed together come back apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Nothing: the pause as it is.
    None,
    /// Its second half.
    Half,
    /// All of it.
    Full,
}

/// When a job may first run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At once.
    Now,
    /// Not before this instant.
    At(Timestamp),
}

/// An idempotency key and how it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRule {
    /// The key, unique in its queue, not empty.
    pub key: String,
    /// Until when a finished job still holds it; `None`: a finished job frees it at once.
    pub held_until: Option<Timestamp>,
    /// What a second push of it does.
    pub on_duplicate: OnDuplicate,
}

/// What becomes of a push whose key is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuplicate {
    /// It answers with the job that holds the key.
    Return,
    /// It is refused.
    Error,
    /// It replaces that job if it has not started; else it answers with it.
    Replace,
}

/// Labels of a job, by name.
pub type Labels = BTreeMap<String, String>;

/// A job to be queued, with every default already filled in.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The queue, made on first use.
    pub queue: QueueName,
    /// What to run; `None`: the worker's handler gets the payload.
    pub command: Option<Command>,
    /// Bytes for its standard input; `None`: `/dev/null`.
    pub payload: Option<Vec<u8>>,
    /// Its idempotency key.
    pub key: Option<KeyRule>,
    /// -100 to 100, higher first.
    pub priority: i32,
    /// Not before.
    pub due: Due,
    /// Not started by then: dead, reason `expired`.
    pub expires_at: Option<Timestamp>,
    /// How often it is tried, 1 to 1000.
    pub max_attempts: u32,
    /// Labels, for filters and reports.
    pub labels: Labels,
    /// Variables given by name for this job.
    pub env: EnvVars,
    /// Where and how it runs; shared by jobs of one push.
    pub context: Arc<Context>,
}

impl NewJob {
    /// Whether this may be a label's name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub fn is_label_name(name: &str) -> bool {
        (1..=64).contains(&name.len()) && name.bytes().all(is_name_byte)
    }
}

/// What a push falls back on where neither it nor its queue says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Defaults;

impl Defaults {
    /// How often a job is tried.
    pub const MAX_ATTEMPTS: u32 = 5;
    /// Its priority.
    pub const PRIORITY: i32 = 0;
    /// How long a finished job is kept.
    pub const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
    /// How many finished jobs a queue keeps.
    pub const KEEP_ROWS: u64 = 100_000;
    /// How long one hook counts for all that die of one cause.
    pub const ON_DEAD_EVERY: Duration = Duration::from_secs(3600);
    /// How long a breaker waits from one trial to the next.
    pub const BREAKER_PROBE: Duration = Duration::from_secs(60);
    /// How long after the push a key is held.
    pub const KEY_TTL: Duration = Duration::from_secs(24 * 3600);
}
