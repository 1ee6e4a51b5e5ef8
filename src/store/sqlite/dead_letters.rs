//! The part of the contract that is about dead jobs: which there are.

use std::collections::BTreeMap;

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};

use super::condition::Conditions;
use super::row::Explain as _;
use super::{SqliteStore, death, list};
use crate::clock::Timestamp;
use crate::job::{Filter, Group, GroupName, IdRange, JobId, Pattern, QueueName, StateKind};
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
        let mut found = if is_of_times_alone(filter) { BTreeMap::new() } else { by_group(&look, filter)? };
        for group in &mut groups {
            let queue_id = death::queue_id(&look, &group.queue)?;
            let found = if is_of_times_alone(filter) {
                of_group(&look, filter, (queue_id, &group.name), usize::MAX)?
            } else {
                found.remove(&(queue_id, group.name.clone())).unwrap_or_default()
            };
            (group.n, group.sample) = (found.len() as u64, found.iter().max().map(|&(_, id)| id));
        }
        groups.retain(|group| group.n > 0);
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

/// Whether that is only when they died, which the deaths of a group tell by themselves.
fn is_of_times_alone(filter: &Filter) -> bool {
    !is_of_single_jobs(&Filter { ended_since: None, ended_until: None, ..filter.clone() })
}

/// The dead jobs that match, by queue and group, found in one pass: one for each group would come to each page of the
/// jobs again and again.
fn by_group(conn: &Connection, filter: &Filter) -> rusqlite::Result<BTreeMap<(i64, GroupName), Vec<Found>>> {
    let mut conditions = Conditions::default();
    conditions.add("job.state = 'dead' and job.cause is not null", [])?;
    let mut found: BTreeMap<_, Vec<Found>> = BTreeMap::new();
    let jobs = list::tally(conn, &[])?;
    let n_jobs = jobs.iter().map(|(_, n)| n).fold(0, i64::saturating_add);
    // Where most jobs are dead, going through all of them is quicker than from the index to each.
    let is_mostly_dead = jobs.get(StateKind::Dead) > n_jobs / 2;
    let source = if is_mostly_dead { &UNORDERED } else { &ALL };
    source.visit(conn, conditions, (filter, "job.queue_id, job.cause"), |row, one| {
        found.entry((row.get("queue_id")?, row.get("cause")?)).or_default().push(one);
        Ok(true)
    })?;
    Ok(found)
}

/// Whether something is asked for that jobs of one group may have or not.
fn is_of_single_jobs(filter: &Filter) -> bool {
    let instants = [filter.since, filter.until, filter.ended_since, filter.ended_until];
    let is_of_times = instants.iter().any(Option::is_some);
    !filter.ids.is_empty() || !filter.labels.is_empty() || is_of_times || filter.text.is_some()
}

/// A dead job, and when it died.
type Found = (Timestamp, JobId);

/// With more groups than this it is quicker to look at all that are dead.
const MAX_GROUPS: usize = 200;

/// The numbers of dead jobs that match, the last to die first.
fn dead(conn: &Connection, filter: &Filter, limit: usize) -> rusqlite::Result<Vec<JobId>> {
    let look = conn.unchecked_transaction()?;
    let mut found = Vec::new();
    if !filter.ids.is_empty() {
        for &range in &filter.ids {
            found.extend(of_numbers(&look, filter, range, usize::MAX)?);
        }
    } else if let Some(groups) = few_groups(&look, filter)? {
        for (queue_id, name) in &groups {
            found.extend(of_group(&look, filter, (*queue_id, name), limit)?);
        }
    } else {
        let mut conditions = Conditions::default();
        conditions.add("job.state = 'dead'", [])?;
        found = ALL.find(&look, conditions, filter, limit)?;
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    found.dedup();
    Ok(found.into_iter().take(limit).map(|(_, id)| id).collect())
}

/// The groups in which those that match must be, if something is asked for by which they can be told and they are few.
fn few_groups(conn: &Connection, filter: &Filter) -> rusqlite::Result<Option<Vec<(i64, GroupName)>>> {
    let Filter { queues, groups, reasons, exit_codes, .. } = filter;
    if queues.is_empty() && groups.is_empty() && reasons.is_empty() && exit_codes.is_empty() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for group in death::groups(conn, queues)? {
        // Those in one that a job named may have ended in any way.
        let is_named = groups.is_empty() || groups.contains(&group.name);
        if is_meant(filter, &group) || (is_named && !group.name.is_of_cause()) {
            found.push((death::queue_id(conn, &group.queue)?, group.name));
        }
    }
    Ok((!groups.is_empty() || found.len() <= MAX_GROUPS).then_some(found))
}

/// The dead jobs of these numbers that match.
fn of_numbers(conn: &Connection, filter: &Filter, range: IdRange, limit: usize) -> rusqlite::Result<Vec<Found>> {
    let filter = Filter { ids: vec![range], ..filter.clone() };
    let mut conditions = Conditions::default();
    conditions.add("job.state = 'dead'", [])?;
    UNORDERED.find(conn, conditions, &filter, limit)
}

/// The dead jobs of a group that match, at most `limit`.
fn of_group(
    conn: &Connection,
    filter: &Filter,
    (queue_id, name): (i64, &GroupName),
    limit: usize,
) -> rusqlite::Result<Vec<Found>> {
    let mut conditions = Conditions::default();
    conditions.add("death.queue_id = ? and death.name = ?", [&queue_id as &dyn ToSql, name])?;
    let instants = [("death.died_at >= ?", &filter.ended_since), ("death.died_at < ?", &filter.ended_until)];
    for (term, instant) in instants {
        if let Some(instant) = instant {
            conditions.add(term, [instant as &dyn ToSql])?;
        }
    }
    // What all of a group have in common is not asked of each.
    let is_alike = name.is_of_cause();
    let rest = Filter {
        queues: Vec::new(),
        groups: Vec::new(),
        reasons: if is_alike { Vec::new() } else { filter.reasons.clone() },
        exit_codes: if is_alike { Vec::new() } else { filter.exit_codes.clone() },
        ended_since: None,
        ended_until: None,
        ..filter.clone()
    };
    let is_told = rest.reasons.is_empty() && rest.exit_codes.is_empty() && !is_of_single_jobs(&rest);
    let from = if is_told { "death" } else { "death cross join job on job.id = death.job_id" };
    let source = Source { from, id: "death.job_id", died_at: "death.died_at", is_in_order: true };
    source.find(conn, conditions, &rest, limit)
}

/// Where dead jobs are found.
struct Source {
    from: &'static str,
    /// The column of their numbers.
    id: &'static str,
    /// That of the instants.
    died_at: &'static str,
    /// Whether they are found in the order in which they died.
    is_in_order: bool,
}

/// All that are dead, by the index that has them.
const ALL: Source =
    Source { from: "job indexed by job_dead", id: "job.id", died_at: "job.finished_at", is_in_order: true };

/// The same by going through all jobs, in no order.
const UNORDERED: Source = Source { from: "job not indexed", is_in_order: false, ..ALL };

impl Source {
    /// Those that match, at most `limit`, the last to die first. States are not looked at.
    fn find<'v>(
        &self,
        conn: &Connection,
        conditions: Conditions<'v>,
        filter: &'v Filter,
        limit: usize,
    ) -> rusqlite::Result<Vec<Found>> {
        let mut found = Vec::new();
        self.visit(conn, conditions, (filter, "null"), |_, one| {
            found.push(one);
            Ok(found.len() < limit)
        })?;
        found.truncate(limit);
        Ok(found)
    }

    /// Shows each that matches, the last to die first unless there is no order, until the answer is no, with the columns that are named.
    fn visit<'v>(
        &self,
        conn: &Connection,
        mut conditions: Conditions<'v>,
        (filter, columns): (&'v Filter, &str),
        mut show: impl FnMut(&Row<'_>, Found) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        conditions.add_ids(&filter.ids)?;
        conditions.add_traits(filter)?;
        conditions.add_labels(&filter.labels)?;
        let Self { from, id, died_at, is_in_order } = self;
        let texts = if filter.text.is_none() { "null, null" } else { "job.error, job.command" };
        let clause = conditions.clause();
        let order = if *is_in_order { format!("order by {died_at} desc, {id} desc") } else { String::new() };
        let sql = format!("select {id}, {texts}, {died_at}, {columns} from {from} {clause} {order}");
        let mut query = conn.prepare(&sql)?;
        let mut rows = query.query(rusqlite::params_from_iter(conditions.values()))?;
        while let Some(row) = rows.next()? {
            let is_found = filter.text.as_ref().map_or(Ok(true), |text| is_in(text, row))?;
            if is_found && !show(row, (row.get(3)?, row.get(0)?))? {
                break;
            }
        }
        Ok(())
    }
}

/// Whether the text is in the error or the command of a job, which are the second and the third column.
pub(super) fn is_in(text: &Pattern, row: &Row<'_>) -> rusqlite::Result<bool> {
    Ok(text.is_in(row.get_ref(1)?.as_str_or_null()?, row.get_ref(2)?.as_blob_or_null()?))
}
