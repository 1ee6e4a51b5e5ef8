//! Forgetting: jobs by their numbers, finished ones by age and by rows, and queues.
//!
//! What is forgotten goes in portions, so that nobody waits long for the write lock.

use rusqlite::{Connection, OptionalExtension as _, named_params};

use super::query;
use super::row::Explain as _;
use super::settle::piece_ids;
use super::transaction::Txn;
use crate::clock::{self, Timestamp};
use crate::job::{JobId, Pace, QueueName, Retention, StateKind, Tally};
use crate::store::{Removed, Result};

/// How many jobs one transaction of pruning forgets at the most.
pub(super) const PORTION: usize = 500;

/// How long the pace of a queue is remembered.
const PACE_KEPT: std::time::Duration = std::time::Duration::from_secs(31 * 24 * 3600);

/// Forgets those of `ids` that stand in one of `states`; answers which.
pub(super) fn forget(tx: &Txn<'_>, ids: &[JobId], states: &[StateKind]) -> Result<Vec<JobId>> {
    let mut forgotten = Vec::new();
    for &id in ids {
        let sql = "select queue_id, state from job where id = :id";
        let mut query = tx.prepare_cached(sql).explain(tx.path())?;
        let found: Option<(i64, StateKind)> = query
            .query_row(named_params! { ":id": id }, |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .explain(tx.path())?;
        if let Some((queue_id, state)) = found.filter(|(_, state)| states.contains(state)) {
            erase(tx, id)?;
            tx.count(queue_id, state, -1);
            forgotten.push(id);
        }
    }
    Ok(forgotten)
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

/// The oldest finished jobs of a queue that are no longer to be kept, at most `limit`.
///
/// A job that still holds its key is kept for as long: it is what makes a second push harmless.
pub(super) fn outlived(
    conn: &Connection,
    queue: &QueueName,
    keep: &Retention,
    (limit, now): (usize, Timestamp),
) -> rusqlite::Result<Vec<JobId>> {
    let sql = "select id from queue where name = :name";
    let id: Option<i64> =
        conn.prepare_cached(sql)?.query_row(named_params! { ":name": queue }, |row| row.get(0)).optional()?;
    let Some(queue_id) = id else { return Ok(Vec::new()) };
    let mut ids = Vec::new();
    if let Some(before) = keep.before {
        ids = oldest(conn, queue_id, before, (limit, now))?;
    }
    if let Some(max_rows) = keep.max_rows.filter(|_| ids.len() < limit) {
        let tally = query::tally(conn, queue_id)?;
        let n_finished = tally.get(StateKind::Succeeded).saturating_add(tally.get(StateKind::Cancelled));
        let n_over = n_finished.saturating_sub(i64::try_from(max_rows).unwrap_or(i64::MAX));
        let n_over = usize::try_from(n_over).unwrap_or(0).min(limit);
        if n_over > ids.len() {
            // The oldest of all, so those found for their age are among them.
            ids = oldest(conn, queue_id, Timestamp::from_millis(i64::MAX), (n_over, now))?;
        }
    }
    Ok(ids)
}

fn oldest(
    conn: &Connection,
    queue_id: i64,
    before: Timestamp,
    (limit, now): (usize, Timestamp),
) -> rusqlite::Result<Vec<JobId>> {
    let params = named_params! {
        ":queue_id": queue_id,
        ":before": before,
        ":now": now,
        ":limit": query::limit(limit),
    };
    conn.prepare_cached(OLDEST_SQL)?.query_map(params, |row| row.get(0))?.collect()
}

/// Finished jobs of a queue, those that ended first before the others.
pub(super) const OLDEST_SQL: &str = "select id from job indexed by job_finished
    where state in ('succeeded', 'cancelled') and queue_id = :queue_id and finished_at < :before
      and (key_holds is null or key_until is null or key_until <= :now)
    order by finished_at
    limit :limit";

/// Forgets the pace of slots that nobody asks for any more.
pub(super) fn forget_pace(tx: &Txn<'_>, queue: &QueueName, now: Timestamp) -> Result<()> {
    let sql = "delete from pace where queue_id = (select id from queue where name = :name) and slot < :before";
    let params = named_params! { ":name": queue, ":before": Pace::slot_of(now.minus(PACE_KEPT)) };
    tx.prepare_cached(sql).and_then(|mut delete| delete.execute(params)).explain(tx.path())?;
    Ok(())
}

/// Whether there is pace to forget.
pub(super) fn has_old_pace(conn: &Connection, queue: &QueueName, now: Timestamp) -> rusqlite::Result<bool> {
    // A slot later than needed, so that this is asked once in a slot and not whenever one ends.
    let before = Pace::slot_of(now.minus(PACE_KEPT)).as_millis() - clock::millis(Pace::SLOT);
    let sql = "select exists (
          select 1 from pace where queue_id = (select id from queue where name = :name) and slot < :before)";
    conn.prepare_cached(sql)?.query_row(named_params! { ":name": queue, ":before": before }, |row| row.get(0))
}

/// Removes a queue that has no jobs.
pub(super) fn remove_queue(tx: &Txn<'_>, queue: &QueueName) -> Result<Removed> {
    let sql = "select id from queue where name = :name";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    let id: Option<i64> =
        query.query_row(named_params! { ":name": queue }, |row| row.get(0)).optional().explain(tx.path())?;
    let Some(id) = id else { return Ok(Removed::Unknown) };
    let tally: Tally = query::tally(tx, id).explain(tx.path())?;
    if !tally.is_zero() {
        return Ok(Removed::NotEmpty(tally));
    }
    for sql in [
        "delete from pace where queue_id = :id",
        "delete from counter where queue_id = :id",
        "delete from queue where id = :id",
    ] {
        tx.prepare_cached(sql).and_then(|mut delete| delete.execute(named_params! { ":id": id })).explain(tx.path())?;
    }
    Ok(Removed::Gone)
}
