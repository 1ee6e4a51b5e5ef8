//! Looking, never changing. Reads are short and paged: a long one would keep the log from being
//! folded back, and it would grow for as long.

use rusqlite::{Connection, OptionalExtension as _, named_params};

use super::breaker;
use super::job_row::{self, JOB_COLUMNS};
use super::row;
use super::settle::piece_ids;
use crate::clock::Timestamp;
use crate::job::{
    Attempt, Chunk, Context, EnvVars, IdRange, Job, JobId, Pace, Queue, QueueName, QueueSettings, State, StateKind,
    Stream, Tally, Token,
};
use crate::store::{Ahead, Serving, Worker};

/// One job.
pub(super) fn job(conn: &Connection, id: JobId) -> rusqlite::Result<Option<Job>> {
    let sql = format!("select {JOB_COLUMNS} from job join queue on queue.id = job.queue_id where job.id = :id");
    conn.prepare_cached(&sql)?.query_row(named_params! { ":id": id }, job_row::job).optional()
}

/// Selects every job there is, for whoever looks the whole file through.
pub(super) fn all_jobs_sql() -> String {
    format!("select {JOB_COLUMNS} from job join queue on queue.id = job.queue_id")
}

/// A limit as SQLite takes it; it has no larger number.
pub(super) fn limit(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Which of these jobs there are, and where they stand.
pub(super) fn standing_of(conn: &Connection, ids: &[IdRange]) -> rusqlite::Result<Vec<(JobId, StateKind)>> {
    let mut query =
        conn.prepare_cached("select id, state from job where id between :first and :last and state <> 'dropped'")?;
    let mut standings = Vec::new();
    for range in ids {
        let params = named_params! { ":first": range.first, ":last": range.last };
        for standing in query.query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))? {
            standings.push(standing?);
        }
    }
    Ok(standings)
}

/// Where and how a job runs, and the variables given for it.
pub(super) fn context(conn: &Connection, id: JobId) -> rusqlite::Result<Option<(Context, EnvVars)>> {
    let sql = "select context.cwd, context.env as context_env, context.terms, job.env as job_env
        from job join context on context.id = job.context_id
        where job.id = :id and job.state <> 'dropped'";
    conn.prepare_cached(sql)?
        .query_row(named_params! { ":id": id }, |row| {
            Ok((row::context(row)?, row::env(row.get::<_, Option<Vec<u8>>>("job_env")?.as_deref())))
        })
        .optional()
}

/// The columns that [`row::attempt`] reads.
pub(super) const ATTEMPT_COLUMNS: &str = "token, outcome, exit_code, signal, error, started_at, ended_at, cpu_us,
    max_rss_bytes, stdout_bytes, stderr_bytes, is_truncated, worker";

/// The attempts of a job, oldest first.
pub(super) fn attempts(conn: &Connection, id: JobId) -> rusqlite::Result<Vec<Attempt>> {
    // One look for both statements, or an attempt that ends between them would be in neither.
    let look = conn.unchecked_transaction()?;
    let sql = format!("select {ATTEMPT_COLUMNS} from attempt where job_id = :id order by token");
    let mut query = look.prepare_cached(&sql)?;
    let mut attempts: Vec<Attempt> =
        query.query_map(named_params! { ":id": id }, row::attempt)?.collect::<Result<_, _>>()?;
    if let Some(Job { state: State::Running { token, worker, since, .. }, .. }) = job(&look, id)? {
        attempts.push(Attempt { token, report: None, started_at: since, worker });
    }
    Ok(attempts)
}

/// The kept output of an attempt from `offset` on.
pub(super) fn output(
    conn: &Connection,
    (id, token): (JobId, Token),
    stream: Stream,
    offset: u64,
) -> rusqlite::Result<Vec<Chunk>> {
    let (first, end) = piece_ids(id);
    let sql = "select start, body from output
        where id >= :first and id < :end and token = :token and stream = :stream
          and start + length(body) > :offset
        order by start";
    let params = named_params! {
        ":first": first,
        ":end": end,
        ":token": token,
        ":stream": stream,
        ":offset": offset,
    };
    let mut query = conn.prepare_cached(sql)?;
    let chunks = query.query_map(params, |row| {
        let start: u64 = row.get("start")?;
        let mut bytes: Vec<u8> = row.get("body")?;
        let n_seen = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX).min(bytes.len());
        bytes.drain(..n_seen);
        Ok(Chunk { stream, offset: start.max(offset), bytes, drops_from: None })
    })?;
    chunks.collect()
}

/// What a queue has of its own.
pub(super) fn settings(conn: &Connection, queue: &QueueName) -> rusqlite::Result<Option<QueueSettings>> {
    conn.prepare_cached("select settings from queue where name = :name")?
        .query_row(named_params! { ":name": queue }, row::settings)
        .optional()
}

/// Every queue, by name.
pub(super) fn queues(conn: &Connection, workers: &[Worker]) -> rusqlite::Result<Vec<Queue>> {
    // One look, or the counts and the oldest job would be of different instants.
    let look = conn.unchecked_transaction()?;
    let mut tripped = breaker::all_tripped(&look)?;
    let mut query =
        look.prepare_cached("select id, name, paused_at, settings, served_until from queue order by name")?;
    let mut rows = query.query([])?;
    let mut queues = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get("id")?;
        let name: QueueName = row.get("name")?;
        let is_server = |worker: &&Worker| {
            let serving = Serving { patterns: worker.about.queues.clone(), except: Vec::new() };
            worker.is_alive && serving.includes(&name)
        };
        queues.push(Queue {
            paused_at: row.get("paused_at")?,
            tripped: tripped.remove(&id),
            settings: row::settings(row)?,
            tally: tally(&look, id)?,
            oldest_ready: oldest_ready(&look, id)?,
            n_workers: workers.iter().filter(is_server).count(),
            served_until: row.get("served_until")?,
            name,
        });
    }
    Ok(queues)
}

/// How many jobs of a queue stand in each state.
pub(super) fn tally(conn: &Connection, queue_id: i64) -> rusqlite::Result<Tally> {
    let mut query = conn.prepare_cached("select what, n from counter where queue_id = :id")?;
    let mut rows = query.query(named_params! { ":id": queue_id })?;
    let mut tally = Tally::default();
    while let Some(row) = rows.next()? {
        tally.add(row.get("what")?, row.get("n")?);
    }
    Ok(tally)
}

/// Since when the oldest ready job of a queue waits: the smallest of the first of each priority.
///
/// One seek for each priority in use, however many jobs wait.
fn oldest_ready(conn: &Connection, queue_id: i64) -> rusqlite::Result<Option<Timestamp>> {
    let mut query = conn.prepare_cached(
        "select priority, run_at from job indexed by job_ready
         where state = 'ready' and queue_id = :queue_id and priority < :below
         order by priority desc, id
         limit 1",
    )?;
    let mut oldest: Option<Timestamp> = None;
    let mut below = i64::MAX;
    loop {
        let params = named_params! { ":queue_id": queue_id, ":below": below };
        let first = query.query_row(params, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((priority, since)) = first else { return Ok(oldest) };
        // In the index of a damaged file a priority may stand in a wrong place: no going in circles.
        if priority >= below {
            return Ok(oldest);
        }
        oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
        below = priority;
    }
}

/// How many ready jobs of its queue go before a job, counted up to `limit`.
pub(super) fn ahead(conn: &Connection, job: &Job, limit: usize) -> rusqlite::Result<Ahead> {
    let sql = "select count(*) from (
          select 1 from job indexed by job_ready
          where state = 'ready' and queue_id = (select id from queue where name = :queue)
            and (priority > :priority or (priority = :priority and id < :id))
          limit :limit
        )";
    let params = named_params! {
        ":queue": job.queue,
        ":priority": job.priority,
        ":id": job.id,
        ":limit": self::limit(limit + 1),
    };
    let n: usize = conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?;
    Ok(Ahead { n: n.min(limit), is_more: n > limit })
}

/// The pace of every queue since the slot in which `since` lies, by queue.
pub(super) fn pace(conn: &Connection, since: Timestamp) -> rusqlite::Result<Vec<(QueueName, Pace)>> {
    let look = conn.unchecked_transaction()?;
    let mut names = look.prepare_cached("select id, name from queue order by name")?;
    let queues: Vec<(i64, QueueName)> =
        names.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let mut all = Vec::new();
    for (id, name) in queues {
        let pace = pace_of(&look, id, since)?;
        if pace != Pace::default() {
            all.push((name, pace));
        }
    }
    Ok(all)
}

/// Many rows for a busy queue: they are added up as they come.
fn pace_of(conn: &Connection, queue_id: i64, since: Timestamp) -> rusqlite::Result<Pace> {
    let sql = "select slot, what, took, n from pace where queue_id = :queue_id and slot >= :since order by slot";
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query(named_params! { ":queue_id": queue_id, ":since": Pace::slot_of(since) })?;
    let mut pace = Pace::default();
    while let Some(row) = rows.next()? {
        let (took, n) = (row.get(2)?, row.get(3)?);
        let histogram = match row.get_ref(1)?.as_bytes()? {
            b"succeeded" => &mut pace.succeeded,
            b"failed" => &mut pace.failed,
            _ => {
                pace.wait.add(took, n);
                continue;
            }
        };
        let slot = row.get(0)?;
        histogram.add(took, n);
        match pace.ended.last_mut() {
            Some((last, n_ended)) if *last == slot => *n_ended = n_ended.saturating_add(n),
            _ => pace.ended.push((slot, n)),
        }
    }
    Ok(pace)
}

/// Jobs that did not succeed and yet hold their key, so that pushes of it are answered with them.
pub(super) fn blocking_keys(conn: &Connection, now: Timestamp, n: usize) -> rusqlite::Result<Vec<JobId>> {
    let sql = "select id from job indexed by job_key
        where key_holds = 1 and state in ('dead', 'cancelled') and key_until > :now
        order by id
        limit :limit";
    conn.prepare_cached(sql)?.query_map(named_params! { ":now": now, ":limit": limit(n) }, |row| row.get(0))?.collect()
}

/// Jobs that were due before then and wait for a worker to make them ready.
pub(super) fn overdue(conn: &Connection, due_before: Timestamp, n: usize) -> rusqlite::Result<Vec<JobId>> {
    let sql = "select id from job indexed by job_due
        where state in ('scheduled', 'retrying') and run_at < :due_before
        order by run_at
        limit :limit";
    let params = named_params! { ":due_before": due_before, ":limit": limit(n) };
    conn.prepare_cached(sql)?.query_map(params, |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;
    use crate::store::sqlite::schema;
    use crate::store::sqlite::{claim, forget, front};

    fn plan(conn: &Connection, sql: &str) -> String {
        let mut query = conn.prepare(&format!("explain query plan {sql}")).expect("a valid statement");
        let details = query.raw_query().mapped(|row| row.get::<_, String>("detail"));
        details.collect::<rusqlite::Result<Vec<_>>>().expect("a plan").join("; ")
    }

    #[test]
    fn each_query_of_a_turn_keeps_its_plan() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("queue.db");
        let mut conn = Connection::open(&path).expect("a file");
        schema::ensure(&mut conn, &path, Access::Create).expect("a schema");

        let first = plan(&conn, front::FIRST_SQL);
        assert_eq!(first, "SEARCH job USING COVERING INDEX job_ready (queue_id=?)");
        let [same, lower] = front::NEXT_SQL.map(|sql| plan(&conn, sql));
        assert_eq!(same, "SEARCH job USING COVERING INDEX job_ready (queue_id=? AND priority=? AND id>?)");
        assert_eq!(lower, "SEARCH job USING COVERING INDEX job_ready (queue_id=? AND priority<?)");
        assert_eq!(plan(&conn, front::WAITING_SQL), "SCAN job USING INDEX job_due");
        assert_eq!(plan(&conn, claim::DUE_SQL), "SEARCH job USING INDEX job_due (run_at<?)");
        let finished = plan(&conn, forget::OLDEST_SQL);
        assert_eq!(finished, "SEARCH job USING INDEX job_finished (queue_id=? AND finished_at<?)");
        let untidy = plan(&conn, forget::UNTIDY_SQL);
        assert_eq!(untidy.matches("SEARCH pace USING PRIMARY KEY (queue_id=? AND slot").count(), 2, "{untidy}");
        assert!(!untidy.contains("TEMP B-TREE"), "{untidy}");
        let expired = plan(&conn, claim::EXPIRED_SQL);
        assert_eq!(expired, "SEARCH job USING INDEX job_expiring (expires_at>? AND expires_at<?)");
    }
}
