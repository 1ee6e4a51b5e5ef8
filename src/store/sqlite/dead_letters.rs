//! The part of the contract that is about dead jobs: which there are.

use std::collections::BTreeMap;

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};

use super::condition::Conditions;
use super::row::Explain as _;
use super::{SqliteStore, death};
use crate::clock::Timestamp;
use crate::job::{Filter, Group, GroupName, JobId, Pattern, QueueName};
use crate::store::{DeadLetters, Result};

impl DeadLetters for SqliteStore {
    fn groups(&mut self, filter: &Filter) -> Result<Vec<Group>> {
        groups(&self.conn, filter).explain(&self.path)
    }

    fn oldest_death(&mut self, queues: &[QueueName]) -> Result<Option<Timestamp>> {
        death::oldest(&self.conn, queues).explain(&self.path)
    }

    fn dead(&mut self, filter: &Filter, limit: usize) -> Result<Vec<JobId>> {
        dead(&self.conn, filter, limit).explain(&self.path)
    }
}

/// The groups of the dead jobs that match, the largest first.
fn groups(conn: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Group>> {
    let look = conn.unchecked_transaction()?;
    let mut groups = death::groups(&look, &filter.queues)?;
    groups.retain(|group| is_meant(filter, group));
    if is_of_single_jobs(filter) {
        let mut counts: BTreeMap<(QueueName, GroupName), (u64, JobId)> = BTreeMap::new();
        each_dead(&look, filter, "queue.name, job.cause", |row| {
            let (id, queue, name): (_, _, Option<GroupName>) = (row.get(0)?, row.get(3)?, row.get(4)?);
            if let Some(name) = name {
                counts.entry((queue, name)).or_insert((0, id)).0 += 1;
            }
            Ok(true)
        })?;
        groups.retain_mut(|group| {
            let found = counts.get(&(group.queue.clone(), group.name.clone()));
            found.is_some_and(|&(n, sample)| {
                (group.n, group.sample) = (n, Some(sample));
                true
            })
        });
        groups.sort_by_key(|group| std::cmp::Reverse((group.n, group.last_at)));
    }
    Ok(groups)
}

/// Whether a group is one of those that are asked for.
fn is_meant(filter: &Filter, group: &Group) -> bool {
    let is_named = filter.groups.is_empty() || filter.groups.contains(&group.name);
    let has_reason = filter.reasons.is_empty() || filter.reasons.contains(&group.reason);
    let exited = |code| filter.exit_codes.iter().any(|codes| codes.contains(&code));
    is_named && has_reason && (filter.exit_codes.is_empty() || group.cause.exit_code.is_some_and(exited))
}

/// Whether something is asked for that jobs of one group may have or not.
fn is_of_single_jobs(filter: &Filter) -> bool {
    let instants = [filter.since, filter.until, filter.ended_since, filter.ended_until];
    let is_of_times = instants.iter().any(Option::is_some);
    !filter.ids.is_empty() || !filter.labels.is_empty() || is_of_times || filter.text.is_some()
}

/// The numbers of dead jobs that match, the last to die first.
fn dead(conn: &Connection, filter: &Filter, limit: usize) -> rusqlite::Result<Vec<JobId>> {
    let mut found = Vec::new();
    each_dead(conn, filter, "null", |row| {
        if found.len() < limit {
            found.push(row.get(0)?);
        }
        Ok(found.len() < limit)
    })?;
    Ok(found)
}

/// Shows each dead job that matches, the last to die first, until the answer is no. The columns are its number, its
/// error and its command where a text is looked for, and those that are named.
fn each_dead(
    conn: &Connection,
    filter: &Filter,
    columns: &str,
    mut show: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let mut conditions = Conditions::default();
    // A few groups are found by themselves; else all that are dead are looked at, in the order in which they died.
    let (from, order) = if filter.groups.is_empty() {
        conditions.add("job.state = 'dead'", [])?;
        ("job indexed by job_dead", "job.finished_at desc, job.id desc")
    } else {
        if !death::is_any(conn)? {
            return Ok(());
        }
        let names = filter.groups.iter().map(|group| group as &dyn ToSql);
        conditions.add(&format!("death.name in ({})", Conditions::marks(filter.groups.len())), names)?;
        if filter.queues.is_empty() {
            conditions.add("death.queue_id in (select id from queue)", [])?;
        } else {
            conditions.add_queues("death.queue_id", &filter.queues)?;
        }
        ("death cross join job on job.id = death.job_id", "death.died_at desc, death.job_id desc")
    };
    let rest = Filter { states: Vec::new(), groups: Vec::new(), ..filter.clone() };
    conditions.add_filter(&rest)?;
    conditions.add_labels(&filter.labels)?;
    let texts = if filter.text.is_none() { "null, null" } else { "job.error, job.command" };
    let sql = format!(
        "select job.id, {texts}, {columns} from {from} join queue on queue.id = job.queue_id {} order by {order}",
        conditions.clause()
    );
    let mut query = conn.prepare(&sql)?;
    let mut rows = query.query(rusqlite::params_from_iter(conditions.values()))?;
    while let Some(row) = rows.next()? {
        let is_found = filter.text.as_ref().map_or(Ok(true), |text| is_in(text, row))?;
        if is_found && !show(row)? {
            break;
        }
    }
    Ok(())
}

/// Whether the text is in the error or the command of a job, which are the second and the third column.
pub(super) fn is_in(text: &Pattern, row: &Row<'_>) -> rusqlite::Result<bool> {
    Ok(text.is_in(row.get_ref(1)?.as_str_or_null()?, row.get_ref(2)?.as_blob_or_null()?))
}
