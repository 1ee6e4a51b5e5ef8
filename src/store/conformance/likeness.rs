//! The store beside its model: whatever is asked of both, in any order, they answer the same and then hold
//! the same.
//!
//! `PROPTEST_CASES=2000 cargo test --lib likeness` tries longer. What fails is cut down to the fewest and
//! smallest steps that still do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::bench::{Bench, Draft as _, LEASE, Open, heed, job, moment, queue, report, serving, uptime};
use super::model::{Hand, Model};
use super::step::{End, Order, Step, step};
use crate::clock::Timestamp;
use crate::job::{
    Cause, Claimed, Due, Filter, IdRange, Job, JobChange, JobId, NewJob, OnDuplicate, Outcome, Page, Progress,
    QueueName, Reason, Retention, Settlement, State, StateKind, Verdict, Wish, unheeded,
};
use crate::store::{Error, Pushed, Serving, Standing, Turn};

/// How many sequences are tried, unless `PROPTEST_CASES` says so.
const N_CASES: u32 = 80;

pub(crate) fn any_verbs_in_any_order_do_to_the_store_what_they_do_to_its_model(open: &Open) {
    // What proptest made of the variable; a default of its own says that there was none.
    let asked = Config::default().cases;
    let cases = if asked == 256 { N_CASES } else { asked };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let sequences = proptest::collection::vec(step(), 1..80);
    let outcome = runner.run(&sequences, |steps| {
        let mut pair = Pair::new(open);
        for step in steps {
            pair.take(step);
            pair.assert_alike();
        }
        assert!(pair.here.store.strays().expect("an answer").is_empty(), "what is kept twice agrees");
        assert!(pair.here.store.examine().expect("an answer").is_empty(), "what is kept can be read");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Two connections to a store, each with a worker, and the model of it.
struct Pair<'o> {
    here: Bench<'o>,
    there: Bench<'o>,
    model: Model,
    /// Every job that was ever claimed.
    claimed: Vec<Claimed>,
}

impl<'o> Pair<'o> {
    fn new(open: &'o Open) -> Self {
        let here = Bench::new(open);
        let there = here.beside();
        let mut pair = Self { here, there, model: Model::default(), claimed: Vec::new() };
        pair.register();
        pair
    }

    /// Notes the workers of both connections.
    fn register(&mut self) {
        let hand = Hand { is_alive: true, lease_until: uptime(self.here.now).plus(LEASE) };
        for worker in [self.here.worker, self.there.worker] {
            self.model.workers.entry(worker).or_insert(hand);
        }
    }

    fn now(&self) -> Timestamp {
        self.here.now
    }

    /// The instant that many seconds from now.
    fn at(&self, secs: i8) -> Timestamp {
        Timestamp::from_millis(self.now().as_millis() + i64::from(secs) * 1000)
    }

    /// A job that there is, was, or will be next.
    fn id(&self, nth: usize) -> JobId {
        let last = self.model.jobs.last_key_value().map_or(0, |(id, _)| id.get());
        JobId::new(1 + i64::try_from(nth).expect("small") % (last + 1)).expect("positive")
    }

    fn take(&mut self, step: Step) {
        let (now, model, store) = (self.now(), &mut self.model, &mut self.there.store);
        match step {
            Step::Push(orders) => self.push(&orders),
            Step::Turn { by_other, ends, serves, n_wanted } => self.turn(by_other, &ends, (serves, n_wanted)),
            Step::Say { nth, what } => self.say(nth, what),
            Step::Cancel(nth) => {
                let id = self.id(nth);
                let answer = self.there.store.cancel(id, now).expect("an answer");
                assert_eq!(answer, self.model.cancel(id, now));
            }
            Step::Retry { nth, any_waiting } => self.retry(nth, any_waiting),
            Step::Update { .. } => self.update(&step),
            Step::Forget(nth) => {
                let (ids, states) = ([self.id(nth)], [StateKind::Dead, StateKind::Succeeded, StateKind::Cancelled]);
                let forgotten = self.there.store.forget(&ids, &states).expect("an answer");
                assert_eq!(forgotten, self.model.forget(&ids, &states));
            }
            Step::Drop(nth, other) => self.drop_dead([nth, other]),
            Step::Restore => self.restore(),
            Step::Prune { queue, age, rows } => {
                let before = age.map(|age| now.minus(Duration::from_secs(age.into())));
                let keep = Retention { before, max_rows: rows.map(u64::from) };
                let name = name(queue);
                let n_foreseen = store.prunable(&name, &keep, 1000, now).expect("an answer");
                let n = store.prune(&name, &keep, now).expect("an answer");
                let expected = model.prune(&name, &keep, now);
                assert_eq!((n_foreseen, n), (expected, expected));
            }
            Step::RemoveQueue(queue) => {
                let removed = store.remove_queue(&name(queue)).expect("an answer");
                assert_eq!(removed, model.remove_queue(&name(queue)));
            }
            Step::Pause { queue, is_paused } => {
                let changed = store.pause(&name(queue), is_paused, now).expect("an answer");
                assert_eq!(changed, model.pause(&name(queue), is_paused, now));
            }
            Step::Configure { queue, max_attempts } => {
                store.configure(&name(queue), &mut |own| own.max_attempts = Some(max_attempts.into())).expect("done");
                model.queues.entry(name(queue)).or_default().settings.max_attempts = Some(max_attempts.into());
            }
            Step::Renew => self.renew(),
            Step::Rescue { verdict } => self.rescue(verdict),
            Step::Die => {
                self.model.workers.get_mut(&self.there.worker).expect("it is there").is_alive = false;
                self.there = self.here.beside();
                self.register();
            }
            Step::Retire => {
                self.there.store.retire(self.there.worker, now).expect("it is there");
                self.model.retire(self.there.worker);
                self.there = self.here.beside();
                self.register();
            }
            Step::Advance(secs) => {
                self.here.advance(secs.into());
                self.there.now = self.here.now;
            }
        }
    }

    fn push(&mut self, orders: &[Order]) {
        let jobs: Vec<NewJob> = orders.iter().map(|order| self.wanted(order)).collect();
        let now = self.now();
        let answer = self.here.store.push(&mut jobs.clone().into_iter(), now);
        match (answer, self.model.push(&jobs, now)) {
            (Ok(pushed), Ok(expected)) => {
                // The model keeps nothing of what was there before.
                let pushed: Vec<_> = pushed.into_iter().map(|one| Pushed { met: None, ..one }).collect();
                assert_eq!(pushed, expected);
            }
            (Err(Error::KeyTaken { holder, .. }), Err(expected)) => assert_eq!(holder, expected),
            (answer, expected) => panic!("{answer:?} instead of {expected:?}"),
        }
    }

    fn wanted(&self, order: &Order) -> NewJob {
        let mut new =
            job(&format!("line {}", order.line)).on(&format!("q{}", order.queue)).priority(order.priority.into());
        new = new.label("line", &order.line.to_string());
        new.expires_at = order.expires.map(|secs| self.here.in_secs(secs.into()));
        if order.payload {
            new = new.payload(b"bytes");
        }
        if let Some(due) = order.due {
            new = new.due(self.at(due));
        }
        if let Some((key, rule, held)) = order.key {
            let rules = [OnDuplicate::Return, OnDuplicate::Error, OnDuplicate::Replace];
            new = new.key(&format!("k{key}")).on_duplicate(rules[usize::from(rule)]);
            if let Some(held) = held {
                new = new.held_until(self.here.in_secs(held.into()));
            }
        }
        new
    }

    fn turn(&mut self, by_other: bool, ends: &[End], (serves, n_wanted): (u8, usize)) {
        let settlements: Vec<Settlement> = ends.iter().filter_map(|end| self.settlement(end)).collect();
        let serving = match serves {
            0 => serving(&["q1", "q2"], &[]),
            1 => serving(&["q*"], &["q1"]),
            _ => Serving::default(),
        };
        self.play(by_other, &settlements, &serving, n_wanted);
    }

    fn play(&mut self, by_other: bool, settlements: &[Settlement], serving: &Serving, n_wanted: usize) {
        let now = self.now();
        let bench = if by_other { &mut self.there } else { &mut self.here };
        let turn = Turn { worker: bench.worker, settlements, output: &[], serving, n_wanted };
        let turned = bench.store.turn(&turn, now).expect("a turn");
        let expected = self.model.turn(turn.worker, (settlements, serving), n_wanted, now);
        assert_eq!(turned.settled, expected.settled);
        let claimed: Vec<Job> = turned.claimed.iter().map(|claimed| claimed.job.clone()).collect();
        assert_eq!(claimed, expected.claimed, "what is claimed, in its order");
        assert_eq!(turned.expired.iter().map(|job| job.id).collect::<BTreeSet<_>>(), expected.expired);
        assert_eq!(turned.promoted.into_iter().collect::<BTreeSet<_>>(), expected.promoted);
        assert_eq!((turned.next_due, turned.is_behind), (expected.next_due, false));
        self.claimed.extend(turned.claimed);
    }

    fn settlement(&self, end: &End) -> Option<Settlement> {
        let is_meant = |one: &&Claimed| end.is_stale || self.model.standing(one.lease) != Standing::Lost;
        let leases: Vec<&Claimed> = self.claimed.iter().filter(is_meant).collect();
        let claimed = leases[end.nth.checked_rem(leases.len())?];
        let report = end.outcome.map(|nth| report(claimed, Outcome::ALL[usize::from(nth)], self.now()));
        let verdict = verdict(end.verdict, self.at(end.due));
        Some(Settlement { lease: claimed.lease, verdict, heed, report, output: Vec::new() })
    }

    /// Has an attempt that was ever claimed say something of itself.
    fn say(&mut self, nth: usize, what: u8) {
        let Some(nth) = nth.checked_rem(self.claimed.len()) else { return };
        let lease = self.claimed[nth].lease;
        let store = &mut self.there.store;
        let standing = match what {
            0 => {
                let progress = Progress { percent: what, message: Some("on".to_owned()) };
                let expected = self.model.note_progress(lease, &progress);
                (store.note_progress(lease, &progress), expected)
            }
            1 => {
                let wish = Wish::Bury { message: Some("never".to_owned()), group: None };
                (store.wish(lease, &wish), self.model.wish(lease, &wish))
            }
            secs => {
                let wish = Wish::Snooze(Duration::from_secs(secs.into()));
                (store.wish(lease, &wish), self.model.wish(lease, &wish))
            }
        };
        assert_eq!(standing.0.expect("an answer"), standing.1);
    }

    fn drop_dead(&mut self, nth: [usize; 2]) {
        let (ids, now) = (nth.map(|nth| self.id(nth)), self.now());
        let dropped = self.there.store.drop_dead(&ids, None, now).expect("an answer");
        assert_eq!(dropped.ids, self.model.drop_dead(&ids));
    }

    fn restore(&mut self) {
        let (now, store) = (self.now(), &mut self.there.store);
        let last = store.drops().expect("an answer").first().map(|drop| drop.id);
        let restored = last.map(|last| store.restore(last, now).expect("an answer"));
        assert_eq!(restored.unwrap_or_default(), self.model.restore(now));
    }

    fn retry(&mut self, nth: usize, any_waiting: bool) {
        use StateKind::{Cancelled, Dead, Retrying, Scheduled, Succeeded};
        let (id, now) = (self.id(nth), self.now());
        let states = if any_waiting { [Scheduled, Retrying, Dead] } else { [Dead, Cancelled, Succeeded] };
        let answer = self.there.store.retry(id, &states, None, now).expect("an answer");
        assert_eq!(answer, self.model.retry(id, &states, now));
    }

    fn update(&mut self, step: &Step) {
        let &Step::Update { nth, queue, due, priority, timeout } = step else { return };
        let change = JobChange {
            priority: priority.map(i32::from),
            due: due.map(|secs| if secs == 0 { Due::Now } else { Due::At(self.at(secs)) }),
            queue: queue.map(name),
            // Nothing stands for no limit.
            timeout: timeout.map(|secs| (secs > 0).then(|| Duration::from_secs(secs.into()))),
            max_attempts: timeout.map(|n| u32::from(n) + 1),
        };
        let (id, now) = (self.id(nth), self.now());
        let answer = self.there.store.update(id, &change, now).expect("an answer");
        assert_eq!(answer, self.model.update(id, &change, now));
    }

    /// Prolongs one lease and asks how all that was ever claimed stands.
    fn renew(&mut self) {
        let (at, leases) = (moment(self.now()), self.claimed.iter().map(|claimed| claimed.lease).collect::<Vec<_>>());
        let until = at.uptime.plus(LEASE);
        let standings = self.here.store.renew(self.here.worker, &leases, until, at).expect("an answer");
        self.model.workers.get_mut(&self.here.worker).expect("it is there").lease_until = until;
        let expected: Vec<_> = leases.iter().map(|&lease| (lease, self.model.standing(lease))).collect();
        assert_eq!(standings, expected);
        assert_eq!(self.there.store.standings(&leases).expect("an answer"), expected);
    }

    /// Brings the jobs of the dead and the silent home.
    fn rescue(&mut self, how: u8) {
        let now = self.now();
        let mut orphans = self.here.store.lost(uptime(now)).expect("an answer");
        orphans.sort_by_key(|orphan| orphan.lease.job);
        let leases: Vec<_> = orphans.iter().map(|orphan| orphan.lease).collect();
        assert_eq!(leases, self.model.lost(uptime(now)));
        let is_claim = |claimed: &&Claimed| leases.contains(&claimed.lease);
        let lost = self.claimed.iter().filter(is_claim).map(|claimed| Settlement {
            lease: claimed.lease,
            verdict: verdict(how, now),
            heed: unheeded,
            report: Some(report(claimed, Outcome::Lost, now)),
            output: Vec::new(),
        });
        let settlements: Vec<Settlement> = lost.collect();
        self.play(false, &settlements, &Serving::default(), 0);
    }

    /// Fails unless the store holds what the model holds, and tells it in every way.
    fn assert_alike(&mut self) {
        let page = Page { after: None, limit: 1000, oldest_first: true };
        let jobs = self.here.store.jobs(&Filter::default(), page).expect("every job");
        let expected: Vec<Job> = self.model.jobs.values().map(|entry| in_group(&entry.job)).collect();
        assert_eq!(jobs, expected);
        self.assert_queues_alike();
        let (now, store, model) = (self.now(), &mut self.there.store, &mut self.model);
        assert_eq!(store.dead(&Filter::default(), 1000).expect("the dead"), model.dead());
        assert_eq!(store.blocking_keys(1000, now).expect("an answer"), model.blocking_keys(now));
        let all = IdRange { first: JobId::new(1).expect("positive"), last: JobId::new(1000).expect("positive") };
        let standing: Vec<_> = expected.iter().map(|job| (job.id, job.state.kind())).collect();
        assert_eq!(store.standing_of(&[all]).expect("an answer"), standing);
        for (&id, entry) in &model.jobs {
            let ended = store.attempts(id).expect("the attempts").into_iter().filter_map(|attempt| {
                attempt.report.map(|report| (attempt.token.get(), report.outcome, report.started_at))
            });
            assert_eq!(ended.collect::<Vec<_>>(), entry.attempts, "attempts of job {id}");
            let (context, _) = store.context(id).expect("an answer").expect("a context");
            assert_eq!(context.terms.timeout, entry.timeout, "time limit of job {id}");
        }
    }

    fn assert_queues_alike(&mut self) {
        let mut shelves = self.model.queues.iter();
        for queue in self.here.store.queues().expect("the queues") {
            let (name, shelf) = shelves.next().expect("no more queues than there should be");
            assert_eq!(queue.name, *name);
            assert_eq!((queue.paused_at, &queue.settings), (shelf.paused_at, &shelf.settings), "queue {name}");
            assert_eq!(queue.tally, self.model.tally(name), "queue {name}");
            assert_eq!(queue.oldest_ready, self.model.oldest_ready(name), "queue {name}");
        }
        assert!(shelves.next().is_none(), "a queue is missing");
        let workers = self.here.store.workers().expect("the workers");
        let alive: BTreeMap<_, _> = workers.iter().map(|worker| (worker.id, worker.is_alive)).collect();
        let expected: BTreeMap<_, _> = self.model.workers.iter().map(|(&id, hand)| (id, hand.is_alive)).collect();
        assert_eq!(alive, expected);
    }
}

/// A queue; the third is one that nothing is pushed to.
fn name(nth: u8) -> QueueName {
    queue(&format!("q{nth}"))
}

fn verdict(nth: u8, due: Timestamp) -> Verdict {
    match nth {
        0 | 1 => Verdict::Succeed,
        2..=4 => Verdict::Retry { due },
        5..=7 => Verdict::HandBack,
        8 => Verdict::Cancel,
        _ => Verdict::Die { reason: Reason::Exhausted },
    }
}

/// The job with the group in which it should be.
fn in_group(job: &Job) -> Job {
    let State::Dead { reason, .. } = job.state else { return job.clone() };
    let last = job.last.as_ref();
    let error = match reason {
        Reason::Expired => Some("not started in time"),
        _ => last.and_then(|last| last.error.as_deref()),
    };
    let ended = (last.and_then(|last| last.exit_code), last.and_then(|last| last.signal));
    let cause = Cause::of(ended, error.unwrap_or_default(), None);
    Job { group: Some(cause.group(&job.queue, reason)), ..job.clone() }
}
