//! The part of the contract that is about putting dead jobs back: many at once, and as tasks that take their time.

use crate::clock::Timestamp;
use crate::job::{JobId, Plan, QueueName, Revival, StateKind, Task, TaskId, TaskReport};
use crate::store::{Result, Retried};

/// Dead jobs that are put back.
///
/// What holds for every engine, besides what [`super::Store`] says:
///
/// - The jobs of a task are those that it was given. Each is come to once, in their order: what dies again is not
///   put back again by the same task.
/// - That a job was put back, and that its task has come to it, is one transaction, whoever makes it.
pub trait Tasks {
    /// Puts jobs back that stand in one of `states`, with the same ids and their attempts counted from zero, in their
    /// order and in one transaction; the others stay as they are. Recorded steps are not run again, but for those that
    /// `how` names.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn put_back(&mut self, ids: &[JobId], states: &[StateKind], how: &Revival, now: Timestamp) -> Result<PutBack>;

    /// Records a task. It is carried on by every [`super::Store::turn`], whichever queues its worker serves, and by
    /// [`Tasks::carry_tasks`].
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn record_task(&mut self, plan: &Plan, jobs: &[JobId], now: Timestamp) -> Result<TaskId>;

    /// Does what is due of every task, a portion at the most.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn carry_tasks(&mut self, now: Timestamp) -> Result<Carried>;

    /// Every task on record, the newest first.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn tasks(&mut self) -> Result<Vec<Task>>;

    /// One task.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn task(&mut self, id: TaskId) -> Result<Option<Task>>;

    /// The same with what became of its jobs, and of what at most so many relapsed most.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn task_report(&mut self, id: TaskId, max_relapses: usize) -> Result<Option<TaskReport>>;

    /// The jobs of a task that it has put back, in their order.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn released_by(&mut self, id: TaskId) -> Result<Vec<JobId>>;

    /// Has a task wait, go on, or end. While it waits its time stands still.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn direct_task(&mut self, id: TaskId, how: Direction, now: Timestamp) -> Result<Directed>;

    /// Forgets one of the tasks that ended more than 30 days ago, or before a hundred others; answers how many. To be
    /// called again until that is none. The jobs are left alone.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn forget_tasks(&mut self, now: Timestamp) -> Result<usize>;
}

/// What became of jobs that were to be put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutBack {
    /// Each, in their order; `Ready` also where it is to wait for a time.
    pub answers: Vec<(JobId, Retried)>,
    /// The open queues of those that were.
    pub queues: Vec<QueueName>,
}

/// What was done of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The open queues of the jobs that were put back.
    pub queues: Vec<QueueName>,
    /// There is more to do at once.
    pub is_more: bool,
    /// When there is more to do, where it is not at once.
    pub next_due: Option<Timestamp>,
}

/// What a task is to do from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Wait.
    Pause,
    /// Go on.
    Resume,
    /// End.
    Cancel,
}

/// Whether a task does so.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directed {
    /// It does, as of now.
    Changed(Box<Task>),
    /// It did so before.
    Unchanged(Box<Task>),
    /// It has ended otherwise.
    Ended(Box<Task>),
    /// There is no such task.
    Unknown,
}
