//! Publishing an event, and the deliveries that subscriptions get of it.
//!
//! A delivery is a job whose payload is the event's. Whoever publishes makes the deliveries for subscriptions that
//! have nothing older to get; the others are noted to be behind, and workers catch up for them (`behind`).

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use serde_json::Value;

use super::push;
use super::row::{self, Explain as _};
use super::schema::Annex;
use super::topic::{self, Matched, Subscriber};
use super::transaction::Txn;
use crate::clock::Timestamp;
use crate::job::{EventId, Labels, NewEvent, StateKind, Topic, Where};
use crate::store::{PublishOutcome, Published, Result};

/// Of more subscriptions than this the deliveries are left to workers: whoever publishes should not wait for them.
const MAX_EAGER: usize = 16;

/// A queue in which so many jobs wait gets no more deliveries before some of them are done with. What nobody works, and
/// what fails and is tried again, grows to this and no further, and does not keep events on record beyond.
pub(super) const MAX_WAITING: i64 = 10_000;

/// The states of jobs that wait. The dead do not: nothing but a decision brings them back, and until it is made a
/// subscription of which many died would get nothing.
const WAITING: [StateKind; 3] = [StateKind::Ready, StateKind::Scheduled, StateKind::Retrying];

/// An event as it is delivered.
pub(super) struct Event<'e> {
    pub(super) id: i64,
    pub(super) topic: &'e Topic,
    pub(super) labels: &'e Labels,
    pub(super) payload_id: Option<i64>,
}

/// Publishes an event.
pub(super) fn publish(tx: &Txn<'_>, event: &NewEvent, now: Timestamp) -> Result<Published> {
    Annex::Topics.build(tx).explain(tx.path())?;
    let topic_id = topic::topic_id(tx, event.topic.as_str())?;
    if let Some(existing) = existing(tx, topic_id, event, now).explain(tx.path())? {
        return Ok(existing);
    }
    let id = tx.next("event")?;
    let payload_id = event.payload.as_deref().map(|body| push::add_payload(tx, body)).transpose()?;
    let as_delivered = Event { id, topic: &event.topic, labels: &event.labels, payload_id };
    let mut published = Published {
        id: EventId::new(id).expect("what follows is positive"),
        outcome: PublishOutcome::Created,
        n_delivered: 0,
        n_left: 0,
        queues: Vec::new(),
    };
    let matched = topic::matched(tx, &event.topic).explain(tx.path())?;
    let is_lazy = event.is_lazy || matched.len() > MAX_EAGER;
    let mut fields = Fields::new(event.payload.as_deref());
    for Matched { to, is_paused, is_behind } in matched {
        let is_wanted = to.only.as_ref().is_none_or(|only| wants(only, &event.labels, &mut fields));
        if !is_wanted {
            continue;
        }
        if is_lazy || is_paused || is_behind || is_full(tx, to.queue_id)? {
            if !is_behind {
                leave(tx, &to, id).explain(tx.path())?;
            }
            published.n_left += 1;
        } else {
            deliver(tx, &to, &as_delivered, now)?;
            published.n_delivered += 1;
        }
        published.queues.push(to.queue);
    }
    insert(tx, (topic_id, &as_delivered), (event, published.n_delivered), now).explain(tx.path())?;
    Ok(published)
}

/// The event that has this one's key; one whose time with it is over has it no longer.
fn existing(tx: &Txn<'_>, topic_id: i64, event: &NewEvent, now: Timestamp) -> rusqlite::Result<Option<Published>> {
    let Some(key) = &event.key else { return Ok(None) };
    let sql = "update event set key = null where topic_id = :topic_id and key = :key and key_until <= :now";
    tx.prepare_cached(sql)?.execute(named_params! { ":topic_id": topic_id, ":key": key, ":now": now })?;
    let sql = "select id, labels is not :labels or (select body from payload where id = payload_id) is not :payload
        from event
        where topic_id = :topic_id and key = :key";
    let params = named_params! {
        ":topic_id": topic_id,
        ":key": key,
        ":labels": row::labels_column(&event.labels),
        ":payload": event.payload,
    };
    let existing = |row: &Row<'_>| {
        let outcome = PublishOutcome::Existing { differs: row.get(1)? };
        Ok(Published { id: row.get(0)?, outcome, n_delivered: 0, n_left: 0, queues: Vec::new() })
    };
    tx.prepare_cached(sql)?.query_row(params, existing).optional()
}

fn insert(
    tx: &Txn<'_>,
    (topic_id, as_delivered): (i64, &Event<'_>),
    (event, n_delivered): (&NewEvent, usize),
    now: Timestamp,
) -> rusqlite::Result<()> {
    let bytes = event.payload.as_ref().map_or(0, Vec::len) as u64;
    let sql = "insert into event (id, topic_id, published_at, key, key_until, labels, payload_id, bytes, deliveries)
        values (:id, :topic_id, :now, :key, :key_until, :labels, :payload_id, :bytes, :deliveries)";
    tx.prepare_cached(sql)?.execute(named_params! {
        ":id": as_delivered.id,
        ":topic_id": topic_id,
        ":now": now,
        ":key": event.key,
        ":key_until": event.key.as_ref().map(|_| event.key_until),
        ":labels": row::labels_column(&event.labels),
        ":payload_id": as_delivered.payload_id,
        ":bytes": bytes,
        ":deliveries": n_delivered as u64,
    })?;
    let sql = "update topic set n = n + 1, bytes = bytes + :bytes, last_at = :now where id = :id";
    tx.prepare_cached(sql)?.execute(named_params! { ":id": topic_id, ":bytes": bytes, ":now": now })?;
    Ok(())
}

/// Notes that a subscription, which had nothing older to get, is still to get an event.
fn leave(tx: &Txn<'_>, to: &Subscriber, event: i64) -> rusqlite::Result<()> {
    let sql = "update subscription set next_event = :event where id = :id";
    tx.prepare_cached(sql)?.execute(named_params! { ":id": to.id, ":event": event })?;
    Ok(())
}

/// Whether as much waits in a queue as may.
pub(super) fn is_full(tx: &Txn<'_>, queue_id: i64) -> Result<bool> {
    Ok(room_left(tx, queue_id)? <= 0)
}

/// How many deliveries a queue has room for, with what this transaction did to it.
pub(super) fn room_left(tx: &Txn<'_>, queue_id: i64) -> Result<i64> {
    let n_counted: i64 = WAITING.iter().map(|&state| tx.counted(queue_id, state)).sum();
    Ok(room(tx, queue_id).explain(tx.path())? - n_counted)
}

/// How many deliveries a queue has room for, as of what was counted when this transaction began.
pub(super) fn room(conn: &Connection, queue_id: i64) -> rusqlite::Result<i64> {
    let sql = "select coalesce(sum(n), 0) from counter
        where queue_id = :queue_id and what in (:ready, :scheduled, :retrying)";
    let [ready, scheduled, retrying] = WAITING.map(StateKind::name);
    let params = named_params! {
        ":queue_id": queue_id,
        ":ready": ready,
        ":scheduled": scheduled,
        ":retrying": retrying,
    };
    let n: i64 = conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?;
    Ok(MAX_WAITING - n)
}

/// Queues the delivery of an event to a subscription.
pub(super) fn deliver(tx: &Txn<'_>, to: &Subscriber, event: &Event<'_>, now: Timestamp) -> Result<()> {
    let id = tx.next("job")?;
    let sql = "insert into job (
          id, queue_id, state, priority, run_at, max_attempts, created_at, context_id, payload_id, is_shell, command,
          env, labels, event_id, topic, subscription
        )
        select :id, queue_id, 'ready', priority, :now, max_attempts, :now, context_id, :payload_id, is_shell, command,
          env, :labels, :event, :topic, name
        from subscription
        where id = :subscription";
    let params = named_params! {
        ":id": id,
        ":now": now,
        ":payload_id": event.payload_id,
        ":labels": row::labels_column(event.labels),
        ":event": event.id,
        ":topic": event.topic.as_str(),
        ":subscription": to.id,
    };
    tx.prepare_cached(sql).and_then(|mut insert| insert.execute(params)).explain(tx.path())?;
    push::add_labels(tx, id, event.labels)?;
    tx.count(to.queue_id, StateKind::Ready, 1);
    Ok(())
}

/// The fields of a payload that is a JSON object, read when they are asked for.
pub(super) struct Fields<'p> {
    payload: Option<&'p [u8]>,
    object: Option<Option<serde_json::Map<String, Value>>>,
}

impl<'p> Fields<'p> {
    /// Those of this payload.
    pub(super) fn new(payload: Option<&'p [u8]>) -> Self {
        Self { payload, object: None }
    }

    /// Whether a field is this text, or this number or word.
    fn is(&mut self, name: &str, value: &str) -> bool {
        let payload = self.payload;
        let object = self.object.get_or_insert_with(|| serde_json::from_slice(payload?).ok());
        match object.as_ref().and_then(|object| object.get(name)) {
            Some(Value::String(text)) => text == value,
            Some(Value::Null) => value == "null",
            Some(Value::Bool(is)) => value == if *is { "true" } else { "false" },
            Some(Value::Number(number)) => number.to_string() == value,
            Some(Value::Array(_) | Value::Object(_)) | None => false,
        }
    }
}

/// Whether a subscription that wants only these gets an event.
pub(super) fn wants(only: &Where, labels: &Labels, fields: &mut Fields<'_>) -> bool {
    only.iter().all(|(name, value)| labels.get(name) == Some(value) || fields.is(name, value))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::{Context, EnvVars, NewSubscription, QueueName, QueueSettings, StartAt, Terms, TopicPattern};
    use crate::store::sqlite::SqliteStore;
    use crate::store::{Access, Serving, Store as _, Topics as _};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000_000);

    /// A queue with two subscriptions to everything.
    fn store() -> (tempfile::TempDir, SqliteStore) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = SqliteStore::open(&folder.path().join("queue.db"), Access::Create).expect("a store");
        for name in ["a", "b"] {
            let name = QueueName::new(name).expect("a name");
            let new = NewSubscription {
                queue: name.clone(),
                name,
                pattern: TopicPattern::new(">").expect("a pattern"),
                only: Where::new(),
                command: None,
                env: EnvVars::new(),
                context: Context { cwd: b"/".to_vec(), env: Vec::new(), terms: Terms::default() },
                own: QueueSettings::default(),
                from: StartAt::New,
                rate: None,
            };
            let _ = store.subscribe(&new, NOW).expect("a subscription");
        }
        (folder, store)
    }

    fn event(is_lazy: bool) -> NewEvent {
        let topic = Topic::new("t").expect("a topic");
        let (key, payload) = (Some("k".to_owned()), Some(b"payload".to_vec()));
        NewEvent { topic, key, key_until: NOW, labels: Labels::new(), payload, is_lazy }
    }

    fn count(store: &SqliteStore, what: &str) -> i64 {
        store.conn.query_row(&format!("select count(*) from {what}"), [], |row| row.get(0)).expect("a count")
    }

    /// How many rows there are of all that a publish writes.
    fn counts(store: &SqliteStore) -> [i64; 4] {
        ["job", "event", "payload", "topic"].map(|what| count(store, what))
    }

    fn fail_at(store: &SqliteStore, what: &str) {
        let sql = format!("create trigger fail before {what} begin select raise(abort, 'a full disk'); end");
        store.conn.execute_batch(&sql).expect("a trigger");
    }

    fn turn(store: &mut SqliteStore) -> Result<()> {
        let serving = Serving::default();
        let worker = crate::job::WorkerId::new(1);
        let turn = crate::store::Turn { worker, settlements: &[], output: &[], serving: &serving, n_wanted: 0 };
        store.turn(&turn, NOW).map(drop)
    }

    #[test]
    fn where_one_delivery_cannot_be_made_nothing_was_published() {
        for place in ["insert on job when new.subscription = 'b'", "insert on event", "update on topic"] {
            let (_folder, mut store) = store();
            fail_at(&store, place);
            store.publish(&event(false), NOW).expect_err("one is refused");
            assert_eq!(counts(&store), [0; 4], "{place}");
            store.conn.execute_batch("drop trigger fail").expect("gone");
            let published = store.publish(&event(false), NOW).expect("now it can be");
            assert_eq!((published.id.get(), published.outcome), (1, PublishOutcome::Created), "its key is not held");
            assert_eq!((counts(&store), store.examine().expect("a look").len()), ([2, 1, 1, 1], 0));
        }
    }

    #[test]
    fn where_the_cursor_cannot_be_moved_nothing_was_delivered() {
        for place in ["update of next_event on subscription when old.name = 'b'", "update of deliveries on event"] {
            let (_folder, mut store) = store();
            store.publish(&event(true), NOW).expect("it is published");
            fail_at(&store, place);
            turn(&mut store).expect_err("one is refused");
            assert_eq!((counts(&store), store.subscriptions().expect("a look")[0].lag), ([0, 1, 1, 1], 1), "{place}");
            store.conn.execute_batch("drop trigger fail").expect("gone");
            turn(&mut store).expect("now it can be");
            turn(&mut store).expect("and once more");
            assert_eq!((counts(&store), store.strays().expect("a look").len()), ([2, 1, 1, 1], 0));
        }
    }

    #[test]
    fn a_payload_is_stored_once_and_goes_with_the_last_that_has_it() {
        let (_folder, mut store) = store();
        store.publish(&event(false), NOW).expect("it is published");
        let ids = [1, 2].map(|id| crate::job::JobId::new(id).expect("a number"));
        assert_eq!(counts(&store), [2, 1, 1, 1]);
        store.prune_events(NOW.plus(Duration::from_secs(8 * 24 * 3600))).expect("it is forgotten");
        assert_eq!(counts(&store), [2, 1, 1, 0], "deliveries are still to have it");
        store.forget(&ids[..1], &StateKind::ALL).expect("gone");
        assert_eq!(counts(&store), [1, 1, 1, 0]);
        store.forget(&ids[1..], &StateKind::ALL).expect("gone");
        assert_eq!(counts(&store), [0; 4]);
    }
}
