//! Dropping dead jobs so that they can be brought back, and bringing them back.
//!
//! Nothing is moved: a job that is dropped is marked so that every other query passes it by, and all that it left
//! stays where it is. That is one row changed and one written for each, and nothing that could come back otherwise.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::death;
use super::forget;
use super::push::{free_key, queue_id};
use super::row::Explain as _;
use super::schema::Annex;
use super::transaction::Txn;
use crate::clock::Timestamp;
use crate::job::{DropId, DropRecord, JobId, QueueName, Restored, StateKind};
use crate::store::{Dropped, Result};

/// How many jobs one transaction brings back: some hundredths of a second.
const PORTION: usize = 5000;

/// Drops those of `ids` that are dead, onto this record or a new one.
pub(super) fn drop_dead(tx: &Txn<'_>, ids: &[JobId], onto: Option<DropId>, now: Timestamp) -> Result<Dropped> {
    Annex::Dropped.build(tx).explain(tx.path())?;
    let mark = "update job
        set state = 'dropped', queue_id = -queue_id, key_holds = iif(key_holds = 1, 0, null)
        where id = :id and state = 'dead'
        returning -queue_id, cause, finished_at";
    let note = "insert into dropped (drop_id, job_id, dropped_at, queue)
        select :drop, :id, :now, name from queue where id = :queue_id";
    let mut record = onto;
    let mut dropped = Vec::new();
    for &id in ids {
        let mut mark = tx.prepare_cached(mark).explain(tx.path())?;
        let marked: Option<(i64, Option<String>, Timestamp)> = mark
            .query_row(named_params! { ":id": id }, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()
            .explain(tx.path())?;
        let Some((queue_id, cause, died_at)) = marked else { continue };
        if let Some(cause) = cause {
            death::leave(tx, (queue_id, id), cause, died_at).explain(tx.path())?;
        }
        let drop = match record {
            Some(record) => record,
            None => *record.insert(DropId::new(tx.next("drop")?)),
        };
        let params = named_params! { ":drop": drop, ":id": id, ":now": now, ":queue_id": queue_id };
        tx.prepare_cached(note).and_then(|mut note| note.execute(params)).explain(tx.path())?;
        tx.count(queue_id, StateKind::Dead, -1);
        dropped.push(id);
    }
    Ok(Dropped { record, ids: dropped })
}

/// What was dropped, the newest first.
pub(super) fn drops(conn: &Connection) -> rusqlite::Result<Vec<DropRecord>> {
    if !Annex::Dropped.is_in(conn)? {
        return Ok(Vec::new());
    }
    let sql = "select drop_id, min(dropped_at) as at, count(*) as n_jobs from dropped
        group by drop_id
        order by drop_id desc";
    let record =
        |row: &Row<'_>| Ok(DropRecord { id: row.get("drop_id")?, at: row.get("at")?, n_jobs: row.get("n_jobs")? });
    conn.prepare_cached(sql)?.query_map([], record)?.collect()
}

/// Brings back some jobs of a drop, as they were.
pub(super) fn restore(tx: &Txn<'_>, drop: DropId, now: Timestamp) -> Result<Vec<Restored>> {
    if !Annex::Dropped.is_in(tx).explain(tx.path())? {
        return Ok(Vec::new());
    }
    let mut queues = HashMap::new();
    let mut restored = Vec::new();
    for (id, queue) in taken(tx, drop).explain(tx.path())? {
        let queue_id = match queues.get(&queue) {
            Some(&known) => known,
            None => *queues.entry(queue.clone()).or_insert(queue_id(tx, &queue)?),
        };
        restored.push(restore_one(tx, id, queue_id, now)?);
    }
    Ok(restored)
}

/// Takes some jobs off the record, with the names of their queues.
fn taken(conn: &Connection, drop: DropId) -> rusqlite::Result<Vec<(JobId, QueueName)>> {
    let sql = format!("select job_id, queue from dropped where drop_id = :drop order by job_id limit {PORTION}");
    let mut query = conn.prepare_cached(&sql)?;
    let found: Vec<(JobId, QueueName)> = query
        .query_map(named_params! { ":drop": drop }, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    if let Some((last, _)) = found.last() {
        let sql = "delete from dropped where drop_id = :drop and job_id <= :last";
        conn.prepare_cached(sql)?.execute(named_params! { ":drop": drop, ":last": last })?;
    }
    Ok(found)
}

/// Marks a job as dead again. It takes its key again unless another job has it.
fn restore_one(tx: &Txn<'_>, id: JobId, queue_id: i64, now: Timestamp) -> Result<Restored> {
    // A dead job holds its key until a certain time and no longer.
    let sql = "select key from job where id = :id and key_holds = 0 and key_until > :now";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    let key: Option<String> =
        query.query_row(named_params! { ":id": id, ":now": now }, |row| row.get(0)).optional().explain(tx.path())?;
    let holder = match &key {
        Some(key) => holder(tx, queue_id, key, now)?,
        None => None,
    };
    let sql = "update job set state = 'dead', queue_id = :queue_id, key_holds = :key_holds
        where id = :id and state = 'dropped'";
    let key_holds = (key.is_some() && holder.is_none()).then_some(1);
    let params = named_params! { ":id": id, ":queue_id": queue_id, ":key_holds": key_holds };
    tx.prepare_cached(sql).and_then(|mut update| update.execute(params)).explain(tx.path())?;
    tx.count(queue_id, StateKind::Dead, 1);
    death::file_again(tx, id).explain(tx.path())?;
    Ok(Restored { id, holder })
}

/// The job that holds a key.
pub(super) fn holder(tx: &Txn<'_>, queue_id: i64, key: &str, now: Timestamp) -> Result<Option<JobId>> {
    free_key(tx, queue_id, key, now)?;
    let sql = "select id from job where queue_id = :queue_id and key = :key and key_holds = 1";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    query
        .query_row(named_params! { ":queue_id": queue_id, ":key": key }, |row| row.get(0))
        .optional()
        .explain(tx.path())
}

/// The first jobs that were dropped, as far as that was before then, with the drops. These come in the order of
/// their time, so whoever finds none has looked at one row.
pub(super) fn outlived(conn: &Connection, before: Timestamp) -> rusqlite::Result<Vec<(DropId, JobId)>> {
    if !Annex::Dropped.is_in(conn)? {
        return Ok(Vec::new());
    }
    let portion = forget::PORTION;
    let sql = format!("select drop_id, job_id, dropped_at from dropped order by drop_id, job_id limit {portion}");
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, Timestamp>(2)? >= before {
            break;
        }
        found.push((row.get(0)?, row.get(1)?));
    }
    Ok(found)
}

/// Forgets for good the first jobs that were dropped before then; answers how many.
pub(super) fn forget_dropped(tx: &Txn<'_>, before: Timestamp) -> Result<usize> {
    let found = outlived(tx, before).explain(tx.path())?;
    let sql = "delete from dropped where drop_id = :drop and job_id = :id";
    for &(drop, id) in &found {
        forget::erase(tx, id)?;
        let mut delete = tx.prepare_cached(sql).explain(tx.path())?;
        delete.execute(named_params! { ":drop": drop, ":id": id }).explain(tx.path())?;
    }
    Ok(found.len())
}
