//! Putting dead jobs back: many at once, and as tasks that are carried on by whoever takes a turn.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use super::bench::{Bench, Draft as _, LEASE, Open, job, queue, serving};
use super::event::rate;
use crate::job::{Fates, JobId, Phase, Plan, Rate, Revival, Skip, StateKind, Task, TaskId, TaskReport, Tempo, Trial};
use crate::store::{Directed, Direction, Retried, Serving};

/// Dead jobs, the first to die first.
fn dead(bench: &mut Bench<'_>, n: usize) -> Vec<JobId> {
    let ids = bench.push_all((0..n).map(|_| job("false").on("a")).collect());
    for claimed in bench.claim(n) {
        bench.bury(&claimed);
    }
    ids
}

fn at(rate: Rate) -> Plan {
    Plan { tempo: Tempo::Even(rate), ..Plan::default() }
}

fn sampling(n: usize, if_ok: u8) -> Plan {
    Plan { trial: Some(Trial { n, if_ok }), ..Plan::default() }
}

impl Bench<'_> {
    fn record(&mut self, plan: &Plan, jobs: &[JobId]) -> TaskId {
        self.store.record_task(plan, jobs, self.now).expect("it is recorded")
    }

    fn task(&mut self, id: TaskId) -> Task {
        self.store.task(id).expect("a look").expect("a task of this number")
    }

    fn report(&mut self, id: TaskId) -> TaskReport {
        self.store.task_report(id, 5).expect("a look").expect("a task of this number")
    }

    fn direct(&mut self, id: TaskId, how: Direction) -> Directed {
        self.store.direct_task(id, how, self.now).expect("an answer")
    }

    /// Takes turns that claim nothing, until there is nothing left to do at once.
    fn carry(&mut self) {
        while self.turn(&[], &Serving::default(), 0).is_behind {}
    }

    fn in_state(&mut self, ids: &[JobId], state: StateKind) -> Vec<JobId> {
        ids.iter().copied().filter(|&id| self.state(id) == state).collect()
    }
}

pub(crate) fn dead_jobs_are_put_back_in_one_go_and_the_others_are_answered(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 3);
    let waiting = bench.push(job("true").on("b"));
    let how =
        Revival { to: Some(queue("c")), delay: Some(Duration::from_secs(60)), max_attempts: Some(9), from_step: None };
    let meant = [ids[2], waiting, JobId::new(99).expect("a number"), ids[0]];
    let done = bench.store.put_back(&meant, &[StateKind::Dead], &how, bench.now).expect("an answer");
    let answers: Vec<_> = done.answers.into_iter().map(|(_, answer)| answer).collect();
    let expected = [Retried::Ready, Retried::WrongState(StateKind::Ready), Retried::Unknown, Retried::Ready];
    assert_eq!((answers.as_slice(), done.queues), (&expected[..], vec![queue("c")]));
    let back = bench.job(ids[0]);
    assert_eq!((back.queue, back.max_attempts, back.attempt, back.run_at), (queue("c"), 9, 0, bench.in_secs(60)));
    assert_eq!(bench.in_state(&ids, StateKind::Scheduled), [ids[0], ids[2]]);
    bench.advance(60);
    assert_eq!(bench.turn(&[], &serving(&["c"], &[]), 9).claimed.len(), 2);
    bench.assert_counters_agree();
}

pub(crate) fn a_job_that_is_put_back_elsewhere_needs_its_key_there(open: &Open) {
    let mut bench = Bench::new(open);
    let old = bench.push(job("false").on("a").key("k"));
    let claimed = bench.claim_one();
    bench.bury(&claimed);
    let holder = bench.push(job("true").on("b").key("k"));
    let how = Revival { to: Some(queue("b")), ..Revival::default() };
    let done = bench.store.put_back(&[old], &[StateKind::Dead], &how, bench.now).expect("an answer");
    assert_eq!(done.answers, [(old, Retried::KeyTaken(holder))]);
    assert_eq!((bench.state(old), bench.job(old).queue), (StateKind::Dead, queue("a")));
    bench.assert_counters_agree();
}

pub(crate) fn a_task_puts_its_jobs_back_at_its_rate_and_in_its_order(open: &Open) {
    let mut bench = Bench::new(open);
    let mut ids = dead(&mut bench, 5);
    ids.reverse();
    let task = bench.record(&at(rate(1, 10)), &ids);
    for n in 1..=5 {
        bench.carry();
        assert_eq!(bench.in_state(&ids, StateKind::Ready), ids[..n]);
        bench.advance(9);
        bench.carry();
        assert_eq!(bench.task(task).n_released, n, "not before its time");
        bench.advance(1);
    }
    let seen = bench.task(task);
    assert_eq!((seen.phase, seen.n_released, seen.n_skipped, seen.n_left()), (Phase::Done, 5, 0, 0));
    assert_eq!(bench.store.released_by(task).expect("a look"), ids);
    bench.assert_counters_agree();
}

pub(crate) fn any_worker_carries_a_task_whichever_queues_it_serves(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 2);
    bench.record(&at(rate(1, 10)), &ids);
    let turned = bench.turn(&[], &serving(&["other"], &[]), 1);
    assert_eq!((turned.promoted, turned.claimed.len()), (vec![queue("a")], 0));
    assert_eq!(turned.next_due, Some(bench.in_secs(10)), "it is told when to look again");
    let turned = bench.turn(&[], &serving(&["other"], &[]), 1);
    assert_eq!(turned.next_due, Some(bench.in_secs(10)), "also where there was nothing to do");
    assert_eq!(bench.claim_ids(), ids[..1]);
    bench.advance(10);
    let carried = bench.store.carry_tasks(bench.now).expect("an answer");
    assert_eq!((carried.queues, carried.is_more, carried.next_due), (vec![queue("a")], false, None));
    assert_eq!(bench.claim_ids(), ids[1..]);
}

pub(crate) fn a_task_without_a_rate_goes_in_portions_and_each_job_is_come_to_once(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 1100);
    let task = bench.record(&Plan::default(), &ids);
    let mut portions = Vec::new();
    loop {
        let before = bench.task(task).n_released;
        let is_behind = bench.turn(&[], &Serving::default(), 0).is_behind;
        portions.push(bench.task(task).n_released - before);
        if !is_behind {
            break;
        }
    }
    assert_eq!((portions.iter().sum::<usize>(), portions.iter().max()), (1100, Some(&500)));
    assert_eq!(bench.in_state(&ids, StateKind::Ready), ids);
    assert_eq!(bench.task(task).phase, Phase::Done);
    bench.assert_counters_agree();
}

pub(crate) fn many_may_carry_a_task_at_once_and_each_job_is_put_back_once(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 2000);
    let task = bench.record(&Plan::default(), &ids);
    let now = bench.now;
    thread::scope(|scope| {
        for _ in 0..4 {
            let mut store = bench.connection();
            scope.spawn(move || while store.carry_tasks(now).expect("an answer").is_more {});
        }
    });
    let seen = bench.task(task);
    assert_eq!((seen.phase, seen.n_released, seen.n_skipped), (Phase::Done, 2000, 0));
    bench.assert_counters_agree();
}

pub(crate) fn the_rest_follows_when_enough_of_the_sample_succeed(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 8);
    let task = bench.record(&sampling(5, 80), &ids);
    assert_eq!(bench.task(task).phase, Phase::Sampling);
    let sample = bench.claim(8);
    assert_eq!(sample.len(), 5, "only those go first");
    for claimed in &sample[..4] {
        bench.succeed(claimed);
        assert_eq!(bench.in_state(&ids, StateKind::Dead), ids[5..], "the rest waits for all of them");
    }
    bench.bury(&sample[4]);
    assert_eq!(bench.in_state(&ids, StateKind::Ready), ids[5..], "in the very turn that brings the last result");
    let seen = bench.task(task);
    assert_eq!((seen.phase, seen.n_sampled, seen.n_released), (Phase::Done, 5, 8));
    bench.assert_counters_agree();
}

pub(crate) fn the_rest_stays_dead_when_too_few_of_the_sample_succeed(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 8);
    let task = bench.record(&sampling(5, 81), &ids);
    let sample = bench.claim(8);
    for claimed in &sample[..4] {
        bench.succeed(claimed);
    }
    bench.bury(&sample[4]);
    let seen = bench.task(task);
    assert_eq!((seen.phase, seen.n_released, seen.ended_at), (Phase::Stopped, 5, Some(bench.now)));
    bench.carry();
    assert_eq!(bench.in_state(&ids, StateKind::Dead), ids[4..]);
    let report = bench.report(task);
    assert_eq!(report.fates, Fates { n_succeeded: 4, n_relapsed: 1, ..Fates::default() });
    assert_eq!((report.relapses.len(), report.relapses[0].n, report.relapses[0].sample), (1, 1, ids[4]));
}

pub(crate) fn a_sample_is_over_when_none_of_it_is_under_way(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 6);
    let task = bench.record(&sampling(3, 34), &ids);
    bench.carry();
    let _ = bench.store.cancel(ids[0], bench.now).expect("an answer");
    let _ = bench.store.cancel(ids[1], bench.now).expect("an answer");
    assert_eq!(bench.store.forget(&[ids[1]], &[StateKind::Cancelled]).expect("an answer"), [ids[1]]);
    let claimed = bench.claim_one();
    // Put back by somebody meanwhile, one of them is under way again.
    let _ = bench.store.retry(ids[0], &[StateKind::Cancelled], None, bench.now).expect("an answer");
    bench.succeed(&claimed);
    assert_eq!(bench.task(task).phase, Phase::Sampling);
    let claimed = bench.claim_one();
    assert_eq!(claimed.lease.job, ids[0]);
    bench.succeed(&claimed);
    assert_eq!(bench.task(task).phase, Phase::Done);
    let fates = bench.report(task).fates;
    assert_eq!(fates, Fates { n_succeeded: 2, n_forgotten: 1, n_under_way: 3, ..Fates::default() });
}

pub(crate) fn a_sample_may_be_followed_at_a_rate(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 4);
    let task = bench.record(&Plan { tempo: Tempo::Even(rate(1, 10)), ..sampling(1, 100) }, &ids);
    let claimed = bench.claim_one();
    bench.advance(100);
    bench.succeed(&claimed);
    assert_eq!(bench.in_state(&ids, StateKind::Ready), ids[1..2], "the time counts from here");
    let seen = bench.task(task);
    assert_eq!((seen.started_at, seen.ends_at()), (Some(bench.now), Some(bench.in_secs(20))));
    bench.advance(20);
    bench.carry();
    assert_eq!(bench.task(task).n_released, 3, "who is late catches up on no more than a second");
}

pub(crate) fn what_dies_again_is_not_put_back_again_by_the_same_task(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 3);
    let task = bench.record(&at(rate(1, 1)), &ids);
    for _ in 0..6 {
        for claimed in bench.claim(5) {
            bench.bury(&claimed);
        }
        bench.advance(1);
    }
    assert_eq!(bench.in_state(&ids, StateKind::Dead), ids);
    for &id in &ids {
        assert_eq!(bench.store.attempts(id).expect("a look").len(), 2, "once before, and once since");
    }
    let report = bench.report(task);
    assert_eq!((report.task.phase, report.fates.n_relapsed), (Phase::Done, 3));
    assert_eq!(report.relapses.iter().map(|relapse| relapse.n).collect::<Vec<_>>(), [3], "of one cause");
}

pub(crate) fn what_cannot_be_put_back_is_skipped_with_the_reason(open: &Open) {
    let mut bench = Bench::new(open);
    let keyed = bench.push(job("false").on("a").key("k"));
    let claimed = bench.claim_one();
    bench.bury(&claimed);
    let mut ids = dead(&mut bench, 3);
    ids.insert(0, keyed);
    bench.push(job("true").on("b").key("k"));
    bench.push(job("true").on("a").key("k"));
    let _ = bench.store.retry(ids[1], &[StateKind::Dead], None, bench.now).expect("an answer");
    bench.store.forget(&[ids[2]], &[StateKind::Dead]).expect("an answer");
    let task = bench.record(&at(rate(1, 10)), &ids);
    bench.carry();
    let report = bench.report(task);
    assert_eq!(report.skipped, [(Skip::Deleted, 1), (Skip::KeyTaken, 1), (Skip::NotDead, 1)]);
    assert_eq!((report.task.n_released, report.task.n_skipped), (1, 3), "what is skipped takes no time");
    assert_eq!(bench.store.released_by(task).expect("a look"), ids[3..]);
    assert_eq!((report.task.phase, bench.state(keyed)), (Phase::Done, StateKind::Dead));
}

pub(crate) fn the_time_of_a_paused_task_stands_still(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 3);
    let task = bench.record(&at(rate(1, 10)), &ids);
    bench.carry();
    bench.advance(4);
    assert!(matches!(bench.direct(task, Direction::Pause), Directed::Changed(task) if task.phase == Phase::Paused));
    assert!(matches!(bench.direct(task, Direction::Pause), Directed::Unchanged(_)));
    bench.advance(3600);
    assert_eq!(bench.turn(&[], &Serving::default(), 0).next_due, None);
    assert_eq!(bench.task(task).n_released, 1);
    assert!(matches!(bench.direct(task, Direction::Resume), Directed::Changed(task) if task.phase == Phase::Releasing));
    assert!(matches!(bench.direct(task, Direction::Resume), Directed::Unchanged(_)));
    assert_eq!(bench.turn(&[], &Serving::default(), 0).next_due, Some(bench.in_secs(6)));
    bench.advance(6);
    bench.carry();
    assert_eq!(bench.task(task).n_released, 2);
}

pub(crate) fn a_cancelled_task_leaves_the_rest_dead_and_does_not_go_on(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 3);
    let task = bench.record(&at(rate(1, 10)), &ids);
    bench.carry();
    assert!(matches!(bench.direct(task, Direction::Cancel), Directed::Changed(task) if task.phase == Phase::Cancelled));
    assert!(matches!(bench.direct(task, Direction::Cancel), Directed::Unchanged(_)));
    assert!(matches!(bench.direct(task, Direction::Resume), Directed::Ended(_)));
    assert_eq!(bench.direct(TaskId::new(99).expect("a number"), Direction::Pause), Directed::Unknown);
    bench.advance(60);
    bench.carry();
    assert_eq!(bench.in_state(&ids, StateKind::Dead), ids[1..]);
}

pub(crate) fn a_clock_that_was_set_back_holds_up_no_task(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 3);
    let task = bench.record(&at(rate(1, 10)), &ids);
    bench.carry();
    bench.now = bench.now.minus(Duration::from_secs(7200));
    bench.carry();
    assert_eq!(bench.task(task).n_released, 1, "nothing comes early for that");
    bench.advance(10);
    bench.carry();
    assert_eq!(bench.task(task).n_released, 2);
}

pub(crate) fn two_tasks_with_the_same_jobs_put_each_back_once(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 2);
    let tasks = [bench.record(&at(rate(1, 10)), &ids), bench.record(&at(rate(1, 10)), &ids)];
    bench.carry();
    bench.advance(10);
    bench.carry();
    let seen = tasks.map(|task| bench.task(task));
    assert_eq!(seen.each_ref().map(|task| task.n_released + task.n_skipped), [2, 2]);
    assert_eq!(seen.iter().map(|task| task.n_released).sum::<usize>(), 2);
    let listed: Vec<TaskId> = bench.store.tasks().expect("a look").iter().map(|task| task.id).collect();
    assert_eq!(listed, [tasks[1], tasks[0]], "the newest first");
}

pub(crate) fn a_task_comes_back_as_it_was_recorded(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 2);
    let plan = Plan {
        selection: "-Q a".to_owned(),
        trial: Some(Trial { n: 7, if_ok: 90 }),
        tempo: Tempo::Ramp { from: rate(1, 60), to: rate(50, 1), over: Duration::from_secs(300) },
        revival: Revival {
            to: Some(queue("b")),
            delay: Some(LEASE),
            max_attempts: Some(3),
            from_step: Some(crate::job::StepPath::parse("a/b").expect("a path")),
        },
    };
    let task = bench.record(&plan, &ids);
    let seen = bench.beside().task(task);
    assert_eq!((seen.plan, seen.n_jobs, seen.created_at), (plan, 2, bench.now));
    assert_eq!((seen.started_at, seen.paused_at, seen.ended_at), (None, None, None));
}

pub(crate) fn tasks_that_are_over_are_forgotten_after_a_month_or_behind_a_hundred_others(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = dead(&mut bench, 1);
    let first = bench.record(&at(rate(1, 3600)), &[ids[0], ids[0]]);
    bench.carry();
    let over: Vec<TaskId> = (0..102).map(|_| bench.record(&Plan::default(), &ids)).collect();
    bench.carry();
    let mut n_forgotten = 0;
    while bench.store.forget_tasks(bench.now).expect("an answer") > 0 {
        n_forgotten += 1;
    }
    assert_eq!(n_forgotten, 2);
    assert_eq!((bench.store.task(over[1]).expect("a look"), bench.task(over[2]).phase), (None, Phase::Done));
    bench.advance(31 * 24 * 3600);
    while bench.store.forget_tasks(bench.now).expect("an answer") > 0 {}
    let left: BTreeSet<TaskId> = bench.store.tasks().expect("a look").iter().map(|task| task.id).collect();
    assert_eq!(left, BTreeSet::from([first]), "what is not over stays");
    assert!(bench.record(&Plan::default(), &ids) > over[101], "no number is given twice");
}

pub(crate) fn a_queue_without_tasks_has_none_to_tell_of(open: &Open) {
    let mut bench = Bench::new(open);
    let nobody = TaskId::new(1).expect("a number");
    assert!(bench.store.tasks().expect("a look").is_empty() && bench.store.task(nobody).expect("a look").is_none());
    assert!(bench.store.task_report(nobody, 5).expect("a look").is_none());
    assert!(bench.store.released_by(nobody).expect("a look").is_empty());
    assert_eq!(bench.direct(nobody, Direction::Cancel), Directed::Unknown);
    assert_eq!(bench.store.carry_tasks(bench.now).expect("an answer"), crate::store::Carried::default());
    assert_eq!(bench.store.forget_tasks(bench.now).expect("an answer"), 0);
}
