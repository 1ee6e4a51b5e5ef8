//! Tasks on record: how they come there, are read, directed and forgotten. What they do is `carry`'s.

use std::time::Duration;

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::query;
use super::row::{self, Explain as _};
use super::schema::Annex;
use super::transaction::Txn;
use crate::clock::{self, Timestamp};
use crate::job::{
    Fates, JobId, Phase, Plan, Relapse, Revival, StateKind, StepPath, Task, TaskId, TaskReport, Tempo, Trial,
};
use crate::store::{Directed, Direction, Result};

/// How long a task that has ended stays on record.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How many of those do, at the most.
const MAX_KEPT: usize = 100;

/// The columns that [`task`] reads.
pub(super) const COLUMNS: &str = "id, phase, selection, sample, if_ok, rate, ramp_to, ramp_over, to_queue, delay,
    max_attempts, from_step, created_at, started_at, paused_at, ended_at, jobs, released, sampled, skipped";

/// Selects every task, for whoever looks the whole file through.
pub(super) const ALL_SQL: &str =
    "select id, phase, selection, sample, if_ok, rate, ramp_to, ramp_over, to_queue, delay,
    max_attempts, from_step, created_at, started_at, paused_at, ended_at, jobs, released, sampled, skipped from task";

/// Records a task with its jobs.
pub(super) fn record(tx: &Txn<'_>, plan: &Plan, jobs: &[JobId], now: Timestamp) -> Result<TaskId> {
    Annex::Tasks.build(tx).explain(tx.path())?;
    let id = tx.next("task")?;
    insert(tx, id, plan, (jobs.len(), now)).explain(tx.path())?;
    let sql = "insert into task_job (task_id, position, job_id) values (:task, :position, :job)";
    let mut add = tx.prepare_cached(sql).explain(tx.path())?;
    for (position, job) in jobs.iter().enumerate() {
        let params = named_params! { ":task": id, ":position": query::limit(position), ":job": job };
        add.execute(params).explain(tx.path())?;
    }
    Ok(TaskId::new(id).expect("what follows is positive"))
}

fn insert(tx: &Txn<'_>, id: i64, plan: &Plan, (n_jobs, now): (usize, Timestamp)) -> rusqlite::Result<()> {
    let (rate, ramp) = match plan.tempo {
        Tempo::AtOnce => (None, None),
        Tempo::Even(rate) => (Some(rate), None),
        Tempo::Ramp { from, to, over } => (Some(from), Some((to, over))),
    };
    // Who tries none first begins at once.
    let (phase, started_at) =
        if plan.trial.is_some() { (Phase::Sampling, None) } else { (Phase::Releasing, Some(now)) };
    let how = &plan.revival;
    let sql = "insert into task (
          id, phase, selection, sample, if_ok, rate, ramp_to, ramp_over, to_queue, delay, max_attempts, from_step,
          created_at, started_at, jobs
        ) values (
          :id, :phase, :selection, :sample, :if_ok, :rate, :ramp_to, :ramp_over, :to_queue, :delay, :max_attempts,
          :from_step, :now, :started_at, :jobs
        )";
    tx.prepare_cached(sql)?.execute(named_params! {
        ":id": id,
        ":phase": phase,
        ":selection": plan.selection,
        ":sample": plan.trial.map(|trial| query::limit(trial.n)),
        ":if_ok": plan.trial.map(|trial| trial.if_ok),
        ":rate": rate.map(row::rate_column),
        ":ramp_to": ramp.map(|(to, _)| row::rate_column(to)),
        ":ramp_over": ramp.map(|(_, over)| clock::millis(over)),
        ":to_queue": how.to,
        ":delay": how.delay.map(clock::millis),
        ":max_attempts": how.max_attempts,
        ":from_step": how.from_step.as_ref().map(ToString::to_string),
        ":now": now,
        ":started_at": started_at,
        ":jobs": query::limit(n_jobs),
    })?;
    Ok(())
}

/// A task from the columns [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Task> {
    let paused_at: Option<Timestamp> = row.get("paused_at")?;
    let ended_at: Option<Timestamp> = row.get("ended_at")?;
    let phase = row.get("phase")?;
    Ok(Task {
        id: TaskId::new(row.get("id")?).ok_or(FromSqlError::InvalidType)?,
        phase: if paused_at.is_some() && ended_at.is_none() { Phase::Paused } else { phase },
        plan: plan(row)?,
        created_at: row.get("created_at")?,
        started_at: row.get("started_at")?,
        paused_at,
        ended_at,
        n_jobs: row.get("jobs")?,
        n_released: row.get("released")?,
        n_sampled: row.get("sampled")?,
        n_skipped: row.get("skipped")?,
    })
}

fn plan(row: &Row<'_>) -> rusqlite::Result<Plan> {
    let over = millis(row, "ramp_over")?.unwrap_or_default();
    let tempo = match (row::rate(row)?, row::rate_in(row, "ramp_to")?) {
        (None, _) => Tempo::AtOnce,
        (Some(rate), None) => Tempo::Even(rate),
        (Some(from), Some(to)) => Tempo::Ramp { from, to, over },
    };
    let sample: Option<usize> = row.get("sample")?;
    let if_ok: Option<u8> = row.get("if_ok")?;
    let from_step: Option<String> = row.get("from_step")?;
    let from_step = from_step.map(|text| StepPath::parse(&text)).transpose();
    Ok(Plan {
        selection: row.get("selection")?,
        trial: sample.map(|n| Trial { n, if_ok: if_ok.unwrap_or(100) }),
        tempo,
        revival: Revival {
            to: row.get("to_queue")?,
            delay: millis(row, "delay")?,
            max_attempts: row.get("max_attempts")?,
            from_step: from_step.map_err(|error| row::bad_column(Box::new(error)))?,
        },
    })
}

fn millis(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Duration>> {
    Ok(row.get::<_, Option<u64>>(column)?.map(Duration::from_millis))
}

/// Every task, the newest first.
pub(super) fn tasks(conn: &Connection) -> rusqlite::Result<Vec<Task>> {
    if !Annex::Tasks.is_in(conn)? {
        return Ok(Vec::new());
    }
    conn.prepare_cached(&format!("{ALL_SQL} order by id desc"))?.query_map([], read)?.collect()
}

/// One task.
pub(super) fn task(conn: &Connection, id: TaskId) -> rusqlite::Result<Option<Task>> {
    if !Annex::Tasks.is_in(conn)? {
        return Ok(None);
    }
    let sql = format!("{ALL_SQL} where id = :id");
    conn.prepare_cached(&sql)?.query_row(named_params! { ":id": id.get() }, read).optional()
}

/// The jobs that a task has put back.
pub(super) fn released_by(conn: &Connection, id: TaskId) -> rusqlite::Result<Vec<JobId>> {
    if !Annex::Tasks.is_in(conn)? {
        return Ok(Vec::new());
    }
    let sql = format!("select job_id from {RELEASED} order by task_job.position");
    conn.prepare_cached(&sql)?.query_map(named_params! { ":id": id.get() }, |row| row.get(0))?.collect()
}

/// What a task has put back; its number is `:id`.
const RELEASED: &str = "task join task_job on task_id = task.id and task_job.position < task.position
    and task_job.skipped is null and task.id = :id";

/// A task with what became of its jobs, all as of one instant.
pub(super) fn report(conn: &Connection, id: TaskId, max_relapses: usize) -> rusqlite::Result<Option<TaskReport>> {
    let look = conn.unchecked_transaction()?;
    let Some(task) = task(&look, id)? else { return Ok(None) };
    let sql = "select skipped, count(*) from task_job
        where task_id = :id and skipped is not null
        group by skipped
        order by 2 desc, 1";
    let mut query = look.prepare_cached(sql)?;
    let of_task = named_params! { ":id": id.get() };
    let skipped = query.query_map(of_task, |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    let fates = fates(&look, id)?;
    let sql = format!(
        "select count(*), min(job_id) from {RELEASED} join job on job.id = job_id and state = 'dead'
         group by job.queue_id, job.cause
         order by 1 desc, 2
         limit :limit"
    );
    let mut query = look.prepare_cached(&sql)?;
    let params = named_params! { ":id": id.get(), ":limit": query::limit(max_relapses) };
    let relapse = |row: &Row<'_>| Ok(Relapse { n: row.get(0)?, sample: row.get(1)? });
    let relapses = query.query_map(params, relapse)?.collect::<rusqlite::Result<_>>()?;
    Ok(Some(TaskReport { task, skipped, fates, relapses }))
}

/// What became of the jobs that a task has put back.
pub(super) fn fates(conn: &Connection, id: TaskId) -> rusqlite::Result<Fates> {
    let sql = format!(
        "select state, count(*) from {RELEASED} left join job on job.id = job_id and job.state <> 'dropped' group by state"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query(named_params! { ":id": id.get() })?;
    let mut fates = Fates::default();
    while let Some(row) = rows.next()? {
        let n: usize = row.get(1)?;
        let fate = match row.get::<_, Option<StateKind>>(0)? {
            Some(StateKind::Succeeded) => &mut fates.n_succeeded,
            Some(StateKind::Dead) => &mut fates.n_relapsed,
            Some(StateKind::Cancelled) => &mut fates.n_cancelled,
            None => &mut fates.n_forgotten,
            Some(
                StateKind::Blocked | StateKind::Scheduled | StateKind::Ready | StateKind::Running | StateKind::Retrying,
            ) => &mut fates.n_under_way,
        };
        *fate += n;
    }
    Ok(fates)
}

/// Has a task wait, go on, or end.
pub(super) fn direct(tx: &Txn<'_>, id: TaskId, how: Direction, now: Timestamp) -> Result<Directed> {
    let Some(found) = task(tx, id).explain(tx.path())? else { return Ok(Directed::Unknown) };
    let found = Box::new(found);
    match (how, found.phase) {
        (Direction::Cancel, Phase::Cancelled) | (Direction::Pause, Phase::Paused) => {
            return Ok(Directed::Unchanged(found));
        }
        (_, phase) if phase.is_final() => return Ok(Directed::Ended(found)),
        (Direction::Resume, Phase::Sampling | Phase::Releasing) => return Ok(Directed::Unchanged(found)),
        (_, _) => {}
    }
    let sql = match how {
        Direction::Pause => "update task set paused_at = :now where id = :id",
        // Its time stood still. Where the clock was set back meanwhile, that was no time at all.
        Direction::Resume => {
            "update task
             set started_at = started_at + max(:now - paused_at, 0), released_at = null, paused_at = null
             where id = :id"
        }
        Direction::Cancel => "update task set phase = 'cancelled', ended_at = :now where id = :id",
    };
    let params = named_params! { ":id": id.get(), ":now": now };
    tx.prepare_cached(sql).and_then(|mut update| update.execute(params)).explain(tx.path())?;
    let changed = task(tx, id).explain(tx.path())?.expect("it was there in this transaction");
    Ok(Directed::Changed(Box::new(changed)))
}

/// A task that need not be kept: the first of those that ended too long ago, or before too many others.
pub(super) fn outlived(conn: &Connection, now: Timestamp) -> rusqlite::Result<Option<i64>> {
    if !Annex::Tasks.is_in(conn)? {
        return Ok(None);
    }
    let sql = "select id from task
        where ended_at is not null
          and (ended_at < :before
            or (select count(*) from task as later where later.ended_at is not null and later.id > task.id) >= :max)
        order by id
        limit 1";
    let params = named_params! { ":before": now.minus(KEPT), ":max": query::limit(MAX_KEPT) };
    conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()
}

/// Forgets such a task; answers how many.
pub(super) fn forget(tx: &Txn<'_>, now: Timestamp) -> Result<usize> {
    let Some(id) = outlived(tx, now).explain(tx.path())? else { return Ok(0) };
    for sql in ["delete from task_job where task_id = :id", "delete from task where id = :id"] {
        tx.prepare_cached(sql).and_then(|mut delete| delete.execute(named_params! { ":id": id })).explain(tx.path())?;
    }
    Ok(1)
}
