//! Events reach each subscription once and in their order, at whichever moment whoever publishes or delivers is
//! killed.
//!
//! A run begins with a copy of a queue file that was prepared once, and what is found after a kill is read past the
//! binary: SQLite has no reason to take its side.
//!
//! In the usual dose as many calls are swept as fit, spread evenly from a place that the seed draws. All:
//!
//! ```sh
//! QCTL_FAULTS_DOSE=50 cargo test --release --test faults events:: -- --nocapture
//! ```

mod catching_up;
mod publishing;
mod storm;
mod verbs;

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::annex::has_table;
use crate::dose::Dose;
use crate::strike;
use crate::support::Sandbox;

/// A folder with a queue file that each run begins with a copy of. The commands of its subscriptions run there.
pub(crate) struct Template(pub(crate) Sandbox);

impl Template {
    pub(crate) fn new(script: &str) -> Self {
        let made = Sandbox::new();
        made.sh(script).succeeds();
        Self(made)
    }

    pub(crate) fn copy(&self) -> Sandbox {
        let copy = Sandbox::new();
        for entry in std::fs::read_dir(self.0.path("")).expect("the folder").flatten() {
            let name = entry.file_name();
            let is_kept = name.to_string_lossy().starts_with("queue.db") && !name.to_string_lossy().ends_with("-shm");
            if is_kept && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                std::fs::copy(entry.path(), copy.path(name)).expect("a copy");
            }
        }
        copy
    }
}

/// What a queue file has of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Those on record.
    events: BTreeMap<i64, Event>,
    /// The events that were delivered to each subscription, in the order of their jobs.
    deliveries: BTreeMap<String, Vec<i64>>,
    /// What each subscription is to get next, if it is behind.
    behind: BTreeMap<String, Option<i64>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    topic: String,
    key: Option<String>,
    payload: String,
}

impl Seen {
    /// What is in the file as it is: its log is not folded back. Nothing where there is no file.
    fn inside(queue: &Sandbox) -> Self {
        Self::try_inside(queue).expect("the file can be read")
    }

    fn try_inside(queue: &Sandbox) -> rusqlite::Result<Self> {
        let mut seen = Self::default();
        if !queue.db().exists() {
            return Ok(seen);
        }
        let conn = Connection::open_with_flags(queue.db(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let tables = ["topic", "event", "subscription"].map(|name| has_table(&conn, name));
        let n = tables.into_iter().collect::<rusqlite::Result<Vec<bool>>>()?.into_iter().filter(|is| *is).count();
        assert!(n == 0 || n == 3, "only {n} of the three tables");
        if n == 0 {
            return Ok(seen);
        }
        let mut events = conn.prepare(
            "select event.id, topic.name, key, coalesce(body, x'') from event join topic on topic.id = topic_id
             left join payload on payload.id = payload_id
             where is_forgotten = 0",
        )?;
        let event = |row: &rusqlite::Row<'_>| {
            let payload = String::from_utf8(row.get(3)?).expect("text");
            Ok((row.get(0)?, Event { topic: row.get(1)?, key: row.get(2)?, payload }))
        };
        seen.events = events.query_map([], event)?.collect::<rusqlite::Result<_>>()?;
        let mut subscriptions = conn.prepare("select name, next_event from subscription")?;
        seen.behind =
            subscriptions.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        // A delivery has the payload of its event, and its topic, whether that is on record or not.
        let mut jobs = conn.prepare(
            "select subscription, event_id, job.payload_id is event.payload_id
               and (job.payload_id is null or job.payload_id in (select id from payload))
             from job left join event on event.id = event_id
             where event_id is not null
             order by job.id",
        )?;
        let mut rows = jobs.query([])?;
        while let Some(row) = rows.next()? {
            let event: i64 = row.get(1)?;
            assert!(row.get::<_, bool>(2)?, "a delivery of event {event} has another payload, or none");
            seen.deliveries.entry(row.get(0)?).or_default().push(event);
        }
        Ok(seen)
    }

    /// What qctl itself says.
    fn told(queue: &Sandbox) -> Self {
        let mut seen = Self::default();
        let jobs = queue.qctl("list --json --reverse --limit 1000000").succeeds().json();
        let mut of_each: Vec<(i64, String, i64)> = jobs["jobs"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|job| {
                Some((job["id"].as_i64()?, job["subscription"].as_str()?.to_owned(), job["event_id"].as_i64()?))
            })
            .collect();
        of_each.sort_unstable();
        for (_, subscription, event) in of_each {
            seen.deliveries.entry(subscription).or_default().push(event);
        }
        let all = queue.qctl("subscription list --json").succeeds().json();
        for one in all["subscriptions"].as_array().expect("a list") {
            let name = one["name"].as_str().expect("a name").to_owned();
            seen.behind.insert(name, one["next_event"].as_i64());
        }
        for line in queue.qctl("listen '>' --from all --no-follow").succeeds().out().lines() {
            let event: serde_json::Value = serde_json::from_str(line).expect("a document");
            let text = |name: &str| event[name].as_str().map(str::to_owned);
            let (topic, payload) = (text("topic").expect("a topic"), text("payload").unwrap_or_default());
            seen.events.insert(event["id"].as_i64().expect("an id"), Event { topic, key: text("key"), payload });
        }
        seen
    }
}

/// `doctor` finds nothing wrong with the file. That nobody works, or a subscription is behind, is not its business here.
#[track_caller]
pub(crate) fn is_content(queue: &Sandbox, story: &dyn Fn() -> String) {
    let findings = queue.qctl("doctor --json").json();
    let is_of_work =
        |code: &serde_json::Value| ["abandoned", "unserved", "behind"].iter().any(|of_work| code == of_work);
    let findings = findings["findings"].as_array().expect("a list").clone();
    let wrong: Vec<_> = findings.iter().filter(|finding| !is_of_work(&finding["code"])).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", story());
}

/// The calls that are swept, `n` in the usual dose.
pub(crate) fn points(last: usize, n: usize, dose: Dose) -> BTreeSet<usize> {
    strike::spread(last, n * dose.factor, &mut dose.chance())
}

#[expect(clippy::print_stdout, reason = "the figures are what the test is run for")]
pub(crate) fn add(what: &str) {
    println!("faults: {what}");
}
