//! What is found after a power cut: the real binary opens what was left, and so does SQLite's own check.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::disk::Image;
use super::workload::QUEUE;
use crate::annex::has_table;
use crate::support::Sandbox;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// No queue was there, and one could be made.
    pub(super) is_missing: bool,
    pub(super) jobs: BTreeMap<i64, Row>,
    pub(super) paused: BTreeSet<String>,
    /// The steps on record, by job and name, with the word for where each stands.
    pub(super) steps: BTreeMap<(i64, String), String>,
    /// The events on record.
    pub(super) events: BTreeSet<i64>,
    /// What each subscription is to get next, if it is behind.
    pub(super) subscriptions: BTreeMap<String, Option<i64>>,
    /// Which subscription was delivered which event, by jobs.
    pub(super) deliveries: BTreeMap<i64, (String, i64)>,
    /// What is wrong whatever was acknowledged.
    pub(super) complaints: Vec<String>,
}

/// A job, as `list` shows it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) queue: String,
    pub(super) state: String,
    pub(super) priority: i64,
    pub(super) command: String,
}

/// A folder in which states are set up, one after the other.
pub(super) struct Bench<'s> {
    sandbox: &'s Sandbox,
    /// In memory where that can be: here nothing has to survive.
    folder: tempfile::TempDir,
}

impl<'s> Bench<'s> {
    pub(super) fn new(sandbox: &'s Sandbox) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        Self { sandbox, folder }
    }

    fn queue(&self) -> PathBuf {
        self.folder.path().join("disk").join(QUEUE)
    }

    /// Sets up what was left and looks at it; `is_thorough` has a worker finish what is left, too.
    pub(super) fn look(&self, image: &Image, is_thorough: bool) -> Found {
        lay_out(&self.folder.path().join("disk"), image);
        let mut found = Found::default();
        match self.qctl(&["list", "--limit", "100000", "-F", "id,queue,state,priority,command"]) {
            (0, text, _) => {
                found.jobs = text.lines().map(row).collect();
                self.check(&mut found);
                if is_thorough && found.complaints.is_empty() {
                    self.finish(&mut found);
                }
            }
            (3, _, _) => {
                found.is_missing = true;
                let again = self.qctl(&["push", ": again"]);
                if again.0 != 0 {
                    found.complaints.push(format!("no queue, and none can be made: {again:?}"));
                }
            }
            answer => found.complaints.push(format!("list answered {answer:?}")),
        }
        found
    }

    /// Looks inside, past the binary.
    fn check(&self, found: &mut Found) {
        if let Err(error) = self.try_check(found) {
            found.complaints.push(format!("SQLite says: {error}"));
        }
    }

    fn try_check(&self, found: &mut Found) -> rusqlite::Result<()> {
        let conn = Connection::open_with_flags(self.queue(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let texts = |sql: &str| -> rusqlite::Result<Vec<String>> {
            conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
        };
        let findings = texts("pragma integrity_check")?;
        found.complaints.extend(findings.into_iter().filter(|finding| finding != "ok"));
        let counted =
            "select queue_id || ' ' || what || ' ' || n from counter where queue_id > 0 and n <> 0 order by 1";
        let there = "select queue_id || ' ' || state || ' ' || count(*) from job group by queue_id, state order by 1";
        let (counted, there) = (texts(counted)?, texts(there)?);
        if counted != there {
            found.complaints.push(format!("the counters say {counted:?}, but there are {there:?}"));
        }
        found.paused = texts("select name from queue where paused_at is not null")?.into_iter().collect();
        if has_table(&conn, "step")? {
            self.check_steps(&conn, found)?;
        }
        if has_table(&conn, "event")? {
            check_events(&conn, found)?;
        }
        let mut query = conn.prepare(
            "select job.id, payload.body
            from job
            left join payload on payload.id = job.payload_id
            where job.payload_id is not null and job.event_id is null",
        )?;
        let payloads = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<Vec<u8>>>(1)?)))?;
        for payload in payloads {
            let (id, body) = payload?;
            let command = found.jobs.get(&id).map_or("", |job| &job.command);
            if body.as_deref().is_none_or(|body| !is_payload_of(command, body)) {
                found.complaints.push(format!("the payload of job {id} is not the one that was pushed"));
            }
        }
        Ok(())
    }

    /// Reads the steps; what is recorded of one in a file has to be there whole.
    fn check_steps(&self, conn: &Connection, found: &mut Found) -> rusqlite::Result<()> {
        let mut query = conn.prepare("select job_id, name, state, file, bytes from step")?;
        let steps = query.query_map([], |row| {
            Ok(((row.get(0)?, row.get(1)?), row.get(2)?, row.get::<_, Option<String>>(3)?, row.get(4)?))
        })?;
        for step in steps {
            let (step, state, file, bytes): ((i64, String), String, _, Option<u64>) = step?;
            if let Some(file) = file {
                let printed = std::fs::read(self.queue().with_file_name("queue.db-steps").join(&file));
                let is_whole = printed.is_ok_and(|printed| {
                    let rest = printed.strip_prefix(format!("{}\n", step.1).as_bytes());
                    Some(printed.len() as u64) == bytes && rest.is_some_and(|rest| rest.iter().all(|&byte| byte == 0))
                });
                if !is_whole {
                    found.complaints.push(format!("what step {step:?} printed is not there, or not whole"));
                }
            }
            found.steps.insert(step, state);
        }
        Ok(())
    }

    /// Has the binary itself examine the file, count, and work until nothing is left to do.
    fn finish(&self, found: &mut Found) {
        let (_, findings, _) = self.qctl(&["doctor"]);
        // It also tells of dead workers' jobs that nobody takes up: so it is after a power cut.
        let is_damage = |line: &&str| line.contains("damage") || line.contains("malformed") || line.contains("missing");
        found.complaints.extend(findings.lines().filter(is_damage).map(str::to_owned));
        let counts = self.qctl(&["stats"]).1;
        let told: BTreeMap<&str, Vec<&str>> = counts
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(name, rest)| (name, rest.split('\t').skip(1).take(8).collect()))
            .collect();
        let names = ["ready", "scheduled", "retrying", "running", "blocked", "succeeded", "dead", "cancelled"];
        for (queue, told) in told {
            let count =
                |state: &str| found.jobs.values().filter(|job| job.queue == queue && job.state == state).count();
            let there: Vec<String> = names.iter().map(|state| count(state).to_string()).collect();
            if told != there {
                found.complaints.push(format!("stats says {told:?} of {queue}, but list says {there:?}"));
            }
        }
        let (status, _, told) = self.qctl(&["work", "--drain", "-j", "4", "--log", "none"]);
        let rest = self.qctl(&["list", "-s", "ready,running", "--limit", "100000", "-F", "id,queue"]).1;
        let is_left = rest.lines().any(|line| !found.paused.contains(line.split('\t').nth(1).unwrap_or_default()));
        if status != 0 || is_left {
            found.complaints.push(format!("a worker ended with {status} and left {rest:?} behind: {told}"));
        }
        let mut after = found.clone();
        self.check(&mut after);
        found.complaints.append(&mut after.complaints);
        let is_paused = |name: &String| found.paused.contains(name);
        for (name, next) in after.subscriptions.iter().filter(|(name, _)| !is_paused(name)) {
            let of =
                |found: &Found| found.deliveries.values().filter(|(to, _)| to == name).map(|(_, id)| *id).collect();
            let (before, now): (BTreeSet<i64>, BTreeSet<i64>) = (of(found), of(&after));
            // From its first one on each gets all.
            let first = before.first().copied().into_iter().chain(found.subscriptions[name]).min();
            let all: BTreeSet<i64> =
                found.events.iter().copied().filter(|id| first.is_some_and(|first| first <= *id)).collect();
            if next.is_some() || now != all {
                found.complaints.push(format!("{name} was to get {all:?} and got {now:?}; next it gets {next:?}"));
            }
        }
    }

    fn qctl(&self, words: &[&str]) -> (i32, String, String) {
        let mut command: Command = self.sandbox.command(env!("CARGO_BIN_EXE_qctl"));
        command.env("QCTL_DB", self.queue()).args(words);
        let output = command.output().expect("qctl starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }
}

/// Reads what there is of events. Each is delivered to nobody twice, and whole, and in order.
fn check_events(conn: &Connection, found: &mut Found) -> rusqlite::Result<()> {
    let mut query =
        conn.prepare("select event.id, key, body from event left join payload on payload.id = payload_id")?;
    for event in query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<Vec<u8>>>(2)?)))? {
        let (id, key, body): (i64, String, _) = event?;
        found.events.insert(id);
        let line = format!("{key}\n").into_bytes();
        let is_whole =
            body.is_some_and(|body| body.len() == 20_000 && body.chunks(line.len()).all(|one| line.starts_with(one)));
        if !is_whole {
            found.complaints.push(format!("event {id} has not the payload that was published"));
        }
    }
    let mut query = conn.prepare("select name, next_event from subscription")?;
    found.subscriptions =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    let mut query = conn.prepare(
        "select job.id, subscription, event_id, job.payload_id is event.payload_id and job.queue_id is subscription.queue_id
         from job
         left join event on event.id = event_id
         left join subscription on subscription.name = job.subscription
         where event_id is not null
         order by job.id",
    )?;
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    found.deliveries.clear();
    for job in query.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?), row.get::<_, bool>(3)?)))? {
        let (id, delivery, is_whole): (_, (String, i64), _) = job?;
        if !is_whole {
            found.complaints.push(format!("the delivery {delivery:?} is without its payload or its queue"));
        }
        if last.insert(delivery.0.clone(), delivery.1).is_some_and(|last| last >= delivery.1) {
            found.complaints.push(format!("{delivery:?} was delivered twice or out of order"));
        }
        found.deliveries.insert(id, delivery);
    }
    Ok(())
}

/// Makes a folder hold what a power cut left, and nothing else.
pub(super) fn lay_out(folder: &Path, image: &Image) {
    let _ = std::fs::remove_dir_all(folder);
    for (path, bytes) in image {
        let path = folder.join(path);
        match bytes {
            None => std::fs::create_dir(&path).expect("a folder"),
            Some(bytes) => std::fs::write(&path, bytes).expect("a file"),
        }
    }
}

/// A line of `list`.
fn row(line: &str) -> (i64, Row) {
    let mut fields = line.splitn(5, '\t');
    let mut next = || fields.next().expect("list shows five fields").to_owned();
    let id = next().parse().expect("an id");
    let (queue, state) = (next(), next());
    (id, Row { queue, state, priority: next().parse().expect("a priority"), command: next() })
}

/// Whether a payload is the one that the scripts give a job of this command.
fn is_payload_of(command: &str, body: &[u8]) -> bool {
    let line = match command.strip_prefix(": ") {
        Some(word) if !word.starts_with("flood") => format!("{word}\n"),
        _ => "A".to_owned(),
    };
    let mut whole = line.repeat(65536 / line.len() + 1).into_bytes();
    whole.truncate(65536);
    whole == body
}
