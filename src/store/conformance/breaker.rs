//! Circuit breakers: when a queue is stopped, who is tried meanwhile, and what lets it go on.

use std::time::Duration;

use super::bench::{Bench, Draft as _, Open, job, queue, untouched};
use crate::job::{
    BreakerRule, Claimed, JobId, Outcome, QueueSettings, Reason, Report, Settlement, StateKind, Tripped, Verdict,
};
use crate::store::{Serving, Settled};

/// From one trial to the next, in seconds.
const EVERY: u64 = 60;

/// A queue `mail` with a breaker of this rule, and so many jobs in it.
fn guarded(open: &Open, rule: (usize, usize), n_jobs: usize) -> (Bench<'_>, Vec<JobId>) {
    let mut bench = Bench::new(open);
    set(&mut bench, rule);
    let ids = bench.push_all(vec![job("a").on("mail"); n_jobs]);
    (bench, ids)
}

fn set(bench: &mut Bench<'_>, (n_failures, n_attempts): (usize, usize)) {
    let settings = QueueSettings {
        breaker: Some(BreakerRule::new(n_failures, n_attempts)),
        breaker_probe: Some(Duration::from_secs(EVERY)),
        ..QueueSettings::default()
    };
    bench.store.configure(&queue("mail"), &mut |own| *own = settings.clone()).expect("a change");
}

fn tripped(bench: &mut Bench<'_>) -> Option<Tripped> {
    bench.queue("mail").tripped
}

/// The end of an attempt that says this, and is tried again in an hour.
fn failure(bench: &Bench<'_>, claimed: &Claimed, error: &str) -> Settlement {
    let settlement = bench.ending(claimed, Outcome::Failed, Verdict::Retry { due: bench.in_secs(3600) });
    let report = settlement.report.map(|report| Report { error: Some(error.to_owned()), ..report });
    Settlement { report, ..settlement }
}

/// Claims the next job, and has it fail like that.
fn fail(bench: &mut Bench<'_>, error: &str) -> JobId {
    let claimed = bench.claim_one();
    let failure = failure(bench, &claimed, error);
    assert_eq!(bench.settle(failure), Settled::Recorded);
    claimed.lease.job
}

/// A queue that its breaker has stopped, with so many jobs that wait.
fn stopped(open: &Open, n_waiting: usize) -> (Bench<'_>, Vec<JobId>) {
    let (mut bench, mut ids) = guarded(open, (2, 3), n_waiting + 2);
    for _ in 0..2 {
        fail(&mut bench, "no route to 10.0.0.1");
    }
    assert!(tripped(&mut bench).is_some());
    (bench, ids.split_off(2))
}

pub(crate) fn a_queue_is_stopped_once_so_many_of_its_last_attempts_failed_of_one_cause(open: &Open) {
    let (mut bench, ids) = guarded(open, (3, 5), 9);
    for host in 1..=2 {
        fail(&mut bench, &format!("no route to 10.0.0.{host}"));
    }
    let claimed = bench.claim_one();
    bench.succeed(&claimed);
    assert_eq!(tripped(&mut bench), None);

    let claimed = bench.claim_one();
    let last = failure(&bench, &claimed, "no route to 10.0.0.3");
    let turned = bench.turn(&[last], &Serving::default(), 9);
    assert!(turned.claimed.is_empty(), "the turn in which it trips takes nothing more");
    let stopped = tripped(&mut bench).expect("it is stopped");
    assert_eq!((stopped.since, stopped.next_trial), (bench.now, bench.in_secs(EVERY)));
    assert_eq!((stopped.n_failures, stopped.n_attempts, stopped.cause.exit_code), (3, 4, Some(3)));
    assert_eq!(turned.breakers[0].tripped.as_ref(), Some(&stopped));
    assert_eq!(turned.next_due, Some(bench.in_secs(EVERY)), "an idle worker wakes for the trial");
    for &id in &ids[4..] {
        assert_eq!((bench.job(id).attempt, bench.state(id)), (0, StateKind::Ready));
    }
    bench.assert_counters_agree();
}

pub(crate) fn failures_of_different_causes_and_old_ones_do_not_stop_a_queue(open: &Open) {
    let (mut bench, _) = guarded(open, (3, 4), 12);
    for error in ["disk full", "no route", "disk full", "no route", "bad address", "disk full", "no route", "timed out"]
    {
        fail(&mut bench, error);
    }
    assert_eq!(tripped(&mut bench), None);
    fail(&mut bench, "no route");
    assert_eq!(tripped(&mut bench), None, "the first of them is too long ago");
    fail(&mut bench, "no route");
    assert!(tripped(&mut bench).is_some());
}

pub(crate) fn what_was_not_seen_to_its_end_does_not_count_for_a_breaker(open: &Open) {
    let (mut bench, _) = guarded(open, (2, 2), 9);
    for outcome in [Outcome::Lost, Outcome::Released, Outcome::Snoozed] {
        for _ in 0..2 {
            let claimed = bench.claim_one();
            bench.end(&claimed, outcome, Verdict::Retry { due: bench.in_secs(3600) });
        }
    }
    fail(&mut bench, "no route");
    let claimed = bench.claim_one();
    bench.end(&claimed, Outcome::Cancelled, Verdict::Cancel);
    assert_eq!(tripped(&mut bench), None);
    fail(&mut bench, "no route");
    assert!(tripped(&mut bench).is_some(), "nothing came between the two");
}

pub(crate) fn of_two_workers_one_tries_one_job_each_time(open: &Open) {
    let (mut bench, ids) = stopped(open, 4);
    let mut other = bench.beside();
    assert_eq!((bench.claim(9).len(), other.claim(9).len()), (0, 0));
    for round in 0..2 {
        for one in [&mut bench, &mut other] {
            one.advance(EVERY);
        }
        let tried: Vec<_> = bench.claim(9).into_iter().chain(other.claim(9)).collect();
        assert_eq!(tried.iter().map(|one| one.lease.job).collect::<Vec<_>>(), ids[round..=round], "another each time");
        assert_eq!(
            bench.queue("mail").tripped.expect("it is").next_trial,
            bench.in_secs(EVERY),
            "though nobody answers"
        );
    }
}

pub(crate) fn who_is_tried_last_comes_last_whatever_its_priority(open: &Open) {
    let (mut bench, ids) = stopped(open, 2);
    let high = bench.push(job("b").on("mail").priority(9));
    let mut tried = Vec::new();
    for _ in 0..5 {
        bench.advance(EVERY);
        let claimed = bench.claim_one();
        tried.push(claimed.lease.job);
        let now = bench.now;
        let failed = failure(&bench, &claimed, "no route to 10.0.0.4");
        let verdict = Verdict::Retry { due: now };
        assert_eq!(bench.settle(Settlement { verdict, ..failed }), Settled::Uncounted(verdict));
        assert_eq!(bench.job(claimed.lease.job).attempt, 0, "it is not counted");
    }
    assert_eq!(tried, [high, ids[0], ids[1], high, ids[0]]);
}

pub(crate) fn a_trial_that_fails_of_the_same_cause_takes_no_attempt_and_of_another_does(open: &Open) {
    let (mut bench, ids) = stopped(open, 2);
    bench.advance(EVERY);
    let claimed = bench.claim_one();
    let last = failure(&bench, &claimed, "no route to 10.0.0.5");
    let last = Settlement { verdict: Verdict::Die { reason: Reason::Exhausted }, ..last };
    let instead = Verdict::Retry { due: bench.in_secs(EVERY) };
    assert_eq!(bench.settle(last), Settled::Uncounted(instead));
    let spared = bench.job(ids[0]);
    assert_eq!((spared.state.kind(), spared.attempt), (StateKind::Retrying, 0));
    assert_eq!(bench.store.attempts(ids[0]).expect("the attempts").len(), 1, "it is on record");

    bench.advance(EVERY);
    assert_eq!(fail(&mut bench, "disk full"), ids[1]);
    assert_eq!(bench.job(ids[1]).attempt, 1);
    assert!(tripped(&mut bench).is_some());
    bench.assert_counters_agree();
}

pub(crate) fn a_trial_that_succeeds_lets_the_queue_go_on_with_nothing_held_against_it(open: &Open) {
    let (mut bench, _) = stopped(open, 5);
    bench.advance(EVERY);
    let claimed = bench.claim_one();
    let done = bench.ending(&claimed, Outcome::Succeeded, Verdict::Succeed);
    let turned = bench.turn(&[done], &Serving::default(), 2);
    assert_eq!((turned.claimed.len(), turned.promoted), (2, vec![queue("mail")]), "others are told too");
    assert_eq!((turned.breakers.len(), &turned.breakers[0].tripped), (1, &None));
    assert_eq!(tripped(&mut bench), None);
    fail(&mut bench, "no route");
    assert_eq!(tripped(&mut bench), None);
    fail(&mut bench, "no route");
    assert!(tripped(&mut bench).is_some());
}

pub(crate) fn what_ran_before_a_queue_was_stopped_does_not_let_it_go_on(open: &Open) {
    let (mut bench, _) = guarded(open, (2, 2), 5);
    let before = bench.claim_one();
    for _ in 0..2 {
        fail(&mut bench, "no route");
    }
    bench.advance(EVERY + 1);
    bench.succeed(&before);
    assert!(tripped(&mut bench).is_some());
}

pub(crate) fn a_trial_that_is_handed_back_is_none(open: &Open) {
    let (mut bench, ids) = stopped(open, 2);
    bench.advance(EVERY);
    let claimed = bench.claim_one();
    let turned = bench.turn(&[untouched(&claimed)], &Serving::default(), 9);
    assert_eq!(turned.claimed.iter().map(|one| one.lease.job).collect::<Vec<_>>(), ids[1..], "the next one is tried");
}

pub(crate) fn a_queue_that_is_resumed_is_stopped_no_more(open: &Open) {
    let (mut bench, ids) = stopped(open, 2);
    assert_eq!(bench.store.pause(&queue("mail"), true, bench.now).expect("a pause"), Some(true));
    bench.advance(EVERY);
    assert_eq!(bench.claim_ids(), [], "a pause is above all");
    assert_eq!(bench.store.pause(&queue("mail"), false, bench.now).expect("a pause"), Some(true));
    assert_eq!(tripped(&mut bench), None);
    assert_eq!(bench.claim_ids(), ids);

    let (mut bench, ids) = stopped(open, 2);
    assert_eq!(bench.store.pause(&queue("mail"), false, bench.now).expect("a pause"), Some(true));
    assert_eq!(bench.store.pause(&queue("mail"), false, bench.now).expect("a pause"), Some(false));
    assert_eq!(bench.claim_ids(), ids);
}

pub(crate) fn a_queue_whose_breaker_is_taken_off_is_stopped_no_more(open: &Open) {
    let (mut bench, ids) = stopped(open, 2);
    set(&mut bench, (1, 1));
    assert!(tripped(&mut bench).is_some(), "another rule changes nothing");
    set(&mut bench, (0, 0));
    assert_eq!((tripped(&mut bench), bench.claim_ids()), (None, ids));
}

pub(crate) fn a_clock_that_was_set_back_does_not_put_off_a_trial(open: &Open) {
    let (mut bench, ids) = stopped(open, 2);
    bench.now = bench.now.minus(Duration::from_secs(86_400));
    let claimed = bench.claim_one();
    assert_eq!(claimed.lease.job, ids[0]);
    assert_eq!(bench.claim_ids(), [], "one, as ever");
    bench.succeed(&claimed);
    assert_eq!(tripped(&mut bench), None);
}

pub(crate) fn the_breaker_of_one_queue_is_no_concern_of_another(open: &Open) {
    let (mut bench, _) = stopped(open, 2);
    let others = bench.push_all(vec![job("c"); 4]);
    for _ in 0..3 {
        fail(&mut bench, "no route");
    }
    assert_eq!(bench.claim_ids(), others[3..]);
    assert_eq!(bench.queue("default").tripped, None);
}
