//! What people do to jobs and queues: cancel, retry, drop, pause, set.

use std::time::Duration;

use super::bench::{Bench, Draft as _, Open, chunk, job, queue};
use crate::job::{
    Backoff, BreakerRule, Due, Filter, GroupRule, Hook, Jitter, Job, JobChange, JobId, Outcome, QueueName,
    QueueSettings, State, StateKind, Stream, Tally, Verdict,
};
use crate::store::{Cancelled, Retried, Standing, Updated};

/// No job has this number.
const NOBODY: JobId = JobId::new(999).expect("positive");

const FINAL: [StateKind; 3] = [StateKind::Succeeded, StateKind::Dead, StateKind::Cancelled];

pub(crate) fn a_waiting_job_is_cancelled_at_once(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push(job("retrying"));
    let claimed = queue.claim_one();
    queue.end(&claimed, Outcome::Failed, Verdict::Retry { due: queue.in_secs(60) });
    queue.push_all(vec![job("ready"), job("scheduled").due(queue.in_secs(60))]);

    for id in queue.all() {
        assert_eq!(queue.store.cancel(id, queue.now).expect("a cancellation"), Cancelled::AtOnce);
        assert_eq!(queue.job(id).state, State::Cancelled { at: queue.now });
    }
    queue.assert_counters_agree();
    queue.advance(60);
    assert_eq!(queue.claim_ids(), []);
}

pub(crate) fn the_worker_of_a_running_job_is_asked_to_stop_it(open: &Open) {
    let mut bench = Bench::new(open);
    let id = bench.push(job("a"));
    let claimed = bench.claim_one();
    let mut other = bench.beside();
    for _ in 0..2 {
        assert_eq!(other.store.cancel(id, other.now).expect("a cancellation"), Cancelled::Asked);
    }
    assert!(matches!(bench.job(id).state, State::Running { cancel_requested: true, .. }));
    assert_eq!(
        bench.store.standings(&[claimed.lease]).expect("the standings"),
        [(claimed.lease, Standing::CancelRequested)]
    );
    bench.assert_counters_agree();

    bench.end(&claimed, Outcome::Cancelled, Verdict::Cancel);
    assert_eq!(bench.job(id).state, State::Cancelled { at: bench.now });
}

pub(crate) fn a_job_that_was_asked_to_stop_and_runs_again_is_not_asked_again(open: &Open) {
    let mut bench = Bench::new(open);
    let id = bench.push(job("a"));
    let claimed = bench.claim_one();
    let _ = bench.store.cancel(id, bench.now).expect("a cancellation");
    bench.end(&claimed, Outcome::Cancelled, Verdict::Cancel);
    assert_eq!(bench.store.retry(id, &FINAL, None, bench.now).expect("a retry"), Retried::Ready);
    let again = bench.claim_one();
    assert_eq!(bench.store.standings(&[again.lease]).expect("the standings")[0].1, Standing::Held);
}

pub(crate) fn a_job_that_has_ended_is_not_cancelled(open: &Open) {
    let mut queue = Bench::new(open);
    for state in FINAL {
        let id = ended(&mut queue, state);
        let before = queue.job(id);
        queue.advance(5);
        let answer = queue.store.cancel(id, queue.now).expect("a cancellation");
        assert_eq!(answer, Cancelled::AlreadyFinal(state));
        assert_eq!(queue.job(id), before);
    }
    assert_eq!(queue.store.cancel(NOBODY, queue.now).expect("a cancellation"), Cancelled::Unknown);
}

/// A job that stands in this final state, having failed once before.
fn ended(queue: &mut Bench<'_>, state: StateKind) -> JobId {
    let id = queue.push(job("a").label("team", "x").payload(b"input"));
    let first = queue.claim_one();
    queue.end(&first, Outcome::Failed, Verdict::HandBack);
    let second = queue.claim_one();
    queue.print(&second, chunk(0, "text"));
    match state {
        StateKind::Succeeded => queue.succeed(&second),
        StateKind::Cancelled => queue.end(&second, Outcome::Cancelled, Verdict::Cancel),
        _ => queue.bury(&second),
    }
    id
}

pub(crate) fn a_retried_job_is_ready_under_its_number_with_all_its_attempts(open: &Open) {
    let mut queue = Bench::new(open);
    for state in FINAL {
        let id = ended(&mut queue, state);
        queue.advance(5);
        assert_eq!(queue.store.retry(id, &[state], None, queue.now).expect("a retry"), Retried::Ready);

        let job = queue.job(id);
        assert_eq!((job.state, job.run_at), (State::Ready { since: queue.now }, queue.now));
        assert_eq!((job.attempt, job.crashes, job.max_attempts), (0, 0, 5));
        let history = queue.store.attempts(id).expect("the attempts");
        assert_eq!(history.len(), 2, "what it did before is not forgotten");
        queue.assert_counters_agree();

        let claimed = queue.claim_one();
        assert_eq!((claimed.lease.job, claimed.job.attempt), (id, 1));
        assert_eq!(claimed.payload.as_deref(), Some(b"input".as_slice()));
        assert!(claimed.lease.token > history[1].token, "tokens only rise");
        queue.succeed(&claimed);
    }
}

pub(crate) fn a_retried_job_does_not_expire(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a").expires(queue.in_secs(5)));
    queue.advance(5);
    assert_eq!(queue.claim_ids(), []);
    assert_eq!(queue.store.retry(id, &FINAL, None, queue.now).expect("a retry"), Retried::Ready);
    assert_eq!(queue.job(id).expires_at, None);
    assert_eq!(queue.claim_ids(), [id]);
}

pub(crate) fn a_job_that_waits_for_its_time_may_be_retried_now(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a").due(queue.in_secs(60)));
    assert_eq!(queue.store.retry(id, &[StateKind::Scheduled], None, queue.now).expect("a retry"), Retried::Ready);
    queue.assert_counters_agree();
    assert_eq!(queue.claim_ids(), [id]);
}

pub(crate) fn a_retry_is_refused_where_it_is_not_meant(open: &Open) {
    let mut queue = Bench::new(open);
    for state in FINAL {
        let id = ended(&mut queue, state);
        let before = queue.job(id);
        let others: Vec<_> = StateKind::ALL.into_iter().filter(|&other| other != state).collect();
        for states in [&others[..], &[]] {
            let answer = queue.store.retry(id, states, None, queue.now).expect("a retry");
            assert_eq!(answer, Retried::WrongState(state));
        }
        assert_eq!(queue.job(id), before);
    }
    assert_eq!(queue.store.retry(NOBODY, &StateKind::ALL, None, queue.now).expect("a retry"), Retried::Unknown);
    queue.assert_counters_agree();
}

pub(crate) fn dropping_forgets_all_that_a_dead_job_left(open: &Open) {
    let mut queue = Bench::new(open);
    let kept = ended(&mut queue, StateKind::Dead);
    let id = ended(&mut queue, StateKind::Dead);
    let tokens: Vec<_> = queue.store.attempts(id).expect("the attempts").iter().map(|one| one.token).collect();
    assert_eq!(queue.store.forget(&[id], &[StateKind::Dead]).expect("a drop"), [id]);

    assert_eq!(queue.store.job(id).expect("a look"), None);
    assert_eq!(queue.store.attempts(id).expect("a look"), []);
    assert_eq!(queue.store.context(id).expect("a look"), None);
    for token in tokens {
        assert_eq!(queue.store.output(id, token, Stream::Stdout, 0).expect("a look"), []);
    }
    let labelled = Filter { labels: vec![("team".to_owned(), "x".to_owned())], ..Filter::default() };
    assert_eq!(queue.find(&labelled), [kept], "and nothing of another job");
    assert_eq!(queue.store.attempts(kept).expect("a look").len(), 2);
    let token = queue.store.attempts(kept).expect("a look")[1].token;
    assert_eq!(queue.store.output(kept, token, Stream::Stdout, 0).expect("a look").len(), 1);
    assert_eq!(queue.job(kept).payload_bytes, 5);
    queue.assert_counters_agree();
}

pub(crate) fn only_dead_jobs_are_dropped_and_each_once(open: &Open) {
    let mut queue = Bench::new(open);
    let dead = ended(&mut queue, StateKind::Dead);
    let others =
        [ended(&mut queue, StateKind::Succeeded), ended(&mut queue, StateKind::Cancelled), queue.push(job("a"))];
    let asked = [others[0], NOBODY, dead, others[1], others[2], dead];
    assert_eq!(queue.store.forget(&asked, &[StateKind::Dead]).expect("a drop"), [dead]);
    assert_eq!(queue.all(), others);
    queue.assert_counters_agree();
}

pub(crate) fn an_update_changes_what_it_names_and_nothing_else(open: &Open) {
    let mut bench = Bench::new(open);
    let id = bench.push(job("a").key("k"));
    let before = bench.job(id);
    let change = JobChange {
        priority: Some(7),
        max_attempts: Some(2),
        timeout: Some(Some(Duration::from_secs(9))),
        queue: Some(queue("mail")),
        due: None,
    };
    assert_eq!(bench.store.update(id, &change, bench.now).expect("an update"), Updated::Done(StateKind::Ready));
    let after = Job { priority: 7, max_attempts: 2, queue: queue("mail"), ..before };
    assert_eq!(bench.job(id), after);
    let (context, _) = bench.store.context(id).expect("a look").expect("a context");
    assert_eq!(context.terms.timeout, Some(Duration::from_secs(9)));
    assert_eq!(
        bench.store.update(id, &JobChange::default(), bench.now).expect("an update"),
        Updated::Done(StateKind::Ready)
    );
    assert_eq!(bench.job(id), after);
    bench.assert_counters_agree();
    assert_eq!(bench.store.update(NOBODY, &change, bench.now).expect("an update"), Updated::Unknown);
}

pub(crate) fn a_waiting_job_may_be_moved_in_time(open: &Open) {
    let mut bench = Bench::new(open);
    let id = bench.push(job("a"));
    let later = bench.in_secs(60);
    let at = |due| JobChange { due: Some(due), ..JobChange::default() };
    let update = |bench: &mut Bench<'_>, due| bench.store.update(id, &at(due), bench.now).expect("an update");
    assert_eq!(update(&mut bench, Due::At(later)), Updated::Done(StateKind::Scheduled));
    assert_eq!(bench.job(id).state, State::Scheduled { due: later });
    assert_eq!(bench.claim_ids(), []);
    assert_eq!(update(&mut bench, Due::Now), Updated::Done(StateKind::Ready));
    let claimed = bench.claim_one();
    assert_eq!(update(&mut bench, Due::Now), Updated::WrongState(StateKind::Running));
    bench.end(&claimed, Outcome::Failed, Verdict::Retry { due: bench.in_secs(5) });
    assert_eq!(update(&mut bench, Due::At(later)), Updated::Done(StateKind::Retrying));
    bench.assert_counters_agree();
    bench.advance(59);
    assert_eq!(bench.claim_ids(), []);
    bench.advance(1);
    assert_eq!(bench.claim_ids(), [id]);
}

pub(crate) fn a_job_that_ended_is_not_updated(open: &Open) {
    let mut bench = Bench::new(open);
    for state in FINAL {
        let id = ended(&mut bench, state);
        let before = bench.job(id);
        let change = JobChange { priority: Some(9), ..JobChange::default() };
        assert_eq!(bench.store.update(id, &change, bench.now).expect("an update"), Updated::WrongState(state));
        assert_eq!(bench.job(id), before);
    }
}

pub(crate) fn a_job_does_not_move_to_a_queue_in_which_its_key_is_held(open: &Open) {
    let mut bench = Bench::new(open);
    let holder = bench.push(job("a").on("mail").key("k"));
    let id = bench.push(job("a").key("k"));
    let change = JobChange { queue: Some(queue("mail")), priority: Some(3), ..JobChange::default() };
    assert_eq!(bench.store.update(id, &change, bench.now).expect("an update"), Updated::KeyTaken(holder));
    assert_eq!((bench.job(id).queue, bench.job(id).priority), (QueueName::default(), 0));
    bench.assert_counters_agree();
}

pub(crate) fn a_pause_says_whether_it_changed_anything(open: &Open) {
    let mut bench = Bench::new(open);
    assert_eq!(bench.store.pause(&queue("mail"), true, bench.now).expect("a pause"), None);
    bench.push(job("a").on("mail"));
    let start = bench.now;
    let mut pause = |is_paused| {
        bench.advance(5);
        let changed = bench.store.pause(&queue("mail"), is_paused, bench.now).expect("a pause");
        (changed, bench.queue("mail").paused_at.map(|at| at.since(start).as_secs()))
    };
    assert_eq!(pause(false), (Some(false), None));
    assert_eq!(pause(true), (Some(true), Some(10)));
    assert_eq!(pause(true), (Some(false), Some(10)), "paused since the first time");
    assert_eq!(pause(false), (Some(true), None));
}

pub(crate) fn settings_come_back_as_they_were_set(open: &Open) {
    let mut bench = Bench::new(open);
    assert_eq!(bench.store.settings(&queue("mail")).expect("the settings"), None);
    let full = QueueSettings {
        max_attempts: Some(7),
        backoff: Some(Backoff::Exponential { base: Duration::from_millis(1500), cap: Duration::from_secs(60) }),
        jitter: Some(Jitter::None),
        timeout: Some(Some(Duration::from_secs(90))),
        kill_after: Some(Duration::ZERO),
        dead_on: Some(vec![64..=78, 100..=100]),
        priority: Some(-3),
        keep: Some(Some(Duration::from_secs(86_400))),
        keep_rows: Some(Some(1000)),
        group_by: Some(Some(GroupRule::new("row (.*)").expect("a rule"))),
        on_dead: Some(Some(Hook { line: "./page".to_owned(), cwd: b"/\xff".to_vec(), env: Vec::new() })),
        on_dead_every: Some(Duration::from_secs(60)),
        keep_dead: Some(Some(Duration::from_secs(86_400))),
        keep_dead_rows: Some(Some(10)),
        breaker: Some(BreakerRule::new(20, 50)),
        breaker_probe: Some(Duration::from_millis(1500)),
    };
    let some = QueueSettings {
        timeout: Some(None),
        dead_on: Some(Vec::new()),
        keep: Some(None),
        keep_rows: Some(None),
        on_dead: Some(None),
        keep_dead: Some(None),
        keep_dead_rows: Some(None),
        breaker: Some(None),
        ..QueueSettings::default()
    };
    let fixed = QueueSettings { backoff: Some(Backoff::Fixed(Duration::from_secs(1))), ..full.clone() };
    let list = [1, 2, 3].map(Duration::from_secs).to_vec();
    let listed = QueueSettings { backoff: Some(Backoff::List(list)), jitter: Some(Jitter::Full), ..full.clone() };
    for set in [full, some, fixed, listed, QueueSettings::default()] {
        bench.store.configure(&queue("mail"), &mut |settings| settings.clone_from(&set)).expect("a change");
        assert_eq!(bench.beside().store.settings(&queue("mail")).expect("the settings"), Some(set.clone()));
        assert_eq!(bench.queue("mail").settings, set);
    }
}

pub(crate) fn a_change_of_settings_sees_what_was_set_before(open: &Open) {
    let mut bench = Bench::new(open);
    let mail = queue("mail");
    bench.store.configure(&mail, &mut |settings| settings.priority = Some(5)).expect("a change");
    let mut other = bench.beside();
    other.store.configure(&mail, &mut |settings| settings.max_attempts = Some(2)).expect("a change");
    let both = QueueSettings { priority: Some(5), max_attempts: Some(2), ..QueueSettings::default() };
    assert_eq!(bench.store.settings(&mail).expect("the settings"), Some(both));
}

pub(crate) fn a_queue_may_be_set_up_before_its_first_job(open: &Open) {
    let mut bench = Bench::new(open);
    bench.store.configure(&queue("mail"), &mut |settings| settings.priority = Some(5)).expect("a change");
    let found = bench.queue("mail");
    assert_eq!((found.tally, found.oldest_ready, found.paused_at), (Tally::default(), None, None));
    assert_eq!(bench.store.pause(&queue("mail"), true, bench.now).expect("a pause"), Some(true));
    bench.push(job("a").on("mail"));
    assert_eq!(bench.claim_ids(), []);
}
