//! Requeues that are recorded: what is to be done, in which order, how, and how far it is.

use std::fmt;
use std::time::Duration;

use super::id::{JobId, QueueName};
use super::release::Tempo;
use super::step::StepPath;
use crate::clock::Timestamp;

/// The number of a task in its queue file: positive, rising, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(i64);

impl TaskId {
    /// The task of this number; `None` unless it is positive.
    pub const fn new(id: i64) -> Option<Self> {
        if id > 0 { Some(Self(id)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How jobs are put back: as they were, but for what stands here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revival {
    /// Into this queue.
    pub to: Option<QueueName>,
    /// Not to run for so long.
    pub delay: Option<Duration>,
    /// How often they are tried from now on.
    pub max_attempts: Option<u32>,
    /// This recorded step, and those that were begun after it, are run again.
    pub from_step: Option<StepPath>,
}

/// A few jobs that go first; the others follow only if these succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// How many.
    pub n: usize,
    /// How many percent of them must succeed.
    pub if_ok: u8,
}

impl Trial {
    /// Whether enough succeeded of so many that were tried.
    pub fn is_passed(self, n_succeeded: usize, n_tried: usize) -> bool {
        n_succeeded * 100 >= n_tried * usize::from(self.if_ok)
    }
}

/// What a task is to do with its jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// How they were selected, as it was typed.
    pub selection: String,
    /// Which go first.
    pub trial: Option<Trial>,
    /// How fast, those that go first left out.
    pub tempo: Tempo,
    /// How they are put back.
    pub revival: Revival,
}

/// In which order jobs are put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The first to die first.
    #[default]
    Oldest,
    /// The last to die first.
    Newest,
    /// Any.
    Random,
}

impl Order {
    /// Puts jobs into this order, which are in that of their deaths. `draw` gives a number below the one that it is
    /// given, each with the same chance.
    pub fn arrange(self, jobs: &mut [JobId], mut draw: impl FnMut(usize) -> usize) {
        match self {
            Self::Oldest => {}
            Self::Newest => jobs.reverse(),
            Self::Random => {
                for n in (1..jobs.len()).rev() {
                    jobs.swap(n, draw(n + 1));
                }
            }
        }
    }
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has released a few jobs, or is about to, and waits for what becomes of them.
    Sampling,
    /// It releases its jobs.
    Releasing,
    /// Somebody has it wait.
    Paused,
    /// It has released all.
    Done,
    /// Too few of the first jobs succeeded: the others stay where they are.
    Stopped,
    /// Somebody ended it: the others stay where they are.
    Cancelled,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Sampling, Self::Releasing, Self::Paused, Self::Done, Self::Stopped, Self::Cancelled];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sampling => "sampling",
            Self::Releasing => "releasing",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing comes after it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Stopped | Self::Cancelled)
    }
}

/// A task on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// Where it stands.
    pub phase: Phase,
    /// What it is to do.
    pub plan: Plan,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// Since when its tempo counts; `None` as long as it does not.
    pub started_at: Option<Timestamp>,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How many jobs it was given.
    pub n_jobs: usize,
    /// How many it has put back.
    pub n_released: usize,
    /// How many of those went first.
    pub n_sampled: usize,
    /// How many it came to that could not be put back.
    pub n_skipped: usize,
}

impl Task {
    /// How many jobs it has not come to.
    pub fn n_left(&self) -> usize {
        self.n_jobs.saturating_sub(self.n_released + self.n_skipped)
    }

    /// How many it has released since its tempo counts.
    pub fn n_at_tempo(&self) -> u64 {
        (self.n_released - self.n_sampled.min(self.n_released)) as u64
    }

    /// When its last job is released, if nothing comes between; `None` where that cannot be known, or was.
    pub fn ends_at(&self) -> Option<Timestamp> {
        let started_at = self.started_at.filter(|_| self.phase == Phase::Releasing)?;
        let last = (self.n_at_tempo() + self.n_left() as u64).saturating_sub(1);
        Some(started_at.plus(self.plan.tempo.after(last)))
    }
}

/// Why a task did not put a job back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// It was not dead any more.
    NotDead,
    /// Another job had its key.
    KeyTaken,
    /// It had not the step to begin with.
    NoStep,
    /// It was deleted.
    Deleted,
}

impl Skip {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NotDead, Self::KeyTaken, Self::NoStep, Self::Deleted];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotDead => "not_dead",
            Self::KeyTaken => "key_taken",
            Self::NoStep => "no_step",
            Self::Deleted => "deleted",
        }
    }
}

/// What became of jobs that a task put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Those that succeeded.
    pub n_succeeded: usize,
    /// Those that are dead again.
    pub n_relapsed: usize,
    /// Those that were cancelled.
    pub n_cancelled: usize,
    /// Those that are not there any more: they were pruned, or deleted.
    pub n_forgotten: usize,
    /// Those that wait or run.
    pub n_under_way: usize,
}

/// What jobs died of again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relapse {
    /// How many did.
    pub n: usize,
    /// One of them.
    pub sample: JobId,
}

/// How far a task is, job by job.
#[derive(Clone, Debug)]
pub struct TaskReport {
    /// The task.
    pub task: Task,
    /// How many jobs it did not put back, by the reason.
    pub skipped: Vec<(Skip, usize)>,
    /// What became of the others.
    pub fates: Fates,
    /// What killed them again, the most frequent first.
    pub relapses: Vec<Relapse>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[i64]) -> Vec<JobId> {
        ids.iter().copied().filter_map(JobId::new).collect()
    }

    #[test]
    fn an_order_loses_and_doubles_no_job() {
        let mut jobs = ids(&[1, 2, 3, 4]);
        Order::Newest.arrange(&mut jobs, |_| unreachable!("there is nothing to draw"));
        assert_eq!(jobs, ids(&[4, 3, 2, 1]));
        Order::Random.arrange(&mut jobs, |below| below / 2);
        assert_ne!(jobs, ids(&[4, 3, 2, 1]));
        jobs.sort_unstable();
        assert_eq!(jobs, ids(&[1, 2, 3, 4]));
    }

    #[test]
    fn a_trial_is_passed_by_the_share_that_was_asked_for() {
        let trial = |if_ok| Trial { n: 5, if_ok };
        assert!(trial(80).is_passed(4, 5) && !trial(81).is_passed(4, 5) && !trial(100).is_passed(4, 5));
        assert!(trial(100).is_passed(0, 0), "who had nobody to try has nothing against it");
    }
}
