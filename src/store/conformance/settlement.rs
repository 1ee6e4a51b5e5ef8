//! Settling: what each verdict makes of a job, what counts, and who may speak.

use std::time::Duration;

use super::bench::{Bench, Open, chunk, job, report, untouched};
use crate::job::{
    Claimed, Ending, JobId, Lease, Outcome, Reason, Settlement, State, StateKind, Stream, Token, Usage, Verdict,
};
use crate::store::{Serving, Settled};

pub(crate) fn each_verdict_leads_to_its_state(open: &Open) {
    let mut queue = Bench::new(open);
    let mut after = |verdict, outcome| {
        let id = queue.push(job("a"));
        let claimed = queue.claim_one();
        queue.advance(7);
        queue.end(&claimed, outcome, verdict);
        queue.assert_counters_agree();
        let job = queue.job(id);
        // Out of the way of the next.
        let _ = queue.store.cancel(id, queue.now).expect("a cancellation");
        (job.state, queue.now)
    };

    let (state, at) = after(Verdict::Succeed, Outcome::Succeeded);
    assert_eq!(state, State::Succeeded { at });
    let due = at.plus(Duration::from_secs(100));
    let (state, _) = after(Verdict::Retry { due }, Outcome::Failed);
    assert_eq!(state, State::Retrying { due });
    let (state, at) = after(Verdict::HandBack, Outcome::Released);
    assert_eq!(state, State::Ready { since: at });
    let (state, at) = after(Verdict::Cancel, Outcome::Cancelled);
    assert_eq!(state, State::Cancelled { at });
    for reason in Reason::ALL {
        let (state, at) = after(Verdict::Die { reason }, Outcome::Failed);
        assert_eq!(state, State::Dead { at, reason });
    }
}

pub(crate) fn a_job_remembers_how_its_last_attempt_ended(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    let claimed = queue.claim_one();
    let mut failed = queue.ending(&claimed, Outcome::Timeout, Verdict::Retry { due: queue.now });
    let last =
        Ending { outcome: Outcome::Timeout, exit_code: None, signal: Some(9), error: Some("too slow".to_owned()) };
    let said = failed.report.as_mut().expect("a report");
    (said.exit_code, said.signal, said.error) = (last.exit_code, last.signal, last.error.clone());
    assert_eq!(queue.settle(failed), Settled::Recorded);
    assert_eq!(queue.job(id).last, Some(last.clone()));

    let claimed = queue.claim_one();
    assert_eq!(claimed.job.last, Some(last), "while it runs again");
    queue.succeed(&claimed);
    let success = Ending { outcome: Outcome::Succeeded, exit_code: Some(0), signal: None, error: None };
    assert_eq!(queue.job(id).last, Some(success));
}

pub(crate) fn only_what_the_job_did_itself_counts_as_an_attempt(open: &Open) {
    for outcome in Outcome::ALL {
        let mut queue = Bench::new(open);
        let id = queue.push(job("a"));
        let claimed = queue.claim_one();
        assert_eq!(claimed.job.attempt, 1);
        queue.end(&claimed, outcome, Verdict::HandBack);
        assert_eq!(queue.job(id).attempt, u32::from(outcome.is_counted()), "{outcome:?}");
        assert_eq!(queue.store.attempts(id).expect("the attempts").len(), 1, "{outcome:?}");
    }
}

pub(crate) fn a_lost_worker_raises_the_crashes_and_an_ending_that_was_seen_resets_them(open: &Open) {
    for outcome in Outcome::ALL {
        let mut queue = Bench::new(open);
        let id = queue.push(job("a"));
        for n_lost in 1..=2 {
            let claimed = queue.claim_one();
            queue.end(&claimed, Outcome::Lost, Verdict::HandBack);
            assert_eq!(queue.job(id).crashes, n_lost);
        }
        let claimed = queue.claim_one();
        queue.end(&claimed, outcome, Verdict::HandBack);
        let expected = match outcome {
            Outcome::Lost => 3,
            Outcome::Released => 2,
            _ => 0,
        };
        assert_eq!(queue.job(id).crashes, expected, "{outcome:?}");
    }
}

pub(crate) fn a_job_that_was_returned_untouched_is_as_it_was(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    let lost = queue.claim_one();
    queue.end(&lost, Outcome::Lost, Verdict::HandBack);
    let failed = queue.claim_one();
    queue.end(&failed, Outcome::Failed, Verdict::HandBack);
    let before = queue.job(id);
    let attempts = queue.store.attempts(id).expect("the attempts");

    for _ in 0..2 {
        queue.advance(5);
        let claimed = queue.claim_one();
        queue.return_untouched(&claimed);
    }
    let after = queue.job(id);
    assert_eq!(after.state, State::Ready { since: queue.now });
    assert_eq!((after.attempt, after.crashes, &after.last), (before.attempt, before.crashes, &before.last));
    assert_eq!(after.started_at, before.started_at, "nothing was started since");
    assert_eq!(queue.store.attempts(id).expect("the attempts"), attempts);
}

pub(crate) fn a_job_that_was_never_started_says_so(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    for _ in 0..3 {
        let claimed = queue.claim_one();
        queue.return_untouched(&claimed);
        assert_eq!((queue.job(id).started_at, queue.job(id).attempt), (None, 0));
    }
}

pub(crate) fn only_the_first_settlement_of_a_lease_counts(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    let claimed = queue.claim_one();
    let both = [
        queue.ending(&claimed, Outcome::Succeeded, Verdict::Succeed),
        queue.ending(&claimed, Outcome::Failed, Verdict::HandBack),
    ];
    let turned = queue.turn(&both, &Serving::default(), 0);
    assert_eq!(turned.settled, [Settled::Recorded, Settled::LeaseLost]);

    let settled = queue.job(id);
    let again = queue.ending(&claimed, Outcome::Failed, Verdict::Die { reason: Reason::Exhausted });
    assert_eq!(queue.settle(again), Settled::LeaseLost);
    assert_eq!(queue.settle(untouched(&claimed)), Settled::LeaseLost);
    assert_eq!(queue.job(id), settled);
    assert_eq!(queue.store.attempts(id).expect("the attempts").len(), 1);
    queue.assert_counters_agree();
}

pub(crate) fn a_report_under_an_older_token_changes_nothing(open: &Open) {
    let mut slow = Bench::new(open);
    let id = slow.push(job("a"));
    let stale = slow.claim_one();
    let mut quick = slow.beside();
    quick.end(&stale, Outcome::Lost, Verdict::HandBack);
    let current = quick.claim_one();
    assert!(current.lease.token > stale.lease.token);

    let mut late = slow.ending(&stale, Outcome::Succeeded, Verdict::Succeed);
    late.output = vec![chunk(0, "too late")];
    assert_eq!(slow.settle(late), Settled::LeaseLost);
    assert_eq!(slow.job(id), current.job);
    assert_eq!(slow.store.attempts(id).expect("the attempts").len(), 2, "the lost one and the running one");
    assert_eq!(slow.printed(&stale, 0), "");
    slow.assert_counters_agree();

    quick.succeed(&current);
    assert_eq!(slow.state(id), StateKind::Succeeded);
}

pub(crate) fn a_report_on_a_job_that_does_not_run_changes_nothing(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    let claimed = queue.claim_one();
    queue.return_untouched(&claimed);
    let waiting = queue.job(id);
    let other = Lease { job: JobId::new(id.get() + 1).expect("positive"), ..claimed.lease };
    let next = Lease { token: Token::new(claimed.lease.token.get() + 1), ..claimed.lease };
    for lease in [claimed.lease, other, next] {
        let settlement = Settlement { lease, ..queue.ending(&claimed, Outcome::Succeeded, Verdict::Succeed) };
        assert_eq!(queue.settle(settlement), Settled::LeaseLost);
        assert_eq!(queue.job(id), waiting);
    }
    queue.assert_counters_agree();
}

pub(crate) fn settlements_are_answered_in_their_order(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push_all(vec![job("a"), job("b"), job("c")]);
    let claims = queue.claim(3);
    queue.succeed(&claims[1]);
    let settlements: Vec<_> =
        claims.iter().map(|claimed| queue.ending(claimed, Outcome::Succeeded, Verdict::Succeed)).collect();
    let settled = queue.turn(&settlements, &Serving::default(), 0).settled;
    assert_eq!(settled, [Settled::Recorded, Settled::LeaseLost, Settled::Recorded]);
}

pub(crate) fn another_worker_may_settle_for_the_one_that_claimed(open: &Open) {
    let mut claimer = Bench::new(open);
    let id = claimer.push(job("a"));
    let claimed = claimer.claim_one();
    claimer.beside().end(&claimed, Outcome::Lost, Verdict::Die { reason: Reason::Crashed });
    assert_eq!(claimer.state(id), StateKind::Dead);
}

pub(crate) fn the_attempts_of_a_job_are_its_history_and_the_one_that_runs(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    assert_eq!(queue.store.attempts(id).expect("the attempts"), []);

    let first = queue.claim_one();
    queue.advance(3);
    let mut failed = queue.ending(&first, Outcome::Failed, Verdict::HandBack);
    let said = failed.report.as_mut().expect("a report");
    said.usage = Some(Usage { cpu: Duration::from_micros(1_234_567), max_rss_bytes: 1 << 33 });
    (said.stdout_bytes, said.stderr_bytes, said.is_truncated) = (1 << 33, 7, true);
    assert_eq!(queue.settle(failed.clone()), Settled::Recorded);
    queue.advance(3);
    let second = queue.claim_one();

    let attempts = queue.store.attempts(id).expect("the attempts");
    assert_eq!(attempts.iter().map(|attempt| attempt.token).collect::<Vec<_>>(), tokens(&[&first, &second]));
    assert_eq!((&attempts[0].report, attempts[0].started_at), (&failed.report, first.job.started_at.expect("started")));
    assert_eq!((&attempts[1].report, attempts[1].started_at), (&None, queue.now));
    assert_eq!(attempts[1].worker, queue.worker.to_string());

    queue.succeed(&second);
    let attempts = queue.store.attempts(id).expect("the attempts");
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[1].report, Some(report(&second, Outcome::Succeeded, queue.now)));
}

fn tokens(claims: &[&Claimed]) -> Vec<Token> {
    claims.iter().map(|claimed| claimed.lease.token).collect()
}

pub(crate) fn a_settlement_brings_the_rest_of_the_output(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push(job("a"));
    let claimed = queue.claim_one();
    queue.print(&claimed, chunk(0, "one "));
    let mut ending = queue.ending(&claimed, Outcome::Succeeded, Verdict::Succeed);
    let mut complaint = chunk(0, "oh");
    complaint.stream = Stream::Stderr;
    ending.output = vec![chunk(4, "two"), complaint.clone()];
    assert_eq!(queue.settle(ending), Settled::Recorded);

    assert_eq!(queue.printed(&claimed, 0), "one two");
    let stderr = queue.store.output(claimed.lease.job, claimed.lease.token, Stream::Stderr, 0);
    assert_eq!(stderr.expect("the output"), [complaint]);
}
