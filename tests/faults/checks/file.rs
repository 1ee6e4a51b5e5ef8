//! A queue file that is not as qctl left it: bytes turned, pages lost, values that nobody wrote.
//!
//! What must hold: every verb answers or refuses; it neither panics nor goes on for ever. Where SQLite and
//! `doctor` find nothing wrong (`Store::examine` and `Store::strays`), every verb answers, each job stands
//! where it stood at some instant of the file's history, and the counters are what counting says. So
//! whatever is wrong is found out, with one exception that no check of ours can do anything about: SQLite
//! keeps no sums of its pages, so other bytes in a place where any bytes may be (a command, a payload, a
//! time) are what the file says.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use qctl::clock::Uptime;
use qctl::job::{
    Due, Filter, Job, JobChange, JobId, Outcome, Page, QueueName, Retention, Revival, StateKind, Stream, Tally, Token,
};
use qctl::policy;
use qctl::render::{Look, detail, json, plain, table};
use qctl::store::{self, Access, Serving, Store, Target, Tidy, Turn};

use super::base::{self, Base, Files, Snapshot, in_secs, moment, snapshot_of};

const PAGE: usize = 4096;

/// The edits in `bytes`, seven bytes each, applied to a copy of the valid queue.
pub(crate) fn queue_file(bytes: &[u8]) {
    let base = Base::get();
    let mut files = base.files.clone();
    apply(bytes, &mut files);
    let folder = folder();
    let db = folder.path().join("queue.db");
    files.write(&db);
    exercise(&db, &base.history);
}

/// Makes the edits that `bytes` describe.
pub(crate) fn apply(bytes: &[u8], files: &mut Files) {
    for edit in bytes.chunks_exact(7) {
        let &[op, which, a0, a1, a2, b0, b1] = edit else { continue };
        let file = if which % 4 == 3 { &mut files.wal } else { &mut files.db };
        let a = usize::from(a0) << 16 | usize::from(a1) << 8 | usize::from(a2);
        edit_file(file, op % 11, a, [b0, b1]);
    }
}

fn edit_file(file: &mut Vec<u8>, op: u8, a: usize, [b0, b1]: [u8; 2]) {
    let len = file.len();
    if len == 0 {
        return;
    }
    let n_pages = (len / PAGE).max(1);
    let page = |n: usize| {
        let start = n % n_pages * PAGE;
        start..(start + PAGE).min(len)
    };
    let b = usize::from(b0) << 8 | usize::from(b1);
    match op {
        0 => nth_set(file, a, |byte| byte ^ (1 << (b1 % 8))),
        1 => nth_set(file, a, |_| b1),
        2 => file[a % len] = b1,
        3 => file[page(a)].fill(b1),
        4 => {
            let (one, other) = (file[page(a)].to_vec(), file[page(b)].to_vec());
            let n = one.len().min(other.len());
            file[page(a)][..n].copy_from_slice(&other[..n]);
            file[page(b)][..n].copy_from_slice(&one[..n]);
        }
        5 => file.truncate(a % len),
        6 => file.resize(len + b, b1),
        7 => {
            let one = file[page(a)].to_vec();
            let n = one.len().min(page(b).len());
            file[page(b)][..n].copy_from_slice(&one[..n]);
        }
        // The head of a page, where its kind and the places of its cells stand.
        8 => file[(a % n_pages * PAGE + usize::from(b0) % 64) % len] = b1,
        9 => overwrite(file, a, &[b0, 0xff, 0xff, b1]),
        _ => overwrite(file, a, &[b1; 8]),
    }
}

/// Changes the nth byte, in the round, that is not zero: most of a file is.
fn nth_set(file: &mut [u8], nth: usize, change: impl Fn(u8) -> u8) {
    let n_set = file.iter().filter(|&&byte| byte != 0).count();
    let nth = nth.checked_rem(n_set).unwrap_or(0);
    if let Some(byte) = file.iter_mut().filter(|byte| **byte != 0).nth(nth) {
        *byte = change(*byte);
    }
}

fn overwrite(file: &mut [u8], at: usize, with: &[u8]) {
    let at = at % file.len();
    let end = (at + with.len()).min(file.len());
    file[at..end].copy_from_slice(&with[..end - at]);
}

/// Where a file lies while it is looked at: in memory, if there is such a place.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// Values that nobody wrote, in rows that SQLite finds sound. Each ten bytes name a column, a row and a value.
pub(crate) fn columns(bytes: &[u8]) {
    let base = Base::get();
    let folder = folder();
    let db = folder.path().join("queue.db");
    base.files.write(&db);
    {
        let conn = rusqlite::Connection::open(&db).expect("it is valid");
        let mut rest = bytes;
        while let [column, row, kind, length, tail @ ..] = rest {
            let (value, after) = tail.split_at(tail.len().min(usize::from(*length) % 40));
            // What the schema refuses is not written.
            let _ = set(&conn, COLUMNS[usize::from(*column) % COLUMNS.len()], *row, (*kind, value));
            rest = after;
        }
    }
    exercise(&db, &[]);
}

/// Every column, with its table.
const COLUMNS: [(&str, &str); 79] = [
    ("queue", "id"),
    ("queue", "name"),
    ("queue", "paused_at"),
    ("queue", "settings"),
    ("queue", "served_until"),
    ("counter", "queue_id"),
    ("counter", "what"),
    ("counter", "n"),
    ("counter", "n"),
    ("counter", "n"),
    ("context", "id"),
    ("context", "cwd"),
    ("context", "env"),
    ("context", "terms"),
    ("context", "terms"),
    ("payload", "id"),
    ("payload", "body"),
    ("job", "id"),
    ("job", "queue_id"),
    ("job", "state"),
    ("job", "priority"),
    ("job", "run_at"),
    ("job", "attempt"),
    ("job", "max_attempts"),
    ("job", "crashes"),
    ("job", "token"),
    ("job", "worker_id"),
    ("job", "cancel_requested"),
    ("job", "created_at"),
    ("job", "started_at"),
    ("job", "finished_at"),
    ("job", "expires_at"),
    ("job", "reason"),
    ("job", "outcome"),
    ("job", "exit_code"),
    ("job", "signal"),
    ("job", "error"),
    ("job", "context_id"),
    ("job", "payload_id"),
    ("job", "is_shell"),
    ("job", "command"),
    ("job", "env"),
    ("job", "labels"),
    ("job", "key"),
    ("job", "key_holds"),
    ("job", "key_until"),
    ("label", "name"),
    ("label", "value"),
    ("label", "job_id"),
    ("worker", "id"),
    ("worker", "host"),
    ("worker", "pid"),
    ("worker", "boot_id"),
    ("worker", "queues"),
    ("worker", "slots"),
    ("worker", "lease"),
    ("worker", "since"),
    ("worker", "heartbeat_at"),
    ("worker", "lease_until"),
    ("worker", "has_handler"),
    ("attempt", "job_id"),
    ("attempt", "token"),
    ("attempt", "outcome"),
    ("attempt", "exit_code"),
    ("attempt", "signal"),
    ("attempt", "started_at"),
    ("attempt", "ended_at"),
    ("attempt", "cpu_us"),
    ("attempt", "max_rss_bytes"),
    ("attempt", "stdout_bytes"),
    ("attempt", "stderr_bytes"),
    ("attempt", "worker"),
    ("output", "id"),
    ("output", "token"),
    ("output", "start"),
    ("output", "body"),
    ("pace", "slot"),
    ("pace", "took"),
    ("pace", "n"),
];

/// Words that a column may hold, if it is the right one.
const WORDS: [&str; 8] = ["ready", "running", "dead", "scheduled", "retrying", "blocked", "expired", "lost"];

fn set(
    conn: &rusqlite::Connection,
    (table, column): (&str, &str),
    row: u8,
    value: (u8, &[u8]),
) -> rusqlite::Result<()> {
    let (kind, bytes) = value;
    let number = bytes.iter().take(8).fold(0_i64, |number, &byte| number << 8 | i64::from(byte));
    let word = || WORDS[usize::from(bytes.first().copied().unwrap_or(0)) % WORDS.len()].to_owned();
    let value: rusqlite::types::Value = match kind % 8 {
        0 => number.into(),
        1 => i64::MAX.into(),
        2 => i64::MIN.into(),
        3 => (-number).into(),
        4 => String::from_utf8_lossy(bytes).into_owned().into(),
        5 => word().into(),
        6 => bytes.to_vec().into(),
        _ => rusqlite::types::Value::Null,
    };
    // Tables without row numbers are counted through by their whole key.
    let sql = format!(
        "update {table} set {column} = :value
         where ({column}) = (select {column} from {table} limit 1 offset (:row % (select max(count(*), 1) from {table})))"
    );
    conn.execute(&sql, rusqlite::named_params! { ":value": value, ":row": row }).map(drop)
}

/// Has every verb at the file. `history` is where its jobs stood at each instant; empty, if that is not known.
fn exercise(db: &Path, history: &[Snapshot]) {
    let target = Target::Sqlite(db.to_owned());
    let Ok(mut store) = store::open(&target, Access::Existing) else { return };
    let store = &mut *store;
    // What doctor says is asked for first: the verbs that come after may do further damage.
    let is_sound =
        store.examine().is_ok_and(|lines| lines.is_empty()) && store.strays().is_ok_and(|all| all.is_empty());
    let seen = look(store);
    if let Err(error) = &seen {
        assert!(!is_sound, "nothing is found wrong with it, and: {error:?}");
    }
    let before = snapshot_of(store);
    if is_sound {
        let before = before.as_ref().expect("it was read a moment ago");
        assert!(history.is_empty() || history.contains(before), "jobs stand where they never stood: {before:?}");
        counters_agree(store);
    }
    let done = work(store, before.ok().filter(|_| is_sound).as_ref()).and_then(|()| change(store));
    if let Err(error) = done {
        assert!(!is_sound, "nothing is found wrong with it, and: {error:?}");
    }
    if is_sound {
        counters_agree(store);
    }
    let _ = store::place(&target).map(|place| place.journal);
}

fn counters_agree(store: &mut dyn Store) {
    let page = Page { after: None, limit: usize::MAX, oldest_first: true };
    let jobs = store.jobs(&Filter::default(), page).expect("every job");
    for queue in store.queues().expect("the queues") {
        let mut counted = Tally::default();
        jobs.iter().filter(|job| job.queue == queue.name).for_each(|job| counted.add(job.state.kind(), 1));
        assert_eq!(queue.tally, counted, "in queue {}", queue.name);
    }
}

/// Reads all there is, and shows it in every form.
fn look(store: &mut dyn Store) -> store::Result<()> {
    let look = Look { width: 80, has_color: false, has_unicode: true, now: in_secs(3600), zone: || TimeZone::UTC };
    let page = |oldest_first| Page { after: None, limit: usize::MAX, oldest_first };
    let jobs = store.jobs(&Filter::default(), page(true))?;
    for job in &jobs {
        one(store, job, &look)?;
    }
    let labels = vec![("tenant".to_owned(), "true".to_owned())];
    store.jobs(&Filter { labels, states: vec![StateKind::Ready], ..Filter::default() }, page(false))?;
    let queues = store.queues()?;
    let paces = store.pace(Base::NOW)?.into_iter().map(|(_, pace)| Some(pace)).chain(std::iter::repeat(None));
    for (queue, pace) in queues.iter().zip(paces) {
        let _ = (json::stats(queue, pace.as_ref(), look.now), detail::queue(queue, &look));
        let _ = policy::retention(&queue.settings, look.now);
        let _ = plain::stats(&[(queue.clone(), pace.clone())], &look);
        let _ = table::stats(&[(queue.clone(), pace, vec![1, 2])], &look);
    }
    let _ = (table::queues(&queues, &look), plain::queues(&queues, &look));
    let _ = (table::jobs(&jobs, &look), table::dead(&jobs, &look), plain::dead(&jobs, &look));
    for id in store.dead(&Filter::default(), 100)?.into_iter().chain(store.blocking_keys(100, look.now)?) {
        store.job(id)?;
    }
    store.overdue(look.now, 100)?;
    store.workers()?;
    store.version()?;
    Ok(())
}

fn one(store: &mut dyn Store, job: &Job, look: &Look) -> store::Result<()> {
    assert_eq!(store.job(job.id)?.as_ref().map(|found| found.id), Some(job.id));
    let attempts = store.attempts(job.id)?;
    for attempt in &attempts {
        for stream in Stream::ALL {
            store.output(job.id, attempt.token, stream, 3)?;
        }
    }
    let context = store.context(job.id)?;
    let _ = detail::job(job, context.as_ref(), &attempts, look);
    let _ = json::job_with_attempts(job, &attempts).to_string();
    store.ahead(job, 100)?;
    store.standing_of(&[job.id.into()])?;
    Ok(())
}

/// Works as a worker does. What is claimed was waiting, if it is known what was.
fn work(store: &mut dyn Store, before: Option<&Snapshot>) -> store::Result<()> {
    let at = moment();
    let me = store.enroll(&base::worker(), at)?;
    for orphan in store.lost(at.uptime)? {
        store.marked(orphan.lease)?;
        let _ = policy::verdict(&orphan.job, &orphan.context.terms, (Outcome::Lost, None), at.now, 1.0);
    }
    let serving = Serving::default();
    let mut settlements = Vec::new();
    let mut ran = BTreeSet::new();
    for later in [0, 100, 10_000] {
        let turn = Turn { worker: me, settlements: &settlements, output: &[], serving: &serving, n_wanted: 2 };
        let turned = store.turn(&turn, in_secs(later))?;
        settlements.clear();
        for claimed in turned.claimed {
            let id = claimed.lease.job.get();
            let stood = before.and_then(|before| before.get(&id)).map(|&(_, state)| state);
            let was_waiting = stood.is_none_or(|state| ["ready", "scheduled", "retrying"].contains(&state));
            assert!(was_waiting && ran.insert((id, claimed.lease.token)), "job {id} was {stood:?} and is claimed");
            let ending = (Outcome::Failed, Some(1));
            let verdict = policy::verdict(&claimed.job, &claimed.context.terms, ending, at.now, 0.5);
            settlements.push(base::settlement(&claimed, verdict));
        }
    }
    let turn = Turn { worker: me, settlements: &settlements, output: &[], serving: &serving, n_wanted: 0 };
    store.turn(&turn, at.now)?;
    store.renew(me, &[], Uptime::from_millis(2_000_000), at)?;
    store.retire(me, at.now)?;
    store.tidy(Tidy::Leaving)
}

/// Changes what people change. What was meant to be refused is a refusal, not an error.
fn change(store: &mut dyn Store) -> store::Result<()> {
    let now = in_secs(3600);
    let mail = QueueName::new("mail").expect("a name");
    let ids: Vec<JobId> = (1..=13).chain([1 << 39, i64::MAX]).filter_map(JobId::new).collect();
    for &id in &ids {
        store.output(id, Token::new(1), Stream::Stdout, 0)?;
        let change = JobChange {
            priority: Some(1),
            due: Some(Due::Now),
            queue: Some(mail.clone()),
            timeout: Some(Some(Duration::from_secs(1))),
            max_attempts: Some(2),
        };
        let _ = store.update(id, &change, now)?;
    }
    for &id in &ids[..7] {
        store.put_back(&[id], &StateKind::ALL, &Revival::default(), now)?;
        let _ = store.cancel(id, now)?;
    }
    let pushed = store.push(&mut [base::job("mail", "new"), base::job("new", "new")].into_iter(), now)?;
    assert!(pushed[1].id > pushed[0].id && store.job(pushed[1].id)?.is_some_and(|job| job.queue.as_str() == "new"));
    store.configure(&mail, &mut |own| own.max_attempts = Some(9))?;
    store.pause(&mail, false, now)?;
    let keep = Retention { before: Some(now), max_rows: Some(1) };
    for _ in 0..3 {
        store.prune(&mail, &keep, now)?;
    }
    store.forget(&ids, &StateKind::ALL)?;
    let _ = store.remove_queue(&mail)?;
    Ok(())
}
