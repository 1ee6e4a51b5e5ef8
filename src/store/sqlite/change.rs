//! What people do to jobs and queues: cancel, retry, update, pause, set.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, named_params};

use super::breaker;
use super::death;
use super::push::{find_or_add_context, free_key, queue_id};
use super::query;
use super::recorded;
use super::row::{self, Explain as _};
use super::subscription;
use super::terms;
use super::transaction::Txn;
use crate::clock::Timestamp;
use crate::job::{Due, JobChange, JobId, QueueName, QueueSettings, Revival, StateKind};
use crate::store::{Cancelled, Result, Retried, Updated};

/// What a change must know of a job.
struct Found {
    queue_id: i64,
    state: StateKind,
    key: Option<String>,
    /// What it died of and when, if it is dead.
    died: Option<(String, Timestamp)>,
}

fn find(tx: &Txn<'_>, id: JobId) -> Result<Option<Found>> {
    let sql = "select queue_id, state, key, cause, finished_at from job where id = :id and state <> 'dropped'";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    query
        .query_row(named_params! { ":id": id }, |row| {
            let died = row.get::<_, Option<String>>("cause")?.zip(row.get("finished_at")?);
            Ok(Found { queue_id: row.get("queue_id")?, state: row.get("state")?, key: row.get("key")?, died })
        })
        .optional()
        .explain(tx.path())
}

/// Takes a waiting job back, or asks the worker of a running one to stop it.
pub(super) fn cancel(tx: &Txn<'_>, id: JobId, now: Timestamp) -> Result<Cancelled> {
    let Some(found) = find(tx, id)? else { return Ok(Cancelled::Unknown) };
    match found.state {
        state if state.is_final() => Ok(Cancelled::AlreadyFinal(state)),
        StateKind::Running => {
            let mut ask = tx.prepare_cached("update job set cancel_requested = 1 where id = :id").explain(tx.path())?;
            ask.execute(named_params! { ":id": id }).explain(tx.path())?;
            Ok(Cancelled::Asked)
        }
        from => {
            let sql = "update job
                set state = 'cancelled', finished_at = :now, key_holds = iif(key_until > :now, key_holds, null)
                where id = :id";
            let mut update = tx.prepare_cached(sql).explain(tx.path())?;
            update.execute(named_params! { ":id": id, ":now": now }).explain(tx.path())?;
            tx.count(found.queue_id, from, -1);
            tx.count(found.queue_id, StateKind::Cancelled, 1);
            Ok(Cancelled::AtOnce)
        }
    }
}

/// Puts a job that stands in one of `states` back; answers also its queue, where it was. It takes its key again unless a
/// newer job has it.
pub(super) fn put_back(
    tx: &Txn<'_>,
    id: JobId,
    states: &[StateKind],
    how: &Revival,
    now: Timestamp,
) -> Result<(Retried, Option<i64>)> {
    let Some(found) = find(tx, id)? else { return Ok((Retried::Unknown, None)) };
    if !states.contains(&found.state) {
        return Ok((Retried::WrongState(found.state), None));
    }
    let to = how.to.as_ref().map_or(Ok(found.queue_id), |queue| queue_id(tx, queue))?;
    let there = Found { queue_id: to, ..found };
    if let Some(holder) = newer_holder(tx, id, &there, now)? {
        return Ok((Retried::KeyTaken(holder), None));
    }
    if let Some(path) = &how.from_step
        && !recorded::reset_from(tx, id, path)?
    {
        return Ok((Retried::NoStep, None));
    }
    if let Some((cause, died_at)) = there.died {
        death::leave(tx, (found.queue_id, id), cause, died_at).explain(tx.path())?;
    }
    let (state, run_at) = match how.delay {
        Some(delay) if !delay.is_zero() => (StateKind::Scheduled, now.plus(delay)),
        Some(_) | None => (StateKind::Ready, now),
    };
    let sql = "update job
        set state = :state, run_at = :run_at, queue_id = :to, max_attempts = coalesce(:max_attempts, max_attempts),
            attempt = 0, crashes = 0, snoozes = 0, finished_at = null, expires_at = null,
            reason = null, cause = null, cancel_requested = 0, key_holds = iif(key is null, null, 1)
        where id = :id";
    let params = named_params! {
        ":id": id,
        ":state": state,
        ":run_at": run_at,
        ":to": to,
        ":max_attempts": how.max_attempts,
    };
    tx.prepare_cached(sql).and_then(|mut update| update.execute(params)).explain(tx.path())?;
    tx.count(found.queue_id, there.state, -1);
    tx.count(to, state, 1);
    Ok((Retried::Ready, Some(to)))
}

fn newer_holder(tx: &Txn<'_>, id: JobId, found: &Found, now: Timestamp) -> Result<Option<JobId>> {
    let Some(key) = &found.key else { return Ok(None) };
    free_key(tx, found.queue_id, key, now)?;
    let sql = "select id from job where queue_id = :queue_id and key = :key and key_holds = 1 and id <> :id";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    query
        .query_row(named_params! { ":queue_id": found.queue_id, ":key": key, ":id": id }, |row| row.get(0))
        .optional()
        .explain(tx.path())
}

/// Changes what may still be changed of a job: nothing of one that has ended, and of one that runs
/// not when or where it runs.
pub(super) fn update(tx: &Txn<'_>, id: JobId, change: &JobChange, now: Timestamp) -> Result<Updated> {
    let Some(found) = find(tx, id)? else { return Ok(Updated::Unknown) };
    let moves = change.due.is_some() || change.queue.is_some();
    if found.state.is_final() || (moves && found.state == StateKind::Running) {
        return Ok(Updated::WrongState(found.state));
    }
    if let Some(queue) = &change.queue
        && let Some(holder) = relocate(tx, id, &found, queue, now)?
    {
        return Ok(Updated::KeyTaken(holder));
    }
    if let Some(timeout) = change.timeout {
        set_timeout(tx, id, timeout)?;
    }
    let state = match change.due {
        Some(due) => reschedule(tx, id, due, now)?,
        None => found.state,
    };
    let sql = "update job
        set priority = coalesce(:priority, priority), max_attempts = coalesce(:max_attempts, max_attempts)
        where id = :id";
    let params = named_params! { ":id": id, ":priority": change.priority, ":max_attempts": change.max_attempts };
    tx.prepare_cached(sql).and_then(|mut update| update.execute(params)).explain(tx.path())?;
    Ok(Updated::Done(state))
}

/// Moves a job to another queue; answers the job that holds its key there, if one does.
fn relocate(tx: &Txn<'_>, id: JobId, found: &Found, queue: &QueueName, now: Timestamp) -> Result<Option<JobId>> {
    let to = queue_id(tx, queue)?;
    if to == found.queue_id {
        return Ok(None);
    }
    let there = Found { queue_id: to, state: found.state, key: found.key.clone(), died: None };
    if let Some(holder) = newer_holder(tx, id, &there, now)? {
        return Ok(Some(holder));
    }
    let sql = "update job set queue_id = :to where id = :id";
    tx.prepare_cached(sql)
        .and_then(|mut update| update.execute(named_params! { ":id": id, ":to": to }))
        .explain(tx.path())?;
    tx.count(found.queue_id, found.state, -1);
    tx.count(to, found.state, 1);
    Ok(None)
}

/// Has a waiting job run at another time; answers where it stands then.
fn reschedule(tx: &Txn<'_>, id: JobId, due: Due, now: Timestamp) -> Result<StateKind> {
    let found = find(tx, id)?.expect("it was there in this transaction");
    let (state, run_at) = match due {
        Due::At(at) if at > now && found.state == StateKind::Retrying => (StateKind::Retrying, at),
        Due::At(at) if at > now => (StateKind::Scheduled, at),
        Due::At(_) | Due::Now => (StateKind::Ready, now),
    };
    let sql = "update job set state = :state, run_at = :run_at where id = :id";
    let params = named_params! { ":id": id, ":state": state, ":run_at": run_at };
    tx.prepare_cached(sql).and_then(|mut update| update.execute(params)).explain(tx.path())?;
    tx.count(found.queue_id, found.state, -1);
    tx.count(found.queue_id, state, 1);
    Ok(state)
}

/// Gives a job terms of its own: those that it had, but for the time limit.
fn set_timeout(tx: &Txn<'_>, id: JobId, timeout: Option<Duration>) -> Result<()> {
    // Every job has a context; one that has none is damaged.
    let found = query::context(tx, id).and_then(|found| found.ok_or(rusqlite::Error::QueryReturnedNoRows));
    let (mut context, _) = found.explain(tx.path())?;
    context.terms.timeout = timeout;
    let context_id = find_or_add_context(tx, &context)?;
    let sql = "update job set context_id = :context_id where id = :id";
    tx.prepare_cached(sql)
        .and_then(|mut update| update.execute(named_params! { ":id": id, ":context_id": context_id }))
        .explain(tx.path())?;
    Ok(())
}

/// Pauses or resumes a queue, which its breaker does not stop any more then; answers whether that changed anything.
pub(super) fn pause(tx: &Txn<'_>, queue: &QueueName, is_paused: bool, now: Timestamp) -> Result<Option<bool>> {
    let mut query =
        tx.prepare_cached("select id, paused_at is not null from queue where name = :name").explain(tx.path())?;
    let found = query.query_row(named_params! { ":name": queue }, |row| Ok((row.get(0)?, row.get(1)?)));
    let found: Option<(i64, bool)> = found.optional().explain(tx.path())?;
    let Some((id, was_paused)) = found else { return Ok(None) };
    let was_tripped = !is_paused && breaker::close(tx, id).explain(tx.path())?;
    if was_paused != is_paused {
        let sql = "update queue set paused_at = iif(:is_paused, :now, null) where name = :name";
        let mut update = tx.prepare_cached(sql).explain(tx.path())?;
        update.execute(named_params! { ":name": queue, ":is_paused": is_paused, ":now": now }).explain(tx.path())?;
    }
    Ok(Some(was_paused != is_paused || was_tripped))
}

/// Changes what a queue has of its own, making it if need be.
pub(super) fn configure(tx: &Txn<'_>, queue: &QueueName, change: &mut dyn FnMut(&mut QueueSettings)) -> Result<()> {
    let id = queue_id(tx, queue)?;
    let mut query = tx.prepare_cached("select settings from queue where id = :id").explain(tx.path())?;
    let mut settings = query.query_row(named_params! { ":id": id }, row::settings).explain(tx.path())?;
    let before = settings.clone();
    change(&mut settings);
    let mut update = tx.prepare_cached("update queue set settings = :settings where id = :id").explain(tx.path())?;
    update.execute(named_params! { ":id": id, ":settings": terms::settings_column(&settings) }).explain(tx.path())?;
    breaker::follow_settings(tx, id, (&before, &settings)).explain(tx.path())?;
    if settings.group_by != before.group_by {
        death::refile(tx, id).explain(tx.path())?;
    }
    if let (Some(Some(_)), Some(beside)) = (&settings.on_dead, queue.on_dead()) {
        // Workers learn of it now, and not in the turn that pushes the first hook.
        queue_id(tx, &beside)?;
    }
    subscription::follow_settings(tx, id, &settings)
}
