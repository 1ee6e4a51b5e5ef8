//! Looking: the queues, the jobs that match, page by page, and that something has changed.

use std::time::Duration;

use super::bench::{Bench, Draft as _, Open, job, moment, queue, worker};
use crate::job::{Filter, IdRange, JobId, NewJob, Outcome, Page, QueueName, Reason, StateKind, Tally, Verdict};

/// Seven jobs, one in each state that there is by now, and the queue they are in.
fn one_of_each(bench: &mut Bench<'_>) -> Vec<(JobId, StateKind)> {
    let ids = bench.push_all(vec![job("a"); 5]);
    let claims = bench.claim(5);
    bench.succeed(&claims[0]);
    bench.bury(&claims[1]);
    bench.end(&claims[2], Outcome::Cancelled, Verdict::Cancel);
    bench.end(&claims[3], Outcome::Failed, Verdict::Retry { due: bench.in_secs(60) });
    let waiting = bench.push_all(vec![job("b"), job("c").due(bench.in_secs(60))]);
    let states = [
        StateKind::Succeeded,
        StateKind::Dead,
        StateKind::Cancelled,
        StateKind::Retrying,
        StateKind::Running,
        StateKind::Ready,
        StateKind::Scheduled,
    ];
    [ids, waiting].concat().into_iter().zip(states).collect()
}

pub(crate) fn every_queue_is_listed_by_name_with_its_counts(open: &Open) {
    let mut bench = Bench::new(open);
    assert_eq!(bench.store.queues().expect("the queues").len(), 0);
    let mut expected = Tally::default();
    for (_, state) in one_of_each(&mut bench) {
        expected.add(state, 1);
    }
    bench.push_all(vec![job("a").on("video"), job("b").on("audio")]);

    let names: Vec<_> = bench.store.queues().expect("the queues").into_iter().map(|queue| queue.name).collect();
    assert_eq!(names, ["audio", "default", "video"].map(queue));
    assert_eq!(bench.queue("default").tally, expected);
    bench.assert_counters_agree();
}

pub(crate) fn a_queue_tells_since_when_its_longest_waiting_job_waits(open: &Open) {
    let mut bench = Bench::new(open);
    let first = bench.now;
    bench.push_all(vec![job("low").priority(-5), job("scheduled").due(bench.in_secs(500))]);
    bench.advance(10);
    let second = bench.now;
    bench.push_all(vec![job("high").priority(5), job("elsewhere").on("mail")]);

    assert_eq!(bench.queue("default").oldest_ready, Some(first));
    assert_eq!(bench.queue("mail").oldest_ready, Some(second));
    bench.claim_one();
    assert_eq!(bench.queue("default").oldest_ready, Some(first));
    assert_eq!(bench.claim_ids().len(), 2);
    assert_eq!(bench.queue("default").oldest_ready, None, "nothing is ready");
}

pub(crate) fn a_queue_counts_the_live_workers_that_serve_it(open: &Open) {
    let mut bench = Bench::new(open);
    bench.push_all(vec![job("a").on("mail.eu"), job("b").on("video")]);
    let n_workers = |bench: &mut Bench<'_>| ["mail.eu", "video"].map(|name| bench.queue(name).n_workers);
    assert_eq!(n_workers(&mut bench), [1, 1], "the bench's own serves every queue");

    let mut other = bench.connection();
    other.enroll(&worker(&["mail.*", "audio"]), moment(bench.now)).expect("a worker on the books");
    assert_eq!(n_workers(&mut bench), [2, 1]);
    drop(other);
    assert_eq!(n_workers(&mut bench), [1, 1]);
}

pub(crate) fn a_job_that_does_not_exist_is_nowhere(open: &Open) {
    let mut bench = Bench::new(open);
    let id = JobId::new(7).expect("positive");
    assert_eq!(bench.store.job(id).expect("a look"), None);
    assert_eq!(bench.store.context(id).expect("a look"), None);
    assert_eq!(bench.store.attempts(id).expect("a look"), []);
    assert_eq!(bench.store.standing_of(&[id.into()]).expect("a look"), []);
    assert_eq!(bench.all(), []);
}

pub(crate) fn jobs_are_found_by_number(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(vec![job("a"); 6]);
    let filter = |ranges: &[IdRange]| Filter { ids: ranges.to_vec(), ..Filter::default() };
    assert_eq!(bench.find(&filter(&[ids[4].into(), ids[0].into()])), [ids[0], ids[4]]);
    assert_eq!(bench.find(&filter(&[IdRange { first: ids[1], last: ids[3] }, ids[3].into()])), ids[1..=3]);
    let beyond = IdRange { first: ids[5], last: JobId::new(i64::MAX).expect("positive") };
    assert_eq!(bench.find(&filter(&[beyond])), [ids[5]]);
}

pub(crate) fn many_numbers_may_be_asked_for_at_once(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(vec![job("a"); 3000]);
    let odd: Vec<JobId> = ids.into_iter().step_by(2).collect();
    let ranges: Vec<IdRange> = odd.iter().copied().map(IdRange::from).collect();
    assert_eq!(bench.find(&Filter { ids: ranges.clone(), ..Filter::default() }), odd);
    assert_eq!(bench.store.standing_of(&ranges).expect("a look").len(), odd.len());
}

pub(crate) fn jobs_are_found_by_queue(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(["a", "b", "c", "a"].map(|name| job("x").on(name)).to_vec());
    let filter = |names: &[&str]| Filter { queues: names.iter().copied().map(queue).collect(), ..Filter::default() };
    assert_eq!(bench.find(&filter(&["a"])), [ids[0], ids[3]]);
    assert_eq!(bench.find(&filter(&["c", "a"])), [ids[0], ids[2], ids[3]]);
    assert_eq!(bench.find(&filter(&["nobody"])), []);
}

pub(crate) fn jobs_are_found_by_state(open: &Open) {
    let mut bench = Bench::new(open);
    let standings = one_of_each(&mut bench);
    for state in StateKind::ALL {
        let expected: Vec<_> = standings.iter().filter(|(_, stands)| *stands == state).map(|(id, _)| *id).collect();
        assert_eq!(bench.find(&Filter { states: vec![state], ..Filter::default() }), expected, "{state:?}");
    }
    let open: Vec<_> = StateKind::ALL.into_iter().filter(|state| !state.is_final()).collect();
    assert_eq!(bench.find(&Filter { states: open, ..Filter::default() }).len(), 4);
}

pub(crate) fn jobs_are_found_by_all_of_their_labels(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(vec![
        job("a").label("env", "prod").label("team", "x"),
        job("b").label("env", "prod"),
        job("c").label("team", "prod"),
        job("d"),
    ]);
    let filter = |labels: &[(&str, &str)]| Filter {
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Filter::default()
    };
    assert_eq!(bench.find(&filter(&[("env", "prod")])), ids[..2]);
    assert_eq!(bench.find(&filter(&[("env", "prod"), ("team", "x")])), ids[..1]);
    assert_eq!(bench.find(&filter(&[("env", "prod"), ("team", "prod")])), []);
    assert_eq!(bench.find(&filter(&[("env", "PROD")])), []);
}

pub(crate) fn jobs_are_found_by_the_time_of_their_push(open: &Open) {
    let mut bench = Bench::new(open);
    let mut ids = Vec::new();
    let start = bench.now;
    for _ in 0..4 {
        ids.push(bench.push(job("a")));
        bench.advance(10);
    }
    let at = |secs| Some(start.plus(Duration::from_secs(secs)));
    assert_eq!(bench.find(&Filter { since: at(10), ..Filter::default() }), ids[1..], "then or later");
    assert_eq!(bench.find(&Filter { until: at(20), ..Filter::default() }), ids[..2], "before then");
    assert_eq!(bench.find(&Filter { since: at(10), until: at(20), ..Filter::default() }), ids[1..2]);
}

pub(crate) fn every_condition_that_is_given_must_hold(open: &Open) {
    let mut bench = Bench::new(open);
    let both = |name: &str, label: &str| -> NewJob { job("a").on(name).label("l", label) };
    let ids = bench.push_all(vec![both("a", "1"), both("a", "2"), both("b", "1"), both("a", "1")]);
    let filter = Filter {
        ids: vec![IdRange { first: ids[1], last: ids[3] }],
        queues: vec![queue("a")],
        states: vec![StateKind::Ready],
        labels: vec![("l".to_owned(), "1".to_owned())],
        since: Some(bench.now),
        until: Some(bench.in_secs(1)),
        ..Filter::default()
    };
    assert_eq!(bench.find(&filter), [ids[3]]);
}

pub(crate) fn pages_follow_one_another_in_both_directions(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(["a", "b", "a", "a", "b", "a", "a"].map(|name| job("x").on(name)).to_vec());
    let filter = Filter { queues: vec![queue("a")], ..Filter::default() };
    let matching = [0, 2, 3, 5, 6].map(|nth: usize| ids[nth]).to_vec();
    for oldest_first in [true, false] {
        let mut seen = Vec::new();
        let mut sizes = Vec::new();
        loop {
            let page = Page { after: seen.last().copied(), limit: 2, oldest_first };
            let jobs = bench.store.jobs(&filter, page).expect("a page");
            sizes.push(jobs.len());
            seen.extend(jobs.iter().map(|job| job.id));
            if jobs.is_empty() {
                break;
            }
            // What comes meanwhile shifts nothing.
            bench.push(job("late").on("b"));
        }
        let mut expected = matching.clone();
        if !oldest_first {
            expected.reverse();
        }
        assert_eq!((seen, sizes), (expected, vec![2, 2, 1, 0]));
    }
}

pub(crate) fn a_page_may_be_without_limit(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(vec![job("a"); 3]);
    let page = Page { after: None, limit: usize::MAX, oldest_first: true };
    assert_eq!(bench.store.jobs(&Filter::default(), page).expect("a page").len(), 3);
    let claims = bench.claim(usize::MAX);
    claims.iter().for_each(|claimed| bench.bury(claimed));
    assert_eq!(bench.store.dead(&Filter::default(), usize::MAX).expect("the dead").len(), ids.len());
}

pub(crate) fn the_dead_are_listed_the_last_to_die_first(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(["a", "b", "a", "a"].map(|name| job("x").on(name)).to_vec());
    let claims = bench.claim(4);
    for nth in [2, 0, 1] {
        bench.advance(1);
        bench.bury(&claims[nth]);
    }
    bench.succeed(&claims[3]);
    let dead = |bench: &mut Bench<'_>, names: &[&str], limit| {
        let names: Vec<QueueName> = names.iter().copied().map(queue).collect();
        let filter = Filter { queues: names, ..Filter::default() };
        bench.store.dead(&filter, limit).expect("the dead")
    };
    assert_eq!(dead(&mut bench, &[], 9), [ids[1], ids[0], ids[2]]);
    assert_eq!(dead(&mut bench, &[], 2), [ids[1], ids[0]]);
    assert_eq!(dead(&mut bench, &["a"], 9), [ids[0], ids[2]]);
    assert_eq!(dead(&mut bench, &["a", "b"], 1), [ids[1]]);
    assert_eq!(dead(&mut bench, &["c"], 9), []);
}

pub(crate) fn standings_are_told_of_the_jobs_that_there_are(open: &Open) {
    let mut bench = Bench::new(open);
    let standings = one_of_each(&mut bench);
    let first = standings[0].0;
    let all = IdRange { first, last: JobId::new(i64::MAX).expect("positive") };
    assert_eq!(bench.store.standing_of(&[all]).expect("a look"), standings);
    let some = bench.store.standing_of(&[standings[3].0.into(), standings[1].0.into()]).expect("a look");
    assert_eq!(some, [standings[3], standings[1]]);
    assert_eq!(bench.store.standing_of(&[]).expect("a look"), []);
}

pub(crate) fn the_version_changes_whenever_someone_else_changed_something(open: &Open) {
    let mut bench = Bench::new(open);
    let mut observer = bench.connection();
    let mut last = observer.version().expect("a number");
    assert_eq!(observer.version().expect("a number"), last, "nothing has happened");
    let mut assert_changed = |what: &str| {
        let now = observer.version().expect("a number");
        assert_ne!(now, last, "{what}");
        last = now;
    };
    let id = bench.push(job("a"));
    assert_changed("a push");
    let claimed = bench.claim_one();
    assert_changed("a claim");
    let _ = bench.store.cancel(id, bench.now).expect("a cancellation");
    assert_changed("a cancellation");
    bench.end(&claimed, Outcome::Cancelled, Verdict::Cancel);
    assert_changed("a settlement");
    bench.store.pause(&queue("default"), true, bench.now).expect("a pause");
    assert_changed("a pause");
}

pub(crate) fn the_jobs_that_go_before_one_are_counted(open: &Open) {
    let mut bench = Bench::new(open);
    let ids =
        bench.push_all(vec![job("a"), job("b").priority(5), job("c").on("mail"), job("d"), job("e").priority(-1)]);
    let ahead = |bench: &mut Bench<'_>, id, limit| {
        let job = bench.job(id);
        let ahead = bench.store.ahead(&job, limit).expect("a look");
        (ahead.n, ahead.is_more)
    };
    let n_ahead: Vec<_> = ids.iter().map(|&id| ahead(&mut bench, id, 10)).collect();
    assert_eq!(n_ahead, [(1, false), (0, false), (0, false), (2, false), (3, false)]);
    assert_eq!(ahead(&mut bench, ids[4], 2), (2, true));
}

pub(crate) fn the_pace_of_a_queue_counts_how_attempts_ended(open: &Open) {
    let mut bench = Bench::new(open);
    let start = bench.now;
    bench.push_all(vec![job("a"), job("b"), job("c")]);
    bench.advance(4);
    let claimed = bench.claim(3);
    bench.advance(2);
    bench.succeed(&claimed[0]);
    bench.end(&claimed[1], Outcome::Failed, Verdict::Die { reason: Reason::Exhausted });
    bench.end(&claimed[2], Outcome::Released, Verdict::HandBack);
    bench.advance(600);
    let again = bench.claim_one();
    bench.succeed(&again);

    let pace = bench.store.pace(start).expect("a look");
    let [(name, pace)] = pace.as_slice() else { panic!("one queue") };
    let ended: Vec<u64> = pace.ended.iter().map(|&(_, n)| n).collect();
    assert_eq!((name, ended), (&QueueName::default(), vec![2, 1]));
    let counts = (pace.succeeded.count(), pace.failed.count(), pace.wait.count());
    assert_eq!(counts, (2, 1, 3), "what was handed back does not count");
    let close_to =
        |length: Option<Duration>, ms: u128| length.is_some_and(|length| length.as_millis().abs_diff(ms) <= ms / 32);
    assert!(close_to(pace.run().percentile(50), 2000) && close_to(pace.wait.percentile(50), 4000), "{pace:?}");
    let later = bench.store.pace(bench.now).expect("a look");
    assert_eq!((later[0].1.ended.len(), later[0].1.succeeded.count()), (1, 1), "only since then");
}

pub(crate) fn a_job_that_did_not_succeed_and_holds_its_key_is_told(open: &Open) {
    let mut bench = Bench::new(open);
    let until = bench.in_secs(60);
    let keyed = |key: &str| job("a").key(key).held_until(until);
    let ids = bench.push_all(vec![keyed("succeeds"), keyed("dies"), keyed("is-cancelled"), keyed("waits"), job("b")]);
    let claimed = bench.claim(2);
    bench.succeed(&claimed[0]);
    bench.bury(&claimed[1]);
    let _ = bench.store.cancel(ids[2], bench.now).expect("a cancellation");
    assert_eq!(bench.store.blocking_keys(10, bench.now).expect("a look"), [ids[1], ids[2]]);
    assert_eq!(bench.store.blocking_keys(1, bench.now).expect("a look").len(), 1);
    bench.advance(60);
    assert_eq!(bench.store.blocking_keys(10, bench.now).expect("a look"), []);
}

pub(crate) fn a_queue_remembers_when_it_was_last_served(open: &Open) {
    let mut bench = Bench::new(open);
    bench.push_all(vec![job("a").on("mail"), job("b").on("other")]);
    let mut gone = bench.beside();
    gone.store.retire(gone.worker, gone.now).expect("a retirement");
    let of_mail = worker(&["mail"]);
    let id = gone.store.enroll(&of_mail, moment(gone.now)).expect("a worker");
    bench.advance(30);
    gone.store.retire(id, bench.now).expect("a retirement");
    assert_eq!(bench.queue("mail").served_until, Some(bench.now));
    assert!(bench.queue("other").served_until < Some(bench.now));
}

pub(crate) fn jobs_that_nobody_makes_ready_are_told_the_longest_due_first(open: &Open) {
    let mut bench = Bench::new(open);
    let due = [30, 10, 20, 90].map(|secs| job("a").due(bench.in_secs(secs)));
    let ids = bench.push_all(due.to_vec());
    bench.push(job("b"));
    let overdue = |bench: &mut Bench<'_>, secs, limit| {
        let before = bench.in_secs(secs);
        bench.store.overdue(before, limit).expect("a look")
    };
    assert_eq!(overdue(&mut bench, 10, 9), [], "not then, but before then");
    assert_eq!(overdue(&mut bench, 60, 9), [ids[1], ids[2], ids[0]]);
    assert_eq!(overdue(&mut bench, 60, 2), [ids[1], ids[2]]);
    bench.advance(15);
    bench.claim(1);
    assert_eq!(overdue(&mut bench, 60, 9), [ids[2], ids[0]], "what a worker made ready is no longer overdue");
}
