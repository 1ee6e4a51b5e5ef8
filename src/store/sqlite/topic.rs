//! Topics: which subscriptions get an event, what is on record, and what of it is forgotten.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use serde::{Deserialize, Serialize};

use super::row::{self, Explain as _};
use super::schema::Annex;
use super::transaction::Txn;
use crate::clock::{self, Timestamp};
use crate::job::{LogRetention, ONE, QueueName, REST, Topic, TopicPattern, TopicTally, Where};
use crate::store::Result;

/// How many events one transaction forgets at the most.
const PORTION: usize = 500;

/// To whom an event is delivered.
pub(super) struct Subscriber {
    pub(super) id: i64,
    pub(super) queue_id: i64,
    pub(super) queue: QueueName,
    pub(super) only: Option<Where>,
}

/// A subscriber from the first four columns. By number: to look each name up would be a tenth of a publish to a hundred
/// subscriptions.
pub(super) fn subscriber(row: &Row<'_>) -> rusqlite::Result<Subscriber> {
    Ok(Subscriber { id: row.get(0)?, queue_id: row.get(1)?, queue: row.get(2)?, only: row::map(row, 3)? })
}

/// A subscription that gets the events of a topic.
pub(super) struct Matched {
    pub(super) to: Subscriber,
    pub(super) is_paused: bool,
    /// Whether there are older ones that it is still to get.
    pub(super) is_behind: bool,
}

/// The subscriptions that get the events of a topic, the oldest first.
///
/// The index of patterns serves as a tree: at each token one looks whether any pattern goes on with the token itself
/// or with `*`, and which end there. Patterns that have nothing to do with the topic are not looked at.
pub(super) fn matched(conn: &Connection, topic: &Topic) -> rusqlite::Result<Vec<Matched>> {
    let tokens: Vec<&str> = topic.tokens().collect();
    let mut found = Vec::new();
    let mut ways = vec![String::new()];
    for (place, token) in tokens.iter().enumerate() {
        let mut further = Vec::new();
        for way in ways {
            found.extend(with_pattern(conn, &format!("{way}{REST}"))?);
            for step in [*token, ONE] {
                let pattern = format!("{way}{step}");
                if place + 1 == tokens.len() {
                    found.extend(with_pattern(conn, &pattern)?);
                } else if goes_on(conn, &pattern)? {
                    further.push(format!("{pattern}."));
                }
            }
        }
        ways = further;
    }
    found.sort_by_key(|matched| matched.to.id);
    Ok(found)
}

fn with_pattern(conn: &Connection, pattern: &str) -> rusqlite::Result<Vec<Matched>> {
    conn.prepare_cached(WITH_PATTERN_SQL)?.query_map(named_params! { ":pattern": pattern }, row_matched)?.collect()
}

const WITH_PATTERN_SQL: &str =
    "select subscription.id, queue_id, queue.name, only_where, subscription.paused_at is not null,
      next_event is not null
    from subscription join queue on queue.id = queue_id
    where pattern = :pattern";

fn row_matched(row: &Row<'_>) -> rusqlite::Result<Matched> {
    Ok(Matched { to: subscriber(row)?, is_paused: row.get(4)?, is_behind: row.get(5)? })
}

/// Whether there is a pattern that begins with these tokens and has more. `/` is what follows the dot.
fn goes_on(conn: &Connection, tokens: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached(GOES_ON_SQL)?.query_row(named_params! { ":tokens": tokens }, |row| row.get(0))
}

const GOES_ON_SQL: &str =
    "select exists (select 1 from subscription where pattern > :tokens || '.' and pattern < :tokens || '/')";

/// The number of a topic, which is made if there is none of this name.
pub(super) fn topic_id(tx: &Txn<'_>, name: &str) -> Result<i64> {
    let mut query = tx.prepare_cached("select id from topic where name = :name").explain(tx.path())?;
    let known = query.query_row(named_params! { ":name": name }, |row| row.get(0)).optional().explain(tx.path())?;
    match known {
        Some(id) => Ok(id),
        None => {
            let mut insert = tx.prepare_cached("insert into topic (name) values (:name)").explain(tx.path())?;
            insert.insert(named_params! { ":name": name }).explain(tx.path())
        }
    }
}

/// Every topic, for whoever looks the whole file through.
pub(super) const ALL_SQL: &str = "select id, name, n, bytes, last_at, settings from topic";

/// Every topic that has anything on record or was set.
pub(super) fn topics(conn: &Connection) -> rusqlite::Result<Vec<TopicTally>> {
    if !Annex::Topics.is_in(conn)? {
        return Ok(Vec::new());
    }
    let sql = "select name, n, bytes, last_at, settings from topic where n > 0 or settings is not null order by name";
    conn.prepare_cached(sql)?.query_map([], tally)?.collect()
}

/// What a topic has on record, from the columns of [`ALL_SQL`].
pub(super) fn tally(row: &Row<'_>) -> rusqlite::Result<TopicTally> {
    let settings: Option<String> = row.get("settings")?;
    let keep = settings.map(|column| serde_json::from_str::<StoredKeep>(&column)).transpose();
    Ok(TopicTally {
        name: row.get("name")?,
        events: row.get("n")?,
        bytes: row.get("bytes")?,
        last_at: row.get("last_at")?,
        keep: keep.map_err(|error| row::bad_column(Box::new(error)))?.unwrap_or_default().into(),
    })
}

/// How long events are kept, as it is stored: milliseconds, and -1 for without limit.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredKeep {
    #[serde(skip_serializing_if = "Option::is_none")]
    keep: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<i64>,
}

impl From<LogRetention> for StoredKeep {
    fn from(from: LogRetention) -> Self {
        let count = |limit: Option<Option<u64>>| {
            limit.map(|limit| limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX)))
        };
        Self {
            keep: from.keep.map(|keep| keep.map_or(-1, clock::millis)),
            rows: count(from.rows),
            bytes: count(from.bytes),
        }
    }
}

impl From<StoredKeep> for LogRetention {
    fn from(stored: StoredKeep) -> Self {
        let count = |stored: Option<i64>| stored.map(|n| u64::try_from(n).ok());
        Self {
            keep: count(stored.keep).map(|keep| keep.map(Duration::from_millis)),
            rows: count(stored.rows),
            bytes: count(stored.bytes),
        }
    }
}

/// Sets what is kept of the topics of a pattern; where it says nothing, what was set stays.
pub(super) fn keep(tx: &Txn<'_>, pattern: &TopicPattern, keep: LogRetention) -> Result<()> {
    Annex::Topics.build(tx).explain(tx.path())?;
    let id = topic_id(tx, pattern.as_str())?;
    let sql = "select name, n, bytes, last_at, settings from topic where id = :id";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    let known = query.query_row(named_params! { ":id": id }, tally).explain(tx.path())?.keep;
    let column = serde_json::to_string(&StoredKeep::from(keep.or(known))).expect("numbers are always JSON");
    let mut update = tx.prepare_cached("update topic set settings = :settings where id = :id").explain(tx.path())?;
    update.execute(named_params! { ":id": id, ":settings": column }).explain(tx.path())?;
    Ok(())
}

/// What is kept of a topic. A name that is none is a pattern's, and has no events.
fn kept(topics: &[TopicTally], topic: &TopicTally) -> LogRetention {
    let kept = Topic::new(&topic.name).map(|name| LogRetention::set_for(&name, topics));
    kept.unwrap_or_default().or(LogRetention::DEFAULT)
}

/// Events that are no longer to be kept, at most `limit`.
///
/// Of each topic the oldest ones are looked at until one is to be kept.
pub(super) fn outlived(conn: &Connection, limit: usize, now: Timestamp) -> rusqlite::Result<Vec<i64>> {
    let topics = topics(conn)?;
    let mut ids = Vec::new();
    for topic in topics.iter().filter(|topic| topic.events > 0) {
        if ids.len() >= limit {
            break;
        }
        oldest(conn, topic, kept(&topics, topic), (limit, now), &mut ids)?;
    }
    Ok(ids)
}

fn oldest(
    conn: &Connection,
    topic: &TopicTally,
    keep: LogRetention,
    (limit, now): (usize, Timestamp),
    ids: &mut Vec<i64>,
) -> rusqlite::Result<()> {
    let before = keep.keep.flatten().map(|keep| now.minus(keep));
    let (mut n, mut bytes) = (topic.events, topic.bytes);
    let sql = "select event.id, published_at, bytes, coalesce(key_until > :now, 0) as has_key
        from event
        where topic_id = (select id from topic where name = :name) and is_forgotten = 0
        order by event.id";
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query(named_params! { ":name": topic.name, ":now": now })?;
    while ids.len() < limit
        && let Some(row) = rows.next()?
    {
        let is_old = before.is_some_and(|before| row.get(1).is_ok_and(|at: Timestamp| at < before));
        let is_over =
            keep.rows.flatten().is_some_and(|rows| n > rows) || keep.bytes.flatten().is_some_and(|limit| bytes > limit);
        if !is_old && !is_over {
            break;
        }
        n -= 1;
        bytes = bytes.saturating_sub(row.get(2)?);
        if !row.get::<_, bool>(3)? {
            ids.push(row.get(0)?);
        }
    }
    Ok(())
}

/// Forgets a portion of the events that are no longer to be kept; answers how many.
pub(super) fn forget(tx: &Txn<'_>, now: Timestamp) -> Result<usize> {
    let ids = outlived(tx, PORTION, now).explain(tx.path())?;
    for &id in &ids {
        forget_one(tx, id).explain(tx.path())?;
    }
    // Events that jobs still have may outlive their topic: nobody asks for it any more.
    let sql = "delete from topic where n = 0 and settings is null";
    tx.prepare_cached(sql).and_then(|mut delete| delete.execute([])).explain(tx.path())?;
    Ok(ids.len())
}

/// An event that jobs still have stays until the last of them goes, and is on record no longer.
fn forget_one(tx: &Txn<'_>, id: i64) -> rusqlite::Result<()> {
    let params = named_params! { ":id": id };
    for sql in [
        "update topic set n = n - 1, bytes = bytes - (select bytes from event where id = :id)
         where id = (select topic_id from event where id = :id)",
        "update event set is_forgotten = 1, key = null where id = :id",
    ] {
        tx.prepare_cached(sql)?.execute(params)?;
    }
    drop_unneeded(tx, id)
}

/// Notes that a job no longer has its event.
pub(super) fn give_up(tx: &Txn<'_>, event: i64) -> rusqlite::Result<()> {
    let sql = "update event set deliveries = deliveries - 1 where id = :id";
    tx.prepare_cached(sql)?.execute(named_params! { ":id": event })?;
    drop_unneeded(tx, event)
}

fn drop_unneeded(tx: &Txn<'_>, id: i64) -> rusqlite::Result<()> {
    let sql = "delete from event where id = :id and is_forgotten = 1 and deliveries <= 0 returning payload_id";
    let mut delete = tx.prepare_cached(sql)?;
    let payload: Option<Option<i64>> = delete.query_row(named_params! { ":id": id }, |row| row.get(0)).optional()?;
    if let Some(payload) = payload.flatten() {
        let sql = "delete from payload where id = :id";
        tx.prepare_cached(sql)?.execute(named_params! { ":id": payload })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::store::Access;
    use crate::store::sqlite::schema;

    /// How many steps SQLite takes to find who gets a topic, where so many others get something else.
    fn steps(n_others: i64) -> (usize, i32) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("queue.db");
        let mut conn = Connection::open(&path).expect("a file");
        schema::ensure(&mut conn, &path, Access::Create).expect("a schema");
        Annex::Topics.build(&conn).expect("its tables");
        conn.execute("insert into queue (id, name) values (1, 'q')", []).expect("a queue");
        let insert = "insert into subscription
            (name, pattern, queue_id, created_at, own, context_id, priority, max_attempts)
            values (:name, :pattern, 1, 0, '{}', 1, 0, 5)";
        let subscribe = |name: String, pattern: &str| {
            conn.execute(insert, named_params! { ":name": name, ":pattern": pattern }).expect("a subscription");
        };
        for n in 0..n_others {
            let other =
                ["order.new.x{}", "order.x{}", "x{}.new", "*.x{}.*", "order.new.eu.x{}", "x{}.>", "order.*.x{}.>"];
            subscribe(format!("other-{n}"), &other[n as usize % other.len()].replace("{}", &n.to_string()));
        }
        for pattern in ["order.new.eu", "order.*.eu", "*.new.>", ">"] {
            subscribe(pattern.to_owned(), pattern);
        }
        let topic = Topic::new("order.new.eu").expect("a topic");
        let n_matched = matched(&conn, &topic).expect("a look").len();
        let n_steps = [WITH_PATTERN_SQL, GOES_ON_SQL]
            .map(|sql| conn.prepare_cached(sql).expect("it is at hand").get_status(StatementStatus::VmStep));
        assert!(n_steps.iter().all(|&n| n > 0), "both were run");
        (n_matched, n_steps.iter().sum())
    }

    #[test]
    fn who_gets_a_topic_is_found_without_looking_at_the_others() {
        // So few that each place in the tree is there in both.
        let (n_matched, few) = steps(10);
        assert_eq!((n_matched, few), (4, few));
        assert_eq!(steps(2000), (4, few));
    }
}
