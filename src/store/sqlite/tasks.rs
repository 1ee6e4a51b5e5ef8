//! The part of the contract that is about putting jobs back, each verb in one transaction.

use super::row::Explain as _;
use super::schema::Annex;
use super::{SqliteStore, carry, change, claim, task};
use crate::clock::Timestamp;
use crate::job::{JobId, Plan, Revival, StateKind, Task, TaskId, TaskReport};
use crate::store::{Carried, Directed, Direction, PutBack, Result, Tasks};

impl Tasks for SqliteStore {
    fn put_back(&mut self, ids: &[JobId], states: &[StateKind], how: &Revival, now: Timestamp) -> Result<PutBack> {
        self.write_durably(|tx| {
            let mut answers = Vec::new();
            let mut queue_ids = std::collections::BTreeSet::new();
            for &id in ids {
                let (answer, queue_id) = change::put_back(tx, id, states, how, now)?;
                answers.push((id, answer));
                queue_ids.extend(queue_id);
            }
            let queues = claim::open_queues(tx, &queue_ids).explain(tx.path())?;
            Ok(PutBack { answers, queues })
        })
    }

    fn record_task(&mut self, plan: &Plan, jobs: &[JobId], now: Timestamp) -> Result<TaskId> {
        self.write_durably(|tx| task::record(tx, plan, jobs, now))
    }

    fn carry_tasks(&mut self, now: Timestamp) -> Result<Carried> {
        let has_tasks = Annex::Tasks.is_in(&self.conn).explain(&self.path)?;
        let next_due = if has_tasks { carry::next_due(&self.conn, now).explain(&self.path)? } else { None };
        if next_due.is_none_or(|due| due > now) {
            return Ok(Carried { next_due, ..Carried::default() });
        }
        self.write_durably(|tx| {
            let done = carry::carry(tx, now)?;
            let queues = claim::open_queues(tx, &done.queue_ids).explain(tx.path())?;
            Ok(Carried { queues, is_more: done.is_more, next_due: done.next_due })
        })
    }

    fn tasks(&mut self) -> Result<Vec<Task>> {
        task::tasks(&self.conn).explain(&self.path)
    }

    fn task(&mut self, id: TaskId) -> Result<Option<Task>> {
        task::task(&self.conn, id).explain(&self.path)
    }

    fn task_report(&mut self, id: TaskId, max_relapses: usize) -> Result<Option<TaskReport>> {
        task::report(&self.conn, id, max_relapses).explain(&self.path)
    }

    fn released_by(&mut self, id: TaskId) -> Result<Vec<JobId>> {
        task::released_by(&self.conn, id).explain(&self.path)
    }

    fn direct_task(&mut self, id: TaskId, how: Direction, now: Timestamp) -> Result<Directed> {
        self.write_durably(|tx| task::direct(tx, id, how, now))
    }

    fn forget_tasks(&mut self, now: Timestamp) -> Result<usize> {
        if task::outlived(&self.conn, now).explain(&self.path)?.is_none() {
            return Ok(0);
        }
        self.write(|tx| task::forget(tx, now))
    }
}
