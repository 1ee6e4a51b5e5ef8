//! Pushing: numbers, order, all or nothing, and that every word of a job comes back.

use std::sync::Arc;
use std::time::Duration;

use super::bench::{Bench, Draft as _, Open, job, queue};
use crate::job::{Backoff, Command, Context, Jitter, JobId, NewJob, OnDuplicate, State, StateKind, Tally, Terms};
use crate::store::{Error, PushOutcome};

pub(crate) fn jobs_are_numbered_in_the_order_of_their_push(open: &Open) {
    let mut queue = Bench::new(open);
    let first = queue.push_all(vec![job("a"), job("b").on("mail"), job("c")]);
    let second = queue.push_all(vec![job("d")]);

    assert!(first.is_sorted() && first.last() < second.first());
    assert_eq!(queue.all(), [first, second].concat());
}

pub(crate) fn a_number_is_not_given_twice_even_after_its_job_was_dropped(open: &Open) {
    let mut queue = Bench::new(open);
    let newest = queue.push_all(vec![job("a"), job("b")])[1];
    for claimed in queue.claim(2) {
        queue.bury(&claimed);
    }
    assert_eq!(queue.store.forget(&[newest], &[StateKind::Dead]).expect("a drop"), [newest]);

    assert!(queue.push(job("c")) > newest);
    assert!(queue.beside().push(job("d")) > newest);
}

pub(crate) fn a_push_that_is_refused_in_the_middle_queues_nothing(open: &Open) {
    let mut queue = Bench::new(open);
    let holder = queue.push(job("a").key("k"));
    let taken = job("c").key("k").on_duplicate(OnDuplicate::Error);

    let refused = queue.store.push(&mut [job("b").on("new"), taken, job("d").label("x", "y")].into_iter(), queue.now);

    let Err(Error::KeyTaken { key, holder: named, .. }) = refused else { panic!("it was not refused: {refused:?}") };
    assert_eq!((key.as_str(), named), ("k", holder));
    assert_eq!(queue.all(), [holder]);
    assert_eq!(queue.store.queues().expect("the queues").len(), 1, "not even the new queue");
    queue.assert_counters_agree();
    assert_eq!(queue.push(job("e")).get(), holder.get() + 1, "no number was used up");
}

pub(crate) fn an_empty_push_is_no_error(open: &Open) {
    let mut queue = Bench::new(open);
    assert_eq!(queue.push_all(Vec::new()), []);
    assert_eq!(queue.all(), []);
}

pub(crate) fn a_push_answers_where_each_job_stands(open: &Open) {
    let mut bench = Bench::new(open);
    let pushed = bench.offer(job("a").on("mail").due(bench.in_secs(60)));
    assert_eq!(
        (pushed.queue, pushed.outcome, pushed.state),
        (queue("mail"), PushOutcome::Created, StateKind::Scheduled)
    );
    let past = bench.now.minus(Duration::from_secs(60));
    assert_eq!(bench.offer(job("b").due(past)).state, StateKind::Ready);
    assert_eq!(bench.offer(job("c").due(bench.now)).state, StateKind::Ready);
}

pub(crate) fn what_is_pushed_comes_back_as_it_was(open: &Open) {
    let mut bench = Bench::new(open);
    let new = everything(&bench);
    let (due, expires_at) = (bench.in_secs(60), bench.in_secs(90));
    let id = bench.push(new.clone());

    let found = bench.job(id);
    assert_eq!((&found.queue, &found.command, found.priority, found.max_attempts), (&new.queue, &new.command, -7, 9));
    assert_eq!((found.key.as_deref(), found.payload_bytes, &found.labels), (Some("k"), 3, &new.labels));
    assert_eq!((found.created_at, found.run_at, found.expires_at), (bench.now, due, Some(expires_at)));
    assert_eq!(found.state, State::Scheduled { due });
    assert_eq!((found.attempt, found.crashes, found.started_at, found.last), (0, 0, None, None));

    let (context, env) = bench.store.context(id).expect("a look").expect("a context");
    assert_eq!((&context, &env), (&*new.context, &new.env));
}

pub(crate) fn a_worker_gets_what_was_pushed(open: &Open) {
    let mut bench = Bench::new(open);
    let new = everything(&bench);
    bench.push(new.clone());
    bench.advance(60);

    let claimed = bench.claim_one();
    assert_eq!((&claimed.job.command, &claimed.payload), (&new.command, &new.payload));
    assert_eq!((&*claimed.context, &claimed.env), (&*new.context, &new.env));
    assert_eq!(claimed.job, bench.job(claimed.lease.job));
}

/// A job with something in every field, and bytes that are not text where bytes may be.
fn everything(bench: &Bench<'_>) -> NewJob {
    let terms = Terms {
        backoff: Backoff::List([1, 5].map(Duration::from_secs).to_vec()),
        jitter: Jitter::Full,
        dead_on: vec![65..=65, 100..=110],
        timeout: Some(Duration::from_secs(90)),
        kill_after: Duration::from_millis(1500),
    };
    NewJob {
        command: Some(Command::Program(vec![b"/bin/\xff".to_vec(), b"".to_vec(), b"a b".to_vec()])),
        max_attempts: 9,
        env: vec![(b"B".to_vec(), b"x=\xfe".to_vec()), (b"A".to_vec(), Vec::new())],
        context: Arc::new(Context { cwd: b"/\xff".to_vec(), env: vec![(b"TZ".to_vec(), b"UTC".to_vec())], terms }),
        ..job("")
            .on("mail.eu-west_1")
            .payload(b"\0\xff\n")
            .priority(-7)
            .due(bench.in_secs(60))
            .expires(bench.in_secs(90))
            .key("k")
            .label("env", "a \"quoted\" value")
            .label("team", "")
    }
}

pub(crate) fn a_payload_that_is_empty_is_not_one_that_is_absent(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push_all(vec![NewJob { command: None, ..job("").payload(b"") }, job("a")]);
    let payloads: Vec<_> = queue.claim(2).into_iter().map(|claimed| (claimed.job.command, claimed.payload)).collect();
    assert_eq!(payloads, [(None, Some(Vec::new())), (Some(Command::Shell(b"a".to_vec())), None)]);
}

pub(crate) fn jobs_of_one_push_may_run_in_different_contexts(open: &Open) {
    let mut queue = Bench::new(open);
    let at = |cwd: &str| {
        let new = job("pwd");
        NewJob { context: Arc::new(Context { cwd: cwd.into(), ..(*new.context).clone() }), ..new }
    };
    queue.push_all(vec![at("/a"), at("/b"), at("/a")]);
    let cwds: Vec<_> = queue.claim(3).into_iter().map(|claimed| claimed.context.cwd.clone()).collect();
    assert_eq!(cwds, [b"/a", b"/b", b"/a"]);
}

pub(crate) fn each_connection_sees_what_the_others_did(open: &Open) {
    let mut here = Bench::new(open);
    let mut there = here.beside();
    let id = here.push(job("a"));
    assert_eq!(there.all(), [id]);

    let claimed = there.claim_one();
    assert_eq!(here.state(id), StateKind::Running);
    assert!(here.claim(1).is_empty());

    there.succeed(&claimed);
    assert_eq!(here.state(id), StateKind::Succeeded);
    assert_eq!(here.job(id), there.job(id));
}

pub(crate) fn an_engine_that_is_opened_again_has_kept_everything(open: &Open) {
    let mut before = Bench::new(open);
    let ids: Vec<JobId> = before.push_all(vec![job("a"), job("b").due(before.in_secs(9))]);
    let mut after = before.beside();
    let jobs: Vec<_> = ids.iter().map(|&id| before.job(id)).collect();
    drop(before);

    assert_eq!(ids.iter().map(|&id| after.job(id)).collect::<Vec<_>>(), jobs);
    let mut tally = Tally::default();
    tally.add(StateKind::Ready, 1);
    tally.add(StateKind::Scheduled, 1);
    assert_eq!(after.queue("default").tally, tally);
}
