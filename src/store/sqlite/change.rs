//! What people do to jobs and queues: cancel, retry, drop, pause, set.

use rusqlite::{OptionalExtension as _, named_params};

use super::push::{free_key, queue_id};
use super::row::{self, Explain as _};
use super::settle::piece_ids;
use super::terms;
use super::transaction::Txn;
use crate::clock::Timestamp;
use crate::job::{JobId, QueueName, QueueSettings, StateKind};
use crate::store::{Cancelled, Result, Retried};

/// What a change must know of a job.
struct Found {
    queue_id: i64,
    state: StateKind,
    key: Option<String>,
}

fn find(tx: &Txn<'_>, id: JobId) -> Result<Option<Found>> {
    let sql = "select queue_id, state, key from job where id = :id";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    query
        .query_row(named_params! { ":id": id }, |row| {
            Ok(Found { queue_id: row.get("queue_id")?, state: row.get("state")?, key: row.get("key")? })
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

/// Puts a job that stands in one of `states` back. It takes its key again unless a newer job has it.
pub(super) fn retry(tx: &Txn<'_>, id: JobId, states: &[StateKind], now: Timestamp) -> Result<Retried> {
    let Some(found) = find(tx, id)? else { return Ok(Retried::Unknown) };
    if !states.contains(&found.state) {
        return Ok(Retried::WrongState(found.state));
    }
    if let Some(holder) = newer_holder(tx, id, &found, now)? {
        return Ok(Retried::KeyTaken(holder));
    }
    let sql = "update job
        set state = 'ready', run_at = :now, attempt = 0, crashes = 0, finished_at = null, expires_at = null,
            reason = null, cancel_requested = 0, key_holds = iif(key is null, null, 1)
        where id = :id";
    let mut update = tx.prepare_cached(sql).explain(tx.path())?;
    update.execute(named_params! { ":id": id, ":now": now }).explain(tx.path())?;
    tx.count(found.queue_id, found.state, -1);
    tx.count(found.queue_id, StateKind::Ready, 1);
    Ok(Retried::Ready)
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

/// Forgets those of `ids` that are dead; answers which.
pub(super) fn drop_dead(tx: &Txn<'_>, ids: &[JobId]) -> Result<Vec<JobId>> {
    let mut dropped = Vec::new();
    for &id in ids {
        if let Some(Found { queue_id, state: StateKind::Dead, .. }) = find(tx, id)? {
            erase(tx, id)?;
            tx.count(queue_id, StateKind::Dead, -1);
            dropped.push(id);
        }
    }
    Ok(dropped)
}

/// Removes the rows of a job from every table. The counters are the caller's.
pub(super) fn erase(tx: &Txn<'_>, id: JobId) -> Result<()> {
    let (first, end) = piece_ids(id);
    for sql in [
        "delete from payload where id = (select payload_id from job where id = :id)",
        "delete from label where (name, value, job_id) in (
           select name, value, :id from (select key as name, value from json_each((select labels from job where id = :id))))",
        "delete from attempt where job_id = :id",
        "delete from job where id = :id",
    ] {
        tx.prepare_cached(sql).and_then(|mut delete| delete.execute(named_params! { ":id": id })).explain(tx.path())?;
    }
    let mut delete = tx.prepare_cached("delete from output where id >= :first and id < :end").explain(tx.path())?;
    delete.execute(named_params! { ":first": first, ":end": end }).explain(tx.path())?;
    Ok(())
}

/// Pauses or resumes a queue; answers whether that changed anything.
pub(super) fn pause(tx: &Txn<'_>, queue: &QueueName, is_paused: bool, now: Timestamp) -> Result<Option<bool>> {
    let mut query =
        tx.prepare_cached("select paused_at is not null from queue where name = :name").explain(tx.path())?;
    let was_paused: Option<bool> =
        query.query_row(named_params! { ":name": queue }, |row| row.get(0)).optional().explain(tx.path())?;
    let Some(was_paused) = was_paused else { return Ok(None) };
    if was_paused != is_paused {
        let sql = "update queue set paused_at = iif(:is_paused, :now, null) where name = :name";
        let mut update = tx.prepare_cached(sql).explain(tx.path())?;
        update.execute(named_params! { ":name": queue, ":is_paused": is_paused, ":now": now }).explain(tx.path())?;
    }
    Ok(Some(was_paused != is_paused))
}

/// Changes what a queue has of its own, making it if need be.
pub(super) fn configure(tx: &Txn<'_>, queue: &QueueName, change: &mut dyn FnMut(&mut QueueSettings)) -> Result<()> {
    let id = queue_id(tx, queue)?;
    let mut query = tx.prepare_cached("select settings from queue where id = :id").explain(tx.path())?;
    let mut settings = query.query_row(named_params! { ":id": id }, row::settings).explain(tx.path())?;
    change(&mut settings);
    let mut update = tx.prepare_cached("update queue set settings = :settings where id = :id").explain(tx.path())?;
    update.execute(named_params! { ":id": id, ":settings": terms::settings_column(&settings) }).explain(tx.path())?;
    Ok(())
}
