//! Whether what the file keeps in two places says the same in both, and whether every row can be read.
//!
//! SQLite checks its own structures and knows nothing of ours: a counter that is off, or a job whose queue
//! is gone, is sound to it.

use rusqlite::Connection;

use super::schema::Annex;
use super::{breaker, death, job_row, query, recorded, revision, row, subscription, task, topic, upkeep};
use crate::job::QueueName;
use crate::store::Stray;

/// Counters say what counting the jobs says.
const COUNTERS: &str = "select not exists (
      select queue_id, what, n from counter
      where queue_id <> 0 and (n <> 0 or what not in (
        'blocked', 'scheduled', 'ready', 'running', 'retrying', 'succeeded', 'dead', 'cancelled'))
      except select queue_id, state, count(*) from job where state <> 'dropped' group by queue_id, state
    ) and not exists (
      select queue_id, state, count(*) from job where state <> 'dropped' group by queue_id, state
      except select queue_id, what, n from counter where queue_id <> 0
    )";
const RECOUNT: &str = "delete from counter where queue_id <> 0; insert into counter (queue_id, what, n) \
    select queue_id, state, count(*) from job where state <> 'dropped' group by queue_id, state;";

/// The last number given to a job, and to a worker, is none below that of one, and possible.
const JOB_NUMBERS: &str = "select coalesce((select n from counter where queue_id = 0 and what = 'job'), 0)
    between coalesce((select max(id) from job), 0) and 1 << 38";
const RENUMBER_JOBS: &str = "insert into counter (queue_id, what, n) \
    values (0, 'job', (select coalesce(max(id), 0) from job)) on conflict do update set n = excluded.n;";
const WORKER_NUMBERS: &str = "select coalesce((select n from counter where queue_id = 0 and what = 'worker'), 0)
    between max(coalesce((select max(id) from worker), 0), coalesce((select max(worker_id) from job), 0)) and 1 << 38";
const RENUMBER_WORKERS: &str = "insert into counter (queue_id, what, n) values (0, 'worker', \
    max(coalesce((select max(id) from worker), 0), coalesce((select max(worker_id) from job), 0))) \
    on conflict do update set n = excluded.n;";

/// Labels are found by what their jobs say.
const LABELS: &str = "select not exists (
      select name, value, job_id from label
      except select each.key, each.value, job.id from job, json_each(job.labels) as each
    ) and not exists (
      select each.key, each.value, job.id from job, json_each(job.labels) as each
      except select name, value, job_id from label
    )";
const RELABEL: &str = "delete from label; insert into label (name, value, job_id) \
    select each.key, each.value, job.id from job, json_each(job.labels) as each;";

/// Topics count the events that they have on record.
const TALLIES: &str = "select not exists (
      select id from topic
      where (n, bytes) is not (select count(*), coalesce(sum(bytes), 0) from event where topic_id = topic.id and is_forgotten = 0)
    )";
const RETALLY: &str = "update topic set (n, bytes) = \
    (select count(*), coalesce(sum(bytes), 0) from event where topic_id = topic.id and is_forgotten = 0);";

/// Events count the jobs that have them.
const DELIVERIES: &str = "select not exists (
      select event.id, deliveries from event
      except
      select event.id, count(job.id) from event left join job on job.event_id = event.id group by event.id
    )";
const RECOUNT_DELIVERIES: &str = "update event set deliveries = \
    (select count(*) from job where job.event_id = event.id);";

/// The last number given to an event is none below that of one, and possible.
const EVENT_NUMBERS: &str = "select coalesce((select n from counter where queue_id = 0 and what = 'event'), 0)
    between coalesce((select max(id) from event), 0) and 1 << 38";
const RENUMBER_EVENTS: &str = "insert into counter (queue_id, what, n) \
    values (0, 'event', (select coalesce(max(id), 0) from event)) on conflict do update set n = excluded.n;";

/// Dead jobs are counted under their causes.
const DEATHS: &str = "select not exists (
      select queue_id, name, died_at, job_id from death
      except select queue_id, cause, finished_at, id from job where state = 'dead'
    ) and not exists (
      select queue_id, cause, finished_at, id from job where state = 'dead' and cause is not null
      except select queue_id, name, died_at, job_id from death
    ) and not exists (
      select n from cause where n <> (select count(*) from death where death.queue_id = cause.queue_id and death.name = cause.name)
    ) and not exists (select queue_id, name from death except select queue_id, name from cause)";
const REFILE: &str = "delete from death; update job set cause = null where state = 'dead' and cause is not null and \
    not exists (select 1 from cause where cause.queue_id = job.queue_id and cause.name = job.cause); \
    insert into death (queue_id, name, died_at, job_id) \
    select queue_id, cause, finished_at, id from job where state = 'dead' and cause is not null; update cause set n = \
    (select count(*) from death where death.queue_id = cause.queue_id and death.name = cause.name);";

/// The same of dead jobs.
const OF_CAUSES: [(&str, &str, &str); 1] =
    [(DEATHS, "the counters of causes are not what counting the dead jobs says", REFILE)];
/// The last number given to a task is none below that of one, and possible.
const TASK_NUMBERS: &str = "select coalesce((select n from counter where queue_id = 0 and what = 'task'), 0)
    between coalesce((select max(id) from task), 0) and 1 << 38";
const RENUMBER_TASKS: &str = "insert into counter (queue_id, what, n) \
    values (0, 'task', (select coalesce(max(id), 0) from task)) on conflict do update set n = excluded.n;";

/// What must agree of tasks, where there are any: as in [`disagreements`].
const OF_TASKS: [(&str, &str, &str); 1] =
    [(TASK_NUMBERS, "the number that the last task got is not that of the last task", RENUMBER_TASKS)];

/// What must agree of events, where there are any: as in [`disagreements`].
const OF_TOPICS: [(&str, &str, &str); 3] = [
    (TALLIES, "the counters of events are not what counting them says", RETALLY),
    (DELIVERIES, "the counters of deliveries are not what counting them says", RECOUNT_DELIVERIES),
    (EVENT_NUMBERS, "the number that the last event got is not that of the last event", RENUMBER_EVENTS),
];

/// What cannot be of what not every file has, where there is any of it.
const IMPOSSIBLE_IN: [(Annex, &str, &str); 8] = [
    (
        Annex::Steps,
        "job that is not there has left a step",
        "select job_id from step where job_id not in (select id from job)",
    ),
    (
        Annex::Dropped,
        "job was dropped and cannot be brought back",
        "select id from job
         where (state = 'dropped') <> (queue_id < 0) or (state = 'dropped' and id not in (select job_id from dropped))
         union select job_id from dropped where job_id not in (select id from job where state = 'dropped')",
    ),
    (
        Annex::Revisions,
        "job that is not there has left what was replaced in it",
        "select job_id from revision where job_id not in (select id from job)",
    ),
    (
        Annex::Breakers,
        "breaker is of a queue that is not there",
        "select queue_id from breaker where queue_id not in (select id from queue)",
    ),
    // A topic goes with the last event that it has on record; those that only jobs still have are of none.
    (
        Annex::Topics,
        "published event is without its topic or its payload",
        "select id from event
         where (is_forgotten = 0 and topic_id not in (select id from topic))
            or (payload_id is not null and payload_id not in (select id from payload))",
    ),
    (
        Annex::Topics,
        "subscription is without its queue or its folder",
        "select id from subscription
         where queue_id not in (select id from queue) or context_id not in (select id from context)",
    ),
    (
        Annex::Topics,
        "job is the delivery of an event that is not there",
        "select id from job where event_id is not null and event_id not in (select id from event)",
    ),
    (
        Annex::Tasks,
        "task has other jobs than it should",
        "select id from task where jobs <> (select count(*) from task_job where task_id = task.id)",
    ),
];

/// Rows with something that cannot be: what is said of one, with a statement that selects their numbers.
const IMPOSSIBLE: [(&str, &str); 6] = [
    (
        "job is without its queue, its folder or its payload",
        "select id from job
         where (queue_id not in (select id from queue) and state <> 'dropped')
            or context_id not in (select id from context)
            or (payload_id is not null and payload_id not in (select id from payload))",
    ),
    // One more would be more than the column holds, and the job could not be claimed or settled.
    (
        "job was claimed or lost more often than can be",
        "select id from job
         where token not between 0 and 1 << 53 or attempt not between 0 and 1 << 31 or crashes not between 0 and 1 << 31",
    ),
    (
        "queue's pace is of nothing that is counted, or higher than can be",
        "select queue_id from pace
         where n not between 0 and 1 << 53 or took < 0 or what not in ('succeeded', 'failed', 'wait')",
    ),
    ("job has output from before its beginning", "select id >> 24 from output where start not between 0 and 1 << 53"),
    // The next attempt under that token could not be recorded.
    (
        "job has an attempt that it has not begun",
        "select job_id from attempt join job on job.id = job_id where attempt.token > job.token - (job.state = 'running')",
    ),
    // A later job of that number would have them.
    (
        "job that is not there has left something",
        "select job_id from attempt where job_id not in (select id from job)
         union select id >> 24 from output where id >> 24 not in (select id from job)",
    ),
];

/// Each index of some of the jobs, with the condition of which. SQLite's own check does not see that such an index
/// has a job too many, and a job that only the index calls ready would be claimed.
const PARTIAL: [(&str, &str); 7] = [
    ("job_ready", "state = 'ready'"),
    ("job_due", "state in ('scheduled', 'retrying')"),
    ("job_expiring", "expires_at is not null and started_at is null and state in ('scheduled', 'ready')"),
    ("job_running", "state = 'running'"),
    ("job_dead", "state = 'dead'"),
    ("job_finished", "state in ('succeeded', 'cancelled')"),
    ("job_key", "key_holds = 1"),
];

/// What disagrees, each with the statements that have it agree again.
pub(super) fn disagreements(conn: &Connection) -> rusqlite::Result<Vec<Stray>> {
    let look = conn.unchecked_transaction()?;
    let mut strays = Vec::new();
    let of_topics: &[_] = if Annex::Topics.is_in(&look)? { &OF_TOPICS } else { &[] };
    let of_tasks: &[_] = if Annex::Tasks.is_in(&look)? { &OF_TASKS } else { &[] };
    let of_all = [
        (COUNTERS, "the counters of jobs are not what counting them says", RECOUNT),
        (JOB_NUMBERS, "the number that the last job got is not that of the last job", RENUMBER_JOBS),
        (WORKER_NUMBERS, "the number that the last worker got is not that of the last worker", RENUMBER_WORKERS),
        (LABELS, "the labels by which jobs are found are not those that they have", RELABEL),
    ];
    let of_causes: &[_] = if Annex::Causes.is_in(&look)? { &OF_CAUSES } else { &[] };
    for &(sql, what, cure) in of_all.iter().chain(of_topics).chain(of_causes).chain(of_tasks) {
        let agrees: bool = look.query_row(sql, [], |row| row.get(0))?;
        if !agrees {
            strays.push(Stray { what: what.to_owned(), cure: Some(cure.to_owned()) });
        }
    }
    for (index, condition) in PARTIAL {
        let sql = format!(
            "select not exists (
              select id from job indexed by {index} where {condition} except select id from job not indexed where {condition}
            ) and not exists (
              select id from job not indexed where {condition} except select id from job indexed by {index} where {condition}
            )"
        );
        let agrees: bool = look.query_row(&sql, [], |row| row.get(0))?;
        if !agrees {
            let what = format!("index {index} names other jobs than those that it should");
            strays.push(Stray { what, cure: Some(format!("reindex {index}")) });
        }
    }
    Ok(strays)
}

/// Rows that cannot be, or cannot be read, a line each, about `limit` at the most.
pub(super) fn unreadable(conn: &Connection, limit: usize) -> rusqlite::Result<Vec<String>> {
    let look = conn.unchecked_transaction()?;
    let mut lines = Vec::new();
    let annexes = annexes(&look)?;
    let in_annexes = IMPOSSIBLE_IN.iter().filter(|(annex, ..)| annexes.contains(annex));
    for (what, sql) in IMPOSSIBLE.into_iter().chain(in_annexes.map(|&(_, what, sql)| (what, sql))) {
        let mut query = look.prepare(sql)?;
        for id in query.query_map([], |row| row.get::<_, i64>(0))?.take(limit) {
            lines.push(format!("a {what}: {}", id?));
        }
    }
    for (what, sql, read) in readers().into_iter().chain(annex_readers(&annexes)) {
        let mut query = look.prepare(&sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            if lines.len() >= limit {
                return Ok(lines);
            }
            if let Err(error) = read(row) {
                lines.push(format!("a {what} cannot be read: {}: {error}", row.get::<_, i64>(0)?));
            }
        }
    }
    Ok(lines)
}

/// Reads a row for nothing but whether it can be read.
type Reader = fn(&rusqlite::Row<'_>) -> rusqlite::Result<()>;

/// What is read, each row with a number in front.
fn readers() -> Vec<(&'static str, String, Reader)> {
    vec![
        ("job", query::all_jobs_sql(), |row| job_row::job(row).map(drop)),
        ("queue", "select id, name, paused_at, served_until, settings from queue".to_owned(), |row| {
            row.get::<_, QueueName>("name")?;
            for time in ["paused_at", "served_until"] {
                row.get::<_, Option<i64>>(time)?;
            }
            row::settings(row).map(drop)
        }),
        ("context", "select id, cwd, env as context_env, terms from context".to_owned(), |row| {
            row::context(row).map(drop)
        }),
        ("worker", upkeep::WORKERS_SQL.to_owned(), |row| upkeep::entry(row).map(drop)),
        ("attempt", format!("select job_id, {} from attempt", query::ATTEMPT_COLUMNS), |row| {
            row::attempt(row).map(drop)
        }),
    ]
}

/// Which of the tables that not every file has this one has.
fn annexes(conn: &Connection) -> rusqlite::Result<Vec<Annex>> {
    let mut found = Vec::new();
    for annex in Annex::ALL {
        if annex.is_in(conn)? {
            found.push(annex);
        }
    }
    Ok(found)
}

/// What is read of those.
fn annex_readers(annexes: &[Annex]) -> Vec<(&'static str, String, Reader)> {
    let readers: [(Annex, &'static str, &str, Reader); 8] = [
        (Annex::Causes, "group of dead jobs", death::GROUPS_SQL, |row| death::group(row).map(drop)),
        (Annex::Breakers, "queue's breaker", breaker::ALL_SQL, |row| breaker::breaker(row).map(drop)),
        (Annex::Steps, "step", recorded::ALL_SQL, |row| recorded::step(row).map(drop)),
        (Annex::Revisions, "revision", revision::ALL_SQL, |row| revision::revision(row).map(drop)),
        (Annex::Topics, "topic", topic::ALL_SQL, |row| topic::tally(row).map(drop)),
        (Annex::Topics, "published event", subscription::EVENTS_SQL, |row| subscription::event(row).map(drop)),
        (Annex::Topics, "subscription", subscription::ALL_SQL, |row| subscription::subscription(row).map(drop)),
        (Annex::Tasks, "task", task::ALL_SQL, |row| task::read(row).map(drop)),
    ];
    let present = readers.into_iter().filter(|(annex, ..)| annexes.contains(annex));
    present.map(|(_, what, sql, read)| (what, sql.to_owned(), read)).collect()
}
