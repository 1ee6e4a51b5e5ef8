//! Subscriptions that are behind: what they are still to get of the log is delivered by workers, in order, a portion in
//! each turn, in the transaction that moves them on.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::publish::{Event, Fields, deliver, is_full, room, room_left, wants};
use super::query;
use super::row::{self, Explain as _};
use super::topic::{self, Subscriber};
use super::transaction::Txn;
use crate::clock::Timestamp;
use crate::job::{Labels, Rate, Topic, TopicPattern};
use crate::store::{Result, Serving};

/// How many deliveries one turn makes for a subscription at the most.
const BATCH: usize = 500;

/// How many deliveries one turn makes in all, about: of more than a few subscriptions each gets its share, so that
/// nobody waits long for the write lock however many are behind.
const BATCH_OF_ALL: usize = 2000;

/// The smallest share, which is more only for thousands of subscriptions that are behind at once.
const SMALLEST_SHARE: usize = 8;

/// How many events one turn looks at for each delivery that it may make, at the most.
const LOOKED_AT: usize = 10;

/// A subscription that has still to get events.
struct Behind {
    to: Subscriber,
    pattern: TopicPattern,
    next: i64,
    rate: Option<Rate>,
    /// When it last got some of those.
    delivered_at: Timestamp,
}

impl Behind {
    /// When it may get the next portion: at once without a rate, and where the clock was set back since the last one.
    fn due(&self, now: Timestamp) -> Timestamp {
        match self.rate {
            Some(rate) if self.delivered_at <= now => self.delivered_at.plus(rate.pause()),
            Some(_) | None => now,
        }
    }
}

/// The subscriptions that have still to get events and may, whose queues are served and have room.
fn behind(conn: &Connection, serving: &Serving) -> rusqlite::Result<Vec<Behind>> {
    let mut query = conn.prepare_cached(BEHIND_SQL)?;
    let mut found = query.query_map([], row_behind)?.collect::<rusqlite::Result<Vec<_>>>()?;
    found.retain(|behind| serving.includes(&behind.to.queue));
    let mut with_room = Vec::new();
    for behind in found {
        if room(conn, behind.to.queue_id)? > 0 {
            with_room.push(behind);
        }
    }
    Ok(with_room)
}

/// Of no file without subscriptions that are behind this looks at a row.
const BEHIND_SQL: &str = "select subscription.id, queue_id, queue.name, only_where, next_event, pattern, rate,
      coalesce(delivered_at, 0) as delivered_at
    from subscription indexed by subscription_behind join queue on queue.id = queue_id
    where next_event is not null and subscription.paused_at is null
    order by next_event";

fn row_behind(row: &Row<'_>) -> rusqlite::Result<Behind> {
    Ok(Behind {
        to: topic::subscriber(row)?,
        next: row.get(4)?,
        pattern: row.get("pattern")?,
        rate: row::rate(row)?,
        delivered_at: row.get("delivered_at")?,
    })
}

/// What was delivered to subscriptions that are behind.
#[derive(Default)]
pub(super) struct CaughtUp {
    pub(super) queue_ids: Vec<i64>,
    /// There is more that may be delivered at once.
    pub(super) is_more: bool,
    /// When the next portion may be delivered, where it is not at once.
    pub(super) next_due: Option<Timestamp>,
}

/// Delivers a portion to each subscription that is behind, and moves it on in the same transaction.
pub(super) fn catch_up(tx: &Txn<'_>, serving: &Serving, now: Timestamp) -> Result<CaughtUp> {
    let mut done = CaughtUp::default();
    let behind = behind(tx, serving).explain(tx.path())?;
    let (due, later): (Vec<Behind>, Vec<Behind>) = behind.into_iter().partition(|behind| behind.due(now) <= now);
    let mut next_due = later.iter().map(|behind| behind.due(now)).min();
    let share = (BATCH_OF_ALL / due.len().max(1)).clamp(SMALLEST_SHARE, BATCH);
    for behind in due {
        let (next, n_delivered) = advance(tx, &behind, share, now)?;
        if n_delivered > 0 {
            done.queue_ids.push(behind.to.queue_id);
        }
        if next.is_some() && !is_full(tx, behind.to.queue_id)? {
            let due = behind.rate.map(|rate| now.plus(rate.pause()));
            done.is_more |= due.is_none();
            next_due = next_due.into_iter().chain(due).min();
        }
        let sql = "update subscription
            set next_event = :next, rate = iif(:next is null, null, rate), delivered_at = :now
            where id = :id";
        let params = named_params! { ":id": behind.to.id, ":next": next, ":now": now };
        tx.prepare_cached(sql).and_then(|mut update| update.execute(params)).explain(tx.path())?;
    }
    Ok(CaughtUp { next_due, ..done })
}

/// Delivers to one; answers what it is to get next, and how many it got.
fn advance(tx: &Txn<'_>, behind: &Behind, share: usize, now: Timestamp) -> Result<(Option<i64>, usize)> {
    let room = room_left(tx, behind.to.queue_id)?;
    let portion = behind.rate.map_or(share, |rate| rate.portion(now.since(behind.delivered_at)).min(share));
    let portion = portion.min(usize::try_from(room).unwrap_or(0));
    let (entries, next) = portion_of(tx, behind, portion, share * LOOKED_AT).explain(tx.path())?;
    for entry in &entries {
        let event = Event { id: entry.id, topic: &entry.topic, labels: &entry.labels, payload_id: entry.payload_id };
        deliver(tx, &behind.to, &event, now)?;
        let sql = "update event set deliveries = deliveries + 1 where id = :id";
        let params = named_params! { ":id": entry.id };
        tx.prepare_cached(sql).and_then(|mut update| update.execute(params)).explain(tx.path())?;
    }
    Ok((next, entries.len()))
}

/// The next `n` events that a subscription gets, or as many as are among the next `max_looked_at`, and what comes
/// after them.
///
/// No more is read than that: where a queue is full there is room for one with each job that begins, and to look
/// at thousands each time would make the worker five times as slow.
fn portion_of(
    conn: &Connection,
    behind: &Behind,
    n: usize,
    max_looked_at: usize,
) -> rusqlite::Result<(Vec<Entry>, Option<i64>)> {
    let mut query = conn.prepare_cached(LOG_SQL)?;
    let limit = query::limit(max_looked_at);
    let mut log = query.query_map(named_params! { ":first": behind.next, ":limit": limit }, row_entry)?;
    let (mut wanted, mut n_looked_at, mut last) = (Vec::new(), 0, None);
    while let Some(entry) = log.next().transpose()? {
        (n_looked_at, last) = (n_looked_at + 1, Some(entry.id));
        if !behind.pattern.matches(&entry.topic) || !is_wanted(conn, behind, &entry)? {
            continue;
        }
        if wanted.len() == n {
            return Ok((wanted, Some(entry.id)));
        }
        wanted.push(entry);
    }
    let is_whole = n_looked_at < max_looked_at;
    Ok((wanted, last.filter(|_| !is_whole).map(|last| last + 1)))
}

fn is_wanted(conn: &Connection, behind: &Behind, entry: &Entry) -> rusqlite::Result<bool> {
    let Some(only) = &behind.to.only else { return Ok(true) };
    let sql = "select body from payload where id = :id";
    let params = named_params! { ":id": entry.payload_id };
    let payload: Option<Vec<u8>> = conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()?;
    Ok(wants(only, &entry.labels, &mut Fields::new(payload.as_deref())))
}

/// An event on record, its payload left out.
struct Entry {
    id: i64,
    topic: Topic,
    labels: Labels,
    payload_id: Option<i64>,
}

const LOG_SQL: &str = "select event.id, topic.name as topic, event.labels, event.payload_id
    from event join topic on topic.id = event.topic_id
    where event.id >= :first and event.is_forgotten = 0
    order by event.id
    limit :limit";

fn row_entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get("id")?,
        topic: row.get("topic")?,
        labels: row::labels(row)?,
        payload_id: row.get("payload_id")?,
    })
}

/// When the next portion may be delivered.
pub(super) fn next_delivery(
    conn: &Connection,
    serving: &Serving,
    now: Timestamp,
) -> rusqlite::Result<Option<Timestamp>> {
    Ok(behind(conn, serving)?.iter().map(|behind| behind.due(now)).min())
}
