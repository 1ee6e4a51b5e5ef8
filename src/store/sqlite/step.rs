//! Coming to a step, and how it ended.
//!
//! Every change is fenced as a settlement is: it is made only while the job runs under the very token
//! that whoever asks has. A row is `begun`, `recorded`, `failed` or `sleeping`. What
//! is on record is read and forgotten in `recorded`.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::row::{self, Explain as _};
use super::schema::Annex;
use super::step_file::Folder;
use super::transaction::{Entry, Txn};
use super::{recorded, wish};
use crate::clock::{Moment, Timestamp};
use crate::job::{
    Begun, JobId, Lease, OnUncertain, Printed, StateKind, StepCall, StepEnd, StepOutput, StepPath, StepRefusal,
    StepRun, Token, Wish,
};
use crate::store::{Result, SettledStep, Slept, Standing};

/// A row of `step`, what it printed left out.
struct Found {
    state: Stage,
    seen: Token,
    key: String,
    command: Option<String>,
    input: Option<String>,
    wake_at: Option<Timestamp>,
}

/// What a row says of its state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Begun,
    Recorded,
    Failed,
    Sleeping,
}

impl FromSql for Stage {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "begun" => Ok(Self::Begun),
            "recorded" => Ok(Self::Recorded),
            "failed" => Ok(Self::Failed),
            "sleeping" => Ok(Self::Sleeping),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// Comes to a step.
pub(super) fn begin(
    tx: &Txn<'_>,
    folder: &Folder,
    lease: Lease,
    call: &StepCall,
    now: Timestamp,
) -> Result<Entry<Begun>> {
    Annex::Steps.build(tx).explain(tx.path())?;
    if let Some(refusal) = refusal(tx, lease)? {
        return Ok(Entry::none(Begun::Refused(refusal)));
    }
    let path = match call.is_repeated {
        true => call.path.clone().nth(n_seen(tx, lease, call.path.name()).explain(tx.path())? + 1),
        false => call.path.clone(),
    };
    let Some(found) = find(tx, lease.job, &path).explain(tx.path())? else {
        return insert(tx, lease, (path, call), now).explain(tx.path()).map(Entry::made);
    };
    let is_own = found.seen == lease.token;
    let run = StepRun { path, key: found.key.clone() };
    match (found.state, is_own) {
        (Stage::Recorded, true) => Ok(Entry::none(Begun::Refused(StepRefusal::Twice))),
        (Stage::Recorded, false) if found.input != call.input => {
            Ok(Entry::none(Begun::Refused(StepRefusal::OtherInput)))
        }
        (Stage::Recorded, false) => {
            see(tx, lease, &run.path).explain(tx.path())?;
            let output = recorded::output(tx, folder, lease.job, &run.path)?.expect("the row is there");
            let is_other_command = found.command.is_some_and(|command| command != call.command);
            Ok(Entry::none(Begun::Recorded { path: run.path, output, is_other_command }))
        }
        (Stage::Begun, true) => Ok(Entry::none(Begun::Refused(StepRefusal::Underway))),
        (Stage::Begun, false) => match call.on_uncertain {
            OnUncertain::Rerun => begin_again(tx, lease, (run, call), now).explain(tx.path()).map(Entry::made),
            OnUncertain::Ask => Ok(Entry::none(Begun::Uncertain(run))),
            OnUncertain::Fail => {
                let _ = wish::wish(tx, lease, &Wish::Doubt(run.path.clone()))?;
                Ok(Entry::none(Begun::Uncertain(run)))
            }
        },
        (Stage::Failed | Stage::Sleeping, _) => {
            begin_again(tx, lease, (run, call), now).explain(tx.path()).map(Entry::made)
        }
    }
}

/// Why the attempt may not come to a step, if it may not.
fn refusal(tx: &Txn<'_>, lease: Lease) -> Result<Option<StepRefusal>> {
    let sql = "select cancel_requested, wish from job
        where id = :id and state = 'running' and token = :token and is_taken = 0";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    let params = named_params! { ":id": lease.job, ":token": lease.token };
    let found: Option<(bool, Option<Wish>)> =
        query.query_row(params, |row| Ok((row.get(0)?, row::wish(row)?))).optional().explain(tx.path())?;
    Ok(match found {
        None => Some(StepRefusal::Lost),
        Some((true, _)) => Some(StepRefusal::Cancelled),
        Some((false, Some(Wish::Sleep(_)))) => Some(StepRefusal::Asleep),
        Some((false, _)) => None,
    })
}

/// How many steps of this name the attempt has come to.
fn n_seen(conn: &Connection, lease: Lease, name: &str) -> rusqlite::Result<u32> {
    let sql = "select coalesce(max(occurrence), 0) from step
        where job_id = :job and name = :name and seen = :token";
    let params = named_params! { ":job": lease.job, ":name": name, ":token": lease.token };
    conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))
}

fn find(conn: &Connection, job: JobId, path: &StepPath) -> rusqlite::Result<Option<Found>> {
    let sql = "select state, seen, key, command, input, wake_at from step
        where job_id = :job and name = :name and occurrence = :occurrence";
    let params = named_params! { ":job": job, ":name": path.name(), ":occurrence": path.occurrence() };
    let found = |row: &Row<'_>| {
        Ok(Found {
            state: row.get("state")?,
            seen: row.get("seen")?,
            key: row.get("key")?,
            command: row.get("command")?,
            input: row.get("input")?,
            wake_at: row.get("wake_at")?,
        })
    };
    conn.prepare_cached(sql)?.query_row(params, found).optional()
}

fn insert(
    conn: &Connection,
    lease: Lease,
    (path, call): (StepPath, &StepCall),
    now: Timestamp,
) -> rusqlite::Result<Begun> {
    let sql = "insert into step (
          job_id, name, occurrence, position, state, token, seen, key, command, input, started_at
        ) values (
          :job, :name, :occurrence, (select coalesce(max(position), 0) + 1 from step where job_id = :job),
          'begun', :token, :token, :key, :command, :input, :now
        )";
    conn.prepare_cached(sql)?.execute(named_params! {
        ":job": lease.job,
        ":name": path.name(),
        ":occurrence": path.occurrence(),
        ":token": lease.token,
        ":key": call.key,
        ":command": call.command,
        ":input": call.input,
        ":now": now,
    })?;
    Ok(Begun::Run(StepRun { path, key: call.key.clone() }))
}

/// Begins a step that failed, or whose end nobody knows. What is inside of it is come to anew.
fn begin_again(
    conn: &Connection,
    lease: Lease,
    (run, call): (StepRun, &StepCall),
    now: Timestamp,
) -> rusqlite::Result<Begun> {
    let sql = "update step
        set state = 'begun', token = :token, seen = :token, command = :command, input = :input, started_at = :now,
            ended_at = null, exit_code = null
        where job_id = :job and name = :name and occurrence = :occurrence";
    conn.prepare_cached(sql)?.execute(named_params! {
        ":job": lease.job,
        ":name": run.path.name(),
        ":occurrence": run.path.occurrence(),
        ":token": lease.token,
        ":command": call.command,
        ":input": call.input,
        ":now": now,
    })?;
    let sql = "update step set seen = 0 where job_id = :job and name > :path || '/' and name < :path || '0'";
    conn.prepare_cached(sql)?.execute(named_params! { ":job": lease.job, ":path": run.path.to_string() })?;
    Ok(Begun::Run(run))
}

/// Notes that the attempt came by.
fn see(conn: &Connection, lease: Lease, path: &StepPath) -> rusqlite::Result<()> {
    let sql = "update step set seen = :token where job_id = :job and name = :name and occurrence = :occurrence";
    conn.prepare_cached(sql)?.execute(named_params! {
        ":job": lease.job,
        ":name": path.name(),
        ":occurrence": path.occurrence(),
        ":token": lease.token,
    })?;
    Ok(())
}

/// Puts on record how a step ended, and prolongs the lease of the worker that has the job: it was there a
/// moment ago. Whoever is to be stopped, or sleeps, may still say what it has done.
pub(super) fn end(tx: &Txn<'_>, lease: Lease, path: &StepPath, end: &StepEnd, at: Moment) -> Result<Standing> {
    let standing = match refusal(tx, lease)? {
        Some(StepRefusal::Lost) => return Ok(Standing::Lost),
        Some(StepRefusal::Cancelled) => Standing::CancelRequested,
        _ => Standing::Held,
    };
    close(tx, lease, path, end, at.now).and_then(|()| prolong(tx, lease, at)).explain(tx.path())?;
    if matches!(end, StepEnd::Recorded(_)) {
        absolve(tx, lease.job).explain(tx.path())?;
    }
    Ok(standing)
}

/// Ends a step; a pause that is ended by others has no time left.
fn close(conn: &Connection, lease: Lease, path: &StepPath, end: &StepEnd, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "update step
        set state = :state, token = :token, seen = iif(:state = 'recorded', :token, 0), ended_at = :now,
            exit_code = :exit_code, bytes = :bytes, file = :file, output = :output, wake_at = min(wake_at, :now)
        where job_id = :job and name = :name and occurrence = :occurrence";
    let (state, exit_code, printed) = match end {
        StepEnd::Recorded(printed) => ("recorded", None, Some(printed)),
        StepEnd::Failed(exit_code) => ("failed", *exit_code, None),
    };
    let (bytes, file, output) = columns(printed);
    conn.prepare_cached(sql)?.execute(named_params! {
        ":job": lease.job,
        ":name": path.name(),
        ":occurrence": path.occurrence(),
        ":token": lease.token,
        ":state": state,
        ":now": now,
        ":exit_code": exit_code,
        ":bytes": bytes,
        ":file": file,
        ":output": output,
    })?;
    Ok(())
}

/// A job that gets on is not what its workers die of: those that were lost under it count from here on.
fn absolve(conn: &Connection, job: JobId) -> rusqlite::Result<()> {
    let sql = "update job set crashes = 0 where id = :id and crashes > 0";
    conn.prepare_cached(sql)?.execute(named_params! { ":id": job })?;
    Ok(())
}

fn columns(printed: Option<&Printed>) -> (Option<u64>, Option<&str>, Option<&[u8]>) {
    match printed {
        None => (None, None, None),
        Some(Printed::Bytes(output)) => (Some(output.len() as u64), None, Some(output)),
        Some(Printed::File { name, bytes }) => (Some(*bytes), Some(name), None),
    }
}

fn prolong(conn: &Connection, lease: Lease, at: Moment) -> rusqlite::Result<()> {
    let sql = "update worker
        set heartbeat_at = max(heartbeat_at, :now), lease_until = max(lease_until, :uptime + lease)
        where id = (select worker_id from job where id = :job)";
    let params = named_params! { ":job": lease.job, ":now": at.now, ":uptime": at.uptime };
    conn.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

/// Records a value as what a step printed, unless something is recorded; answers what is.
pub(super) fn set(
    tx: &Txn<'_>,
    folder: &Folder,
    lease: Lease,
    (call, value): (&StepCall, &[u8]),
    at: Moment,
) -> Result<Entry<Begun>> {
    Annex::Steps.build(tx).explain(tx.path())?;
    let path = call.path.clone();
    if let Some(refusal) = refusal(tx, lease)? {
        return Ok(Entry::none(Begun::Refused(refusal)));
    }
    match find(tx, lease.job, &path).explain(tx.path())? {
        Some(found) if found.state == Stage::Recorded => {
            let output = recorded::output(tx, folder, lease.job, &path)?.expect("the row is there");
            Ok(Entry::none(Begun::Recorded { path, output, is_other_command: false }))
        }
        Some(found) if found.state == Stage::Begun && found.seen == lease.token => {
            Ok(Entry::none(Begun::Refused(StepRefusal::Underway)))
        }
        found => {
            if found.is_none() {
                insert(tx, lease, (path.clone(), call), at.now).explain(tx.path())?;
            }
            let recorded = StepEnd::Recorded(Printed::Bytes(value.to_vec()));
            close(tx, lease, &path, &recorded, at.now).and_then(|()| prolong(tx, lease, at)).explain(tx.path())?;
            let output = StepOutput::Bytes(value.to_vec());
            Ok(Entry::made(Begun::Recorded { path, output, is_other_command: false }))
        }
    }
}

/// Records what a step of a job printed that does not run, unless it is recorded. It is of the attempt that
/// ran last.
pub(super) fn settle(
    tx: &Txn<'_>,
    job: JobId,
    (call, value): (&StepCall, &[u8]),
    now: Timestamp,
) -> Result<SettledStep> {
    Annex::Steps.build(tx).explain(tx.path())?;
    let sql = "select state, token from job where id = :id and state <> 'dropped'";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    let params = named_params! { ":id": job };
    let found: Option<(StateKind, Token)> =
        query.query_row(params, |row| Ok((row.get(0)?, row.get(1)?))).optional().explain(tx.path())?;
    let lease = match found {
        None => return Ok(SettledStep::NoJob),
        Some((StateKind::Running, _)) => return Ok(SettledStep::Running),
        Some((_, token)) => Lease { job, token },
    };
    match find(tx, job, &call.path).explain(tx.path())? {
        Some(found) if found.state == Stage::Recorded => return Ok(SettledStep::Before),
        Some(_) => {}
        None => {
            insert(tx, lease, (call.path.clone(), call), now).explain(tx.path())?;
        }
    }
    let recorded = StepEnd::Recorded(Printed::Bytes(value.to_vec()));
    close(tx, lease, &call.path, &recorded, now).explain(tx.path())?;
    Ok(SettledStep::Recorded)
}

/// Comes to a step that lets time pass until `until`, or until when it was to end when it was first come to.
pub(super) fn sleep(
    tx: &Txn<'_>,
    lease: Lease,
    (call, until): (&StepCall, Timestamp),
    now: Timestamp,
) -> Result<Entry<Slept>> {
    Annex::Steps.build(tx).explain(tx.path())?;
    if let Some(refusal) = refusal(tx, lease)? {
        return Ok(Entry::none(Slept::Refused(refusal)));
    }
    let path = call.path.clone().nth(n_seen(tx, lease, call.path.name()).explain(tx.path())? + 1);
    let found = find(tx, lease.job, &path).explain(tx.path())?;
    let is_new = found.is_none();
    if is_new {
        insert(tx, lease, (path.clone(), call), now).explain(tx.path())?;
    }
    let until = found.and_then(|found| found.wake_at).unwrap_or(until);
    let is_over = until <= now;
    lay_down(tx, lease, (&path, until), is_over.then_some(now)).explain(tx.path())?;
    if is_over {
        return Ok(Entry { answer: Slept::Passed, is_on_record: is_new });
    }
    let _ = wish::wish(tx, lease, &Wish::Sleep(until))?;
    Ok(Entry::made(Slept::Until(until)))
}

fn lay_down(
    conn: &Connection,
    lease: Lease,
    (path, until): (&StepPath, Timestamp),
    over_at: Option<Timestamp>,
) -> rusqlite::Result<()> {
    let sql = "update step
        set state = iif(:over_at is null, 'sleeping', 'recorded'), wake_at = :until, seen = :token,
            ended_at = coalesce(ended_at, :over_at), bytes = iif(:over_at is null, null, 0)
        where job_id = :job and name = :name and occurrence = :occurrence";
    conn.prepare_cached(sql)?.execute(named_params! {
        ":job": lease.job,
        ":name": path.name(),
        ":occurrence": path.occurrence(),
        ":token": lease.token,
        ":until": until,
        ":over_at": over_at,
    })?;
    Ok(())
}
