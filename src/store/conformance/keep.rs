//! What is kept and what is forgotten: retention, removal of queues, copies.

use std::time::Duration;

use super::bench::{Bench, Draft as _, Open, job, queue};
use crate::clock::Timestamp;
use crate::job::{JobId, Pace, QueueName, Retention, StateKind};
use crate::store::{self, Removed};

/// A job of the default queue that has ended like this.
fn ended(bench: &mut Bench<'_>, state: StateKind) -> JobId {
    let id = bench.push(job("a").payload(b"bytes").label("team", "x"));
    let claimed = bench.claim_one();
    match state {
        StateKind::Succeeded => bench.succeed(&claimed),
        StateKind::Dead => bench.bury(&claimed),
        _ => {
            bench.return_untouched(&claimed);
            let _ = bench.store.cancel(id, bench.now).expect("a cancellation");
        }
    }
    assert_eq!(bench.state(id), state);
    id
}

fn prune(bench: &mut Bench<'_>, before: Option<Timestamp>, max_rows: Option<u64>) -> usize {
    let keep = Retention { before, max_rows };
    let n_foreseen = bench.store.prunable(&QueueName::default(), &keep, 100, bench.now).expect("a look");
    let n = bench.store.prune(&QueueName::default(), &keep, bench.now).expect("a portion");
    assert_eq!(n, n_foreseen.min(n), "what was foreseen is forgotten");
    bench.assert_counters_agree();
    n
}

pub(crate) fn finished_jobs_are_forgotten_by_age_and_dead_ones_never(open: &Open) {
    let mut bench = Bench::new(open);
    let _old = [ended(&mut bench, StateKind::Succeeded), ended(&mut bench, StateKind::Cancelled)];
    let dead = ended(&mut bench, StateKind::Dead);
    bench.advance(60);
    let young = ended(&mut bench, StateKind::Succeeded);
    let waiting = bench.push(job("b"));
    let before = bench.now.minus(Duration::from_secs(30));
    assert_eq!(prune(&mut bench, Some(before), None), 2);
    assert_eq!(bench.all(), [dead, young, waiting]);
    assert_eq!(prune(&mut bench, Some(before), None), 0);
    assert_eq!(prune(&mut bench, None, None), 0);
}

pub(crate) fn of_too_many_finished_jobs_the_oldest_are_forgotten(open: &Open) {
    let mut bench = Bench::new(open);
    let ids: Vec<JobId> = (0..5)
        .map(|_| {
            bench.advance(1);
            ended(&mut bench, StateKind::Succeeded)
        })
        .collect();
    assert_eq!(prune(&mut bench, None, Some(5)), 0);
    assert_eq!(prune(&mut bench, None, Some(2)), 3);
    assert_eq!(bench.all(), ids[3..]);
    let before = bench.now;
    assert_eq!(prune(&mut bench, Some(before), Some(1)), 1, "both rules at once");
    assert_eq!(bench.all(), ids[4..]);
}

pub(crate) fn a_finished_job_is_kept_for_as_long_as_it_holds_its_key(open: &Open) {
    let mut bench = Bench::new(open);
    let until = bench.in_secs(100);
    let ids = bench.push_all(vec![job("a").key("s").held_until(until), job("a").key("c").held_until(until)]);
    let claimed = bench.claim_one();
    bench.succeed(&claimed);
    let _ = bench.store.cancel(ids[1], bench.now).expect("a cancellation");
    bench.advance(99);
    let now = bench.now;
    assert_eq!(prune(&mut bench, Some(now), Some(0)), 0);
    let holders = ["s", "c"].map(|key| bench.offer(job("a").key(key)).id);
    assert_eq!(holders, ids[..]);
    bench.advance(1);
    let now = bench.now;
    assert_eq!(prune(&mut bench, Some(now), None), 2);
    for key in ["s", "c"] {
        assert!(!ids.contains(&bench.offer(job("a").key(key)).id), "numbers are never given twice");
    }
}

pub(crate) fn one_portion_is_bounded_and_the_next_goes_on(open: &Open) {
    let mut bench = Bench::new(open);
    let jobs = (0..1200).map(|_| job("a")).collect();
    for id in bench.push_all(jobs) {
        let _ = bench.store.cancel(id, bench.now).expect("a cancellation");
    }
    bench.advance(1);
    let now = bench.now;
    let keep = Retention { before: Some(now), max_rows: None };
    let mut portions = Vec::new();
    loop {
        match bench.store.prune(&QueueName::default(), &keep, now).expect("a portion") {
            0 => break,
            n => portions.push(n),
        }
    }
    assert_eq!(portions.iter().sum::<usize>(), 1200);
    assert!(portions.iter().all(|&n| n <= 500), "{portions:?}");
    bench.assert_counters_agree();
}

pub(crate) fn the_pace_of_hours_that_are_over_is_kept_by_the_hour(open: &Open) {
    let mut bench = Bench::new(open);
    // Seven minutes from one to the next, for six hours: something ends in most slots, but not in all.
    for _ in 0..51 {
        bench.advance(420);
        let _ = ended(&mut bench, StateKind::Succeeded);
    }
    let _ = ended(&mut bench, StateKind::Dead);
    let now = bench.now;
    let keep = Retention { before: None, max_rows: None };
    let back = [1440, 300, 190];
    let lately = [100, 90, 1];
    let sum = |pace: &Pace| pace.ended.iter().map(|&(_, n)| n).sum::<u64>();
    let was = (back.map(|minutes| pace(&mut bench, minutes)), lately.map(|minutes| pace(&mut bench, minutes)));
    for _ in 0..2 {
        assert_eq!(bench.store.prune(&QueueName::default(), &keep, now).expect("a portion"), 0);
        for (was, minutes) in was.0.iter().zip(back) {
            let is = pace(&mut bench, minutes);
            assert_eq!((&is.succeeded, &is.failed, &is.wait), (&was.succeeded, &was.failed, &was.wait));
            assert_eq!(sum(&is), sum(was));
            assert!(is.ended.len() < was.ended.len(), "folded: {is:?}");
        }
        assert_eq!(lately.map(|minutes| pace(&mut bench, minutes)), was.1, "to five minutes, as before");
    }
}

/// What went on in the default queue in that many minutes.
fn pace(bench: &mut Bench<'_>, minutes: u64) -> Pace {
    let since = bench.now.minus(Duration::from_secs(60 * minutes));
    bench.store.pace(Pace::counted_from(since, bench.now)).expect("a look").remove(0).1
}

pub(crate) fn a_queue_goes_only_when_it_has_no_jobs(open: &Open) {
    let mut bench = Bench::new(open);
    let mail = queue("mail");
    assert_eq!(bench.store.remove_queue(&mail).expect("an answer"), Removed::Unknown);
    let id = bench.push(job("a").on("mail"));
    bench.store.configure(&mail, &mut |settings| settings.priority = Some(5)).expect("a change");
    assert!(
        matches!(bench.store.remove_queue(&mail).expect("an answer"), Removed::NotEmpty(tally) if tally.get(StateKind::Ready) == 1)
    );
    assert_eq!(bench.store.forget(&[id], &StateKind::ALL).expect("an answer"), [id]);
    assert_eq!(bench.store.remove_queue(&mail).expect("an answer"), Removed::Gone);
    assert_eq!(bench.store.settings(&mail).expect("a look"), None);

    let again = bench.push(job("a").on("mail"));
    assert!(again > id);
    assert_eq!(bench.queue("mail").settings.priority, None, "a new one, with nothing of the old");
    bench.assert_counters_agree();
}

pub(crate) fn a_copy_is_a_queue_as_of_one_instant(open: &Open) {
    let mut bench = Bench::new(open);
    let dead = ended(&mut bench, StateKind::Dead);
    let ready = bench.push(job("b"));
    let to = bench.folder().join("copy.db");
    bench.store.back_up(&to).expect("a copy");
    bench.push(job("later"));

    let mut copy = store::open(&store::Target::Sqlite(to.clone()), store::Access::Existing).expect("a queue");
    let ids = [dead, ready].map(|id| copy.job(id).expect("a look").expect("a job").state.kind());
    assert_eq!(ids, [StateKind::Dead, StateKind::Ready]);
    assert_eq!(copy.examine().expect("a look"), [""; 0]);
    assert_eq!(copy.queues().expect("a look")[0].tally.get(StateKind::Ready), 1);

    let error = bench.store.back_up(&to).expect_err("it is there already");
    assert!(matches!(error, store::Error::Refused { .. }), "{error:?}");
    let names: Vec<_> = std::fs::read_dir(bench.folder()).expect("the folder").flatten().collect();
    assert!(!names.iter().any(|entry| entry.file_name().to_string_lossy().contains("unfinished")));
}
