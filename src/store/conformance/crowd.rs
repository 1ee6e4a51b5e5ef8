//! Many at once, and many things in a row: what must hold whatever the order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::bench::{Bench, Draft as _, Open, chunk, job, queue};
use crate::clock::Timestamp;
use crate::job::{Claimed, Filter, JobId, NewJob, OnDuplicate, Outcome, Reason, Settlement, StateKind, Verdict};
use crate::store::{PushOutcome, Serving, Settled, Store};

const N_THREADS: usize = 8;

pub(crate) fn many_may_push_at_once_and_each_key_makes_one_job(open: &Open) {
    let folder = tempfile::tempdir().expect("a folder of its own");
    let start = Barrier::new(N_THREADS);
    let now = Timestamp::from_millis(1_000_000);
    let push_all = || {
        // Together, so that they also make the queue together.
        start.wait();
        let mut store = open(folder.path()).expect("a store");
        let mut push = |new: NewJob| store.push(&mut [new].into_iter(), now).expect("a push").remove(0);
        let pushed: Vec<_> = (0..50).map(|nth| (push(job("a")), push(job("b").key(&format!("k{nth}"))))).collect();
        pushed
    };
    let pushed: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..N_THREADS).map(|_| scope.spawn(push_all)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no push fails")).collect()
    });

    let (unkeyed, keyed): (Vec<_>, Vec<_>) = pushed.into_iter().unzip();
    let distinct: BTreeSet<JobId> = unkeyed.iter().map(|pushed| pushed.id).collect();
    assert_eq!(distinct.len(), N_THREADS * 50, "each without a key is a job");
    let made: BTreeSet<JobId> = keyed.iter().map(|pushed| pushed.id).collect();
    let n_created = keyed.iter().filter(|pushed| pushed.outcome == PushOutcome::Created).count();
    assert_eq!((made.len(), n_created), (50, 50), "each key is one");
    let mut store = open(folder.path()).expect("a store");
    let tally = store.queues().expect("the queues").remove(0).tally;
    assert_eq!(tally.get(StateKind::Ready), 450);
}

pub(crate) fn many_may_work_at_once_and_each_job_runs_once(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(vec![job("a"); 200]);
    let work = |mut worker: Bench<'_>| {
        let mut ran = Vec::new();
        let mut settlements: Vec<Settlement> = Vec::new();
        loop {
            let turned = worker.turn(&settlements, &Serving::default(), 3);
            assert!(turned.settled.iter().all(|&settled| settled == Settled::Recorded));
            settlements.clear();
            for claimed in turned.claimed {
                ran.push(claimed.lease.job);
                settlements.push(worker.ending(&claimed, Outcome::Succeeded, Verdict::Succeed));
            }
            if settlements.is_empty() {
                return ran;
            }
        }
    };
    let workers = [(); 4].map(|()| bench.beside());
    let mut ran: Vec<JobId> = thread::scope(|scope| {
        let threads = workers.map(|worker| scope.spawn(|| work(worker)));
        threads.into_iter().flat_map(|thread| thread.join().expect("no turn fails")).collect()
    });
    ran.sort();
    assert_eq!(ran, ids);
    assert_eq!(bench.queue("default").tally.get(StateKind::Succeeded), 200);
    bench.assert_counters_agree();
}

pub(crate) fn attempts_are_read_in_one_piece_while_they_end(open: &Open) {
    let mut bench = Bench::new(open);
    let id = bench.push(job("a"));
    let mut worker = bench.beside();
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let mut claimed = worker.claim_one();
            for _ in 0..300 {
                let ended = worker.ending(&claimed, Outcome::Snoozed, Verdict::HandBack);
                claimed = worker.turn(&[ended], &Serving::default(), 1).claimed.remove(0);
            }
        });
        while !worker.is_finished() {
            let attempts = bench.store.attempts(id).expect("the attempts");
            let tokens: Vec<i64> = attempts.iter().map(|attempt| attempt.token.get()).collect();
            let gapless: Vec<i64> = (1..).take(tokens.len()).collect();
            assert_eq!(tokens, gapless);
        }
    });
}

pub(crate) fn a_queue_is_read_in_one_piece_while_its_jobs_come_and_go(open: &Open) {
    let mut bench = Bench::new(open);
    bench.push(job("a"));
    let mut worker = bench.beside();
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            for _ in 0..200 {
                let claimed = worker.claim_one();
                worker.return_untouched(&claimed);
            }
        });
        while !worker.is_finished() {
            let queue = bench.queue("default");
            assert_eq!(queue.oldest_ready.is_some(), queue.tally.get(StateKind::Ready) == 1);
        }
    });
}

/// One thing that may happen to a queue. Numbers say which of those there are is meant.
#[derive(Clone, Debug)]
enum Step {
    Push { queue: u8, key: Option<u8>, rule: u8, due: Option<u8>, expires: Option<u8>, priority: i8 },
    PushRefused,
    Claim { n: usize, by_other: bool },
    Settle { nth: usize, how: u8 },
    SettleAgain { nth: usize },
    Print { nth: usize },
    Cancel { nth: usize },
    Retry { nth: usize },
    Drop { nth: usize },
    Pause { queue: u8, is_paused: bool },
    Advance { secs: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let nth = 0_usize..64;
    let soon = || proptest::option::of(0_u8..30);
    let push = (0_u8..3, proptest::option::of(0_u8..3), 0_u8..3, soon(), soon(), -1_i8..2)
        .prop_map(|(queue, key, rule, due, expires, priority)| Step::Push { queue, key, rule, due, expires, priority });
    prop_oneof![
        6 => push,
        1 => Just(Step::PushRefused),
        5 => (0_usize..4, any::<bool>()).prop_map(|(n, by_other)| Step::Claim { n, by_other }),
        6 => (nth.clone(), 0_u8..10).prop_map(|(nth, how)| Step::Settle { nth, how }),
        1 => nth.clone().prop_map(|nth| Step::SettleAgain { nth }),
        1 => nth.clone().prop_map(|nth| Step::Print { nth }),
        2 => nth.clone().prop_map(|nth| Step::Cancel { nth }),
        2 => nth.clone().prop_map(|nth| Step::Retry { nth }),
        1 => nth.prop_map(|nth| Step::Drop { nth }),
        1 => (0_u8..3, any::<bool>()).prop_map(|(queue, is_paused)| Step::Pause { queue, is_paused }),
        3 => (0_u8..20).prop_map(|secs| Step::Advance { secs }),
    ]
}

pub(crate) fn counters_keys_and_leases_hold_after_any_sequence_of_verbs(open: &Open) {
    let config = Config { cases: 32, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let sequences = proptest::collection::vec(step(), 40);
    let outcome = runner.run(&sequences, |steps| {
        let mut crowd = Crowd::new(open);
        for step in steps {
            crowd.take(step);
            crowd.assert_sound();
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Two connections and what is known of the leases that they hold.
struct Crowd<'o> {
    here: Bench<'o>,
    there: Bench<'o>,
    held: Vec<Claimed>,
    given_up: Vec<Claimed>,
    known: Vec<JobId>,
}

impl<'o> Crowd<'o> {
    fn new(open: &'o Open) -> Self {
        let here = Bench::new(open);
        let there = here.beside();
        Self { here, there, held: Vec::new(), given_up: Vec::new(), known: Vec::new() }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Push { .. } => self.push(&step),
            Step::PushRefused => self.push_refused(),
            Step::Claim { n, by_other } => {
                let bench = if by_other { &mut self.there } else { &mut self.here };
                self.held.extend(bench.claim(n));
            }
            Step::Settle { nth, how } => self.settle(nth, how),
            Step::SettleAgain { nth } => {
                if let Some(stale) = pick(&self.given_up, nth) {
                    let again = self.there.ending(stale, Outcome::Succeeded, Verdict::Succeed);
                    assert_eq!(self.there.settle(again), Settled::LeaseLost);
                }
            }
            Step::Print { nth } => {
                if let Some(claimed) = pick(&self.held, nth) {
                    self.here.print(claimed, chunk(0, "text"));
                }
            }
            Step::Cancel { nth } => self.each(nth, |store, id, now| {
                let _ = store.cancel(id, now).expect("an answer");
            }),
            Step::Retry { nth } => self.each(nth, |store, id, now| {
                let states = [StateKind::Scheduled, StateKind::Retrying, StateKind::Dead, StateKind::Cancelled];
                let _ = store.retry(id, &states, now).expect("an answer");
            }),
            Step::Drop { nth } => self.each(nth, |store, id, _| {
                store.forget(&[id], &[StateKind::Dead]).expect("an answer");
            }),
            Step::Pause { queue: name, is_paused } => {
                self.here.store.pause(&queue(&format!("q{name}")), is_paused, self.here.now).expect("an answer");
            }
            Step::Advance { secs } => {
                self.here.advance(secs.into());
                self.there.now = self.here.now;
            }
        }
    }

    fn push(&mut self, step: &Step) {
        let &Step::Push { queue, key, rule, due, expires, priority } = step else { return };
        let now = self.here.now;
        let secs = |secs: u8| now.plus(Duration::from_secs(secs.into()));
        let mut new = job(&format!("{rule}")).on(&format!("q{queue}")).priority(priority.into()).label("l", "x");
        new.expires_at = expires.map(secs);
        if let Some(due) = due {
            new = new.due(secs(due));
        }
        if let Some(key) = key {
            let rules = [OnDuplicate::Return, OnDuplicate::Error, OnDuplicate::Replace];
            new = new.key(&format!("k{key}")).on_duplicate(rules[usize::from(rule)]);
            if rule > 0 {
                new = new.held_until(secs(10));
            }
        }
        if let Ok(pushed) = self.here.store.push(&mut [new].into_iter(), now) {
            self.known.push(pushed[0].id);
        }
    }

    fn push_refused(&mut self) {
        let taken = || job("a").on("q0").key("twice").on_duplicate(OnDuplicate::Error);
        let refused = self.there.store.push(&mut [job("a").on("q9"), taken(), taken()].into_iter(), self.there.now);
        assert!(refused.is_err());
    }

    fn settle(&mut self, nth: usize, how: u8) {
        if self.held.is_empty() {
            return;
        }
        let claimed = self.held.swap_remove(nth % self.held.len());
        let (outcome, verdict) = match how {
            0 => (Outcome::Succeeded, Verdict::Succeed),
            1 => (Outcome::Failed, Verdict::Retry { due: self.here.in_secs(10) }),
            2 => (Outcome::Snoozed, Verdict::Retry { due: self.here.now }),
            3 => (Outcome::Released, Verdict::HandBack),
            4 => (Outcome::Lost, Verdict::HandBack),
            5 => (Outcome::Lost, Verdict::Die { reason: Reason::Crashed }),
            6 => (Outcome::Cancelled, Verdict::Cancel),
            _ => (Outcome::Failed, Verdict::Die { reason: Reason::Exhausted }),
        };
        if how == 9 {
            self.here.return_untouched(&claimed);
        } else {
            self.here.end(&claimed, outcome, verdict);
        }
        self.given_up.push(claimed);
    }

    fn each(&mut self, nth: usize, verb: impl Fn(&mut dyn Store, JobId, Timestamp)) {
        if let Some(&id) = pick(&self.known, nth) {
            verb(&mut *self.there.store, id, self.there.now);
        }
    }

    /// Fails unless counters, keys and leases are as they must be after any verb.
    fn assert_sound(&mut self) {
        self.here.assert_counters_agree();
        let running: Vec<JobId> = self.in_states(&[StateKind::Running]);
        let mut held: Vec<JobId> = self.held.iter().map(|claimed| claimed.lease.job).collect();
        held.sort();
        assert_eq!(running, held, "what runs is what was claimed and not yet settled");

        let unfinished: Vec<StateKind> = StateKind::ALL.into_iter().filter(|state| !state.is_final()).collect();
        let mut holders: BTreeMap<_, JobId> = BTreeMap::new();
        for id in self.in_states(&unfinished) {
            let job = self.here.job(id);
            let Some(key) = job.key else { continue };
            let before = holders.insert((job.queue, key), id);
            assert_eq!(before, None, "a key has one unfinished job");
        }
    }

    fn in_states(&mut self, states: &[StateKind]) -> Vec<JobId> {
        self.there.find(&Filter { states: states.to_vec(), ..Filter::default() })
    }
}

fn pick<T>(from: &[T], nth: usize) -> Option<&T> {
    if from.is_empty() { None } else { from.get(nth % from.len()) }
}
