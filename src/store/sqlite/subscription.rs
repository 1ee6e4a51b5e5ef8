//! Subscriptions: making, listing, pausing, rewinding and removing them.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::push::{find_or_add_context, queue_id};
use super::row::{self, Explain as _};
use super::schema::Annex;
use super::transaction::Txn;
use super::{change, terms, topic};
use crate::clock::Timestamp;
use crate::job::{
    Backlog, Context, EventId, NewSubscription, QueueName, QueueSettings, Rate, StartAt, Subscription, Topic,
    TopicEvent,
};
use crate::store::{Result, Subscribed};

/// Makes a subscription.
pub(super) fn subscribe(tx: &Txn<'_>, new: &NewSubscription, now: Timestamp) -> Result<Subscribed> {
    Annex::Topics.build(tx).explain(tx.path())?;
    if let Some(is_same) = compare(tx, new).explain(tx.path())? {
        return Ok(if is_same { Subscribed::Existing } else { Subscribed::Other });
    }
    let queue_id = queue_id(tx, &new.queue)?;
    let sql = "select settings from queue where id = :id";
    let settings: QueueSettings = tx
        .prepare_cached(sql)
        .and_then(|mut query| query.query_row(named_params! { ":id": queue_id }, row::settings))
        .explain(tx.path())?;
    let context = Context { terms: new.own.terms(&settings), ..new.context.clone() };
    let context_id = find_or_add_context(tx, &context)?;
    let next = first_from(tx, new.from).explain(tx.path())?;
    let (is_shell, command) = row::command_columns(new.command.as_ref());
    let sql = "insert into subscription (
          name, pattern, queue_id, created_at, next_event, rate, only_where, own, context_id, priority, max_attempts,
          is_shell, command, env
        ) values (
          :name, :pattern, :queue_id, :now, :next, :rate, :only, :own, :context_id, :priority, :max_attempts,
          :is_shell, :command, :env
        )";
    let params = named_params! {
        ":name": new.name,
        ":pattern": new.pattern.as_str(),
        ":queue_id": queue_id,
        ":now": now,
        ":next": next,
        ":rate": next.and(new.rate).map(row::rate_column),
        ":only": row::labels_column(&new.only),
        ":own": terms::settings_column(&new.own),
        ":context_id": context_id,
        ":priority": new.own.priority(&settings),
        ":max_attempts": new.own.max_attempts(&settings),
        ":is_shell": is_shell,
        ":command": command,
        ":env": (!new.env.is_empty()).then(|| row::env_column(&new.env)),
    };
    tx.prepare_cached(sql).and_then(|mut insert| insert.execute(params)).explain(tx.path())?;
    Ok(Subscribed::Created)
}

/// Whether the subscription of this name that is there is the same; `None` where none is. Where it began, and
/// which variables it was made among, is past.
fn compare(conn: &Connection, new: &NewSubscription) -> rusqlite::Result<Option<bool>> {
    let sql = "select pattern is :pattern and queue.name is :queue and only_where is :only and own is :own
          and is_shell is :is_shell and command is :command and subscription.env is :env and cwd is :cwd
        from subscription join context on context.id = context_id join queue on queue.id = queue_id
        where subscription.name = :name";
    let (is_shell, command) = row::command_columns(new.command.as_ref());
    let params = named_params! {
        ":name": new.name,
        ":pattern": new.pattern.as_str(),
        ":queue": new.queue,
        ":only": row::labels_column(&new.only),
        ":own": terms::settings_column(&new.own),
        ":is_shell": is_shell,
        ":command": command,
        ":env": (!new.env.is_empty()).then(|| row::env_column(&new.env)),
        ":cwd": new.context.cwd,
    };
    conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()
}

/// Has the subscriptions of a queue take over what was set for it.
pub(super) fn follow_settings(tx: &Txn<'_>, queue_id: i64, settings: &QueueSettings) -> Result<()> {
    if !Annex::Topics.is_in(tx).explain(tx.path())? {
        return Ok(());
    }
    let sql = "select subscription.id, own, cwd, context.env as context_env, terms
        from subscription join context on context.id = context_id
        where queue_id = :queue_id";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    let rows = query.query_map(named_params! { ":queue_id": queue_id }, |row| {
        Ok((row.get::<_, i64>("id")?, own(row)?, row::context(row)?))
    });
    let found = rows.and_then(|rows| rows.collect::<rusqlite::Result<Vec<_>>>()).explain(tx.path())?;
    for (id, own, context) in found {
        let context_id = find_or_add_context(tx, &Context { terms: own.terms(settings), ..context })?;
        let sql = "update subscription
            set context_id = :context_id, priority = :priority, max_attempts = :max_attempts
            where id = :id";
        let params = named_params! {
            ":id": id,
            ":context_id": context_id,
            ":priority": own.priority(settings),
            ":max_attempts": own.max_attempts(settings),
        };
        tx.prepare_cached(sql).and_then(|mut update| update.execute(params)).explain(tx.path())?;
    }
    Ok(())
}

/// The name of a subscription that delivers to a queue.
pub(super) fn first_of(conn: &Connection, queue_id: i64) -> rusqlite::Result<Option<QueueName>> {
    if !Annex::Topics.is_in(conn)? {
        return Ok(None);
    }
    let sql = "select name from subscription where queue_id = :queue_id order by name limit 1";
    conn.prepare_cached(sql)?.query_row(named_params! { ":queue_id": queue_id }, |row| row.get(0)).optional()
}

/// Removes a subscription; answers whether there was one.
pub(super) fn unsubscribe(tx: &Txn<'_>, name: &QueueName) -> Result<bool> {
    if !Annex::Topics.is_in(tx).explain(tx.path())? {
        return Ok(false);
    }
    let sql = "delete from subscription where name = :name";
    let n = tx.prepare_cached(sql).and_then(|mut delete| delete.execute(named_params! { ":name": name }));
    Ok(n.explain(tx.path())? > 0)
}

/// Every subscription.
pub(super) const ALL_SQL: &str =
    "select subscription.id, subscription.name, pattern, queue.name as queue, subscription.paused_at,
      next_event, rate, only_where, created_at, is_shell, command, own, cwd
    from subscription join queue on queue.id = queue_id join context on context.id = context_id";

/// Every subscription, by name.
pub(super) fn subscriptions(conn: &Connection) -> rusqlite::Result<Vec<Subscription>> {
    if !Annex::Topics.is_in(conn)? {
        return Ok(Vec::new());
    }
    let mut query = conn.prepare_cached(&format!("{ALL_SQL} order by subscription.name"))?;
    let mut all = query.query_map([], subscription)?.collect::<rusqlite::Result<Vec<_>>>()?;
    for one in &mut all {
        (one.lag, one.behind_since) = lag(conn, one)?;
    }
    Ok(all)
}

/// The subscriptions to a topic, by name.
pub(super) fn subscribed_to(conn: &Connection, topic: &Topic) -> rusqlite::Result<Vec<Subscription>> {
    if !Annex::Topics.is_in(conn)? {
        return Ok(Vec::new());
    }
    let sql = format!("{ALL_SQL} where subscription.id = :id");
    let mut found = Vec::new();
    for matched in topic::matched(conn, topic)? {
        let mut one = conn.prepare_cached(&sql)?.query_row(named_params! { ":id": matched.to.id }, subscription)?;
        (one.lag, one.behind_since) = lag(conn, &one)?;
        found.push(one);
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// A subscription from those columns; how far it is behind is not known yet.
pub(super) fn subscription(row: &Row<'_>) -> rusqlite::Result<Subscription> {
    Ok(Subscription {
        name: row.get("name")?,
        pattern: row.get("pattern")?,
        only: row::map(row, "only_where")?.unwrap_or_default(),
        queue: row.get("queue")?,
        command: row::command(row)?,
        cwd: row.get("cwd")?,
        own: own(row)?,
        paused_at: row.get("paused_at")?,
        next: row.get::<_, Option<i64>>("next_event")?.and_then(EventId::new),
        rate: row::rate(row)?,
        created_at: row.get("created_at")?,
        lag: 0,
        behind_since: None,
    })
}

fn own(row: &Row<'_>) -> rusqlite::Result<QueueSettings> {
    terms::settings(row.get_ref("own")?.as_str()?).map_err(|error| row::bad_column(Box::new(error)))
}

/// How many events of its topics a subscription is behind, and when the oldest of them was published.
fn lag(conn: &Connection, of: &Subscription) -> rusqlite::Result<(u64, Option<Timestamp>)> {
    let Some(next) = of.next else { return Ok((0, None)) };
    let sql = "select count(*), min(id)
        from event indexed by event_topic
        where topic_id = :topic and is_forgotten = 0 and id >= :next";
    let mut count = conn.prepare_cached(sql)?;
    let (mut lag, mut oldest): (u64, Option<i64>) = (0, None);
    for (id, _) in topics_of(conn, of)? {
        let params = named_params! { ":topic": id, ":next": next.get() };
        let (n, first): (u64, Option<i64>) = count.query_row(params, |row| Ok((row.get(0)?, row.get(1)?)))?;
        lag += n;
        oldest = oldest.into_iter().chain(first).min();
    }
    let mut published = conn.prepare_cached("select published_at from event where id = :id")?;
    let since = published.query_row(named_params! { ":id": oldest }, |row| row.get(0)).optional()?;
    Ok((lag, since))
}

/// The topics with events on record that a subscription gets, with their numbers.
fn topics_of(conn: &Connection, of: &Subscription) -> rusqlite::Result<Vec<(i64, Topic)>> {
    let mut topics = conn.prepare_cached("select id, name from topic where n > 0")?;
    let topics = topics.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.filter_map(std::result::Result::ok);
    Ok(topics.filter(|(_, name)| of.pattern.matches(name)).collect())
}

/// What a subscription has still to get, by topic.
pub(super) fn backlog(conn: &Connection, of: &Subscription) -> rusqlite::Result<Vec<Backlog>> {
    let Some(next) = of.next else { return Ok(Vec::new()) };
    // The bytes are not in the index: for all subscriptions of a list this would read too much.
    let sql = "select count(*), coalesce(sum(bytes), 0)
        from event indexed by event_topic
        where topic_id = :topic and is_forgotten = 0 and id >= :next";
    let mut count = conn.prepare_cached(sql)?;
    let backlog_of = |(id, topic): (i64, Topic)| {
        let params = named_params! { ":topic": id, ":next": next.get() };
        count.query_row(params, |row| Ok(Backlog { topic, events: row.get(0)?, bytes: row.get(1)? }))
    };
    topics_of(conn, of)?.into_iter().map(backlog_of).collect()
}

/// Stops or resumes the deliveries to a subscription; answers whether that changed anything.
pub(super) fn pause(tx: &Txn<'_>, name: &QueueName, is_paused: bool, now: Timestamp) -> Result<Option<bool>> {
    if !Annex::Topics.is_in(tx).explain(tx.path())? {
        return Ok(None);
    }
    let sql = "select subscription.paused_at is not null, queue.name,
          (select count(*) from subscription as other where other.queue_id = subscription.queue_id) = 1 as is_alone
        from subscription join queue on queue.id = queue_id
        where subscription.name = :name";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    let params = named_params! { ":name": name };
    let found: Option<(bool, QueueName, bool)> =
        query.query_row(params, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional().explain(tx.path())?;
    let Some((was_paused, queue, is_alone)) = found else { return Ok(None) };
    // A queue of another name may have other jobs besides.
    if is_alone && queue == *name {
        change::pause(tx, &queue, is_paused, now)?;
    }
    if was_paused != is_paused {
        let sql = "update subscription set paused_at = iif(:is_paused, :now, null) where name = :name";
        let params = named_params! { ":name": name, ":is_paused": is_paused, ":now": now };
        tx.prepare_cached(sql).and_then(|mut update| update.execute(params)).explain(tx.path())?;
    }
    Ok(Some(was_paused != is_paused))
}

/// Moves a subscription to another place in the log; answers its queue.
pub(super) fn rewind(tx: &Txn<'_>, name: &QueueName, to: StartAt, rate: Option<Rate>) -> Result<Option<QueueName>> {
    if !Annex::Topics.is_in(tx).explain(tx.path())? {
        return Ok(None);
    }
    let next = first_from(tx, to).explain(tx.path())?;
    let sql = "update subscription set next_event = :next, rate = :rate, delivered_at = null
        where name = :name
        returning (select name from queue where id = queue_id)";
    let params = named_params! { ":name": name, ":next": next, ":rate": next.and(rate).map(row::rate_column) };
    let mut update = tx.prepare_cached(sql).explain(tx.path())?;
    update.query_row(params, |row| row.get(0)).optional().explain(tx.path())
}

/// The first event from there on that is on record; `None` where there is none.
fn first_from(conn: &Connection, from: StartAt) -> rusqlite::Result<Option<i64>> {
    if !Annex::Topics.is_in(conn)? {
        return Ok(None);
    }
    let (condition, value) = match from {
        StartAt::New => return Ok(None),
        StartAt::All => ("id > :value", 0),
        StartAt::Event(id) => ("id >= :value", id.get()),
        StartAt::Time(at) => ("published_at >= :value", at.as_millis()),
    };
    let sql = format!("select id from event where is_forgotten = 0 and {condition} order by id limit 1");
    conn.prepare_cached(&sql)?.query_row(named_params! { ":value": value }, |row| row.get(0)).optional()
}

/// The number of the first event from there on, else of the next one; and of the last one.
pub(super) fn event_from(conn: &Connection, from: StartAt) -> rusqlite::Result<(EventId, i64)> {
    // One look for both, or what is published between them would be missed.
    let look = conn.unchecked_transaction()?;
    let sql = "select coalesce(max(n), 0) from counter where queue_id = 0 and what = 'event'";
    let last: i64 = look.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let first = first_from(&look, from)?.unwrap_or(last + 1);
    Ok((EventId::new(first).ok_or(rusqlite::Error::QueryReturnedNoRows)?, last))
}

/// Events on record from `first` on.
pub(super) fn events(conn: &Connection, first: EventId, limit: usize) -> rusqlite::Result<Vec<TopicEvent>> {
    if !Annex::Topics.is_in(conn)? {
        return Ok(Vec::new());
    }
    let sql =
        format!("{EVENTS_SQL} where event.id >= :first and event.is_forgotten = 0 order by event.id limit :limit");
    let params = named_params! { ":first": first.get(), ":limit": super::query::limit(limit) };
    conn.prepare_cached(&sql)?.query_map(params, event)?.collect()
}

/// Every event.
pub(super) const EVENTS_SQL: &str = "select event.id, topic.name as topic, key, labels, published_at, payload.body
    from event
    join topic on topic.id = event.topic_id
    left join payload on payload.id = event.payload_id";

/// An event from those columns.
pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<TopicEvent> {
    Ok(TopicEvent {
        id: row.get("id")?,
        topic: row.get("topic")?,
        key: row.get("key")?,
        labels: row::labels(row)?,
        published_at: row.get("published_at")?,
        payload: row.get("body")?,
    })
}
