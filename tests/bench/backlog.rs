//! A queue with a long history and a long backlog: made in minutes, and what it costs to work on it and to
//! look at it.
//!
//! The rows are those that the store itself would have left, which `doctor` vouches for on a small one; they
//! are written by SQL because twenty million pushes would take hours.

#![expect(clippy::disallowed_methods, reason = "what is measured is real time")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use qctl::clock::{Moment, Timestamp, Uptime};
use qctl::job::{Claimed, Outcome, Report, Settlement, Verdict, WorkerId};
use qctl::store::{self, Access, NewWorker, Serving, Settled, Store, Target, Tidy, Turn};
use rusqlite::{Connection, named_params};

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
pub(crate) fn fill(db: &Path, size: &Size) {
    // The schema, a context and the way a command is written down are qctl's own; the job is the first ready one.
    succeed(qctl(db).args(["push", "-Q", "queue-1", "--", "true", "--of", "queue-1"]));
    // What is still in the log may not be left behind when the journal is another one.
    let mut conn = Connection::open(db).expect("the queue that was just made");
    conn.execute_batch(
        "pragma wal_checkpoint(truncate);
         pragma journal_mode = off; pragma synchronous = off; pragma locking_mode = exclusive;
         pragma cache_size = -2000000; pragma temp_store = memory; pragma threads = 2;",
    )
    .expect("settings for filling");
    let tx = conn.transaction().expect("the only connection");
    let indexes = drop_indexes(&tx);
    let now = now();
    make_queues(&tx, size, now);
    make_history(&tx, size, now);
    make_backlog(&tx, size, now);
    make_pace(&tx, size, now);
    for sql in indexes {
        tx.execute_batch(&sql).expect("an index as it was");
    }
    // The same that `doctor` would have it counted by.
    tx.execute_batch(
        "delete from counter;
         insert into counter (queue_id, what, n) select queue_id, state, count(*) from job group by queue_id, state;
         insert into counter (queue_id, what, n) select 0, 'job', max(id) from job;
         insert into counter (queue_id, what, n) values (0, 'worker', 1);",
    )
    .expect("counters");
    tx.commit().expect("a commit");
    conn.execute_batch("pragma locking_mode = normal; pragma synchronous = normal; pragma journal_mode = wal;")
        .expect("the journal of a queue");
    drop(conn);
    std::fs::File::open(db).and_then(|file| file.sync_all()).expect("a file on the disk");
}

/// Has `doctor` find nothing wrong with a queue. It reads all of it: for small ones.
pub(crate) fn vouch(db: &Path) {
    succeed(qctl(db).arg("doctor"));
}

/// Drops the indexes of the jobs, which are quicker made at the end, and answers how they were made.
fn drop_indexes(conn: &Connection) -> Vec<String> {
    let mut query = conn
        .prepare("select name, sql from sqlite_schema where type = 'index' and tbl_name = 'job' and sql is not null")
        .expect("a schema");
    let indexes: Vec<(String, String)> = query
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .expect("names and statements");
    for (name, _) in &indexes {
        conn.execute_batch(&format!("drop index {name}")).expect("an index");
    }
    indexes.into_iter().map(|(_, sql)| sql).collect()
}

fn make_queues(conn: &Connection, size: &Size, now: i64) {
    let paused = "iif(n % 2 = 0 and n <= 2 * :n_paused, :paused_at, null)";
    conn.execute(
        &format!(
            "with recursive number(n) as (select 1 union all select n + 1 from number where n < :n_queues)
             insert into queue (id, name, paused_at) select n, 'queue-' || n, {paused} from number where true
             on conflict (id) do update set paused_at = excluded.paused_at"
        ),
        named_params! { ":n_queues": size.n_queues, ":n_paused": size.n_paused, ":paused_at": now - 3_600_000 },
    )
    .expect("queues");
    // Pushes with as many environments as there are queues.
    conn.execute(
        "with recursive number(n) as (select 2 union all select n + 1 from number where n < :n_queues)
         insert into context (id, cwd, env, terms)
         select n, cwd, cast('APP=' || n as blob), terms from number, context where context.id = 1",
        named_params! { ":n_queues": size.n_queues.max(2) },
    )
    .expect("contexts");
}

/// What every job row says alike, of job `:first + n`.
const COMMON: &str = "n + :first, 1 + n % :n_queues, 1 + n % :n_queues, 0,
    cast('true' || char(0) || '--of' || char(0) || 'queue-' || (1 + n % :n_queues) as blob),
    iif(n % 100 = 0, json_object('build', cast(n / 100 % 1000 as text)), null),
    iif(n % 20 = 0, 'key-' || (n + :first), null)";

/// Finished and dead jobs, mixed evenly, the oldest first; their attempts and what they printed.
fn make_history(conn: &Connection, size: &Size, now: i64) {
    let n = size.n_finished + size.n_dead;
    if n == 0 {
        return;
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
    )
    .expect("jobs that have ended");
    let worker = WorkerId::new(1).to_string();
    conn.execute(
        "insert into attempt (job_id, token, outcome, exit_code, error, started_at, ended_at, cpu_us, max_rss_bytes,
           stdout_bytes, stderr_bytes, is_truncated, worker)
         select id, token, outcome, exit_code, error, started_at, finished_at, 900 + id % 4000, 2097152,
           iif(id % 50 = 0, 28, 0), 0, 0, :worker
         from job where id > 1 order by id",
        named_params! { ":worker": worker },
    )
    .expect("attempts");
    conn.execute(
        "insert into output (id, token, stream, start, body)
         select job_id << 24, token, 'stdout', 0, cast('27 records written to disk' || char(13, 10) as blob)
         from attempt where job_id % 50 = 0 order by job_id",
        [],
    )
    .expect("output");
    label(conn, 2, n);
}

/// Jobs to run and jobs for later, mixed evenly, newer than all that ended.
fn make_backlog(conn: &Connection, size: &Size, now: i64) {
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
    )
    .expect("jobs that wait");
    label(conn, first, n);
}

/// The labels of `n` jobs from `first` on.
fn label(conn: &Connection, first: i64, n: i64) {
    conn.execute(
        "insert into label (name, value, job_id)
         select 'build', labels ->> 'build', id from job
         where id between :first and :first + :n and labels is not null order by 2, id",
        named_params! { ":first": first, ":n": n },
    )
    .expect("labels");
}

/// The pace of every queue: in each slot a dozen lengths of runs and of waits, and one failure.
fn make_pace(conn: &Connection, size: &Size, now: i64) {
    let slot = 300_000;
    conn.execute(
        "with recursive
           slots(at) as (select :first union all select at + :slot from slots where at + :slot <= :last),
           lengths(i) as (select 0 union all select i + 1 from lengths where i < 11),
           bars(what, took) as (
             select 'failed', 768 union all select 'succeeded', 512 + 32 * i from lengths
             union all select 'wait', 128 + 8 * i from lengths order by 1, 2)
         insert into pace (queue_id, slot, what, took, n)
         select queue.id, at, what, took, 1 + (queue.id + took) % 3 from queue cross join slots cross join bars
         where :first < :last",
        named_params! { ":first": (now - size.n_days * 86_400_000) / slot * slot, ":last": now / slot * slot, ":slot": slot },
    )
    .expect("pace");
}

/// What a turn costs that settles a job and claims the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    /// The median of one turn.
    pub(crate) median: Duration,
    /// What ninety-nine in a hundred do not exceed.
    pub(crate) p99: Duration,
    /// The median of a turn with the sync that follows it before anyone is told.
    pub(crate) durable: Duration,
}

/// Takes `n` turns on each queue, in blocks of a hundred by turns; answers what they cost there.
pub(crate) fn turns(queues: &[&Path], n: usize) -> Vec<Turns> {
    const BLOCK: usize = 100;
    let mut runners: Vec<Runner> = queues.iter().map(|db| Runner::new(db)).collect();
    for _ in 0..n.div_ceil(BLOCK) {
        for runner in &mut runners {
            runner.run(BLOCK);
        }
    }
    runners.into_iter().map(Runner::finish).collect()
}

/// A worker without processes: what it claims has succeeded at once.
struct Runner {
    store: Box<dyn Store>,
    worker: WorkerId,
    held: Vec<Claimed>,
    turns: Vec<Duration>,
    durable: Vec<Duration>,
}

impl Runner {
    fn new(db: &Path) -> Self {
        let mut store = store::open(&Target::Sqlite(db.to_owned()), Access::Existing).expect("a queue");
        let worker = NewWorker {
            host: "bench".to_owned(),
            pid: std::process::id(),
            queues: Vec::new(),
            n_slots: 1,
            lease: Duration::from_secs(3600),
            has_handler: false,
        };
        let at = Moment { now: Timestamp::from_millis(now()), uptime: Uptime::from_millis(1) };
        let worker = store.enroll(&worker, at).expect("a worker");
        Self { store, worker, held: Vec::new(), turns: Vec::new(), durable: Vec::new() }
    }

    fn run(&mut self, n: usize) {
        for _ in 0..n {
            let (turn, durable) = self.turn();
            self.turns.push(turn);
            self.durable.push(durable);
        }
        // Between jobs, by another thread than that of the turns.
        self.store.tidy(Tidy::Working).expect("housekeeping");
    }

    fn turn(&mut self) -> (Duration, Duration) {
        let now = Timestamp::from_millis(now());
        let settlements: Vec<Settlement> =
            self.held.drain(..).map(|claimed| success(&claimed, now, self.worker)).collect();
        let serving = Serving::default();
        let turn = Turn { worker: self.worker, settlements: &settlements, output: &[], serving: &serving, n_wanted: 1 };
        let started = Instant::now();
        let turned = self.store.turn(&turn, now).expect("a turn");
        let took = started.elapsed();
        self.store.make_durable().expect("a sync");
        let durable = started.elapsed();
        assert!(turned.settled.iter().all(|settled| *settled == Settled::Recorded), "{:?}", turned.settled);
        assert_eq!(turned.claimed.len(), 1, "a job to run");
        self.held = turned.claimed;
        (took, durable)
    }

    fn finish(mut self) -> Turns {
        let now = Timestamp::from_millis(now());
        let settlements: Vec<Settlement> = self.held.iter().map(|claimed| success(claimed, now, self.worker)).collect();
        let serving = Serving::default();
        let turn = Turn { worker: self.worker, settlements: &settlements, output: &[], serving: &serving, n_wanted: 0 };
        self.store.turn(&turn, now).expect("a last turn");
        self.store.retire(self.worker, now).expect("off the books");
        self.store.tidy(Tidy::Leaving).expect("housekeeping");
        // The first turns meet an empty cache.
        let n_warm_up = self.turns.len() / 10;
        let mut turns = self.turns.split_off(n_warm_up);
        let p99 = nth(&mut turns, 99);
        Turns { median: nth(&mut turns, 50), p99, durable: nth(&mut self.durable.split_off(n_warm_up), 50) }
    }
}

fn success(claimed: &Claimed, now: Timestamp, worker: WorkerId) -> Settlement {
    let report = Report {
        outcome: Outcome::Succeeded,
        exit_code: Some(0),
        signal: None,
        error: None,
        started_at: claimed.job.started_at.unwrap_or(now),
        ended_at: now,
        usage: None,
        stdout_bytes: 0,
        stderr_bytes: 0,
        is_truncated: false,
        worker: worker.to_string(),
    };
    Settlement { lease: claimed.lease, verdict: Verdict::Succeed, report: Some(report), output: Vec::new() }
}

/// How long a verb takes, as a process.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// The words after `qctl`.
    pub(crate) verb: String,
    /// The first time it was run.
    pub(crate) first: Duration,
    /// The median of twenty times after that.
    pub(crate) median: Duration,
}

/// What people look at, and what should cost them the same however much there is.
pub(crate) const LOOKS: [&str; 18] = [
    "stats",
    "list",
    "dlq list",
    "show JOB",
    "why JOB",
    "complete show",
    "complete cancel",
    "complete dlq requeue",
    "complete push -Q",
    "list -s dead",
    "list -s ready",
    "list -s running",
    "list -s scheduled",
    "list -s cancelled",
    "list -Q queue-17",
    "list -l build=481",
    "queue list",
    "workers",
];

/// Runs each of `verbs`, in which `JOB` stands for a job in the middle of the backlog.
pub(crate) fn looks(db: &Path, verbs: &[&str], job: i64) -> Vec<Look> {
    let look = |verb: &&str| {
        let words = verb.replace("JOB", &job.to_string());
        let mut runs: Vec<Duration> = (0..21).map(|_| run(db, &words)).collect();
        let first = runs.remove(0);
        Look { verb: words, first, median: nth(&mut runs, 50) }
    };
    verbs.iter().map(look).collect()
}

fn run(db: &Path, words: &str) -> Duration {
    let mut command = qctl(db);
    match words.strip_prefix("complete ") {
        None => drop(command.args(words.split(' '))),
        Some(words) => {
            let words: Vec<&str> = words.split(' ').collect();
            command.envs([("COMPLETE", "bash"), ("_CLAP_IFS", "\n"), ("_CLAP_COMPLETE_SPACE", "false")]);
            command.env("_CLAP_COMPLETE_INDEX", (words.len() + 1).to_string());
            command.env("_CLAP_COMPLETE_COMP_TYPE", "9").args(["--", "qctl"]).args(words).arg("");
        }
    }
    let started = Instant::now();
    succeed(&mut command);
    started.elapsed()
}

/// The command under test, on that queue.
fn qctl(db: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qctl"));
    command.env("QCTL_DB", db).stdin(Stdio::null());
    command
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("a process");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The time as qctl writes it down.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_millis()).expect("it is before the year 292 million")
}

/// The one of `times` that so many in a hundred do not exceed.
fn nth(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
