//! Many at once: what must hold whoever comes first.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use super::bench::{Bench, Draft as _, Open, job};
use crate::clock::Timestamp;
use crate::job::{JobId, NewJob, Outcome, Settlement, StateKind, Verdict};
use crate::store::{PushOutcome, Serving, Settled};

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
            assert!(turned.settled.iter().all(|settled| *settled == Settled::Recorded));
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
