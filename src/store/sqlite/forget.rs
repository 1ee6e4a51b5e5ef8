//! Forgetting: jobs by their numbers, finished ones by age and by rows, and queues; of the pace of a queue,
//! first when exactly, and then all.
//!
//! What is forgotten goes in portions, so that nobody waits long for the write lock.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, named_params};

use super::breaker;
use super::death;
use super::query;
use super::recorded;
use super::revision;
use super::row::{self, Explain as _};
use super::settle::piece_ids;
use super::subscription;
use super::topic;
use super::transaction::Txn;
use crate::clock::{self, Timestamp};
use crate::job::{JobId, Pace, QueueName, QueueSettings, Retention, StateKind, Tally};
use crate::store::{Removed, Result};

/// How many jobs one transaction of pruning forgets at the most.
pub(super) const PORTION: usize = 500;

/// How long the pace of a queue is remembered.
const PACE_KEPT: Duration = Duration::from_secs(31 * 24 * 3600);

/// After so many rows of pace one transaction folds no further hour. One of a busy queue has some 300; what
/// a month left unfolded is done within the hour, one portion at each look.
const PACE_PORTION: usize = 5000;

/// Forgets those of `ids` that stand in one of `states`; answers which. A key goes with the row that holds it.
pub(super) fn forget(tx: &Txn<'_>, ids: &[JobId], states: &[StateKind]) -> Result<Vec<JobId>> {
    let sql = "select queue_id, state from job where id = :id and state <> 'dropped'";
    let mut forgotten = Vec::new();
    for &id in ids {
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
    death::unfile(tx, id).explain(tx.path())?;
    let mut query = tx.prepare_cached("select event_id from job where id = :id").explain(tx.path())?;
    let event = query.query_row(named_params! { ":id": id }, |row| row.get(0)).optional().explain(tx.path())?;
    let event: Option<i64> = event.flatten();
    revision::drop_own_payload(tx, id, event.is_some()).explain(tx.path())?;
    if let Some(event) = event {
        topic::give_up(tx, event).explain(tx.path())?;
    }
    for sql in [
        "delete from label where (name, value, job_id) in (
           select name, value, :id from (select key as name, value from json_each((select labels from job where id = :id))))",
        "delete from attempt where job_id = :id",
        "delete from job where id = :id",
    ] {
        tx.prepare_cached(sql).and_then(|mut delete| delete.execute(named_params! { ":id": id })).explain(tx.path())?;
    }
    let mut delete = tx.prepare_cached("delete from output where id >= :first and id < :end").explain(tx.path())?;
    delete.execute(named_params! { ":first": first, ":end": end }).explain(tx.path())?;
    revision::erase(tx, id).explain(tx.path())?;
    recorded::erase(tx, id)
}

/// Forgets the oldest finished jobs of a queue that are no longer to be kept, at most `limit`; answers how many.
///
/// They are asked for here, under the write lock: one that was found before it was had may have been retried
/// since, or hold its key.
pub(super) fn prune(tx: &Txn<'_>, queue: &QueueName, keep: &Retention, limit: (usize, Timestamp)) -> Result<usize> {
    let ids = outlived(tx, queue, keep, limit).explain(tx.path())?;
    Ok(forget(tx, &ids, &[StateKind::Succeeded, StateKind::Cancelled])?.len())
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

/// Forgets the pace of slots that nobody asks for any more, and folds those of hours that are long over.
pub(super) fn tidy_pace(tx: &Txn<'_>, queue: &QueueName, now: Timestamp) -> Result<()> {
    let sql = "select id from queue where name = :name";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    let id: Option<i64> =
        query.query_row(named_params! { ":name": queue }, |row| row.get(0)).optional().explain(tx.path())?;
    let Some(queue_id) = id else { return Ok(()) };
    forget_pace(tx, queue_id, now).and_then(|()| fold_pace(tx, queue_id, now)).explain(tx.path())
}

fn forget_pace(conn: &Connection, queue_id: i64, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "delete from pace where queue_id = :queue_id and slot < :before";
    conn.prepare_cached(sql)?.execute(named_params! { ":queue_id": queue_id, ":before": forgotten_before(now) })?;
    Ok(())
}

/// Where an hour begins: one that was folded is remembered for as long as the last of it.
fn forgotten_before(now: Timestamp) -> Timestamp {
    Pace::hour_of(now.minus(PACE_KEPT))
}

/// Adds the slots of each hour that is long over to that of its beginning, the oldest hours first.
///
/// What was written to an hour since, by a clock that had been set back, is added to it in turn.
fn fold_pace(conn: &Connection, queue_id: i64, now: Timestamp) -> rusqlite::Result<()> {
    // One seek for each hour that is remembered, however many lengths it has.
    let sql = "select slot from pace
        where queue_id = :queue_id and slot > :after and slot < :before
        order by slot
        limit 1";
    let mut query = conn.prepare_cached(sql)?;
    let mut after = Timestamp::from_millis(-1);
    let mut n_folded = 0;
    while n_folded < PACE_PORTION {
        let params = named_params! { ":queue_id": queue_id, ":after": after, ":before": Pace::folded_before(now) };
        let Some(slot) = query.query_row(params, |row| row.get::<_, Timestamp>(0)).optional()? else { break };
        let hour = Pace::hour_of(slot);
        if slot == hour {
            after = slot;
        } else {
            after = hour.plus(Pace::HOUR).minus(Duration::from_millis(1));
            n_folded += fold_hour(conn, queue_id, (hour, after))?;
        }
    }
    Ok(())
}

/// Adds the slots of one hour to that of its beginning; answers how many rows they had.
///
/// Counts that cannot be are not added up, because the column might not hold their sum; one at the beginning of
/// the hour becomes the highest that can be.
fn fold_hour(conn: &Connection, queue_id: i64, (hour, last): (Timestamp, Timestamp)) -> rusqlite::Result<usize> {
    let params = named_params! { ":queue_id": queue_id, ":hour": hour, ":last": last };
    let sql = "insert into pace (queue_id, slot, what, took, n)
        select queue_id, :hour, what, took, sum(n) from pace
        where queue_id = :queue_id and slot > :hour and slot <= :last and n between 0 and 1 << 53
        group by what, took
        on conflict (queue_id, slot, what, took) do update set n = min(n + excluded.n, 1 << 53)";
    conn.prepare_cached(sql)?.execute(params)?;
    let sql = "delete from pace
        where queue_id = :queue_id and slot > :hour and slot <= :last and n between 0 and 1 << 53";
    conn.prepare_cached(sql)?.execute(params)
}

/// Whether there is pace to forget or to fold.
///
/// Asked of every queue once a minute, so it takes two seeks: what is to be folded is looked for in the last
/// hour that may be, because that one is looked at while it is the last whenever a worker is there. An older
/// one that was missed, and after which something ended only in the first slot of an hour, waits until more
/// did; until then it costs its rows and changes no count.
pub(super) fn has_untidy_pace(conn: &Connection, queue: &QueueName, now: Timestamp) -> rusqlite::Result<bool> {
    let params = named_params! {
        ":name": queue,
        ":forgotten_before": forgotten_before(now),
        ":folded_before": Pace::folded_before(now),
        ":hour": clock::millis(Pace::HOUR),
    };
    Ok(conn.prepare_cached(UNTIDY_SQL)?.query_row(params, |row| row.get(0)).optional()?.unwrap_or(false))
}

/// Whether the first slot of a queue is to be forgotten, or the last that may be folded is to be.
pub(super) const UNTIDY_SQL: &str = "select exists (
      select 1 from pace where queue_id = queue.id and slot < :forgotten_before
    ) or coalesce((
      select slot % :hour <> 0 from pace
      where queue_id = queue.id and slot >= 0 and slot < :folded_before and n between 0 and 1 << 53
      order by slot desc
      limit 1
    ), false)
    from queue where name = :name";

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
    if let Some(subscription) = subscription::first_of(tx, id).explain(tx.path())? {
        return Ok(Removed::Subscribed(subscription));
    }
    for sql in [
        "delete from pace where queue_id = :id",
        "delete from counter where queue_id = :id",
        "delete from queue where id = :id",
    ] {
        tx.prepare_cached(sql).and_then(|mut delete| delete.execute(named_params! { ":id": id })).explain(tx.path())?;
    }
    death::forget_queue(tx, id).explain(tx.path())?;
    breaker::forget_queue(tx, id).explain(tx.path())?;
    if let Some(beside) = queue.on_dead() {
        // That of its hooks goes along, unless something is in it or set for it.
        remove_unused(tx, &beside)?;
    }
    Ok(Removed::Gone)
}

fn remove_unused(tx: &Txn<'_>, queue: &QueueName) -> Result<()> {
    let sql = "select settings from queue where name = :name";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    let own = query.query_row(named_params! { ":name": queue }, row::settings).optional().explain(tx.path())?;
    if own == Some(QueueSettings::default()) {
        let _ = remove_queue(tx, queue)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;
    use crate::store::sqlite::schema;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    fn conn() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("queue.db");
        let mut conn = Connection::open(&path).expect("a file");
        schema::ensure(&mut conn, &path, Access::Create).expect("a schema");
        conn.execute("insert into queue (id, name) values (1, 'mail'), (2, 'ci')", []).expect("two queues");
        (folder, conn)
    }

    /// Writes what a queue leaves that is busy from one slot to another: 24 lengths in each.
    fn keep_busy(conn: &Connection, queue_id: i64, (first, last): (i64, i64)) {
        let sql = "with recursive
               slots(at) as (select :first union all select at + 300000 from slots where at < :last),
               lengths(i) as (select 0 union all select i + 1 from lengths where i < 11)
             insert into pace (queue_id, slot, what, took, n)
             select :queue_id, at, what, 512 + 32 * i, 1 + (at / 300000 + i) % 5
             from slots, lengths, (select 'succeeded' as what union all select 'wait')";
        conn.execute(sql, named_params! { ":queue_id": queue_id, ":first": first, ":last": last }).expect("rows");
    }

    fn n_rows(conn: &Connection, queue_id: i64) -> usize {
        conn.query_row("select count(*) from pace where queue_id = ?1", [queue_id], |row| row.get(0)).expect("a count")
    }

    fn pace(conn: &Connection, since: i64, now: i64) -> Vec<(QueueName, Pace)> {
        let [since, now] = [since, now].map(Timestamp::from_millis);
        query::pace(conn, Pace::counted_from(since, now)).expect("a look")
    }

    /// The same, but for the course of what ended.
    fn lengths(conn: &Connection, since: i64, now: i64) -> Vec<(QueueName, Pace)> {
        let mut all = pace(conn, since, now);
        all.iter_mut().for_each(|(_, pace)| pace.ended.clear());
        all
    }

    fn is_untidy(conn: &Connection, now: i64) -> bool {
        let queue = QueueName::new("mail").expect("a name");
        has_untidy_pace(conn, &queue, Timestamp::from_millis(now)).expect("a look")
    }

    fn fold(conn: &Connection, now: i64) {
        fold_pace(conn, 1, Timestamp::from_millis(now)).expect("folded");
    }

    #[test]
    fn folded_hours_have_the_same_counts_in_a_tenth_of_the_rows() {
        let (_folder, conn) = conn();
        let now = 1000 * HOUR + 37 * MINUTE;
        keep_busy(&conn, 1, (now / HOUR * HOUR - 26 * HOUR, now / (5 * MINUTE) * (5 * MINUTE)));
        keep_busy(&conn, 2, (now - 3 * HOUR, now - 3 * HOUR));
        let asked = [25 * HOUR, 24 * HOUR, 5 * HOUR, 3 * HOUR, 2 * HOUR + 38 * MINUTE];
        let all = || asked.map(|back| lengths(&conn, now - back, now));
        let lately = || [90 * MINUTE, 2 * HOUR, 2 * HOUR + 37 * MINUTE].map(|back| pace(&conn, now - back, now));
        let before = (all(), lately(), n_rows(&conn, 2));
        assert_eq!((n_rows(&conn, 1), is_untidy(&conn, now)), ((26 * 12 + 8) * 24, true));

        while is_untidy(&conn, now) {
            fold(&conn, now);
        }
        assert_eq!((all(), lately(), n_rows(&conn, 2)), before);
        // What stats of a day read: an hour for each but the last two, and of those every slot.
        assert_eq!(n_rows(&conn, 1), (24 + 2 * 12 + 8) * 24);
        fold(&conn, now);
        assert_eq!((all(), lately()), (before.0, before.1), "once more changes nothing");
    }

    #[test]
    fn one_portion_of_folding_is_bounded() {
        let (_folder, conn) = conn();
        keep_busy(&conn, 1, (0, 100 * HOUR - 5 * MINUTE));
        let before = lengths(&conn, 0, 200 * HOUR);
        fold(&conn, 200 * HOUR);
        let folded_per_hour = 11 * 24;
        let n_hours = PACE_PORTION.div_ceil(folded_per_hour);
        assert_eq!(n_rows(&conn, 1), 100 * 12 * 24 - n_hours * folded_per_hour);
        assert_eq!(lengths(&conn, 0, 200 * HOUR), before);
    }

    #[test]
    fn what_a_clock_that_was_set_back_wrote_is_folded_in_turn() {
        let (_folder, conn) = conn();
        keep_busy(&conn, 1, (10 * HOUR, 13 * HOUR - 5 * MINUTE));
        fold(&conn, 15 * HOUR);
        assert_eq!(n_rows(&conn, 1), 3 * 24);
        keep_busy(&conn, 1, (11 * HOUR + 30 * MINUTE, 11 * HOUR + 40 * MINUTE));
        keep_busy(&conn, 1, (13 * HOUR + 5 * MINUTE, 13 * HOUR + 5 * MINUTE));
        let before = lengths(&conn, 0, 16 * HOUR);
        fold(&conn, 12 * HOUR);
        assert_eq!(n_rows(&conn, 1), (3 + 3 + 1) * 24, "not yet");
        fold(&conn, 16 * HOUR);
        assert_eq!(n_rows(&conn, 1), 4 * 24);
        assert_eq!(lengths(&conn, 0, 16 * HOUR), before);
    }

    #[test]
    fn impossible_counts_stay_for_the_doctor_and_hold_up_nothing() {
        let (_folder, conn) = conn();
        let sql = "insert into pace (queue_id, slot, what, took, n) values
            (1, :slot, 'wait', 1, 9223372036854775807), (1, :slot + 300000, 'wait', 1, 9223372036854775807),
            (1, :slot + 600000, 'wait', 1, 5), (1, -7, 'wait', 1, 1)";
        conn.execute(sql, named_params! { ":slot": 10 * HOUR }).expect("rows");
        fold(&conn, 20 * HOUR);
        let counts = "select group_concat(slot || ': ' || n, ', ') from pace where n > 1 order by slot";
        let counts: String = conn.query_row(counts, [], |row| row.get(0)).expect("counts");
        assert_eq!(counts, "36000000: 9007199254740992, 36300000: 9223372036854775807");
        conn.execute("delete from pace where slot < 0", []).expect("forgotten");
        assert!(!is_untidy(&conn, 20 * HOUR), "nothing that is asked for in vain every minute");
    }
}
