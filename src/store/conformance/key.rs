//! Keys: one job for each, for as long as it holds.

use super::bench::{Bench, Draft as _, Open, job};
use crate::job::{Command, Filter, NewJob, OnDuplicate, Reason, StateKind, Verdict};
use crate::job::{JobId, Outcome};
use crate::store::{Error, PushOutcome, Retried, Settled};

pub(crate) fn a_key_makes_one_job_however_often_it_is_pushed(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a").key("k"));
    for mut connection in [queue.beside(), queue] {
        let again = connection.offer(job("a").key("k"));
        assert_eq!((again.id, again.outcome), (id, PushOutcome::Existing { differs: false }));
        assert_eq!(again.state, StateKind::Ready);
        assert_eq!(connection.all(), [id]);
    }
}

pub(crate) fn a_key_makes_one_job_even_within_one_push(open: &Open) {
    let mut queue = Bench::new(open);
    let ids = queue.push_all(vec![job("a").key("k"), job("a").key("k"), job("a").key("other")]);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(queue.all(), [ids[0], ids[2]]);
    queue.assert_counters_agree();
}

pub(crate) fn each_queue_has_keys_of_its_own(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push(job("a").on("mail").key("k"));
    queue.push(job("a").on("video").key("k"));
}

pub(crate) fn a_second_push_says_whether_it_differs(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push(job("a").payload(b"1").key("k"));
    let mut differs = |job: NewJob| queue.offer(job.key("k")).outcome == PushOutcome::Existing { differs: true };

    assert!(!differs(job("a").payload(b"1")));
    assert!(!differs(job("a").payload(b"1").priority(5).label("x", "y")), "only what runs counts");
    assert!(differs(job("b").payload(b"1")), "another command");
    assert!(differs(job("a").payload(b"2")), "another payload");
    assert!(differs(job("a")), "no payload");
    assert!(differs(NewJob { command: None, ..job("a").payload(b"1") }), "no command");
    let program = Command::Program(vec![b"a".to_vec()]);
    assert!(differs(NewJob { command: Some(program), ..job("a").payload(b"1") }), "a program, not a line");
}

pub(crate) fn a_second_push_learns_what_it_met(open: &Open) {
    let mut queue = Bench::new(open);
    let until = queue.in_secs(100);
    let first = queue.offer(job("a").payload(b"1").key("k").held_until(until));
    assert_eq!(first.met, None, "there was nothing to meet");
    let claimed = queue.claim_one();
    queue.bury(&claimed);

    let met = queue.offer(job("b").payload(b"1").key("k")).met.expect("the dead job");
    assert_eq!((&met.job, met.held_until), (&queue.job(first.id), Some(until)));
    assert_eq!((met.is_other_command, met.is_other_payload), (true, false));
    let strict = job("a").payload(b"2").key("k").on_duplicate(OnDuplicate::Error);
    let Err(Error::KeyTaken { met, .. }) = queue.store.push(&mut [strict].into_iter(), queue.now) else {
        panic!("it was not refused")
    };
    assert_eq!((met.job, met.is_other_command, met.is_other_payload), (queue.job(first.id), false, true));
}

pub(crate) fn a_replacement_learns_what_it_replaced(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("old").key("k").due(queue.in_secs(60)));
    let old = queue.job(id);
    assert_eq!(queue.offer(replacement()).met.expect("what was there").job, old);
}

pub(crate) fn a_key_is_held_until_its_job_is_finished(open: &Open) {
    let endings: [(Outcome, Verdict); 3] = [
        (Outcome::Succeeded, Verdict::Succeed),
        (Outcome::Failed, Verdict::Die { reason: Reason::Permanent }),
        (Outcome::Cancelled, Verdict::Cancel),
    ];
    for (outcome, verdict) in endings {
        let mut queue = Bench::new(open);
        let id = queue.push(job("a").key("k"));
        let claimed = queue.claim_one();
        assert_eq!(queue.offer(job("a").key("k")).id, id, "held while it runs");

        queue.end(&claimed, Outcome::Failed, Verdict::Retry { due: queue.in_secs(10) });
        assert_eq!(queue.offer(job("a").key("k")).id, id, "held while it waits for its next try");

        queue.advance(10);
        let claimed = queue.claim_one();
        queue.end(&claimed, outcome, verdict);
        assert!(queue.push(job("a").key("k")) > id, "freed by {outcome:?}");
    }
}

pub(crate) fn a_key_is_freed_by_a_cancellation_and_by_expiry(open: &Open) {
    let mut queue = Bench::new(open);
    let cancelled = queue.push(job("a").key("k"));
    let _ = queue.store.cancel(cancelled, queue.now).expect("a cancellation");
    let expiring = queue.push(job("b").key("k").expires(queue.in_secs(5)));
    queue.advance(5);
    assert_eq!(queue.claim_ids(), []);
    assert!(queue.push(job("c").key("k")) > expiring);
}

pub(crate) fn a_key_with_a_time_outlives_its_job_until_then(open: &Open) {
    let mut queue = Bench::new(open);
    let until = queue.in_secs(100);
    let id = queue.push(job("a").key("k").held_until(until));
    let claimed = queue.claim_one();
    queue.succeed(&claimed);

    queue.advance(99);
    let again = queue.offer(job("a").key("k").held_until(until));
    assert_eq!(
        (again.id, again.outcome, again.state),
        (id, PushOutcome::Existing { differs: false }, StateKind::Succeeded)
    );
    queue.advance(1);
    assert!(queue.push(job("a").key("k")) > id);
}

pub(crate) fn a_key_outlives_a_cancelled_and_an_expired_job_until_its_time(open: &Open) {
    let mut queue = Bench::new(open);
    let until = queue.in_secs(100);
    let cancelled = queue.push(job("a").key("a").held_until(until));
    let expired = queue.push(job("b").key("b").held_until(until).expires(queue.in_secs(5)));
    let _ = queue.store.cancel(cancelled, queue.now).expect("a cancellation");
    queue.advance(5);
    assert_eq!(queue.claim_ids(), []);

    for (key, id, state) in [("a", cancelled, StateKind::Cancelled), ("b", expired, StateKind::Dead)] {
        let again = queue.offer(job(key).key(key));
        assert_eq!((again.id, again.state), (id, state));
    }
}

pub(crate) fn a_time_does_not_free_the_key_of_an_unfinished_job(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a").key("k").held_until(queue.in_secs(10)));
    queue.advance(1000);
    assert_eq!(queue.offer(job("a").key("k")).id, id);
}

pub(crate) fn a_key_is_free_once_its_job_is_forgotten_wherever_that_stood(open: &Open) {
    type Lead = fn(&mut Bench<'_>, JobId);
    let ways: [(StateKind, Lead); 4] = [
        (StateKind::Ready, |_, _| {}),
        (StateKind::Succeeded, |queue, _| {
            let claimed = queue.claim_one();
            queue.succeed(&claimed);
        }),
        (StateKind::Dead, |queue, _| {
            let claimed = queue.claim_one();
            queue.bury(&claimed);
        }),
        (StateKind::Cancelled, |queue, id| {
            let _ = queue.store.cancel(id, queue.now).expect("a cancellation");
        }),
    ];
    for (state, lead) in ways {
        let mut queue = Bench::new(open);
        let id = queue.push(job("a").key("k").held_until(queue.in_secs(1000)));
        lead(&mut queue, id);
        let again = queue.offer(job("a").key("k"));
        assert_eq!((again.id, again.state), (id, state), "it answers");
        assert_eq!(queue.store.forget(&[id], &[state]).expect("an answer"), [id]);
        assert!(queue.push(job("a").key("k")) > id, "{state:?}");
        queue.assert_counters_agree();
    }
}

pub(crate) fn a_push_may_ask_to_be_refused_where_its_key_is_held(open: &Open) {
    let mut queue = Bench::new(open);
    let strict = || job("a").key("k").on_duplicate(OnDuplicate::Error);
    let id = queue.push(strict());
    let refused = queue.store.push(&mut [strict()].into_iter(), queue.now);
    assert!(matches!(refused, Err(Error::KeyTaken { holder, .. }) if holder == id), "{refused:?}");

    let claimed = queue.claim_one();
    queue.succeed(&claimed);
    assert!(queue.push(strict()) > id);
}

pub(crate) fn a_push_may_replace_a_job_that_has_not_started(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("old").key("k").payload(b"old").label("age", "old").due(queue.in_secs(60)));
    queue.advance(1);

    let pushed = queue.offer(replacement().label("age", "new"));
    assert_eq!((pushed.id, pushed.outcome, pushed.state), (id, PushOutcome::Replaced, StateKind::Ready));
    assert_eq!(queue.all(), [id]);
    assert_eq!((queue.job(id).created_at, queue.job(id).payload_bytes), (queue.now, 0));
    assert_eq!(queue.find(&labelled("age", "new")), [id]);
    assert_eq!(queue.find(&labelled("age", "old")), []);
    queue.assert_counters_agree();
    assert_eq!(queue.claim_one().job.command, Some(Command::Shell(b"new".to_vec())));
}

fn replacement() -> NewJob {
    job("new").key("k").on_duplicate(OnDuplicate::Replace)
}

fn labelled(name: &str, value: &str) -> Filter {
    Filter { labels: vec![(name.to_owned(), value.to_owned())], ..Filter::default() }
}

pub(crate) fn a_job_that_has_started_is_not_replaced(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("old").key("k").held_until(queue.in_secs(1000)));
    let is_kept = |queue: &mut Bench<'_>, state| {
        let pushed = queue.offer(replacement());
        assert_eq!((pushed.id, pushed.outcome, pushed.state), (id, PushOutcome::Existing { differs: true }, state));
    };
    let claimed = queue.claim_one();
    is_kept(&mut queue, StateKind::Running);
    queue.end(&claimed, Outcome::Failed, Verdict::Retry { due: queue.in_secs(10) });
    is_kept(&mut queue, StateKind::Retrying);
    queue.advance(10);
    let claimed = queue.claim_one();
    queue.succeed(&claimed);
    is_kept(&mut queue, StateKind::Succeeded);
}

pub(crate) fn a_job_that_was_only_ever_returned_untouched_may_be_replaced(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("old").key("k"));
    for _ in 0..2 {
        let claimed = queue.claim_one();
        queue.return_untouched(&claimed);
    }
    assert_eq!(queue.offer(replacement()).outcome, PushOutcome::Replaced);
    assert_eq!(queue.job(id).command, Some(Command::Shell(b"new".to_vec())));
}

pub(crate) fn a_lease_on_a_replaced_job_is_lost(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push(job("old").key("k"));
    let before = queue.claim_one();
    queue.return_untouched(&before);
    queue.offer(replacement());

    let after = queue.claim_one();
    assert!(after.lease.token > before.lease.token, "tokens only rise");
    let stale = queue.ending(&before, Outcome::Succeeded, Verdict::Succeed);
    assert_eq!(queue.settle(stale), Settled::LeaseLost);
    assert_eq!(queue.state(after.lease.job), StateKind::Running);
}

pub(crate) fn a_retried_job_takes_its_key_again(open: &Open) {
    let mut queue = Bench::new(open);
    let id = dead_with_key(&mut queue);
    assert_eq!(queue.store.retry(id, &[StateKind::Dead], None, queue.now).expect("a retry"), Retried::Ready);
    assert_eq!(queue.offer(job("a").key("k")).id, id);
}

pub(crate) fn a_retry_gives_way_to_a_newer_job_with_its_key(open: &Open) {
    let mut queue = Bench::new(open);
    let id = dead_with_key(&mut queue);
    let newer = queue.push(job("a").key("k"));
    assert_eq!(queue.store.retry(id, &[StateKind::Dead], None, queue.now).expect("a retry"), Retried::KeyTaken(newer));
    assert_eq!(queue.state(id), StateKind::Dead);
    queue.assert_counters_agree();
}

pub(crate) fn a_retry_does_not_give_way_to_a_key_whose_time_is_over(open: &Open) {
    let mut queue = Bench::new(open);
    let id = dead_with_key(&mut queue);
    let newer = queue.push(job("a").key("k").held_until(queue.in_secs(10)));
    let claimed = queue.claim_one();
    queue.succeed(&claimed);
    assert_eq!(queue.store.retry(id, &[StateKind::Dead], None, queue.now).expect("a retry"), Retried::KeyTaken(newer));

    queue.advance(10);
    assert_eq!(queue.store.retry(id, &[StateKind::Dead], None, queue.now).expect("a retry"), Retried::Ready);
    assert_eq!(queue.offer(job("a").key("k")).id, id);
}

fn dead_with_key(queue: &mut Bench<'_>) -> JobId {
    let id = queue.push(job("a").key("k"));
    let claimed = queue.claim_one();
    queue.bury(&claimed);
    id
}

pub(crate) fn a_backoff_that_falls_due_never_meets_a_newer_holder(open: &Open) {
    let mut queue = Bench::new(open);
    // Its time with the key is over before its second try is due.
    let id = queue.push(job("a").key("k").held_until(queue.in_secs(1)));
    for _ in 0..2 {
        let claimed = queue.claim_one();
        queue.end(&claimed, Outcome::Failed, Verdict::Retry { due: queue.in_secs(60) });
        queue.advance(30);
        for on_duplicate in [OnDuplicate::Return, OnDuplicate::Replace] {
            let met = queue.offer(job("b").key("k").on_duplicate(on_duplicate));
            assert_eq!((met.id, met.state), (id, StateKind::Retrying), "it holds its key while it waits");
        }
        queue.advance(30);
    }
    assert_eq!(queue.all(), [id]);
    assert_eq!(queue.claim_one().lease.job, id);
}
