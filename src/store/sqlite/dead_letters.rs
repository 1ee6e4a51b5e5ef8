//! The part of the contract that is about dead jobs: which there are.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};

use super::condition::Conditions;
use super::row::Explain as _;
use super::{SqliteStore, death, query};
use crate::clock::Timestamp;
use crate::job::{Filter, Group, JobId, Pattern, QueueName};
use crate::store::{DeadLetters, Result};

impl DeadLetters for SqliteStore {
    fn groups(&mut self, queues: &[QueueName]) -> Result<Vec<Group>> {
        death::groups(&self.conn, queues).explain(&self.path)
    }

    fn oldest_death(&mut self, queues: &[QueueName]) -> Result<Option<Timestamp>> {
        death::oldest(&self.conn, queues).explain(&self.path)
    }

    fn dead(&mut self, filter: &Filter, limit: usize) -> Result<Vec<JobId>> {
        dead(&self.conn, filter, limit).explain(&self.path)
    }
}

/// The numbers of dead jobs that match, the last to die first.
fn dead(conn: &Connection, filter: &Filter, limit: usize) -> rusqlite::Result<Vec<JobId>> {
    let mut conditions = Conditions::default();
    // A few groups are found by themselves; else all that are dead are looked at, in the order in which they died.
    let (from, order) = if filter.groups.is_empty() {
        conditions.add("job.state = 'dead'", [])?;
        ("job indexed by job_dead", "job.finished_at desc, job.id desc")
    } else {
        if !death::is_any(conn)? {
            return Ok(Vec::new());
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
    let n = if filter.text.is_none() { limit } else { usize::MAX };
    let texts = if filter.text.is_none() { "" } else { ", job.error, job.command" };
    let sql =
        format!("select job.id{texts} from {from} {} order by {order} limit {}", conditions.clause(), query::limit(n));
    let mut query = conn.prepare(&sql)?;
    let mut rows = query.query(rusqlite::params_from_iter(conditions.values()))?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        if filter.text.as_ref().map_or(Ok(true), |text| is_in(text, row))? {
            found.push(row.get(0)?);
        }
    }
    Ok(found)
}

/// Whether the text is in the error or the command of a job, which are the second and the third column.
pub(super) fn is_in(text: &Pattern, row: &Row<'_>) -> rusqlite::Result<bool> {
    Ok(text.is_in(row.get_ref(1)?.as_str_or_null()?, row.get_ref(2)?.as_blob_or_null()?))
}
