//! The first ready job of each served queue, from which a claim takes the first of all.
//!
//! Each queue answers with one seek, however long it is. For a hundred queues that is still a hundred seeks
//! (one statement over all of them makes no fewer), and as many names to compare with what a worker serves.
//! So the answers are kept from one turn to the next: a turn asks only the queues in which it changed
//! something, and all of them again only where somebody else has written. A lone worker pays neither for
//! the backlog nor for the number of queues.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::breaker::Breakers;
use super::schema::Annex;
use crate::clock::Timestamp;
use crate::job::{QueueName, StateKind};
use crate::store::Serving;

/// The first ready job of a queue.
pub(super) const FIRST_SQL: &str = "select priority, id from job indexed by job_ready
    where state = 'ready' and queue_id = :queue_id
    order by priority desc, id
    limit 1";

/// The next ready job of a queue of the same priority as one, and the first of a lower one: whoever is tried next in
/// a queue that its breaker has stopped. It is not simply the first of all, or a job that fails whatever the others do
/// would keep the queue stopped.
pub(super) const NEXT_SQL: [&str; 2] = [
    "select priority, id from job indexed by job_ready
     where state = 'ready' and queue_id = :queue_id and priority = :priority and id > :id
     order by id
     limit 1",
    "select priority, id from job indexed by job_ready
     where state = 'ready' and queue_id = :queue_id and priority < :priority
     order by priority desc, id
     limit 1",
];

/// The jobs that wait for their time, the next to fall due first.
pub(super) const WAITING_SQL: &str = "select run_at, queue_id from job indexed by job_due
    where state in ('scheduled', 'retrying')
    order by run_at";

/// How many waiting jobs of other queues are looked at for when the next of a served one falls due.
const MAX_STRANGERS: usize = 64;

/// What there is to claim, as of a state of the file.
#[derive(Debug)]
pub(super) struct Front {
    /// As of which state of the file, apart from what this connection did itself.
    version: i64,
    /// Whose queues these are.
    serving: Serving,
    /// The first ready job of each of them.
    firsts: BTreeMap<i64, Option<First>>,
    /// When the next waiting job falls due, where that is known.
    next_due: Option<Option<Timestamp>>,
    /// Which tables there are that not every file has.
    annexes: Vec<Annex>,
    /// Of all queues that have one.
    breakers: Breakers,
}

/// A ready job; what is to run first is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct First {
    priority: Reverse<i64>,
    id: i64,
}

impl Front {
    /// What there is to claim now: what is `known` of it, if that still holds.
    ///
    /// The number of the state is asked first: what is read after it can only be newer, and then this is
    /// read again the next time.
    pub(super) fn look(conn: &Connection, known: Option<Self>, serving: &Serving) -> rusqlite::Result<Self> {
        let version = conn.prepare_cached("pragma data_version")?.query_row([], |row| row.get(0))?;
        if let Some(known) = known.filter(|known| known.version == version && known.serving == *serving) {
            return Ok(known);
        }
        let annexes = Annex::among(conn)?;
        let has_breakers = annexes.contains(&Annex::Breakers);
        let breakers = if has_breakers { Breakers::read(conn)? } else { Breakers::default() };
        let firsts = served_queues(conn, serving)?.into_iter();
        let firsts = firsts.map(|queue_id| Ok((queue_id, candidate(conn, queue_id, &breakers)?)));
        let firsts = firsts.collect::<rusqlite::Result<_>>()?;
        Ok(Self { version, serving: serving.clone(), firsts, next_due: None, annexes, breakers })
    }

    /// The breakers, to be told how attempts end, and saved.
    pub(super) fn breakers(&mut self) -> &mut Breakers {
        &mut self.breakers
    }

    /// Whether there may be subscriptions that are to get events.
    pub(super) fn has_topics(&self) -> bool {
        self.annexes.contains(&Annex::Topics)
    }

    /// Whether there may be tasks that are to be carried on.
    pub(super) fn has_tasks(&self) -> bool {
        self.annexes.contains(&Annex::Tasks)
    }

    /// The queue and the number of the job that is to run first. A queue that its breaker has stopped has one only
    /// when it is time for a trial.
    pub(super) fn first(&self, now: Timestamp) -> Option<(i64, i64)> {
        let ready = self.firsts.iter().filter_map(|(&queue_id, first)| Some((first.as_ref()?, queue_id)));
        let first = ready.filter(|&(_, queue_id)| self.breakers.let_in(queue_id, now)).min();
        first.map(|(first, queue_id)| (queue_id, first.id))
    }

    /// Takes note that the first job of a queue was claimed.
    pub(super) fn note_claim(&mut self, queue_id: i64, now: Timestamp) {
        if let Some(Some(first)) = self.firsts.get(&queue_id) {
            self.breakers.note_claim(queue_id, (first.priority.0, first.id), now);
        }
    }

    /// Takes note that the breaker of a queue has stopped it, or lets it go on.
    pub(super) fn follow_breaker(&mut self, conn: &Connection, queue_id: i64) -> rusqlite::Result<()> {
        if let Some(known) = self.firsts.get_mut(&queue_id) {
            *known = candidate(conn, queue_id, &self.breakers)?;
        }
        Ok(())
    }

    /// Takes note that jobs came to stand in these states, or left them.
    pub(super) fn follow(&mut self, conn: &Connection, moved: &BTreeSet<(StateKind, i64)>) -> rusqlite::Result<()> {
        for &(state, queue_id) in moved {
            match state {
                StateKind::Scheduled | StateKind::Retrying => self.next_due = None,
                StateKind::Ready => {
                    if let Some(known) = self.firsts.get_mut(&queue_id) {
                        *known = candidate(conn, queue_id, &self.breakers)?;
                    }
                }
                StateKind::Blocked
                | StateKind::Running
                | StateKind::Succeeded
                | StateKind::Dead
                | StateKind::Cancelled => {}
            }
        }
        Ok(())
    }

    /// When there is next something to do in the served queues: a waiting job falls due, or one is tried.
    pub(super) fn next_due(&mut self, conn: &Connection) -> rusqlite::Result<Option<Timestamp>> {
        let due = self.next_waiting(conn)?;
        Ok(due.into_iter().chain(self.next_trial()).min())
    }

    fn next_trial(&self) -> Option<Timestamp> {
        if self.breakers.are_closed() {
            return None;
        }
        let with_any = self.firsts.iter().filter(|(_, first)| first.is_some());
        with_any.filter_map(|(&queue_id, _)| self.breakers.next_trial(queue_id)).min()
    }

    /// When the next waiting job of the served queues falls due.
    ///
    /// Reads the waiting jobs in order of time until one belongs to these queues; the first nearly
    /// always does, and where a worker serves few of many queues it is bounded by [`MAX_STRANGERS`]:
    /// waking a little early costs one glance.
    fn next_waiting(&mut self, conn: &Connection) -> rusqlite::Result<Option<Timestamp>> {
        if let Some(known) = self.next_due {
            return Ok(known);
        }
        let mut query = conn.prepare_cached(WAITING_SQL)?;
        let mut rows = query.query([])?;
        let mut next = None;
        let mut n_strangers = 0;
        while let Some(row) = rows.next()? {
            let due = row.get(0)?;
            n_strangers += 1;
            if self.firsts.contains_key(&row.get(1)?) || n_strangers == MAX_STRANGERS {
                next = Some(due);
                break;
            }
        }
        self.next_due = Some(next);
        Ok(next)
    }
}

/// The ready job of a queue that may be claimed next: the first, or where its breaker has stopped it the one after that
/// which was tried last.
fn candidate(conn: &Connection, queue_id: i64, breakers: &Breakers) -> rusqlite::Result<Option<First>> {
    let read = |row: &Row<'_>| Ok(First { priority: Reverse(row.get(0)?), id: row.get(1)? });
    if let Some((priority, id)) = breakers.tried(queue_id) {
        let [same, lower] = NEXT_SQL;
        let params = named_params! { ":queue_id": queue_id, ":priority": priority, ":id": id };
        let mut next = conn.prepare_cached(same)?.query_row(params, read).optional()?;
        if next.is_none() {
            let params = named_params! { ":queue_id": queue_id, ":priority": priority };
            next = conn.prepare_cached(lower)?.query_row(params, read).optional()?;
        }
        if next.is_some() {
            return Ok(next);
        }
    }
    conn.prepare_cached(FIRST_SQL)?.query_row(named_params! { ":queue_id": queue_id }, read).optional()
}

/// The queues to claim from: those asked for that are not paused. Resolved by name here, because a
/// pattern in the claim itself would look at every ready row.
fn served_queues(conn: &Connection, serving: &Serving) -> rusqlite::Result<Vec<i64>> {
    let mut query = conn.prepare_cached("select id, name from queue where paused_at is null order by id")?;
    let mut rows = query.query([])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        let name: QueueName = row.get(1)?;
        if serving.includes(&name) {
            ids.push(row.get(0)?);
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::store::Access;
    use crate::store::sqlite::schema;

    /// How many steps SQLite takes to find the first of so many ready jobs, behind as many that are paused.
    fn steps(n_ready: i64) -> i32 {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("queue.db");
        let mut conn = Connection::open(&path).expect("a file");
        schema::ensure(&mut conn, &path, Access::Create).expect("a schema");
        conn.execute(
            "with recursive number(n) as (select 1 union all select n + 1 from number where n < :n)
             insert into job (queue_id, state, priority, run_at, max_attempts, created_at, context_id)
             select 1 + n % 2, 'ready', n % 3, 0, 5, 0, 1 from number",
            named_params! { ":n": 2 * n_ready },
        )
        .expect("jobs");
        let mut query = conn.prepare(FIRST_SQL).expect("a valid statement");
        let id: i64 = query.query_row(named_params! { ":queue_id": 2 }, |row| row.get(1)).expect("a ready job");
        assert_eq!(id, 5, "the first of the highest priority");
        query.get_status(StatementStatus::VmStep)
    }

    #[test]
    fn the_first_job_is_found_without_looking_at_the_others() {
        assert_eq!(steps(10), steps(2000));
    }
}
