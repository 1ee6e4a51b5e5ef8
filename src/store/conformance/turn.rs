//! A worker's turn: what is claimed in which order, what falls due, what comes too late.

use super::bench::{Bench, Draft as _, Open, job, queue, serving, untouched};
use crate::job::{Outcome, Reason, State, StateKind, Verdict};
use crate::store::{Serving, Settled};

pub(crate) fn a_claim_takes_the_highest_priority_first_then_the_oldest(open: &Open) {
    let mut queue = Bench::new(open);
    let ids = queue.push_all(vec![
        job("a"),
        job("b").priority(10).on("mail"),
        job("c").priority(-1),
        job("d").priority(10),
        job("e").on("mail"),
        job("f").priority(10).on("mail"),
    ]);
    let order: Vec<_> = [1, 3, 5, 0, 4, 2].map(|nth: usize| ids[nth]).into();
    let first: Vec<_> = queue.claim(4).iter().map(|claimed| claimed.lease.job).collect();
    assert_eq!(first, order[..4]);
    assert_eq!(queue.claim_ids(), order[4..]);
    assert_eq!(queue.claim_ids(), []);
}

pub(crate) fn a_claim_says_who_runs_the_job_since_when_and_as_which_attempt(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    queue.advance(5);
    let claimed = queue.claim_one();

    assert_eq!((claimed.lease.job, claimed.job.attempt, claimed.job.started_at), (id, 1, Some(queue.now)));
    let running = State::Running {
        token: claimed.lease.token,
        worker: queue.worker.to_string(),
        since: queue.now,
        cancel_requested: false,
    };
    assert_eq!(claimed.job.state, running);
    assert_eq!(queue.job(id), claimed.job);
}

pub(crate) fn a_turn_claims_no_more_than_is_wanted(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push_all(vec![job("a"), job("b"), job("c")]);
    assert_eq!(queue.claim(0).len(), 0);
    assert_eq!(queue.claim(2).len(), 2);
    assert_eq!(queue.claim(2).len(), 1);
}

pub(crate) fn no_job_is_claimed_twice(open: &Open) {
    let mut here = Bench::new(open);
    let ids = here.push_all(vec![job("a"), job("b"), job("c")]);
    let mut there = here.beside();
    let claims = [here.claim_one(), there.claim_one(), here.claim_one()];
    assert_eq!(claims.map(|claimed| claimed.lease.job).to_vec(), ids);
    assert_eq!(there.claim(1).len(), 0);
}

pub(crate) fn what_others_do_between_two_turns_counts_in_the_next(open: &Open) {
    let mut here = Bench::new(open);
    let ids = here.push_all(vec![job("a"), job("b"), job("c"), job("d").on("mail"), job("e").on("mail")]);
    let mut there = here.beside();
    assert_eq!(here.claim_one().lease.job, ids[0]);
    let urgent = there.push(job("f").priority(5).on("new"));
    assert_eq!(here.claim_one().lease.job, urgent, "a better one was pushed");
    assert_eq!(there.claim_one().lease.job, ids[1]);
    assert_eq!(here.claim_one().lease.job, ids[2], "the first was claimed");
    let later = here.push(job("g"));
    there.store.pause(&queue("mail"), true, there.now).expect("a pause");
    assert_eq!(here.claim_one().lease.job, later, "a queue was paused");
    assert_eq!(here.claim(1).len(), 0);
    there.store.pause(&queue("mail"), false, there.now).expect("a resumption");
    let _ = there.store.cancel(ids[3], there.now).expect("a cancellation");
    assert_eq!(here.claim_ids(), [ids[4]], "it was resumed, and one is gone");
    let due = there.in_secs(9);
    there.push(job("h").due(due));
    assert_eq!(here.turn(&[], &Serving::default(), 1).next_due, Some(due));
}

pub(crate) fn what_a_connection_does_itself_between_two_turns_counts_in_the_next(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(vec![job("a"), job("b").on("mail")]);
    assert_eq!(bench.claim_one().lease.job, ids[0]);
    let urgent = bench.push(job("c").priority(5));
    let late = bench.push(job("d").on("new"));
    assert_eq!(bench.claim_one().lease.job, urgent);
    bench.store.pause(&queue("mail"), true, bench.now).expect("a pause");
    assert_eq!(bench.claim_ids(), [late]);
    bench.store.pause(&queue("mail"), false, bench.now).expect("a resumption");
    assert_eq!(bench.claim_ids(), [ids[1]]);
}

pub(crate) fn a_worker_is_given_only_jobs_of_the_queues_that_it_serves(open: &Open) {
    let mut bench = Bench::new(open);
    let names = ["mail", "mail.eu", "mail.us", "video"];
    let ids = bench.push_all(names.map(|name| job("a").on(name)).to_vec());
    let claim = |bench: &mut Bench<'_>, serving: Serving| -> Vec<_> {
        let claimed = bench.turn(&[], &serving, 9).claimed;
        claimed.iter().map(|claimed| claimed.lease.job).collect()
    };

    assert_eq!(claim(&mut bench, serving(&["audio"], &[])), []);
    assert_eq!(claim(&mut bench, serving(&["mail.*"], &["mail.us"])), [ids[1]]);
    assert_eq!(claim(&mut bench, serving(&["mail", "vid*"], &["video"])), [ids[0]]);
    assert_eq!(claim(&mut bench, serving(&[], &["video"])), [ids[2]]);
    assert_eq!(claim(&mut bench, Serving::default()), [ids[3]]);
}

pub(crate) fn a_paused_queue_is_left_alone_until_it_is_resumed(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(vec![job("a").on("mail"), job("b")]);
    bench.store.pause(&queue("mail"), true, bench.now).expect("a pause");
    assert_eq!(bench.claim_ids(), [ids[1]]);

    let late = bench.push(job("c").on("mail"));
    assert_eq!(bench.beside().claim_ids(), []);

    bench.store.pause(&queue("mail"), false, bench.now).expect("a resumption");
    assert_eq!(bench.claim_ids(), [ids[0], late]);
}

pub(crate) fn what_runs_in_a_queue_that_is_paused_may_finish(open: &Open) {
    let mut bench = Bench::new(open);
    let id = bench.push(job("a"));
    let claimed = bench.claim_one();
    bench.store.pause(&queue("default"), true, bench.now).expect("a pause");
    bench.succeed(&claimed);
    assert_eq!(bench.state(id), StateKind::Succeeded);
}

pub(crate) fn a_scheduled_job_is_not_claimed_before_its_time(open: &Open) {
    let mut queue = Bench::new(open);
    let due = queue.in_secs(60);
    let id = queue.push(job("a").due(due));
    queue.advance(59);
    assert_eq!(queue.claim_ids(), []);
    assert_eq!(queue.state(id), StateKind::Scheduled);

    queue.advance(1);
    assert_eq!(queue.claim_ids(), [id]);
    assert_eq!(queue.job(id).run_at, due);
}

pub(crate) fn what_fell_due_is_ready_since_its_time_even_if_nobody_claims_it(open: &Open) {
    let mut queue = Bench::new(open);
    let due = queue.in_secs(60);
    let id = queue.push(job("a").due(due));
    queue.advance(90);
    queue.claim(0);
    assert_eq!(queue.job(id).state, State::Ready { since: due });
    queue.assert_counters_agree();
}

pub(crate) fn a_turn_tells_when_the_next_job_of_a_served_queue_falls_due(open: &Open) {
    let mut bench = Bench::new(open);
    let next_due = |bench: &mut Bench<'_>, serving: Serving| bench.turn(&[], &serving, 1).next_due;
    assert_eq!(next_due(&mut bench, Serving::default()), None);

    let (soon, later, last) = (bench.in_secs(60), bench.in_secs(120), bench.in_secs(180));
    let jobs = [job("a").on("video").due(last), job("b").on("mail").due(soon), job("c").on("video").due(later)];
    bench.push_all(jobs.to_vec());
    assert_eq!(next_due(&mut bench, Serving::default()), Some(soon));
    assert_eq!(next_due(&mut bench, serving(&["video"], &[])), Some(later));
    assert_eq!(next_due(&mut bench, serving(&["audio"], &[])), None);

    bench.store.pause(&queue("mail"), true, bench.now).expect("a pause");
    assert_eq!(next_due(&mut bench, Serving::default()), Some(later), "a paused queue is not served");
}

pub(crate) fn a_turn_tells_when_a_failed_job_is_tried_again(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push(job("a"));
    let claimed = queue.claim_one();
    let due = queue.in_secs(10);
    let failed = queue.ending(&claimed, Outcome::Failed, Verdict::Retry { due });
    assert_eq!(queue.turn(&[failed], &Serving::default(), 1).next_due, Some(due));
}

pub(crate) fn a_turn_says_that_it_is_behind_when_more_than_500_jobs_fall_due_at_once(open: &Open) {
    let mut queue = Bench::new(open);
    let due = queue.in_secs(60);
    queue.push_all(vec![job("a").due(due); 501]);
    queue.advance(60);

    let first = queue.turn(&[], &Serving::default(), 1);
    assert!(first.is_behind);
    let second = queue.turn(&[], &Serving::default(), 1);
    assert!(!second.is_behind);
    assert_eq!((first.claimed.len(), second.claimed.len()), (1, 1));
    assert_eq!(queue.claim(1000).len(), 499);
    queue.assert_counters_agree();
}

pub(crate) fn a_turn_settles_first_and_may_claim_the_same_job_again(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    let first = queue.claim_one();
    let turned = queue.turn(&[untouched(&first)], &Serving::default(), 1);
    assert_eq!(turned.settled, [Settled::Recorded]);
    let second = &turned.claimed[0];
    assert_eq!(second.lease.job, id);
    assert!(second.lease.token > first.lease.token);

    let failed = queue.ending(second, Outcome::Snoozed, Verdict::Retry { due: queue.now });
    let turned = queue.turn(&[failed], &Serving::default(), 1);
    assert_eq!(turned.claimed.len(), 1, "what is due now is due in this turn");
}

pub(crate) fn a_job_that_is_not_started_in_time_dies(open: &Open) {
    let mut queue = Bench::new(open);
    let by = queue.in_secs(60);
    let ids = queue.push_all(vec![
        job("ready").expires(by),
        job("scheduled").due(queue.in_secs(3600)).expires(by),
        job("due just then").due(by).expires(by),
        job("for ever"),
    ]);
    queue.advance(60);

    let turned = queue.turn(&[], &Serving::default(), 9);
    assert_eq!(turned.claimed.iter().map(|claimed| claimed.lease.job).collect::<Vec<_>>(), ids[3..]);
    let mut expired: Vec<_> = turned.expired.iter().map(|job| job.id).collect();
    expired.sort();
    assert_eq!(expired, ids[..3]);
    for job in turned.expired {
        assert_eq!(job.state, State::Dead { at: queue.now, reason: Reason::Expired });
        assert_eq!(queue.job(job.id), job);
        assert_eq!(queue.store.attempts(job.id).expect("the attempts"), []);
    }
    queue.assert_counters_agree();
}

pub(crate) fn a_job_that_is_claimed_in_time_does_not_expire(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a").expires(queue.in_secs(60)));
    queue.advance(59);
    let claimed = queue.claim_one();
    queue.advance(60);
    assert!(queue.turn(&[], &Serving::default(), 1).expired.is_empty(), "it runs");

    queue.end(&claimed, Outcome::Failed, Verdict::Retry { due: queue.in_secs(10) });
    queue.advance(10);
    assert_eq!(queue.claim_ids(), [id], "it has been started once, and in time");
}

pub(crate) fn a_job_that_was_only_ever_returned_untouched_expires(open: &Open) {
    for n_claims in 1..=3 {
        let mut queue = Bench::new(open);
        let id = queue.push(job("a").expires(queue.in_secs(60)));
        for _ in 0..n_claims {
            let claimed = queue.claim_one();
            queue.return_untouched(&claimed);
        }
        queue.advance(60);
        assert_eq!(queue.claim_ids(), [], "after {n_claims} claims");
        assert_eq!(queue.state(id), StateKind::Dead);
    }
}

pub(crate) fn more_than_500_jobs_that_expire_at_once_are_not_claimed_either(open: &Open) {
    let mut queue = Bench::new(open);
    let by = queue.in_secs(60);
    queue.push_all(vec![job("a").expires(by); 501]);
    queue.advance(60);
    let mut n_expired = 0;
    loop {
        let turned = queue.turn(&[], &Serving::default(), 9);
        assert!(turned.claimed.is_empty());
        n_expired += turned.expired.len();
        if !turned.is_behind {
            break;
        }
    }
    assert_eq!(n_expired, 501);
    queue.assert_counters_agree();
}

pub(crate) fn a_turn_that_finds_nothing_to_do_changes_nothing(open: &Open) {
    let mut queue = Bench::new(open);
    let mut observer = queue.connection();
    queue.push(job("a").due(queue.in_secs(60)));
    let before = observer.version().expect("a number");
    for _ in 0..3 {
        queue.claim(1);
    }
    assert_eq!(observer.version().expect("a number"), before);
    queue.advance(60);
    queue.claim(1);
    assert_ne!(observer.version().expect("a number"), before);
}
