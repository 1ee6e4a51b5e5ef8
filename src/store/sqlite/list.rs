//! One page of the jobs that match, in order of their numbers.
//!
//! Mostly the page is full after a short walk from one end. Where few jobs match, or all of them lie far
//! from that end, the walk would go through the whole history: what bears a label is found by the label,
//! and what stands in some states by the indexes of these. The counters tell which way is the shorter one.

use std::ops::RangeInclusive;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, named_params};

use super::condition::{Conditions, in_queues};
use super::dead_letters::is_in;
use super::job_row::{self, JOB_COLUMNS};
use super::query;
use crate::job::{Filter, Job, JobId, Page, QueueName, StateKind, Tally};

/// How many jobs a walk looks at in any case before it is given up: some milliseconds.
const STROLL: i64 = 50_000;

/// How many jobs of a walk take as long as one that is looked up by what an index says.
const LOOK_UP: i64 = 10;

/// The indexes that hold all jobs of some states, the condition of each, and the states.
const INDEXES: [(&str, &str, &[StateKind]); 4] = [
    ("job_running", "state = 'running'", &[StateKind::Running]),
    ("job_due", "state in ('scheduled', 'retrying')", &[StateKind::Scheduled, StateKind::Retrying]),
    ("job_dead", "state = 'dead'", &[StateKind::Dead]),
    ("job_finished", "state in ('succeeded', 'cancelled')", &[StateKind::Succeeded, StateKind::Cancelled]),
];

/// One page of the jobs that match.
pub(super) fn jobs(conn: &Connection, filter: &Filter, page: Page) -> rusqlite::Result<Vec<Job>> {
    // One look: a job that moves between two could be met in neither.
    let look = conn.unchecked_transaction()?;
    let filter = &of_dead(filter);
    let everywhere = match page.after {
        Some(after) if page.oldest_first => after.get().saturating_add(1)..=i64::MAX,
        Some(after) => i64::MIN..=after.get() - 1,
        None => i64::MIN..=i64::MAX,
    };
    let is_found_by_state = !filter.states.is_empty() || !filter.queues.is_empty();
    if !filter.ids.is_empty() || !filter.labels.is_empty() || !is_found_by_state {
        return walk(&look, filter, page, everywhere);
    }
    let all = tally(&look, &[])?;
    let own = if filter.queues.is_empty() { all } else { tally(&look, &filter.queues)? };
    // Those of which there are none need not be looked for.
    let states: Vec<StateKind> = wanted(filter).filter(|&state| own.get(state) != 0).collect();
    if states.is_empty() {
        return Ok(Vec::new());
    }
    let filter = &Filter { states, ..filter.clone() };
    match Detour::of(filter, page, &all, &own) {
        Detour::Long => walk(&look, filter, page, everywhere),
        Detour::Short => by_index(&look, filter, page, &everywhere),
        Detour::After(n) => {
            let (near, far) = parts(&look, page, &everywhere, n)?;
            let mut jobs = walk(&look, filter, page, near)?;
            let rest = Page { limit: page.limit - jobs.len(), ..page };
            if rest.limit > 0 {
                jobs.extend(by_index(&look, filter, rest, &far)?);
            }
            Ok(jobs)
        }
    }
}

/// Whether to go by the indexes of states instead of walking through all jobs.
enum Detour {
    /// It would not be shorter.
    Long,
    /// It is shorter than the walk that usually fills a page.
    Short,
    /// Where a walk past so many jobs did not fill the page.
    After(i64),
}

impl Detour {
    fn of(filter: &Filter, page: Page, all: &Tally, own: &Tally) -> Self {
        let n_matching = filter.states.iter().map(|&state| own.get(state)).fold(0, i64::saturating_add).max(1);
        let n_jobs = all.iter().map(|(_, n)| n).fold(0, i64::saturating_add);
        let cost = cost(filter, all, own);
        if filter.text.is_some() {
            // What matches may be rare, and a walk looks at more of each job.
            return cost.filter(|&cost| cost < n_jobs).map_or(Self::Long, |_| Self::Short);
        }
        // The walk that fills the page, if those that match are spread evenly.
        let usual = i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_mul(n_jobs / n_matching);
        match cost {
            Some(cost) if cost <= usual => Self::Short,
            Some(cost) if cost < n_jobs => Self::After(usual.saturating_mul(2).clamp(STROLL.min(cost), cost)),
            Some(_) | None => Self::Long,
        }
    }
}

/// The states that are asked for.
fn wanted(filter: &Filter) -> impl Iterator<Item = StateKind> + '_ {
    StateKind::ALL.into_iter().filter(|state| filter.states.is_empty() || filter.states.contains(state))
}

/// How many jobs of a walk the way over the indexes is worth; `None` where there is no such way.
fn cost(filter: &Filter, all: &Tally, own: &Tally) -> Option<i64> {
    let sum =
        |tally: &Tally, states: &[StateKind]| states.iter().map(|&state| tally.get(state)).fold(0, i64::saturating_add);
    let mut cost = 0;
    for &state in &filter.states {
        let (n, each) = match INDEXES.iter().find(|(_, _, states)| states.contains(&state)) {
            Some(("job_finished", _, states)) => (sum(own, states), LOOK_UP),
            Some(("job_dead", ..)) if filter.queues.is_empty() => (all.get(state), 1),
            Some((_, _, states)) => (sum(all, states), LOOK_UP),
            // A page of each queue and priority, however many there are.
            None if state == StateKind::Ready => (1, STROLL),
            None => return None,
        };
        cost = i64::saturating_add(cost, n.saturating_mul(each));
    }
    Some(cost)
}

/// How many jobs stand in each state in these queues; none named: in all.
pub(super) fn tally(conn: &Connection, queues: &[QueueName]) -> rusqlite::Result<Tally> {
    let in_queues = if queues.is_empty() { "queue_id <> 0".to_owned() } else { in_queues("queue_id", queues) };
    let mut query = conn.prepare(&format!("select what, n from counter where {in_queues}"))?;
    let mut rows = query.query(rusqlite::params_from_iter(queues))?;
    let mut tally = Tally::default();
    while let Some(row) = rows.next()? {
        tally.add(row.get(0)?, row.get(1)?);
    }
    Ok(tally)
}

/// The `n` numbers of jobs that a walk comes to first, and those behind them.
fn parts(
    conn: &Connection,
    page: Page,
    all: &RangeInclusive<i64>,
    n: i64,
) -> rusqlite::Result<(RangeInclusive<i64>, RangeInclusive<i64>)> {
    let (first, end) = if page.oldest_first { ("min(id)", all.start()) } else { ("max(id)", all.end()) };
    let sql = format!("select {first} from job where id between :start and :end");
    let params = named_params! { ":start": all.start(), ":end": all.end() };
    let first: i64 = conn.query_row(&sql, params, |row| row.get::<_, Option<i64>>(0))?.unwrap_or(*end);
    Ok(if page.oldest_first {
        let edge = first.saturating_add(n).min(*all.end());
        (*all.start()..=edge, edge.saturating_add(1)..=*all.end())
    } else {
        let edge = first.saturating_sub(n).max(*all.start());
        (edge..=*all.end(), *all.start()..=edge.saturating_sub(1))
    })
}

/// Looks at the jobs of these numbers in their order; at those of a label, if one is asked for.
fn walk(conn: &Connection, filter: &Filter, page: Page, ids: RangeInclusive<i64>) -> rusqlite::Result<Vec<Job>> {
    let mut conditions = Conditions::default();
    // Kept in the order of their jobs. Or else all of them would be read before the first.
    let mut labels = filter.labels.iter();
    let (from, id) = match labels.next() {
        None => ("job", "job.id"),
        Some((name, value)) => {
            conditions.add("label.name = ? and label.value = ?", [name as &dyn ToSql, value])?;
            ("label cross join job on job.id = label.job_id", "label.job_id")
        }
    };
    conditions.add_labels(labels.as_slice())?;
    conditions.add_filter(filter)?;
    conditions.add(&format!("{id} between {} and {}", ids.start(), ids.end()), [])?;
    let (clause, order) = (conditions.clause(), direction(page));
    if let Some(text) = &filter.text {
        let sql = format!("select {id}, job.error, job.command from {from} {clause} order by {id} {order}");
        let mut query = conn.prepare(&sql)?;
        let mut rows = query.query(rusqlite::params_from_iter(conditions.values()))?;
        let mut jobs = Vec::new();
        while jobs.len() < page.limit
            && let Some(row) = rows.next()?
        {
            if is_in(text, row)? {
                jobs.extend(query::job(conn, row.get(0)?)?);
            }
        }
        return Ok(jobs);
    }
    let limit = query::limit(page.limit);
    let sql = format!(
        "select {JOB_COLUMNS} from {from} join queue on queue.id = job.queue_id {clause} order by {id} {order} limit {limit}"
    );
    let mut query = conn.prepare(&sql)?;
    query.query_map(rusqlite::params_from_iter(conditions.values()), job_row::job)?.collect()
}

fn direction(page: Page) -> &'static str {
    if page.oldest_first { "asc" } else { "desc" }
}

/// All jobs that match, the oldest first, with where they stand.
pub(super) fn matching(conn: &Connection, filter: &Filter) -> rusqlite::Result<Vec<(JobId, StateKind)>> {
    let look = conn.unchecked_transaction()?;
    let filter = &of_dead(filter);
    let all = tally(&look, &[])?;
    let is_found_by_state = filter.ids.is_empty() && filter.labels.is_empty() && !filter.states.is_empty();
    let own = if filter.queues.is_empty() { all } else { tally(&look, &filter.queues)? };
    let n_jobs = all.iter().map(|(_, n)| n).fold(0, i64::saturating_add);
    if is_found_by_state && cost(filter, &all, &own).is_some_and(|cost| cost < n_jobs) {
        let page = Page { after: None, limit: usize::MAX, oldest_first: true };
        let mut state = look.prepare_cached("select id, state from job where id = :id")?;
        let found = numbers_by_index(&look, filter, page, &(i64::MIN..=i64::MAX))?;
        return found
            .into_iter()
            .map(|id| state.query_row(named_params! { ":id": id }, |row| Ok((row.get(0)?, row.get(1)?))))
            .collect();
    }
    let mut conditions = Conditions::default();
    conditions.add_labels(&filter.labels)?;
    conditions.add_filter(filter)?;
    let sql = format!(
        "select job.id, job.error, job.command, job.state from job join queue on queue.id = job.queue_id {} order by job.id",
        conditions.clause()
    );
    let mut query = look.prepare(&sql)?;
    let mut rows = query.query(rusqlite::params_from_iter(conditions.values()))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if filter.text.as_ref().map_or(Ok(true), |text| is_in(text, row))? {
            found.push((row.get(0)?, row.get(3)?));
        }
    }
    Ok(found)
}

/// The filter with what it implies: only a dead job has a reason, and is in a group.
fn of_dead(filter: &Filter) -> Filter {
    let is_of_dead = !filter.groups.is_empty() || !filter.reasons.is_empty();
    let states = if is_of_dead && filter.states.is_empty() { vec![StateKind::Dead] } else { filter.states.clone() };
    Filter { states, ..filter.clone() }
}

/// Finds the jobs of these numbers by the indexes of the states that are asked for.
fn by_index(conn: &Connection, filter: &Filter, page: Page, ids: &RangeInclusive<i64>) -> rusqlite::Result<Vec<Job>> {
    let found = numbers_by_index(conn, filter, page, ids)?;
    found.into_iter().filter_map(|id| query::job(conn, id).transpose()).collect()
}

/// The first numbers of the page, found by the indexes of the states that are asked for.
fn numbers_by_index(
    conn: &Connection,
    filter: &Filter,
    page: Page,
    ids: &RangeInclusive<i64>,
) -> rusqlite::Result<Vec<JobId>> {
    let mut found = Vec::new();
    for (index, condition, states) in INDEXES {
        if !filter.states.iter().any(|state| states.contains(state)) {
            continue;
        }
        let is_whole = states.iter().all(|state| filter.states.contains(state));
        // Said of an index that has only these, it would have each job looked up.
        let states = if is_whole { Vec::new() } else { filter.states.clone() };
        let own = Filter { states, ..filter.clone() };
        let mut conditions = Conditions::default();
        conditions.add(condition, [])?;
        conditions.add_filter(&own)?;
        found.extend(numbers(conn, &format!("job indexed by {index}"), conditions, (filter, page), ids)?);
    }
    if filter.states.contains(&StateKind::Ready) {
        found.extend(ready(conn, filter, page, ids)?);
    }
    found.sort_unstable();
    if !page.oldest_first {
        found.reverse();
    }
    found.truncate(page.limit);
    Ok(found)
}

/// The first numbers of the page among those of `from` that meet the conditions; where a text is looked for, all of
/// them, in no order: to put them in order SQLite would carry the texts along.
fn numbers(
    conn: &Connection,
    from: &str,
    mut conditions: Conditions<'_>,
    (filter, page): (&Filter, Page),
    ids: &RangeInclusive<i64>,
) -> rusqlite::Result<Vec<JobId>> {
    conditions.add(&format!("job.id between {} and {}", ids.start(), ids.end()), [])?;
    let clause = conditions.clause();
    let Some(text) = &filter.text else {
        let (order, limit) = (direction(page), query::limit(page.limit));
        let sql = format!("select job.id from {from} {clause} order by job.id {order} limit {limit}");
        let mut query = conn.prepare_cached(&sql)?;
        return query.query_map(rusqlite::params_from_iter(conditions.values()), |row| row.get(0))?.collect();
    };
    let mut query = conn.prepare_cached(&format!("select job.id, job.error, job.command from {from} {clause}"))?;
    let mut rows = query.query(rusqlite::params_from_iter(conditions.values()))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if is_in(text, row)? {
            found.push(row.get(0)?);
        }
    }
    Ok(found)
}

/// The first ready jobs of the page: the index has them in the order of their numbers by queue and priority.
fn ready(conn: &Connection, filter: &Filter, page: Page, ids: &RangeInclusive<i64>) -> rusqlite::Result<Vec<JobId>> {
    let next = "select priority from job indexed by job_ready
        where state = 'ready' and queue_id = :queue_id and priority < :below
        order by priority desc
        limit 1";
    let own = Filter { queues: Vec::new(), states: Vec::new(), ..filter.clone() };
    let mut found = Vec::new();
    for queue_id in queue_ids(conn, &filter.queues)? {
        let mut below = i64::MAX;
        loop {
            let params = named_params! { ":queue_id": queue_id, ":below": below };
            let priority: Option<i64> = conn.prepare_cached(next)?.query_row(params, |row| row.get(0)).optional()?;
            // In the index of a damaged file a priority may stand in a wrong place: no going in circles.
            let Some(priority) = priority.filter(|&priority| priority < below) else { break };
            let mut conditions = Conditions::default();
            conditions
                .add("state = 'ready' and queue_id = ? and priority = ?", [&queue_id as &dyn ToSql, &priority])?;
            conditions.add_filter(&own)?;
            found.extend(numbers(conn, "job indexed by job_ready", conditions, (filter, page), ids)?);
            below = priority;
        }
    }
    Ok(found)
}

/// The numbers of these queues; none named: of all.
fn queue_ids(conn: &Connection, queues: &[QueueName]) -> rusqlite::Result<Vec<i64>> {
    let condition = if queues.is_empty() { String::new() } else { format!("where {}", in_queues("id", queues)) };
    let mut query = conn.prepare(&format!("select id from queue {condition} order by id"))?;
    query.query_map(rusqlite::params_from_iter(queues), |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;
    use crate::store::sqlite::schema;

    const FOUND_BY_INDEX: [StateKind; 7] = [
        StateKind::Scheduled,
        StateKind::Ready,
        StateKind::Running,
        StateKind::Retrying,
        StateKind::Succeeded,
        StateKind::Dead,
        StateKind::Cancelled,
    ];

    /// A queue of jobs in every state, in two queues and of three priorities.
    fn mixed(folder: &std::path::Path) -> Connection {
        let path = folder.join("queue.db");
        let mut conn = Connection::open(&path).expect("a file");
        schema::ensure(&mut conn, &path, Access::Create).expect("a schema");
        conn.execute_batch(
            "insert into queue (id, name) values (1, 'a'), (2, 'b');
             insert into context (id, cwd, env, terms) values (1, x'', x'', '{}');",
        )
        .expect("queues");
        for n in 1..=120_u32 {
            let state = FOUND_BY_INDEX[n as usize * 7919 % 53 % FOUND_BY_INDEX.len()];
            let at = n * 7919 % 101;
            let sql = "insert into job (id, queue_id, state, priority, run_at, max_attempts, created_at, started_at,
                  finished_at, worker_id, reason, context_id)
                values (:id, :queue, :state, :priority, :at, 5, 0, 0, :at, 1, 'exhausted', 1)";
            conn.execute(
                sql,
                named_params! { ":id": n * 2, ":queue": 1 + n * 31 % 37 % 2, ":state": state, ":priority": n % 3, ":at": at },
            )
            .expect("a job");
        }
        conn
    }

    fn ids(jobs: &[Job]) -> Vec<JobId> {
        jobs.iter().map(|job| job.id).collect()
    }

    #[test]
    fn whichever_way_is_taken_the_same_jobs_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let conn = mixed(folder.path());
        let [a, b] = ["a", "b"].map(|name| QueueName::new(name).expect("a name"));
        for queues in [vec![], vec![a.clone()], vec![a, b]] {
            for chosen in 1..1_u32 << FOUND_BY_INDEX.len() {
                let is_chosen = |&nth: &usize| chosen >> nth & 1 == 1;
                let states = (0..FOUND_BY_INDEX.len()).filter(is_chosen).map(|nth| FOUND_BY_INDEX[nth]).collect();
                let filter = Filter { queues: queues.clone(), states, ..Filter::default() };
                for (limit, oldest_first) in [(5, true), (5, false), (1000, true), (1000, false)] {
                    let page = Page { after: None, limit, oldest_first };
                    let all = 0..=i64::MAX;
                    let walked = ids(&walk(&conn, &filter, page, all.clone()).expect("a walk"));
                    let found = ids(&by_index(&conn, &filter, page, &all).expect("indexes"));
                    assert_eq!(found, walked, "{filter:?} {page:?}");
                    let (near, far) = parts(&conn, page, &all, 20).expect("two parts");
                    let mut parted = ids(&walk(&conn, &filter, page, near).expect("a walk"));
                    parted.extend(ids(&by_index(&conn, &filter, page, &far).expect("indexes")));
                    parted.truncate(limit);
                    assert_eq!(parted, walked, "{filter:?} {page:?} in two parts");
                }
            }
        }
    }

    #[test]
    fn a_detour_is_made_only_where_it_is_shorter() {
        let tally = |counts: &[(StateKind, i64)]| {
            let mut tally = Tally::default();
            counts.iter().for_each(|&(state, n)| tally.add(state, n));
            tally
        };
        let history = (StateKind::Succeeded, 20_000_000);
        let page = Page { after: None, limit: 50, oldest_first: false };
        let detour = |states: &[StateKind], counts: &[(StateKind, i64)]| {
            let all = tally(counts);
            Detour::of(&Filter { states: states.to_vec(), ..Filter::default() }, page, &all, &all)
        };
        let of = |state, n| detour(&[state], &[history, (state, n)]);
        assert!(matches!(of(StateKind::Running, 3), Detour::Short));
        assert!(matches!(of(StateKind::Dead, 1_000_000), Detour::After(STROLL)));
        assert!(matches!(of(StateKind::Ready, 1_000_000), Detour::After(STROLL)));
        // No index has these.
        assert!(matches!(of(StateKind::Blocked, 3), Detour::Long));
        assert!(matches!(detour(&[StateKind::Succeeded], &[history]), Detour::Long));
        assert!(matches!(detour(&[StateKind::Ready], &[(StateKind::Ready, 100)]), Detour::Long));
    }
}
