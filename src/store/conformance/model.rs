//! What a queue is, said as simply as it can be: a map of jobs, and each verb as what it means.
//!
//! No index, no counter, no lazy step: whatever can be found out by looking at every job is. It keeps to
//! the words of the trait and knows nothing of how an engine does it.

mod dropped;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::{Timestamp, Uptime};
use crate::job::{
    Due, Ending, Job, JobChange, JobId, KeyRule, Lease, NewJob, OnDuplicate, Outcome, Progress, QueueName,
    QueueSettings, Reason, Retention, Settlement, State, StateKind, Token, Verdict, Wish, WorkerId,
};
use crate::store::{Cancelled, PushOutcome, Pushed, Removed, Retried, Serving, Settled, Standing, Updated};

/// A job, with what is not seen of it in [`Job`].
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) job: Job,
    /// How often it was claimed.
    pub(super) token: i64,
    /// Until when it holds its key once it has ended.
    key_until: Option<Timestamp>,
    /// Whether another had its key when it was brought back.
    is_without_key: bool,
    payload: Option<Vec<u8>>,
    pub(super) timeout: Option<Duration>,
    /// Who runs it.
    worker: Option<WorkerId>,
    /// What the attempt that runs asked for.
    wish: Option<Wish>,
    /// The attempts that ended: token, outcome, start.
    pub(super) attempts: Vec<(i64, Outcome, Timestamp)>,
}

impl Entry {
    fn kind(&self) -> StateKind {
        self.job.state.kind()
    }

    fn holds(&self, key: &str, now: Timestamp) -> bool {
        let is_over = self.kind().is_final() && self.key_until.is_none_or(|until| until <= now);
        self.job.key.as_deref() == Some(key) && !is_over && !self.is_without_key
    }

    fn lease(&self) -> Lease {
        Lease { job: self.job.id, token: Token::new(self.token) }
    }

    /// Whether it waits for a time, and for which.
    fn due(&self) -> Option<Timestamp> {
        match self.job.state {
            State::Scheduled { due } | State::Retrying { due } => Some(due),
            _ => None,
        }
    }

    fn wait_from(&mut self, since: Timestamp) {
        self.job.run_at = since;
        self.job.state = State::Ready { since };
    }
}

/// What is known of a queue besides its jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    pub(super) paused_at: Option<Timestamp>,
    pub(super) settings: QueueSettings,
}

/// A worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hand {
    pub(super) is_alive: bool,
    pub(super) lease_until: Uptime,
}

/// What a turn brings.
#[derive(Debug, Default)]
pub(super) struct Outturn {
    pub(super) settled: Vec<Settled>,
    pub(super) claimed: Vec<Job>,
    pub(super) expired: BTreeSet<JobId>,
    pub(super) promoted: BTreeSet<QueueName>,
    pub(super) next_due: Option<Timestamp>,
}

/// A queue file.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) jobs: BTreeMap<JobId, Entry>,
    pub(super) queues: BTreeMap<QueueName, Shelf>,
    pub(super) workers: BTreeMap<WorkerId, Hand>,
    /// What was dropped and can be brought back.
    dropped: Vec<Vec<Entry>>,
    last_id: i64,
}

impl Model {
    /// All or none; the job that holds a key of which a push wants to be the first.
    pub(super) fn push(&mut self, jobs: &[NewJob], now: Timestamp) -> Result<Vec<Pushed>, JobId> {
        let mut then = self.clone();
        let pushed = jobs.iter().map(|new| then.push_one(new, now)).collect::<Result<_, _>>()?;
        *self = then;
        Ok(pushed)
    }

    fn push_one(&mut self, new: &NewJob, now: Timestamp) -> Result<Pushed, JobId> {
        let rule = new.key.as_ref();
        let holder = rule.and_then(|rule| self.holder(&new.queue, &rule.key, now));
        let answer = |entry: &Entry, outcome| {
            let (id, queue, state) = (entry.job.id, new.queue.clone(), entry.kind());
            Pushed { id, queue, outcome, state, met: None }
        };
        let (Some(KeyRule { on_duplicate, .. }), Some(holder)) = (rule, holder) else {
            self.last_id += 1;
            let id = JobId::new(self.last_id).expect("it counts up");
            let entry = fresh(id, 0, new, now);
            self.queues.entry(new.queue.clone()).or_default();
            return Ok(answer(self.put(entry), PushOutcome::Created));
        };
        let is_untried = holder.job.started_at.is_none() && !holder.kind().is_final();
        match on_duplicate {
            OnDuplicate::Error => Err(holder.job.id),
            OnDuplicate::Replace if is_untried => {
                let entry = fresh(holder.job.id, holder.token, new, now);
                Ok(answer(self.put(entry), PushOutcome::Replaced))
            }
            OnDuplicate::Replace | OnDuplicate::Return => {
                let differs = holder.job.command != new.command || holder.payload != new.payload;
                Ok(answer(holder, PushOutcome::Existing { differs }))
            }
        }
    }

    fn put(&mut self, entry: Entry) -> &Entry {
        let id = entry.job.id;
        self.jobs.insert(id, entry);
        &self.jobs[&id]
    }

    /// The job that holds a key.
    fn holder(&self, queue: &QueueName, key: &str, now: Timestamp) -> Option<&Entry> {
        self.jobs.values().find(|entry| entry.job.queue == *queue && entry.holds(key, now))
    }

    /// Another than this job that holds the key which this has.
    fn rival(&self, id: JobId, queue: &QueueName, now: Timestamp) -> Option<JobId> {
        let key = self.jobs[&id].job.key.as_deref()?;
        self.holder(queue, key, now).map(|entry| entry.job.id).filter(|&holder| holder != id)
    }

    pub(super) fn turn(
        &mut self,
        worker: WorkerId,
        (settlements, serving): (&[Settlement], &Serving),
        n_wanted: usize,
        now: Timestamp,
    ) -> Outturn {
        let settled = settlements.iter().map(|one| self.settle(one, now)).collect();
        let promoted = self.promote(now);
        let expired = self.expire(now).into_iter().filter(|id| serving.includes(&self.jobs[id].job.queue)).collect();
        let is_served = |model: &Self, queue: &QueueName| model.is_open(queue) && serving.includes(queue);
        let mut ready: Vec<_> = self
            .jobs
            .values()
            .filter(|one| one.kind() == StateKind::Ready && is_served(self, &one.job.queue))
            .collect();
        ready.sort_by_key(|entry| (-entry.job.priority, entry.job.id));
        let ids: Vec<JobId> = ready.iter().take(n_wanted).map(|entry| entry.job.id).collect();
        let claimed = ids.into_iter().map(|id| self.claim(id, worker, now)).collect();
        let due = self.jobs.values().filter(|entry| is_served(self, &entry.job.queue)).filter_map(Entry::due).min();
        Outturn { settled, claimed, expired, promoted, next_due: due }
    }

    fn is_open(&self, queue: &QueueName) -> bool {
        self.queues[queue].paused_at.is_none()
    }

    /// What fell due is ready, since its time.
    fn promote(&mut self, now: Timestamp) -> BTreeSet<QueueName> {
        let mut queues = BTreeSet::new();
        for entry in self.jobs.values_mut() {
            if let Some(due) = entry.due().filter(|&due| due <= now) {
                entry.wait_from(due);
                queues.insert(entry.job.queue.clone());
            }
        }
        queues.retain(|queue| self.is_open(queue));
        queues
    }

    /// What was not started in time is dead.
    fn expire(&mut self, now: Timestamp) -> Vec<JobId> {
        let mut expired = Vec::new();
        for entry in self.jobs.values_mut() {
            let is_waiting = matches!(entry.kind(), StateKind::Scheduled | StateKind::Ready);
            let is_late = entry.job.started_at.is_none() && entry.job.expires_at.is_some_and(|end| end <= now);
            if is_waiting && is_late {
                entry.job.state = State::Dead { at: now, reason: Reason::Expired };
                expired.push(entry.job.id);
            }
        }
        expired
    }

    fn claim(&mut self, id: JobId, worker: WorkerId, now: Timestamp) -> Job {
        let entry = self.jobs.get_mut(&id).expect("it is ready");
        entry.token += 1;
        entry.worker = Some(worker);
        entry.job.attempt += 1;
        entry.job.started_at = Some(now);
        entry.job.progress = None;
        let (token, worker) = (Token::new(entry.token), worker.to_string());
        entry.job.state = State::Running { token, worker, since: now, cancel_requested: false };
        entry.job.clone()
    }

    fn settle(&mut self, settlement: &Settlement, now: Timestamp) -> Settled {
        let Some(entry) = self.jobs.get_mut(&settlement.lease.job) else { return Settled::LeaseLost };
        let State::Running { cancel_requested, .. } = entry.job.state else { return Settled::LeaseLost };
        if entry.lease() != settlement.lease {
            return Settled::LeaseLost;
        }
        let wished = entry.wish.take().zip(settlement.report.as_ref());
        let mut granted = wished.and_then(|(wish, report)| (settlement.heed)(&wish, settlement.verdict, report));
        let verdict = granted.as_ref().map_or(settlement.verdict, |granted| granted.verdict);
        let verdict = if cancel_requested && !verdict.is_final() { Verdict::Cancel } else { verdict };
        entry.worker = None;
        match &settlement.report {
            None => {
                entry.job.attempt -= 1;
                entry.job.started_at = entry.attempts.iter().map(|&(_, _, start)| start).max();
            }
            Some(report) => {
                let mut report = report.clone();
                if let Some(granted) = &mut granted {
                    granted.verdict = verdict;
                    (report.outcome, report.error) = (granted.outcome, granted.error.clone());
                }
                entry.job.snoozes += u32::from(report.outcome == Outcome::Snoozed);
                entry.job.attempt -= u32::from(!report.outcome.is_counted());
                entry.job.crashes = match report.outcome {
                    Outcome::Lost => entry.job.crashes + 1,
                    Outcome::Released => entry.job.crashes,
                    _ => 0,
                };
                let crate::job::Report { outcome, exit_code, signal, error, .. } = report;
                entry.job.last = Some(Ending { outcome, exit_code, signal, error });
                entry.attempts.push((settlement.lease.token.get(), outcome, report.started_at));
            }
        }
        match verdict {
            Verdict::Succeed => entry.job.state = State::Succeeded { at: now },
            Verdict::Die { reason } => entry.job.state = State::Dead { at: now, reason },
            Verdict::Cancel => entry.job.state = State::Cancelled { at: now },
            Verdict::HandBack => entry.wait_from(now),
            Verdict::Retry { due } => {
                entry.job.run_at = due;
                entry.job.state = State::Retrying { due };
            }
        }
        granted.map_or(Settled::Recorded, Settled::AsWished)
    }

    pub(super) fn wish(&mut self, lease: Lease, wish: &Wish) -> Standing {
        self.say(lease, |entry| entry.wish = Some(wish.clone()))
    }

    pub(super) fn note_progress(&mut self, lease: Lease, progress: &Progress) -> Standing {
        self.say(lease, |entry| entry.job.progress = Some(progress.clone()))
    }

    fn say(&mut self, lease: Lease, what: impl FnOnce(&mut Entry)) -> Standing {
        let standing = self.standing(lease);
        if standing != Standing::Lost {
            what(self.jobs.get_mut(&lease.job).expect("it runs"));
        }
        standing
    }

    pub(super) fn cancel(&mut self, id: JobId, now: Timestamp) -> Cancelled {
        let Some(entry) = self.jobs.get_mut(&id) else { return Cancelled::Unknown };
        match &mut entry.job.state {
            State::Running { cancel_requested, .. } => {
                *cancel_requested = true;
                Cancelled::Asked
            }
            state if state.kind().is_final() => Cancelled::AlreadyFinal(state.kind()),
            state => {
                *state = State::Cancelled { at: now };
                Cancelled::AtOnce
            }
        }
    }

    pub(super) fn retry(&mut self, id: JobId, states: &[StateKind], now: Timestamp) -> Retried {
        let Some(entry) = self.jobs.get(&id) else { return Retried::Unknown };
        if !states.contains(&entry.kind()) {
            return Retried::WrongState(entry.kind());
        }
        if let Some(holder) = self.rival(id, &entry.job.queue, now) {
            return Retried::KeyTaken(holder);
        }
        let entry = self.jobs.get_mut(&id).expect("it was there");
        (entry.job.attempt, entry.job.crashes, entry.job.expires_at) = (0, 0, None);
        entry.job.snoozes = 0;
        entry.is_without_key = false;
        entry.wait_from(now);
        Retried::Ready
    }

    pub(super) fn update(&mut self, id: JobId, change: &JobChange, now: Timestamp) -> Updated {
        let Some(entry) = self.jobs.get(&id) else { return Updated::Unknown };
        let kind = entry.kind();
        let moves = change.due.is_some() || change.queue.is_some();
        if kind.is_final() || (moves && kind == StateKind::Running) {
            return Updated::WrongState(kind);
        }
        if let Some(queue) = &change.queue {
            // Made if need be, also where it is not moved to then.
            self.queues.entry(queue.clone()).or_default();
            if let Some(holder) = self.rival(id, queue, now) {
                return Updated::KeyTaken(holder);
            }
        }
        let entry = self.jobs.get_mut(&id).expect("it was there");
        entry.job.queue = change.queue.clone().unwrap_or(entry.job.queue.clone());
        entry.job.priority = change.priority.unwrap_or(entry.job.priority);
        entry.job.max_attempts = change.max_attempts.unwrap_or(entry.job.max_attempts);
        entry.timeout = change.timeout.unwrap_or(entry.timeout);
        match change.due {
            None => {}
            Some(Due::At(due)) if due > now => {
                let is_retrying = kind == StateKind::Retrying;
                entry.job.state = if is_retrying { State::Retrying { due } } else { State::Scheduled { due } };
                entry.job.run_at = due;
            }
            Some(Due::At(_) | Due::Now) => entry.wait_from(now),
        }
        Updated::Done(entry.kind())
    }

    /// How many finished jobs go; those that ended first go first.
    pub(super) fn prune(&mut self, queue: &QueueName, keep: &Retention, now: Timestamp) -> usize {
        let is_finished = |entry: &&Entry| {
            entry.job.queue == *queue && matches!(entry.kind(), StateKind::Succeeded | StateKind::Cancelled)
        };
        let finished: Vec<&Entry> = self.jobs.values().filter(is_finished).collect();
        let n_over = keep.max_rows.map_or(0, |most| finished.len().saturating_sub(usize::try_from(most).unwrap_or(0)));
        let holds = |entry: &Entry| entry.job.key.as_deref().is_some_and(|key| entry.holds(key, now));
        let mut may_go: Vec<&Entry> = finished.into_iter().filter(|entry| !holds(entry)).collect();
        may_go.sort_by_key(|entry| entry.job.state.finished_at());
        let n_old = may_go
            .iter()
            .filter(|entry| keep.before.is_some_and(|before| entry.job.state.finished_at() < Some(before)));
        let n = n_old.count().max(n_over).min(may_go.len());
        let ids: Vec<JobId> = may_go[..n].iter().map(|entry| entry.job.id).collect();
        self.jobs.retain(|id, _| !ids.contains(id));
        n
    }

    pub(super) fn remove_queue(&mut self, queue: &QueueName) -> Removed {
        if !self.queues.contains_key(queue) {
            return Removed::Unknown;
        }
        if self.jobs.values().any(|entry| entry.job.queue == *queue) {
            return Removed::NotEmpty(self.tally(queue));
        }
        self.queues.remove(queue);
        Removed::Gone
    }

    pub(super) fn pause(&mut self, queue: &QueueName, is_paused: bool, now: Timestamp) -> Option<bool> {
        let shelf = self.queues.get_mut(queue)?;
        let changes = shelf.paused_at.is_some() != is_paused;
        if changes {
            shelf.paused_at = is_paused.then_some(now);
        }
        Some(changes)
    }

    /// Takes a worker off the books, unless it holds jobs: then it stays there as a dead one.
    pub(super) fn retire(&mut self, worker: WorkerId) {
        self.workers.get_mut(&worker).expect("it was on the books").is_alive = false;
        self.workers.retain(|&id, _| id != worker || self.jobs.values().any(|entry| entry.worker == Some(id)));
    }

    /// The leases of running jobs whose worker is gone or silent. Of the dead, only those that hold a job
    /// stay on the books.
    pub(super) fn lost(&mut self, uptime: Uptime) -> Vec<Lease> {
        let holders: BTreeSet<WorkerId> = self.jobs.values().filter_map(|entry| entry.worker).collect();
        self.workers.retain(|id, hand| hand.is_alive || holders.contains(id));
        let is_with =
            |id: WorkerId| self.workers.get(&id).is_some_and(|hand| hand.is_alive && hand.lease_until >= uptime);
        let lost = self.jobs.values().filter(|entry| entry.worker.is_some_and(|id| !is_with(id)));
        lost.map(Entry::lease).collect()
    }
}

/// The job that a push makes.
fn fresh(id: JobId, token: i64, new: &NewJob, now: Timestamp) -> Entry {
    let (state, run_at) = match new.due {
        Due::At(due) if due > now => (State::Scheduled { due }, due),
        Due::At(_) | Due::Now => (State::Ready { since: now }, now),
    };
    let job = Job {
        id,
        queue: new.queue.clone(),
        command: new.command.clone(),
        state,
        priority: new.priority,
        attempt: 0,
        max_attempts: new.max_attempts,
        crashes: 0,
        snoozes: 0,
        key: new.key.as_ref().map(|rule| rule.key.clone()),
        labels: new.labels.clone(),
        payload_bytes: new.payload.as_ref().map_or(0, |payload| payload.len() as u64),
        created_at: now,
        run_at,
        started_at: None,
        expires_at: new.expires_at,
        last: None,
        progress: None,
        delivery: None,
        group: None,
    };
    let key_until = new.key.as_ref().and_then(|rule| rule.held_until);
    let (payload, timeout) = (new.payload.clone(), new.context.terms.timeout);
    Entry {
        job,
        token,
        key_until,
        is_without_key: false,
        payload,
        timeout,
        worker: None,
        wish: None,
        attempts: Vec::new(),
    }
}
