//! What is wrong with how a queue is worked. Judged from facts that were gathered before.

use std::time::Duration;

use crate::clock::{Moment, Timestamp};
use crate::job::{Excess, Job, JobId, Pace, Queue, QueueName, State, StateKind};
use crate::render::{Finding, excess, words};
use crate::store::{Serving, Worker};

/// A job that has been due for longer is not on its way. Who drains a queue by cron does so every
/// hour at the least.
pub(super) const LONG_WAIT: Duration = Duration::from_secs(3600);

/// What is usual in a queue is taken from this time.
pub(super) const USUAL: Duration = Duration::from_secs(7 * 86_400);

/// So many attempts say what is usual.
const MIN_SAMPLES: u64 = 20;

/// A job that runs so many times as long as 99 of 100 do is not merely slow.
const FAR_BEYOND: u32 = 10;

/// A job that runs for less worries nobody, however fast the others are.
const LONG_RUN: Duration = Duration::from_secs(60);

/// A pause for longer was forgotten.
pub(super) const LONG_PAUSE: Duration = Duration::from_secs(86_400);

/// What lies further in the future was written under another clock.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// How many keys are told one by one.
const MAX_KEYS: usize = 20;

/// What is known of the work.
#[derive(Debug)]
pub(super) struct Facts {
    /// The present.
    pub(super) at: Moment,
    /// Those on the books, living and dead.
    pub(super) workers: Vec<Worker>,
    /// All of them.
    pub(super) queues: Vec<Queue>,
    /// Those of them that are paused with their subscription.
    pub(super) paused_with_subscription: Vec<QueueName>,
    /// Running jobs.
    pub(super) running: Vec<Job>,
    /// The last to be pushed.
    pub(super) newest: Vec<Job>,
    /// Jobs that have been due for longer than [`LONG_WAIT`] and that nobody made ready.
    pub(super) overdue: Vec<Job>,
    /// Dead and cancelled jobs that hold their key.
    pub(super) holders: Vec<Job>,
    /// How the queues went during [`USUAL`].
    pub(super) pace: Vec<(QueueName, Pace)>,
    /// Queues with dead jobs beyond their limits.
    pub(super) excesses: Vec<(QueueName, Excess)>,
    /// How this queue is named on the command line.
    pub(super) qctl: String,
}

impl Facts {
    /// What of it is wrong.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.clock().into_iter().collect();
        findings.extend(self.workers.iter().filter_map(|worker| self.hung(worker)));
        findings.extend(self.abandoned());
        findings.extend(self.running.iter().filter_map(|job| self.slow(job)));
        findings.extend(self.queues.iter().filter_map(|queue| self.unserved(queue)));
        findings.extend(self.queues.iter().filter_map(|queue| self.paused(queue)));
        findings.extend(self.excesses.iter().map(|(queue, excess)| self.too_many_dead(queue, excess)));
        findings.extend(self.queues.iter().filter_map(|queue| self.tripped(queue)));
        findings.extend(self.keys());
        findings
    }

    /// The clock was set back: what was written since then lies in the past of what was before.
    fn clock(&self) -> Option<Finding> {
        let jobs = self.newest.iter().map(|job| (job.created_at, format!("job {} was pushed", job.id)));
        let seen = self.workers.iter().map(|worker| (worker.heartbeat_at, format!("worker {} was seen", worker.id)));
        let (latest, what) = jobs.chain(seen).max_by_key(|(at, _)| *at)?;
        let ahead = latest.since(self.at.now);
        if ahead <= CLOCK_SKEW {
            return None;
        }
        let message = format!("the clock was set back: {what} {} from now", words::length(ahead));
        Some(Finding::new("clock", message, "set the clock right; until then retries and delayed jobs come late"))
    }

    /// A worker whose process lives and that no longer says so.
    fn hung(&self, worker: &Worker) -> Option<Finding> {
        if !worker.is_alive || worker.lease_until >= self.at.uptime {
            return None;
        }
        let silent = self.at.uptime.since(worker.lease_until) + worker.about.lease;
        let message = format!(
            "{} hangs: it lives and was last heard of {} ago{}",
            process(worker),
            words::length(silent),
            holding(&worker.running)
        );
        let pid = worker.about.pid;
        let cure = format!(
            "kill -CONT {pid}  if somebody stopped it, else  kill -KILL {pid}; its jobs are then taken up by others"
        );
        Some(Finding::new("worker_hung", message, cure))
    }

    /// Jobs of dead workers. Any live worker takes them up within seconds.
    fn abandoned(&self) -> Option<Finding> {
        if self.workers.iter().any(|worker| worker.is_alive) {
            return None;
        }
        // Its name, not that nobody else is on the books: another one may have come meanwhile.
        let is_dead = |name: &str| self.workers.iter().any(|worker| worker.id.to_string() == name);
        let lost =
            self.running.iter().filter(|job| matches!(&job.state, State::Running { worker, .. } if is_dead(worker)));
        let ids: Vec<JobId> = lost.map(|job| job.id).collect();
        if ids.is_empty() {
            return None;
        }
        let message = format!(
            "{} left running by a worker that died, and no live one takes them up: {}",
            words::count(ids.len(), "job"),
            words::ids(&ids)
        );
        Some(Finding::new("abandoned", message, format!("{} work", self.qctl)))
    }

    /// A job that runs far beyond what is usual in its queue.
    fn slow(&self, job: &Job) -> Option<Finding> {
        let State::Running { since, cancel_requested: false, .. } = job.state else { return None };
        let (_, pace) = self.pace.iter().find(|(queue, _)| *queue == job.queue)?;
        let usual = pace.run();
        if usual.count() < MIN_SAMPLES {
            return None;
        }
        let (p99, runs) = (usual.percentile(99)?, self.at.now.since(since));
        if runs <= LONG_RUN.max(p99 * FAR_BEYOND) {
            return None;
        }
        let (id, queue, qctl) = (job.id, &job.queue, &self.qctl);
        let message = format!(
            "job {id} in queue {queue} has run for {}; 99 of 100 there take no more than {}",
            words::length(runs),
            words::length(p99)
        );
        let cure = format!(
            "look at it: {qctl} logs -f {id}; stop it: {qctl} cancel {id}; next time: \
             {qctl} queue set {queue} --timeout D"
        );
        Some(Finding::new("slow", message, cure))
    }

    /// A queue whose jobs are due, and nobody is there to run them.
    fn unserved(&self, queue: &Queue) -> Option<Finding> {
        let since = self.waiting_since(queue)?;
        let waits = self.at.now.since(since);
        if queue.paused_at.is_some() || queue.n_workers > 0 || waits <= LONG_WAIT {
            return None;
        }
        let last = match self.last_served(queue) {
            Some(at) => format!("the last one was there {} ago", words::length(self.at.now.since(at))),
            None => "none ever did".to_owned(),
        };
        let name = &queue.name;
        let message = format!(
            "a job in queue {name} has waited for {} and no live worker serves it; {last}",
            words::length(waits)
        );
        Some(Finding::new("unserved", message, format!("{} work -Q {name}", self.qctl)))
    }

    /// Since when the longest waiting job is due, made ready or not.
    fn waiting_since(&self, queue: &Queue) -> Option<Timestamp> {
        let overdue = self.overdue.iter().filter(|job| job.queue == queue.name).map(|job| job.run_at);
        overdue.chain(queue.oldest_ready).min()
    }

    /// When a worker was last there for it. One that was killed stands on the books until another
    /// one comes.
    fn last_served(&self, queue: &Queue) -> Option<Timestamp> {
        let served = self.workers.iter().filter(|worker| {
            let serving = Serving { patterns: worker.about.queues.clone(), except: Vec::new() };
            serving.includes(&queue.name)
        });
        served.map(|worker| worker.heartbeat_at).chain(queue.served_until).max()
    }

    /// A queue that its breaker has stopped.
    fn tripped(&self, queue: &Queue) -> Option<Finding> {
        let tripped = queue.tripped.as_ref()?;
        let (name, qctl) = (&queue.name, &self.qctl);
        let message = format!(
            "queue {name} has been stopped by its breaker for {}: {}; {} in it",
            words::length(self.at.now.since(tripped.since)),
            words::tripped(tripped),
            words::count(n_waiting(queue), "job")
        );
        let cure =
            format!("cure what they fail of; the queue then goes on by itself, or at once: {qctl} queue resume {name}");
        Some(Finding::new("breaker", message, cure))
    }

    /// A pause that somebody forgot, while jobs wait.
    fn paused(&self, queue: &Queue) -> Option<Finding> {
        let paused = self.at.now.since(queue.paused_at?);
        let n_waiting = n_waiting(queue);
        if paused <= LONG_PAUSE || n_waiting == 0 {
            return None;
        }
        let (name, waiting) = (&queue.name, words::count(n_waiting, "job"));
        let message = format!("queue {name} has been paused for {}; {waiting} in it", words::length(paused));
        let what = if self.paused_with_subscription.contains(name) { "subscription" } else { "queue" };
        Some(Finding::new("paused", message, format!("{} {what} resume {name}", self.qctl)))
    }

    /// Dead jobs beyond the limits that somebody set: they stay until somebody decides.
    fn too_many_dead(&self, queue: &QueueName, excess: &Excess) -> Finding {
        Finding::new("dead", excess::sentence(queue, excess), excess::cure(&self.qctl, queue, excess))
    }

    /// Keys whose job will not run, so that whoever pushes them is answered and nothing is done.
    fn keys(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.holders.iter().take(MAX_KEYS).filter_map(|job| self.key(job)).collect();
        let n_more = self.holders.len().saturating_sub(MAX_KEYS);
        if n_more > 0 {
            let message = format!("{} more that dead or cancelled jobs hold", words::count(n_more, "key"));
            findings.push(Finding::new(
                "key",
                message,
                format!("{} list -s dead,cancelled -F id,queue,key", self.qctl),
            ));
        }
        findings
    }

    fn key(&self, job: &Job) -> Option<Finding> {
        let (id, queue, state, qctl) = (job.id, &job.queue, job.state.kind().name(), &self.qctl);
        let key = job.key.as_ref()?;
        let message =
            format!("key {key:?} in queue {queue} is held by job {id}, which is {state}: a push of it runs nothing");
        Some(Finding::new("key", message, format!("run it: {qctl} retry {id}; or free the key: {qctl} delete {id}")))
    }
}

/// How many jobs wait in a queue, due or not.
fn n_waiting(queue: &Queue) -> usize {
    let waiting = [StateKind::Ready, StateKind::Scheduled, StateKind::Retrying];
    let n: i64 = waiting.into_iter().map(|state| queue.tally.get(state)).sum();
    usize::try_from(n).unwrap_or(0)
}

fn process(worker: &Worker) -> String {
    format!("worker {} (process {} on {})", worker.id, worker.about.pid, worker.about.host)
}

fn holding(jobs: &[JobId]) -> String {
    if jobs.is_empty() {
        String::new()
    } else {
        format!(", and it holds {} ({})", words::count(jobs.len(), "job"), words::ids(jobs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Uptime;
    use crate::job::{Histogram, Labels, QueueSettings, Tally, WorkerId};
    use crate::store::NewWorker;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
    const UPTIME: Uptime = Uptime::from_millis(5_000_000);

    fn ago(secs: u64) -> Timestamp {
        NOW.minus(Duration::from_secs(secs))
    }

    fn name(queue: &str) -> QueueName {
        QueueName::new(queue).expect("a good name")
    }

    fn worker(id: i64, is_alive: bool) -> Worker {
        let about = NewWorker {
            host: "here".to_owned(),
            pid: 42,
            queues: Vec::new(),
            n_slots: 1,
            lease: Duration::from_secs(30),
            has_handler: false,
        };
        let lease_until = UPTIME.plus(Duration::from_secs(20));
        Worker {
            id: WorkerId::new(id),
            about,
            since: ago(900),
            heartbeat_at: ago(10),
            lease_until,
            is_alive,
            running: Vec::new(),
        }
    }

    fn job(id: i64, state: State) -> Job {
        Job {
            id: JobId::new(id).expect("positive"),
            queue: name("mail"),
            command: None,
            state,
            priority: 0,
            attempt: 1,
            max_attempts: 5,
            key: Some(format!("k{id}")),
            crashes: 0,
            snoozes: 0,
            labels: Labels::new(),
            payload_bytes: 0,
            created_at: ago(7200),
            run_at: ago(7200),
            started_at: None,
            expires_at: None,
            last: None,
            progress: None,
            delivery: None,
            group: None,
        }
    }

    /// A job that has run for so many seconds under worker 1.
    fn running(id: i64, secs: u64) -> Job {
        let token = crate::job::Token::new(1);
        job(id, State::Running { token, worker: "w1".to_owned(), since: ago(secs), cancel_requested: false })
    }

    fn queue() -> Queue {
        Queue {
            name: name("mail"),
            paused_at: None,
            tripped: None,
            settings: QueueSettings::default(),
            tally: Tally::default(),
            oldest_ready: None,
            n_workers: 0,
            served_until: None,
        }
    }

    /// The pace of a queue in which so many attempts took a second each.
    fn pace(n: u64) -> Vec<(QueueName, Pace)> {
        let mut pace = Pace::default();
        pace.succeeded.add(Histogram::rounded(Duration::from_secs(1)), n);
        vec![(name("mail"), pace)]
    }

    fn well() -> Facts {
        Facts {
            at: Moment { now: NOW, uptime: UPTIME },
            workers: vec![worker(1, true)],
            queues: vec![queue()],
            paused_with_subscription: Vec::new(),
            running: Vec::new(),
            newest: Vec::new(),
            overdue: Vec::new(),
            holders: Vec::new(),
            pace: pace(100),
            excesses: Vec::new(),
            qctl: "qctl".to_owned(),
        }
    }

    fn codes(facts: &Facts) -> Vec<&'static str> {
        facts.findings().iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_worker_hangs_when_it_lives_and_its_lease_ran_out() {
        assert_eq!(codes(&well()), [""; 0]);
        let late = |is_alive| Worker { lease_until: Uptime::from_millis(4_990_000), ..worker(1, is_alive) };
        let facts = Facts { workers: vec![late(true)], ..well() };
        assert!(facts.findings()[0].message.ends_with("last heard of 40s ago"), "{:?}", facts.findings());
        assert_eq!(codes(&Facts { workers: vec![late(false)], ..well() }), [""; 0]);
    }

    #[test]
    fn jobs_are_abandoned_only_where_no_worker_lives() {
        let facts = Facts { running: vec![running(7, 5)], workers: vec![worker(1, false)], ..well() };
        assert_eq!(codes(&facts), ["abandoned"]);
        assert_eq!(codes(&Facts { workers: vec![worker(1, false), worker(2, true)], ..facts }), [""; 0]);
        let newcomers = Facts { running: vec![running(7, 5)], workers: Vec::new(), ..well() };
        assert_eq!(codes(&newcomers), [""; 0], "its worker came after the others were looked at");
    }

    #[test]
    fn a_job_is_slow_beyond_a_minute_and_ten_times_what_is_usual() {
        let found =
            |secs, n_samples| codes(&Facts { running: vec![running(7, secs)], pace: pace(n_samples), ..well() });
        assert_eq!(found(60, 100), [""; 0]);
        assert_eq!(found(61, 100), ["slow"]);
        assert_eq!(found(61, 19), [""; 0], "too few to say what is usual");
        let mut slower = pace(90);
        slower[0].1.failed.add(Histogram::rounded(Duration::from_secs(64)), 10);
        let found = |secs| codes(&Facts { running: vec![running(7, secs)], pace: slower.clone(), ..well() });
        assert_eq!((found(600), found(700)), (vec![], vec!["slow"]), "ten times the slowest of them");
    }

    #[test]
    fn a_queue_is_unserved_whether_or_not_its_jobs_were_made_ready() {
        let ready = Queue { oldest_ready: Some(ago(3601)), ..queue() };
        assert_eq!(codes(&Facts { queues: vec![ready.clone()], ..well() }), ["unserved"]);
        assert_eq!(codes(&Facts { queues: vec![Queue { n_workers: 1, ..ready.clone() }], ..well() }), [""; 0]);
        assert_eq!(codes(&Facts { queues: vec![Queue { paused_at: Some(ago(60)), ..ready }], ..well() }), [""; 0]);
        let overdue = vec![job(3, State::Scheduled { due: ago(7200) })];
        assert_eq!(codes(&Facts { overdue, ..well() }), ["unserved"]);
        assert_eq!(
            codes(&Facts { queues: vec![Queue { oldest_ready: Some(ago(3600)), ..queue() }], ..well() }),
            [""; 0]
        );
    }

    #[test]
    fn a_killed_worker_is_remembered_until_it_is_taken_off_the_books() {
        let killed = Worker { heartbeat_at: ago(4000), ..worker(1, false) };
        let queues = vec![Queue { oldest_ready: Some(ago(7200)), served_until: Some(ago(9000)), ..queue() }];
        let findings = Facts { workers: vec![killed], queues, ..well() }.findings();
        assert!(findings[0].message.ends_with("the last one was there 1h 6m ago"), "{findings:?}");
    }

    #[test]
    fn the_clock_may_be_a_minute_behind() {
        let pushed = |secs| Job { created_at: NOW.plus(Duration::from_secs(secs)), ..job(3, State::Blocked) };
        assert_eq!(codes(&Facts { newest: vec![pushed(60)], ..well() }), [""; 0]);
        assert_eq!(codes(&Facts { newest: vec![pushed(0), pushed(61)], ..well() }), ["clock"]);
        let seen = Worker { heartbeat_at: NOW.plus(Duration::from_secs(90)), ..worker(1, true) };
        assert_eq!(codes(&Facts { workers: vec![seen], ..well() }), ["clock"]);
    }

    #[test]
    fn dead_jobs_beyond_a_limit_are_told_with_what_drops_those_that_are_too_old() {
        let day = Duration::from_secs(86_400);
        let excess = Excess { n: 1200, max: Some(1000), age: day * 40, max_age: Some(day * 30) };
        let found = |excess| Facts { excesses: vec![(name("mail"), excess)], ..well() }.findings().remove(0);
        let both = found(excess);
        assert_eq!(
            (both.code, both.message.as_str()),
            (
                "dead",
                "queue mail has 1200 dead jobs, 200 more than its limit; the oldest died 40d ago, the limit is 30d"
            )
        );
        assert_eq!(both.hint, "qctl dlq drop -Q mail --until 30d");
        let many = found(Excess { max_age: None, ..excess });
        assert_eq!(many.message, "queue mail has 1200 dead jobs, 200 more than its limit");
        assert!(many.hint.starts_with("qctl dlq groups -Q mail"), "{}", many.hint);
    }

    #[test]
    fn many_keys_end_with_how_many_more_there_are() {
        let holders = (1..=50).map(|id| job(id, State::Cancelled { at: ago(60) })).collect();
        let findings = Facts { holders, ..well() }.findings();
        assert_eq!(findings.len(), MAX_KEYS + 1);
        assert_eq!(findings[MAX_KEYS].message, "30 keys more that dead or cancelled jobs hold");
    }
}
