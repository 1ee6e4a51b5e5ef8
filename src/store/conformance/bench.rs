//! What the promises are played on: a queue in a folder of its own, and a time that passes only
//! when told to.
//!
//! Each [`Bench`] is one connection with one registered worker; [`Bench::beside`] gives another on
//! the same queue. Helpers answer plainly and fail loudly; where a refusal is the point, the promise
//! talks to `store` itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::clock::{Moment, Timestamp, Uptime};
use crate::job::{
    Chunk, Claimed, Command, Context, Due, EnvVars, Filter, Granted, Job, JobId, KeyRule, Labels, NewJob, OnDuplicate,
    Outcome, Page, Queue, QueueName, QueuePattern, Reason, Report, Revival, Settlement, StateKind, Stream, Tally,
    Terms, Verdict, Wish, WorkerId, unheeded,
};
use crate::store::{NewWorker, PushOutcome, Pushed, Result, Retried, Serving, Settled, Store, Turn, Turned};

/// Opens a store of the engine under test. Twice in one folder: two connections to one queue.
pub(crate) type Open = dyn Fn(&Path) -> Result<Box<dyn Store>> + Sync;

/// How long the bench's workers may be silent.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// A connection to a queue, a worker on it, and the time.
pub(super) struct Bench<'o> {
    pub(super) store: Box<dyn Store>,
    pub(super) worker: WorkerId,
    pub(super) now: Timestamp,
    open: &'o Open,
    folder: Arc<TempDir>,
}

impl dyn Store {
    /// Puts one job back.
    pub(crate) fn retry(
        &mut self,
        id: JobId,
        states: &[StateKind],
        from_step: Option<&crate::job::StepPath>,
        now: Timestamp,
    ) -> Result<Retried> {
        let how = Revival { from_step: from_step.cloned(), ..Revival::default() };
        self.put_back(&[id], states, &how, now).map(|done| done.answers[0].1.clone())
    }
}

impl<'o> Bench<'o> {
    /// An empty queue.
    pub(super) fn new(open: &'o Open) -> Self {
        let folder = tempfile::tempdir().expect("a folder of its own");
        Self::at(open, Arc::new(folder), Timestamp::from_millis(1_000_000_000_000))
    }

    /// Another connection to the same queue, with a worker of its own.
    pub(super) fn beside(&self) -> Self {
        Self::at(self.open, Arc::clone(&self.folder), self.now)
    }

    fn at(open: &'o Open, folder: Arc<TempDir>, now: Timestamp) -> Self {
        let mut store = open(folder.path()).expect("a store in a fresh folder");
        let worker = store.enroll(&worker(&[]), moment(now)).expect("a worker on the books");
        Self { store, worker, now, open, folder }
    }

    /// Where the queue lies.
    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Another connection and nothing more, for a thread to take along.
    pub(super) fn connection(&self) -> Box<dyn Store> {
        (self.open)(self.folder.path()).expect("another connection")
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, secs: u64) {
        self.now = self.in_secs(secs);
    }

    /// The instant that many seconds from now.
    pub(super) fn in_secs(&self, secs: u64) -> Timestamp {
        self.now.plus(Duration::from_secs(secs))
    }

    /// Queues a job that must be a new one.
    pub(super) fn push(&mut self, job: NewJob) -> JobId {
        let pushed = self.offer(job);
        assert_eq!(pushed.outcome, PushOutcome::Created);
        pushed.id
    }

    /// Queues a job, whatever comes of it.
    pub(super) fn offer(&mut self, job: NewJob) -> Pushed {
        self.store.push(&mut [job].into_iter(), self.now).expect("a push").remove(0)
    }

    /// Queues many at once.
    pub(super) fn push_all(&mut self, jobs: Vec<NewJob>) -> Vec<JobId> {
        let pushed = self.store.push(&mut jobs.into_iter(), self.now).expect("a push");
        pushed.into_iter().map(|pushed| pushed.id).collect()
    }

    /// Takes a turn of the bench's worker.
    pub(super) fn turn(&mut self, settlements: &[Settlement], serving: &Serving, n_wanted: usize) -> Turned {
        let turn = Turn { worker: self.worker, settlements, output: &[], serving, n_wanted };
        self.store.turn(&turn, self.now).expect("a turn")
    }

    /// Claims up to `n` jobs of any queue.
    pub(super) fn claim(&mut self, n: usize) -> Vec<Claimed> {
        self.turn(&[], &Serving::default(), n).claimed
    }

    /// Claims the one job that must be there to claim.
    pub(super) fn claim_one(&mut self) -> Claimed {
        self.claim(1).pop().expect("a job to claim")
    }

    /// Claims all there is and answers the numbers in their order.
    pub(super) fn claim_ids(&mut self) -> Vec<JobId> {
        self.claim(1000).iter().map(|claimed| claimed.lease.job).collect()
    }

    /// Reports on a job, and claims nothing.
    pub(super) fn settle(&mut self, settlement: Settlement) -> Settled {
        let turned = self.turn(&[settlement], &Serving::default(), 0);
        assert_eq!(turned.settled.len(), 1, "one answer for one settlement");
        turned.settled[0].clone()
    }

    /// Reports an ending that must count.
    pub(super) fn end(&mut self, claimed: &Claimed, outcome: Outcome, verdict: Verdict) {
        let settlement = self.ending(claimed, outcome, verdict);
        assert_eq!(self.settle(settlement), Settled::Recorded);
    }

    /// Reports success.
    pub(super) fn succeed(&mut self, claimed: &Claimed) {
        self.end(claimed, Outcome::Succeeded, Verdict::Succeed);
    }

    /// Reports a failure that was the last.
    pub(super) fn bury(&mut self, claimed: &Claimed) {
        self.end(claimed, Outcome::Failed, Verdict::Die { reason: Reason::Exhausted });
    }

    /// Hands a job back that was not started.
    pub(super) fn return_untouched(&mut self, claimed: &Claimed) {
        assert_eq!(self.settle(untouched(claimed)), Settled::Recorded);
    }

    /// The report of an attempt that ends now.
    pub(super) fn ending(&self, claimed: &Claimed, outcome: Outcome, verdict: Verdict) -> Settlement {
        let report = report(claimed, outcome, self.now);
        Settlement { lease: claimed.lease, verdict, heed, report: Some(report), output: Vec::new() }
    }

    /// Stores what a running attempt printed.
    pub(super) fn print(&mut self, claimed: &Claimed, chunk: Chunk) {
        let (output, serving) = ([(claimed.lease, vec![chunk])], Serving::default());
        let turn = Turn { worker: self.worker, settlements: &[], output: &output, serving: &serving, n_wanted: 0 };
        self.store.turn(&turn, self.now).expect("a turn");
    }

    /// The kept stdout of an attempt as text, with `|` where something is missing.
    pub(super) fn printed(&mut self, claimed: &Claimed, offset: u64) -> String {
        let chunks = self.store.output(claimed.lease.job, claimed.lease.token, Stream::Stdout, offset);
        let mut text = String::new();
        let mut end = offset;
        for chunk in chunks.expect("the output") {
            if chunk.offset != end {
                text.push('|');
            }
            end = chunk.end();
            text.push_str(std::str::from_utf8(&chunk.bytes).expect("the tests print ASCII"));
        }
        text
    }

    /// A job that must exist.
    pub(super) fn job(&mut self, id: JobId) -> Job {
        self.store.job(id).expect("a look").expect("a job of this number")
    }

    /// Where it stands.
    pub(super) fn state(&mut self, id: JobId) -> StateKind {
        self.job(id).state.kind()
    }

    /// The numbers of the jobs that match, oldest first.
    pub(super) fn find(&mut self, filter: &Filter) -> Vec<JobId> {
        let page = Page { after: None, limit: 10_000, oldest_first: true };
        self.store.jobs(filter, page).expect("a page").iter().map(|job| job.id).collect()
    }

    /// Everything that is queued, oldest first.
    pub(super) fn all(&mut self) -> Vec<JobId> {
        self.find(&Filter::default())
    }

    /// A queue that must exist.
    pub(super) fn queue(&mut self, name: &str) -> Queue {
        let queues = self.store.queues().expect("the queues");
        queues.into_iter().find(|queue| queue.name.as_str() == name).expect("a queue of this name")
    }

    /// Fails unless every queue's counters say what counting its jobs says.
    pub(super) fn assert_counters_agree(&mut self) {
        let page = Page { after: None, limit: 10_000, oldest_first: true };
        let mut counted: BTreeMap<QueueName, Tally> = BTreeMap::new();
        for job in self.store.jobs(&Filter::default(), page).expect("every job") {
            counted.entry(job.queue).or_default().add(job.state.kind(), 1);
        }
        for queue in self.store.queues().expect("the queues") {
            let counted = counted.remove(&queue.name).unwrap_or_default();
            assert_eq!(queue.tally, counted, "in queue {}", queue.name);
        }
        assert!(counted.is_empty(), "jobs in queues that are not listed: {counted:?}");
    }
}

/// The rule of the bench: whoever snoozes gets it, and whoever buries itself; the rest is refused.
pub(super) fn heed(wish: &Wish, _: Verdict, report: &Report) -> Option<Granted> {
    match wish {
        Wish::Snooze(pause) => {
            let verdict = Verdict::Retry { due: report.ended_at.plus(*pause) };
            Some(Granted { verdict, outcome: Outcome::Snoozed, error: None, group: None })
        }
        Wish::Bury { message, group } => {
            let verdict = Verdict::Die { reason: Reason::Buried };
            Some(Granted { verdict, outcome: Outcome::Buried, error: message.clone(), group: group.clone() })
        }
        Wish::Sleep(until) => Some(Granted {
            verdict: Verdict::Retry { due: *until },
            outcome: Outcome::Snoozed,
            error: None,
            group: None,
        }),
        Wish::Doubt(_) => {
            let verdict = Verdict::Die { reason: Reason::Uncertain };
            Some(Granted { verdict, outcome: Outcome::Failed, error: None, group: None })
        }
        Wish::RetryAfter(_) => None,
    }
}

/// Both clocks; the uptime runs along with the time, from a start of its own.
pub(super) fn moment(now: Timestamp) -> Moment {
    Moment { now, uptime: uptime(now) }
}

/// The uptime at that time.
pub(super) fn uptime(now: Timestamp) -> Uptime {
    Uptime::from_millis(now.as_millis() - 999_999_000_000)
}

/// A worker that serves these queues; none given: every one.
pub(super) fn worker(queues: &[&str]) -> NewWorker {
    NewWorker {
        host: "host".to_owned(),
        pid: 4711,
        queues: queues.iter().map(|queue| QueuePattern::new(*queue).expect("a good pattern")).collect(),
        n_slots: 2,
        lease: LEASE,
        has_handler: false,
    }
}

/// The queue of this name.
pub(super) fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a good name")
}

/// Serves these queues.
pub(super) fn serving(patterns: &[&str], except: &[&str]) -> Serving {
    Serving {
        patterns: patterns.iter().map(|pattern| QueuePattern::new(*pattern).expect("a good pattern")).collect(),
        except: except.iter().copied().map(queue).collect(),
    }
}

/// A job that runs this line, in the default queue and at once.
pub(super) fn job(line: &str) -> NewJob {
    NewJob {
        queue: QueueName::default(),
        command: Some(Command::Shell(line.into())),
        payload: None,
        key: None,
        priority: 0,
        due: Due::Now,
        expires_at: None,
        max_attempts: 5,
        labels: Labels::new(),
        env: EnvVars::new(),
        context: Arc::new(Context {
            cwd: b"/tmp".to_vec(),
            env: vec![(b"PATH".to_vec(), b"/bin".to_vec())],
            terms: Terms::default(),
        }),
    }
}

/// Says more of a job.
pub(super) trait Draft {
    fn on(self, queue: &str) -> Self;
    fn payload(self, bytes: &[u8]) -> Self;
    fn priority(self, priority: i32) -> Self;
    fn due(self, due: Timestamp) -> Self;
    fn expires(self, at: Timestamp) -> Self;
    fn label(self, name: &str, value: &str) -> Self;
    /// Gives it a key that is freed by its end, and returned by a second push.
    fn key(self, key: &str) -> Self;
    /// Has the key held until this instant, also by a finished job.
    fn held_until(self, until: Timestamp) -> Self;
    fn on_duplicate(self, what: OnDuplicate) -> Self;
}

impl Draft for NewJob {
    fn on(self, name: &str) -> Self {
        Self { queue: queue(name), ..self }
    }

    fn payload(self, bytes: &[u8]) -> Self {
        Self { payload: Some(bytes.to_vec()), ..self }
    }

    fn priority(self, priority: i32) -> Self {
        Self { priority, ..self }
    }

    fn due(self, due: Timestamp) -> Self {
        Self { due: Due::At(due), ..self }
    }

    fn expires(self, at: Timestamp) -> Self {
        Self { expires_at: Some(at), ..self }
    }

    fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    fn key(self, key: &str) -> Self {
        let rule = KeyRule { key: key.to_owned(), held_until: None, on_duplicate: OnDuplicate::Return };
        Self { key: Some(rule), ..self }
    }

    fn held_until(mut self, until: Timestamp) -> Self {
        self.key.as_mut().expect("a job with a key").held_until = Some(until);
        self
    }

    fn on_duplicate(mut self, what: OnDuplicate) -> Self {
        self.key.as_mut().expect("a job with a key").on_duplicate = what;
        self
    }
}

/// What there is to say of an attempt that ended like this.
pub(super) fn report(claimed: &Claimed, outcome: Outcome, ended_at: Timestamp) -> Report {
    let is_success = outcome == Outcome::Succeeded;
    Report {
        outcome,
        exit_code: Some(if is_success { 0 } else { 3 }),
        signal: None,
        error: (!is_success).then(|| "it went wrong".to_owned()),
        started_at: claimed.job.started_at.expect("a claimed job has started"),
        ended_at,
        usage: None,
        stdout_bytes: 0,
        stderr_bytes: 0,
        is_truncated: false,
        worker: "w1".to_owned(),
    }
}

/// The return of a job that was not started.
pub(super) fn untouched(claimed: &Claimed) -> Settlement {
    let verdict = Verdict::HandBack;
    Settlement { lease: claimed.lease, verdict, heed: unheeded, report: None, output: Vec::new() }
}

/// Some bytes of stdout, from this offset on.
pub(super) fn chunk(offset: u64, text: &str) -> Chunk {
    Chunk { stream: Stream::Stdout, offset, bytes: text.into(), drops_from: None }
}
