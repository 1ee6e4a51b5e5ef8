//! What dies calls the hook of its queue: once for each cause and period, and no hook calls one.

use std::time::Duration;

use super::bench::{Bench, Draft as _, Open, job, queue, serving};
use crate::job::{Command, Filter, GroupName, Hook, Job, JobId, Outcome, QueueName, QueueSettings, Reason, Verdict};
use crate::store::Serving;

fn hook() -> Hook {
    Hook { line: "./page".to_owned(), cwd: b"/srv".to_vec(), env: vec![(b"PATH".to_vec(), b"/bin".to_vec())] }
}

/// A queue `mail` that has a hook.
fn with_hook(open: &Open) -> Bench<'_> {
    let mut bench = Bench::new(open);
    set(&mut bench, "mail", |settings| settings.on_dead = Some(Some(hook())));
    bench
}

fn set(bench: &mut Bench<'_>, name: &str, change: fn(&mut QueueSettings)) {
    bench.store.configure(&queue(name), &mut |settings| change(settings)).expect("a change");
}

/// A job of `mail` that died of this, by now.
fn dead_of(bench: &mut Bench<'_>, error: &str) -> JobId {
    let id = bench.push(job("a").on("mail").priority(9));
    let claimed = bench.claim_one();
    assert_eq!(claimed.lease.job, id);
    let mut settlement = bench.ending(&claimed, Outcome::Failed, Verdict::Die { reason: Reason::Exhausted });
    settlement.report.as_mut().expect("a report").error = Some(error.to_owned());
    let _ = bench.settle(settlement);
    id
}

/// The hooks that were pushed for `mail`.
fn hooks(bench: &mut Bench<'_>) -> Vec<Job> {
    let filter = Filter { queues: vec![queue("mail.on-dead")], ..Filter::default() };
    let ids = bench.find(&filter);
    bench.assert_counters_agree();
    ids.into_iter().map(|id| bench.job(id)).collect()
}

pub(crate) fn a_death_calls_the_hook_of_its_queue_once_for_each_cause(open: &Open) {
    let mut bench = with_hook(open);
    let id = dead_of(&mut bench, "disk full");
    dead_of(&mut bench, "disk full");
    let other = dead_of(&mut bench, "no route");
    let groups = [id, other].map(|id| bench.job(id).group);
    let hooks = hooks(&mut bench);
    let keys: Vec<Option<GroupName>> =
        hooks.iter().map(|job| job.key.as_deref().and_then(|key| GroupName::new(key).ok())).collect();
    assert_eq!(keys, groups);
    assert!(hooks.iter().all(|job| job.command == Some(Command::Shell(b"./page".to_vec()))));
}

pub(crate) fn causes_that_end_in_one_turn_call_a_hook_each_under_numbers_of_their_own(open: &Open) {
    let mut bench = with_hook(open);
    bench.push_all((0..4).map(|_| job("a").on("mail")).collect());
    let claimed = bench.claim(4);
    let settlements: Vec<_> = claimed
        .iter()
        .enumerate()
        .map(|(n, claimed)| {
            let mut one = bench.ending(claimed, Outcome::Failed, Verdict::Die { reason: Reason::Exhausted });
            let cause = ["disk full", "no route", "no such user"][n % 3];
            one.report.as_mut().expect("a report").error = Some(cause.to_owned());
            one
        })
        .collect();
    let turned = bench.turn(&settlements, &Serving::default(), 10);
    let ids: Vec<i64> = turned.claimed.iter().map(|claimed| claimed.lease.job.get()).collect();
    assert_eq!((ids, turned.alarmed), (vec![5, 6, 7], vec![queue("mail.on-dead")]), "and they may run at once");
    assert_eq!(bench.push(job("b")).get(), 8);
    assert_eq!(hooks(&mut bench).len(), 3);
}

pub(crate) fn a_cause_calls_again_when_its_period_is_over_and_its_hook_is_done(open: &Open) {
    let mut bench = with_hook(open);
    dead_of(&mut bench, "disk full");
    bench.advance(3601);
    dead_of(&mut bench, "disk full");
    assert_eq!(hooks(&mut bench).len(), 1, "the first is still to run");
    let claimed = bench.claim_one();
    bench.succeed(&claimed);
    dead_of(&mut bench, "disk full");
    assert_eq!(hooks(&mut bench).len(), 2);
    set(&mut bench, "mail", |settings| settings.on_dead_every = Some(Duration::from_secs(60)));
    let claimed = bench.claim_one();
    bench.succeed(&claimed);
    bench.advance(3599);
    dead_of(&mut bench, "disk full");
    assert_eq!(hooks(&mut bench).len(), 2, "held for as long as was set when it was pushed");
    bench.advance(1);
    dead_of(&mut bench, "disk full");
    assert_eq!(hooks(&mut bench).len(), 3);
}

pub(crate) fn a_hook_gets_a_line_about_the_job_and_its_own_terms(open: &Open) {
    let mut bench = with_hook(open);
    set(&mut bench, "mail.on-dead", |settings| {
        settings.max_attempts = Some(2);
        settings.timeout = Some(Some(Duration::from_secs(7)));
    });
    dead_of(&mut bench, "a\0EVIL=1");
    let claimed = bench.claim_one();
    assert_eq!((claimed.context.cwd.as_slice(), claimed.context.env.as_slice()), (&b"/srv"[..], &hook().env[..]));
    assert_eq!((claimed.job.max_attempts, claimed.context.terms.timeout), (2, Some(Duration::from_secs(7))));
    let payload: serde_json::Value =
        serde_json::from_slice(&claimed.payload.expect("a payload")).expect("a line of JSON");
    assert_eq!((&payload["id"], &payload["error"], &payload["count"]), (&1.into(), &"a\0EVIL=1".into(), &1.into()));
    let vars: Vec<&[u8]> = claimed.env.iter().map(|(name, _)| name.as_slice()).collect();
    let names = ["QCTL_DEAD_ID", "QCTL_DEAD_QUEUE", "QCTL_DEAD_GROUP", "QCTL_DEAD_REASON", "QCTL_DEAD_ERROR"];
    assert_eq!(vars, names.map(str::as_bytes));
    assert_eq!(claimed.env[4].1, b"a EVIL=1");
}

pub(crate) fn what_expires_calls_the_hook_also_of_a_queue_that_is_not_served(open: &Open) {
    let mut bench = with_hook(open);
    bench.push(job("a").on("mail").expires(bench.in_secs(5)));
    bench.advance(6);
    let turned = bench.turn(&[], &serving(&["ci"], &[]), 1);
    assert_eq!((turned.claimed.len(), turned.alarmed), (0, vec![queue("mail.on-dead")]));
    assert_eq!(hooks(&mut bench).len(), 1);
}

pub(crate) fn a_hook_that_dies_calls_none(open: &Open) {
    let mut bench = with_hook(open);
    // Nobody may say so; a file in which it stands anyway must not loop.
    set(&mut bench, "mail.on-dead", |settings| settings.on_dead = Some(Some(hook())));
    dead_of(&mut bench, "disk full");
    let claimed = bench.claim_one();
    bench.bury(&claimed);
    assert_eq!(bench.all().len(), 2);
    assert_eq!(bench.store.queues().expect("the queues").len(), 2);
}

pub(crate) fn without_a_hook_nothing_is_called(open: &Open) {
    let mut bench = Bench::new(open);
    set(&mut bench, "mail", |settings| settings.on_dead = Some(None));
    dead_of(&mut bench, "disk full");
    assert_eq!((bench.all().len(), bench.store.queues().expect("the queues").len()), (1, 1));
}

pub(crate) fn who_serves_a_queue_by_its_name_serves_its_hooks(open: &Open) {
    let mut bench = with_hook(open);
    dead_of(&mut bench, "disk full");
    for strangers in [&["mai*l"][..], &["ma"], &["mail.on"]] {
        assert_eq!(bench.turn(&[], &serving(strangers, &[]), 1).claimed.len(), 0, "{strangers:?}");
    }
    bench.store.pause(&queue("mail"), true, bench.now).expect("a pause");
    assert_eq!(bench.turn(&[], &serving(&["ci", "mail"], &["mail"]), 1).claimed.len(), 1);
}

pub(crate) fn the_queue_of_hooks_goes_with_its_own_where_nothing_is_in_it(open: &Open) {
    let mut bench = with_hook(open);
    let names = |bench: &mut Bench<'_>| -> Vec<QueueName> {
        bench.store.queues().expect("the queues").into_iter().map(|queue| queue.name).collect()
    };
    assert_eq!(names(&mut bench), [queue("mail"), queue("mail.on-dead")]);
    let _ = bench.store.remove_queue(&queue("mail")).expect("a removal");
    assert_eq!(names(&mut bench), []);
    set(&mut bench, "mail", |settings| settings.on_dead = Some(Some(hook())));
    set(&mut bench, "mail.on-dead", |settings| settings.priority = Some(3));
    let _ = bench.store.remove_queue(&queue("mail")).expect("a removal");
    assert_eq!(names(&mut bench), [queue("mail.on-dead")], "what was set for it stays");
}
