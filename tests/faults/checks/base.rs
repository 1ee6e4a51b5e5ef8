//! A valid queue file, made by the store itself: jobs in every state that there is, with keys, labels,
//! payloads, attempts and output; half of it folded into the file and half of it still in the log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use qctl::clock::{Moment, Timestamp, Uptime};
use qctl::job::{
    Chunk, Claimed, Command, Context, Due, EnvVars, Filter, KeyRule, Labels, NewJob, OnDuplicate, Outcome, Page,
    QueueName, QueuePattern, Reason, Report, Settlement, Stream, Terms, Usage, Verdict, WorkerId, unheeded,
};
use qctl::store::{self, Access, NewWorker, Serving, Store, Target, Tidy, Turn};

/// Where every job stood at one instant: its queue and its state.
pub(crate) type Snapshot = BTreeMap<i64, (String, &'static str)>;

/// The file and its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) db: Vec<u8>,
    pub(crate) wal: Vec<u8>,
}

impl Files {
    /// Reads them; no connection may be open.
    pub(crate) fn read(db: &Path) -> Self {
        let wal = std::fs::read(db.with_extension("db-wal")).unwrap_or_default();
        Self { db: std::fs::read(db).expect("a file"), wal }
    }

    /// Puts them where a queue `queue.db` is looked for.
    pub(crate) fn write(&self, db: &Path) {
        std::fs::write(db, &self.db).expect("a folder to write in");
        std::fs::write(db.with_extension("db-wal"), &self.wal).expect("a folder to write in");
    }
}

/// A valid queue, and what it was like after each step that made it.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) files: Files,
    pub(crate) history: Vec<Snapshot>,
}

impl Base {
    /// The present of the queue; some of its jobs are due before an hour later and some are not.
    pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    /// The queue, made once.
    pub(crate) fn get() -> &'static Self {
        static BASE: OnceLock<Base> = OnceLock::new();
        BASE.get_or_init(Self::make)
    }

    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("queue.db");
        let store = store::open(&Target::Sqlite(path.clone()), Access::Create).expect("a new queue");
        let mut maker = Maker { store, worker: WorkerId::new(0), history: Vec::new() };
        maker.make();
        // Or nothing would be claimed of what is made of it.
        assert!(maker.store.examine().is_ok_and(|lines| lines.is_empty()), "it is sound");
        assert!(maker.store.strays().is_ok_and(|strays| strays.is_empty()), "it is sound");
        let history = std::mem::take(&mut maker.history);
        // Before the file is read: closing it would drop the locks of the connection.
        drop(maker);
        Self { files: Files::read(&path), history }
    }
}

/// The numbers, queues and states of all jobs.
pub(crate) fn snapshot_of(store: &mut dyn Store) -> store::Result<Snapshot> {
    let page = Page { after: None, limit: usize::MAX, oldest_first: true };
    let jobs = store.jobs(&Filter::default(), page)?;
    Ok(jobs.iter().map(|job| (job.id.get(), (job.queue.to_string(), job.state.kind().name()))).collect())
}

struct Maker {
    store: Box<dyn Store>,
    worker: WorkerId,
    history: Vec<Snapshot>,
}

impl Maker {
    fn make(&mut self) {
        self.worker = self.store.enroll(&worker(), moment()).expect("a worker");
        self.remember();
        self.push(vec![job("mail", "true"), job("mail", "exit 3"), job("img", "echo one")]);
        for how in [Verdict::Succeed, Verdict::Die { reason: Reason::Exhausted }] {
            let claimed = self.claim();
            self.print(&claimed);
            self.settle(&claimed, how);
        }
        self.store.tidy(Tidy::Leaving).expect("nobody is in the way");
        self.push(vec![job("mail", "a"), job("img", "b"), job("img", "c"), job("mail", "d"), job("mail", "e")]);
        for how in [Some(Verdict::Retry { due: in_secs(60) }), Some(Verdict::Cancel), None] {
            let claimed = self.claim();
            self.print(&claimed);
            if let Some(verdict) = how {
                self.settle(&claimed, verdict);
            }
        }
        let key = |rule| KeyRule { key: "k".to_owned(), held_until: Some(in_secs(9000)), on_duplicate: rule };
        self.push(vec![
            NewJob { due: Due::At(in_secs(60)), ..job("late", "true") },
            NewJob { due: Due::At(in_secs(9000)), expires_at: Some(in_secs(60)), ..job("late", "true") },
            NewJob { key: Some(key(OnDuplicate::Return)), ..job("mail", "true") },
            NewJob { key: Some(key(OnDuplicate::Replace)), payload: Some(vec![7; 9000]), ..job("mail", "true") },
            NewJob { command: None, payload: Some(b"{}".to_vec()), priority: 9, ..job("paused", "") },
        ]);
        let paused = QueueName::new("paused").expect("a name");
        self.store.pause(&paused, true, Base::NOW).expect("a pause");
        let settings = &mut |own: &mut qctl::job::QueueSettings| {
            own.max_attempts = Some(3);
            own.keep = Some(Some(Duration::from_secs(3600)));
        };
        self.store.configure(&paused, settings).expect("settings");
        self.remember();
    }

    fn remember(&mut self) {
        self.history.push(snapshot_of(&mut *self.store).expect("every job"));
    }

    fn push(&mut self, jobs: Vec<NewJob>) {
        self.store.push(&mut jobs.into_iter(), Base::NOW).expect("a push");
        self.remember();
    }

    fn turn(
        &mut self,
        settlements: &[Settlement],
        output: &[(qctl::job::Lease, Vec<Chunk>)],
        n: usize,
    ) -> Vec<Claimed> {
        let serving = Serving::default();
        let turn = Turn { worker: self.worker, settlements, output, serving: &serving, n_wanted: n };
        let claimed = self.store.turn(&turn, Base::NOW).expect("a turn").claimed;
        self.remember();
        claimed
    }

    fn claim(&mut self) -> Claimed {
        self.turn(&[], &[], 1).pop().expect("a job")
    }

    fn print(&mut self, claimed: &Claimed) {
        let piece = |stream| Chunk { stream, offset: 0, bytes: b"some output\n".to_vec(), drops_from: None };
        self.turn(&[], &[(claimed.lease, Stream::ALL.map(piece).to_vec())], 0);
    }

    fn settle(&mut self, claimed: &Claimed, verdict: Verdict) {
        self.turn(&[settlement(claimed, verdict)], &[], 0);
    }
}

/// The report of an attempt that took two seconds.
pub(crate) fn settlement(claimed: &Claimed, verdict: Verdict) -> Settlement {
    let outcome = match verdict {
        Verdict::Succeed => Outcome::Succeeded,
        Verdict::Cancel => Outcome::Cancelled,
        Verdict::HandBack => Outcome::Released,
        Verdict::Retry { .. } | Verdict::Die { .. } => Outcome::Failed,
    };
    let report = Report {
        outcome,
        exit_code: Some(i32::from(outcome != Outcome::Succeeded)),
        signal: None,
        error: (outcome != Outcome::Succeeded).then(|| "some output".to_owned()),
        started_at: Base::NOW,
        ended_at: in_secs(2),
        usage: Some(Usage { cpu: Duration::from_millis(7), max_rss_bytes: 1 << 20 }),
        stdout_bytes: 12,
        stderr_bytes: 12,
        is_truncated: false,
        worker: "w1".to_owned(),
    };
    Settlement { lease: claimed.lease, verdict, heed: unheeded, report: Some(report), output: Vec::new() }
}

/// A job of this line.
pub(crate) fn job(queue: &str, line: &str) -> NewJob {
    NewJob {
        queue: QueueName::new(queue).expect("a name"),
        command: Some(Command::Shell(line.into())),
        payload: None,
        key: None,
        priority: 0,
        due: Due::Now,
        expires_at: None,
        max_attempts: 5,
        labels: Labels::from([("tenant".to_owned(), line.to_owned())]),
        env: EnvVars::from([(b"X".to_vec(), b"y".to_vec())]),
        context: Arc::new(Context {
            cwd: b"/tmp".to_vec(),
            env: vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())],
            terms: Terms { dead_on: vec![65..=78], ..Terms::default() },
        }),
    }
}

/// A worker that serves some queues.
pub(crate) fn worker() -> NewWorker {
    NewWorker {
        host: "host".to_owned(),
        pid: 4_194_305, // above any process number
        queues: vec![QueuePattern::new("*").expect("a pattern")],
        n_slots: 2,
        lease: Duration::from_secs(30),
        has_handler: true,
    }
}

/// The present.
pub(crate) fn moment() -> Moment {
    Moment { now: Base::NOW, uptime: Uptime::from_millis(1_000_000) }
}

/// So many seconds after the present.
pub(crate) fn in_secs(secs: u64) -> Timestamp {
    Base::NOW.plus(Duration::from_secs(secs))
}
