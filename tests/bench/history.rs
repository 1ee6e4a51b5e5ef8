//! A queue with a long history and a long backlog, made in minutes.
//!
//! The rows are those that the store itself would have left, which `doctor` vouches for on a small one; they
//! are written by SQL because twenty million pushes would take hours.

use std::path::Path;
use std::process::Command;

use qctl::clock::{Clock as _, SystemClock, Timestamp};
use qctl::job::{Pace, WorkerId};
use rusqlite::{Connection, named_params};

use crate::place::{QCTL, succeed};
use crate::trouble::{Outcome, Trouble};

/// How much of what there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Jobs that wait for a worker.
    pub(crate) n_ready: i64,
    /// Jobs that succeeded; one in a thousand of them was cancelled instead.
    pub(crate) n_finished: i64,
    /// Dead jobs.
    pub(crate) n_dead: i64,
    /// Jobs that are due in the next month, of a higher priority than any other.
    pub(crate) n_scheduled: i64,
    /// Queues, among which all jobs are dealt out evenly.
    pub(crate) n_queues: i64,
    /// Queues that are paused: every other one, until there are so many.
    pub(crate) n_paused: i64,
    /// Days of which the pace of each queue is remembered.
    pub(crate) n_days: i64,
}

impl Size {
    /// The size at which nothing may have become slower.
    pub(crate) const LARGE: Self = Self {
        n_ready: 10_000_000,
        n_finished: 10_000_000,
        n_dead: 1_000_000,
        n_scheduled: 1_000_000,
        n_queues: 200,
        n_paused: 100,
        n_days: 3,
    };

    /// What that is held against: one queue with a few jobs to run.
    pub(crate) const SMALL: Self =
        Self { n_ready: 10_000, n_finished: 0, n_dead: 0, n_scheduled: 0, n_queues: 1, n_paused: 0, n_days: 0 };

    /// The number of a job in the middle of the backlog.
    pub(crate) fn middle(self) -> i64 {
        self.n_finished + self.n_dead + (self.n_ready + self.n_scheduled) / 2
    }

    /// A share of the jobs, in as many queues.
    pub(crate) fn divided_by(self, n: i64) -> Self {
        Self {
            n_ready: self.n_ready / n,
            n_finished: self.n_finished / n,
            n_dead: self.n_dead / n,
            n_scheduled: self.n_scheduled / n,
            ..self
        }
    }
}

/// Makes a queue of that size at `db`, where there is none yet.
pub(crate) fn fill(db: &Path, size: &Size) -> Outcome<()> {
    // The schema, a context and the way a command is written down are qctl's own; the job is the first ready one.
    succeed(qctl(db).args(["push", "-Q", "queue-1", "--", "true", "--of", "queue-1"]))?;
    write_rows(db, size).map_err(|error| Trouble::failed(format!("{} was not filled: {error}", db.display())))?;
    Ok(std::fs::File::open(db).and_then(|file| file.sync_all())?)
}

/// Has `doctor` find nothing wrong with a queue. It reads all of it: for small ones.
pub(crate) fn vouch(db: &Path) -> Outcome<()> {
    succeed(qctl(db).arg("doctor")).map(drop)
}

/// The command under test, on that queue.
fn qctl(db: &Path) -> Command {
    let mut command = Command::new(QCTL);
    command.env("QCTL_DB", db);
    command
}

fn write_rows(db: &Path, size: &Size) -> rusqlite::Result<()> {
    // What is still in the log may not be left behind when the journal is another one.
    let mut conn = Connection::open(db)?;
    conn.execute_batch(
        "pragma wal_checkpoint(truncate);
         pragma journal_mode = off; pragma synchronous = off; pragma locking_mode = exclusive;
         pragma cache_size = -2000000; pragma temp_store = memory; pragma threads = 2;",
    )?;
    let tx = conn.transaction()?;
    let indexes = drop_indexes(&tx)?;
    let now = SystemClock::default().now().as_millis();
    make_queues(&tx, size, now)?;
    make_history(&tx, size, now)?;
    make_backlog(&tx, size, now)?;
    make_pace(&tx, size, now)?;
    for sql in indexes {
        tx.execute_batch(&sql)?;
    }
    // The same that `doctor` would have it counted by.
    tx.execute_batch(
        "delete from counter;
         insert into counter (queue_id, what, n) select queue_id, state, count(*) from job group by queue_id, state;
         insert into counter (queue_id, what, n) select 0, 'job', max(id) from job;
         insert into counter (queue_id, what, n) values (0, 'worker', 1);",
    )?;
    tx.commit()?;
    conn.execute_batch("pragma locking_mode = normal; pragma synchronous = normal; pragma journal_mode = wal;")?;
    Ok(())
}

/// Drops the indexes of the jobs, which are quicker made at the end, and answers how they were made.
fn drop_indexes(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut query = conn
        .prepare("select name, sql from sqlite_schema where type = 'index' and tbl_name = 'job' and sql is not null")?;
    let indexes: Vec<(String, String)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).and_then(Iterator::collect)?;
    for (name, _) in &indexes {
        conn.execute_batch(&format!("drop index {name}"))?;
    }
    Ok(indexes.into_iter().map(|(_, sql)| sql).collect())
}

fn make_queues(conn: &Connection, size: &Size, now: i64) -> rusqlite::Result<()> {
    let paused = "iif(n % 2 = 0 and n <= 2 * :n_paused, :paused_at, null)";
    conn.execute(
        &format!(
            "with recursive number(n) as (select 1 union all select n + 1 from number where n < :n_queues)
             insert into queue (id, name, paused_at) select n, 'queue-' || n, {paused} from number where true
             on conflict (id) do update set paused_at = excluded.paused_at"
        ),
        named_params! { ":n_queues": size.n_queues, ":n_paused": size.n_paused, ":paused_at": now - 3_600_000 },
    )?;
    // Pushes with as many environments as there are queues.
    conn.execute(
        "with recursive number(n) as (select 2 union all select n + 1 from number where n < :n_queues)
         insert into context (id, cwd, env, terms)
         select n, cwd, cast('APP=' || n as blob), terms from number, context where context.id = 1",
        named_params! { ":n_queues": size.n_queues.max(2) },
    )?;
    Ok(())
}

/// What every job row says alike, of job `:first + n`.
const COMMON: &str = "n + :first, 1 + n % :n_queues, 1 + n % :n_queues, 0,
    cast('true' || char(0) || '--of' || char(0) || 'queue-' || (1 + n % :n_queues) as blob),
    iif(n % 100 = 0, json_object('build', cast(n / 100 % 1000 as text)), null),
    iif(n % 20 = 0, 'key-' || (n + :first), null)";

/// Finished and dead jobs, mixed evenly, the oldest first; their attempts and what they printed.
fn make_history(conn: &Connection, size: &Size, now: i64) -> rusqlite::Result<()> {
    let n = size.n_finished + size.n_dead;
    if n == 0 {
        return Ok(());
    }
    // One after the other in as many days as the pace is of, and until an hour ago.
    let params = named_params! {
        ":first": 2, ":n": n, ":n_dead": size.n_dead, ":n_queues": size.n_queues, ":n_jobs": n,
        ":from": now - size.n_days.max(1) * 86_400_000, ":span": size.n_days.max(1) * 86_400_000 - 3_600_000,
    };
    conn.execute(
        &format!(
            "with recursive number(n) as (select 0 union all select n + 1 from number where n < :n - 1),
             jobs(n, at, is_dead, is_cancelled) as (
               select n, :from + n * :span / :n_jobs, (n + 1) * :n_dead / :n_jobs > n * :n_dead / :n_jobs, n % 1000 = 999
               from number)
             insert into job (id, queue_id, context_id, is_shell, command, labels, key,
               state, priority, run_at, attempt, max_attempts, token, created_at, started_at, finished_at,
               reason, outcome, exit_code, error)
             select {COMMON},
               case when is_dead then 'dead' when is_cancelled then 'cancelled' else 'succeeded' end,
               n % 3, at, 1, iif(is_dead, 1, 5), 1, at, at + 40 + n % 97 * 7, at + 40 + n % 97 * 7 + 500 + n * 7919 % 499,
               iif(is_dead, 'exhausted', null),
               case when is_dead then 'failed' when is_cancelled then 'cancelled' else 'succeeded' end,
               case when is_dead then 1 when is_cancelled then null else 0 end,
               iif(is_dead, 'cannot connect to db-' || n % 7 || '.internal: connection refused', null)
             from jobs"
        ),
        params,
    )?;
    let worker = WorkerId::new(1).to_string();
    conn.execute(
        "insert into attempt (job_id, token, outcome, exit_code, error, started_at, ended_at, cpu_us, max_rss_bytes,
           stdout_bytes, stderr_bytes, is_truncated, worker)
         select id, token, outcome, exit_code, error, started_at, finished_at, 900 + id % 4000, 2097152,
           iif(id % 50 = 0, 28, 0), 0, 0, :worker
         from job where id > 1 order by id",
        named_params! { ":worker": worker },
    )?;
    conn.execute(
        "insert into output (id, token, stream, start, body)
         select job_id << 24, token, 'stdout', 0, cast('27 records written to disk' || char(13, 10) as blob)
         from attempt where job_id % 50 = 0 order by job_id",
        [],
    )?;
    label(conn, 2, n)?;
    Ok(())
}

/// Jobs to run and jobs for later, mixed evenly, newer than all that ended.
fn make_backlog(conn: &Connection, size: &Size, now: i64) -> rusqlite::Result<()> {
    let first = 2 + size.n_finished + size.n_dead;
    let n = size.n_ready - 1 + size.n_scheduled;
    let params = named_params! {
        ":first": first, ":n": n, ":n_queues": size.n_queues, ":n_later": size.n_scheduled, ":n_jobs": n,
        ":from": now - 1_800_000, ":span": 1_700_000, ":now": now, ":month": 30_i64 * 86_400_000,
    };
    conn.execute(
        &format!(
            "with recursive number(n) as (select 0 union all select n + 1 from number where n < :n - 1),
             jobs(n, at, is_later) as (
               select n, :from + n * :span / :n_jobs, (n + 1) * :n_later / :n_jobs > n * :n_later / :n_jobs from number)
             insert into job (id, queue_id, context_id, is_shell, command, labels, key,
               state, priority, run_at, max_attempts, created_at, expires_at, key_holds)
             select {COMMON},
               iif(is_later, 'scheduled', 'ready'), iif(is_later, 50, n % 3),
               iif(is_later, :now + 3600000 + n * 7919 % :n_jobs * (:month / :n_jobs), at), 5, at,
               iif(n % 50 = 7 and not is_later, :now + :month, null), iif(n % 20 = 0, 1, null)
             from jobs"
        ),
        params,
    )?;
    label(conn, first, n)?;
    Ok(())
}

/// The labels of `n` jobs from `first` on.
fn label(conn: &Connection, first: i64, n: i64) -> rusqlite::Result<()> {
    conn.execute(
        "insert into label (name, value, job_id)
         select 'build', labels ->> 'build', id from job
         where id between :first and :first + :n and labels is not null order by 2, id",
        named_params! { ":first": first, ":n": n },
    )?;
    Ok(())
}

/// The pace of every queue: in each slot a dozen lengths of runs and of waits, and one failure; folded as a
/// worker would have left it.
fn make_pace(conn: &Connection, size: &Size, now: i64) -> rusqlite::Result<()> {
    let (slot, hour) = (300_000, 3_600_000);
    let folded_before = Pace::folded_before(Timestamp::from_millis(now)).as_millis();
    conn.execute(
        "with recursive
           slots(at, n_slots) as (
             select :first, :hour / :slot
             union all
             select at + n_slots * :slot, iif(at + n_slots * :slot < :folded_before, :hour / :slot, 1) from slots
             where at + n_slots * :slot <= :last),
           lengths(i) as (select 0 union all select i + 1 from lengths where i < 11),
           bars(what, took) as (
             select 'failed', 768 union all select 'succeeded', 512 + 32 * i from lengths
             union all select 'wait', 128 + 8 * i from lengths order by 1, 2)
         insert into pace (queue_id, slot, what, took, n)
         select queue.id, at, what, took, n_slots * (1 + (queue.id + took) % 3)
         from queue cross join slots cross join bars
         where :first < :folded_before",
        named_params! {
            ":first": (now - size.n_days * 86_400_000) / hour * hour,
            ":folded_before": folded_before,
            ":last": now / slot * slot,
            ":slot": slot,
            ":hour": hour,
        },
    )?;
    Ok(())
}
