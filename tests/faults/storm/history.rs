//! What happened in a storm, as it was seen from outside: who pushed what and was told what, what was done to
//! workers and jobs, what the jobs wrote, and what the queue says in the end.

use std::collections::BTreeMap;

use qctl::job::{Outcome, Reason, StateKind};

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// What was pushed.
    pub(super) pushes: Vec<Push>,
    /// What was done to jobs, in order; one person did all of it.
    pub(super) deeds: Vec<Deed>,
    /// What befell the workers, by their names.
    pub(super) workers: BTreeMap<String, Fate>,
    /// What the jobs wrote, in order.
    pub(super) log: Vec<Entry>,
    /// Finished jobs, as someone saw them who looked from time to time.
    pub(super) glimpses: Vec<Glimpse>,
    /// The jobs that there are in the end.
    pub(super) jobs: Vec<Job>,
}

/// One job that someone tried to push.
#[derive(Clone, Debug)]
pub(super) struct Push {
    /// The label by which its job is told from all others.
    pub(super) tag: String,
    pub(super) kind: Kind,
    pub(super) queue: String,
    pub(super) key: Option<Key>,
    /// Which import it was a line of.
    pub(super) batch: Option<String>,
    pub(super) answer: Answer,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Succeeds.
    Sound,
    /// Succeeds, and does not hear when it is asked to stop.
    Stubborn,
    /// Fails twice, then succeeds.
    Recovers,
    /// Fails always.
    Doomed,
    /// Fails with a status that is final.
    Fatal,
}

impl Kind {
    /// Its name in `job.sh`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Stubborn => "stubborn",
            Self::Recovers => "recovers",
            Self::Doomed => "doomed",
            Self::Fatal => "fatal",
        }
    }
}

/// The key of a push.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) name: String,
    /// Whether a finished job still holds it.
    pub(super) outlasts_its_job: bool,
}

/// What whoever pushed was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The number of a new job.
    Created(i64),
    /// The number of the job that holds its key.
    Existing(i64),
    /// That nothing was queued.
    Nothing,
    /// Nothing that could be relied on.
    Unknown,
}

/// Something that was done to a job, and had an effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deed {
    pub(super) job: i64,
    pub(super) what: What,
    /// The length of the log: of a cancellation, when it had been done; of a job that was put back, before.
    pub(super) at: usize,
}

/// What was done to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It waited, and was taken off the queue.
    Cancelled,
    /// It ran, and its worker was asked to stop it.
    AskedToStop,
    /// It had ended, and was made ready again.
    PutBack,
}

/// What befell a worker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fate {
    /// Killed on the spot.
    pub(super) was_killed: bool,
    /// Stopped for longer than its lease, then continued.
    pub(super) was_stopped: bool,
    /// Told to leave.
    pub(super) was_told_to_leave: bool,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// How much of the log stands before it.
    pub(super) at: usize,
    pub(super) says: Says,
    pub(super) job: i64,
    pub(super) token: i64,
    pub(super) worker: String,
    pub(super) tag: String,
}

/// What a job says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// That another run of it has not ended.
    Overlap,
    /// That it begins.
    Start,
    /// That its work is done.
    End,
    /// That it fails.
    Fail,
}

/// A finished job, as it was seen at some time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Glimpse {
    pub(super) job: i64,
    pub(super) state: String,
    /// In milliseconds since 1970.
    pub(super) finished_at: i64,
}

/// A job in the end.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: i64,
    pub(super) tag: String,
    pub(super) queue: String,
    pub(super) key: Option<String>,
    pub(super) state: StateKind,
    pub(super) reason: Option<Reason>,
    pub(super) attempts: Vec<Attempt>,
}

/// An attempt, as it was recorded.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) token: i64,
    /// `None`: it is said to run.
    pub(super) outcome: Option<Outcome>,
    pub(super) exit_code: Option<i32>,
    pub(super) error: Option<String>,
    pub(super) worker: String,
}

impl History {
    /// How many attempts lost their worker.
    pub(super) fn n_lost(&self) -> usize {
        let attempts = self.jobs.iter().flat_map(|job| &job.attempts);
        attempts.filter(|attempt| attempt.outcome == Some(Outcome::Lost)).count()
    }
}

impl Entry {
    /// The lines of a log.
    pub(super) fn all(log: &str) -> Vec<Self> {
        let mut at = 0;
        let mut entries = Vec::new();
        for line in log.split_inclusive('\n') {
            entries.push(Self::read(at, line).unwrap_or_else(|| panic!("a torn line at {at}: {line:?}")));
            at += line.len();
        }
        entries
    }

    fn read(at: usize, line: &str) -> Option<Self> {
        let mut words = line.strip_suffix('\n')?.split(' ');
        let says = match words.next()? {
            "overlap" => Says::Overlap,
            "start" => Says::Start,
            "end" => Says::End,
            "fail" => Says::Fail,
            _ => return None,
        };
        let mut number = || words.next()?.parse().ok();
        let (job, token) = (number()?, number()?);
        let (worker, tag) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some(Self { at, says, job, token, worker, tag })
    }
}
