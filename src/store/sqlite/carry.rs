//! Carrying tasks on: jobs are put back as their tasks' tempo has it, a portion in each turn, in the transaction that
//! moves the task on.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::row::Explain as _;
use super::task::{self, COLUMNS};
use super::transaction::Txn;
use super::{change, query};
use crate::clock::Timestamp;
use crate::job::{JobId, Phase, Skip, StateKind, Task, Tempo};
use crate::store::{Result, Retried};

/// How many jobs one turn comes to at the most, of all tasks together, so that nobody waits long for the write lock.
const BATCH: usize = 500;

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) queue_ids: BTreeSet<i64>,
    /// There is more to do at once.
    pub(super) is_more: bool,
    /// When there is more to do, where it is not at once.
    pub(super) next_due: Option<Timestamp>,
}

/// A task that is neither paused nor over.
struct Open {
    task: Task,
    /// The place of the first job that it has not come to.
    position: usize,
    /// The place of the first of the sample of which it is not known that it has ended.
    probe: usize,
    /// When it last put jobs back.
    released_at: Option<Timestamp>,
}

/// The tasks to carry on, the one that has waited longest first. Of a file without any this looks at no row.
fn open(conn: &Connection) -> rusqlite::Result<Vec<Open>> {
    let sql = format!(
        "select {COLUMNS}, position, probe, released_at from task indexed by task_open
         where ended_at is null and paused_at is null
         order by released_at, id"
    );
    conn.prepare_cached(&sql)?.query_map([], read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Open> {
    Ok(Open {
        task: task::read(row)?,
        position: row.get("position")?,
        probe: row.get("probe")?,
        released_at: row.get("released_at")?,
    })
}

impl Open {
    /// How many jobs of the sample are still to be put back.
    fn n_to_sample(&self) -> usize {
        let wanted = self.task.plan.trial.map_or(0, |trial| trial.n).saturating_sub(self.task.n_released);
        wanted.min(self.task.n_jobs.saturating_sub(self.position))
    }

    /// When there is something to do, as far as the clock says.
    fn due(&self, conn: &Connection, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
        match self.task.phase {
            Phase::Sampling if self.n_to_sample() > 0 || self.has_news(conn)? => Ok(Some(now)),
            Phase::Releasing => Ok(Some(self.due_at_tempo(now))),
            Phase::Sampling | Phase::Paused | Phase::Done | Phase::Stopped | Phase::Cancelled => Ok(None),
        }
    }

    fn due_at_tempo(&self, now: Timestamp) -> Timestamp {
        let (Some(start), tempo) = (self.task.started_at, self.task.plan.tempo) else { return now };
        if tempo == Tempo::AtOnce || self.position >= self.task.n_jobs {
            return now;
        }
        let due = start.plus(tempo.after(self.task.n_at_tempo()));
        match self.released_at {
            // The clock was set back.
            Some(last) if last > now => now,
            Some(last) => due.max(last.plus(Tempo::SHORTEST_PAUSE)),
            None => due,
        }
    }

    /// Whether the job of the sample for which it waits has ended.
    fn has_news(&self, conn: &Connection) -> rusqlite::Result<bool> {
        if self.probe >= self.position {
            return Ok(true);
        }
        let sql = "select task_job.skipped is null and state is not null
              and state not in ('succeeded', 'dead', 'cancelled')
            from task_job left join job on job.id = job_id
            where task_id = :task and position = :probe";
        let params = named_params! { ":task": self.task.id.get(), ":probe": query::limit(self.probe) };
        let is_under_way: Option<bool> = conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()?;
        Ok(!is_under_way.unwrap_or(false))
    }

    fn advance(&mut self, tx: &Txn<'_>, left: &mut usize, now: Timestamp, done: &mut Done) -> Result<()> {
        if self.task.phase == Phase::Sampling {
            self.release(tx, (self.n_to_sample(), left), now, done)?;
            if self.n_to_sample() == 0 && self.has_verdict(tx).explain(tx.path())? {
                self.judge(tx, now).explain(tx.path())?;
            }
        }
        if self.task.phase == Phase::Releasing {
            self.release_at_tempo(tx, left, now, done)?;
            if self.position >= self.task.n_jobs {
                self.end(Phase::Done, now);
            }
        }
        self.save(tx, now).explain(tx.path())
    }

    /// Whether all of the sample have ended. Each is looked at until it has, and all once more at the end: one of
    /// them may have been put back meanwhile.
    fn has_verdict(&mut self, tx: &Txn<'_>) -> rusqlite::Result<bool> {
        while self.probe < self.position && self.has_news(tx)? {
            self.probe += 1;
        }
        if self.probe < self.position {
            return Ok(false);
        }
        self.save_place(tx)?;
        let is_over = task::fates(tx, self.task.id)?.n_under_way == 0;
        if !is_over {
            self.probe = 0;
        }
        Ok(is_over)
    }

    fn judge(&mut self, tx: &Txn<'_>, now: Timestamp) -> rusqlite::Result<()> {
        let n_succeeded = task::fates(tx, self.task.id)?.n_succeeded;
        self.task.n_sampled = self.task.n_released;
        if self.task.plan.trial.is_none_or(|trial| trial.is_passed(n_succeeded, self.task.n_sampled)) {
            self.task.phase = Phase::Releasing;
            self.task.started_at = Some(now);
            self.released_at = None;
        } else {
            self.end(Phase::Stopped, now);
        }
        Ok(())
    }

    fn end(&mut self, phase: Phase, now: Timestamp) {
        self.task.phase = phase;
        self.task.ended_at = Some(now);
    }

    fn release_at_tempo(&mut self, tx: &Txn<'_>, left: &mut usize, now: Timestamp, done: &mut Done) -> Result<()> {
        let (tempo, n) = (self.task.plan.tempo, self.task.n_at_tempo());
        let mut start = self.task.started_at.unwrap_or(now);
        if let Some(last) = self.released_at.filter(|last| *last > now) {
            // The clock was set back: the schedule goes along.
            start = start.minus(last.since(now));
        }
        start = tempo.caught_up(start, n, now);
        self.task.started_at = Some(start);
        let n_due = if now < start { 0 } else { tempo.until(now.since(start)).saturating_sub(n) };
        let n_due = usize::try_from(n_due).unwrap_or(usize::MAX).min(self.task.n_jobs - self.position);
        self.release(tx, (n_due, left), now, done)?;
        self.released_at = Some(now);
        Ok(())
    }

    /// Puts back the next `n`, coming to at most so many as are `left`.
    fn release(&mut self, tx: &Txn<'_>, (n, left): (usize, &mut usize), now: Timestamp, done: &mut Done) -> Result<()> {
        let wanted = self.task.n_released.saturating_add(n);
        while self.task.n_released < wanted && *left > 0 {
            let next = self.next(tx, (wanted - self.task.n_released).min(*left)).explain(tx.path())?;
            if next.is_empty() {
                break;
            }
            *left -= next.len();
            for (position, id) in next {
                self.position = position + 1;
                let (answer, queue_id) = change::put_back(tx, id, &[StateKind::Dead], &self.task.plan.revival, now)?;
                done.queue_ids.extend(queue_id);
                match skip(&answer) {
                    None => self.task.n_released += 1,
                    Some(why) => self.skip(tx, position, why).explain(tx.path())?,
                }
            }
        }
        Ok(())
    }

    /// The next jobs, with their places.
    fn next(&self, tx: &Txn<'_>, n: usize) -> rusqlite::Result<Vec<(usize, JobId)>> {
        let sql = "select position, job_id from task_job
            where task_id = :task and position >= :position
            order by position
            limit :n";
        let params = named_params! {
            ":task": self.task.id.get(),
            ":position": query::limit(self.position),
            ":n": query::limit(n),
        };
        tx.prepare_cached(sql)?.query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    fn skip(&mut self, tx: &Txn<'_>, position: usize, why: Skip) -> rusqlite::Result<()> {
        self.task.n_skipped += 1;
        let sql = "update task_job set skipped = :why where task_id = :task and position = :position";
        let params = named_params! { ":why": why, ":task": self.task.id.get(), ":position": query::limit(position) };
        tx.prepare_cached(sql)?.execute(params).map(drop)
    }

    fn save_place(&self, tx: &Txn<'_>) -> rusqlite::Result<()> {
        let sql = "update task set position = :position where id = :id";
        let params = named_params! { ":id": self.task.id.get(), ":position": query::limit(self.position) };
        tx.prepare_cached(sql)?.execute(params).map(drop)
    }

    fn save(&self, tx: &Txn<'_>, now: Timestamp) -> rusqlite::Result<()> {
        let sql = "update task
            set phase = :phase, started_at = :started_at, released_at = :released_at, ended_at = :ended_at,
                position = :position, probe = :probe, released = :released, sampled = :sampled, skipped = :skipped
            where id = :id";
        tx.prepare_cached(sql)?
            .execute(named_params! {
                ":id": self.task.id.get(),
                ":phase": self.task.phase,
                ":started_at": self.task.started_at,
                ":released_at": self.released_at.unwrap_or(now),
                ":ended_at": self.task.ended_at,
                ":position": query::limit(self.position),
                ":probe": query::limit(self.probe),
                ":released": query::limit(self.task.n_released),
                ":sampled": query::limit(self.task.n_sampled),
                ":skipped": query::limit(self.task.n_skipped),
            })
            .map(drop)
    }
}

/// Why a job was not put back; `None` where it was.
fn skip(answer: &Retried) -> Option<Skip> {
    match answer {
        Retried::Ready => None,
        Retried::WrongState(_) => Some(Skip::NotDead),
        Retried::KeyTaken(_) => Some(Skip::KeyTaken),
        Retried::NoStep => Some(Skip::NoStep),
        Retried::Unknown => Some(Skip::Deleted),
    }
}

/// Does a portion of what is due of every task.
pub(super) fn carry(tx: &Txn<'_>, now: Timestamp) -> Result<Done> {
    let mut done = Done::default();
    let mut left = BATCH;
    for mut one in open(tx).explain(tx.path())? {
        let due = one.due(tx, now).explain(tx.path())?;
        if due.is_some_and(|due| due <= now) {
            if left == 0 {
                done.is_more = true;
                continue;
            }
            one.advance(tx, &mut left, now, &mut done)?;
        }
        let next = if one.task.phase.is_final() { None } else { one.due(tx, now).explain(tx.path())? };
        match next {
            Some(next) if next <= now => done.is_more = true,
            next => done.next_due = done.next_due.into_iter().chain(next).min(),
        }
    }
    Ok(done)
}

/// When there is something to do for a task.
pub(super) fn next_due(conn: &Connection, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    let mut next = None;
    for one in open(conn)? {
        next = next.into_iter().chain(one.due(conn, now)?).min();
    }
    Ok(next)
}
