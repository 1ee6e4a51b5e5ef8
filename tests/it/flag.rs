//! The flag of a queue calls a worker when there is something to do, and never fails to.
//!
//! What a path unit of systemd does is done here by a loop: as long as the flag is there, it starts
//! a worker and waits for its end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::Sandbox;

impl Sandbox {
    fn has_flag(&self, name: &str) -> bool {
        self.path(format!("queue.db-wake/{name}.ready")).exists()
    }
}

#[test]
fn a_push_raises_the_flag_and_a_drain_removes_it() {
    let queue = Sandbox::new();
    queue.push("-Q mail true");
    queue.push("-Q other true");
    assert!(queue.has_flag("mail") && queue.has_flag("other"));
    queue.qctl("work --drain -Q mail").succeeds();
    assert!(!queue.has_flag("mail") && queue.has_flag("other"));
}

#[test]
fn every_way_of_making_a_job_ready_raises_the_flag() {
    let queue = Sandbox::new();
    let settle = || drop(queue.qctl("work --drain").succeeds());
    for way in ["import -Q q jobs", "retry 1", "dlq requeue --all", "queue resume q", "push -Q q --at @1 true"] {
        queue.write("jobs", "true\n");
        queue.qctl("push -Q q --max-attempts 1 false").succeeds();
        settle();
        assert!(!queue.has_flag("q"), "before {way}");
        queue.qctl(way).succeeds();
        assert!(queue.has_flag("q"), "after {way}");
        settle();
    }
}

#[test]
fn a_hook_raises_the_flag_of_its_queue_which_a_worker_of_that_whose_it_is_lowers() {
    let queue = Sandbox::new();
    queue.qctl("queue set mail --max-attempts 1 --on-dead true").succeeds();
    queue.push("-Q mail false");
    queue.qctl("work --once -Q mail").succeeds();
    assert!(queue.has_flag("mail.on-dead"), "it is left to the next worker");
    queue.qctl("work --drain -Q mail").succeeds();
    assert!(!queue.has_flag("mail.on-dead"));
    assert_eq!(queue.state(2), "succeeded");
}

#[test]
fn a_push_whose_id_nobody_can_be_told_raises_the_flag_all_the_same() {
    let queue = Sandbox::new();
    queue.sh("qctl push -Q mail true >/dev/full").exits(74);
    assert!(queue.has_flag("mail"));
    queue.sh("echo true | qctl import -Q other >/dev/full").exits(74);
    assert!(queue.has_flag("other"));
}

#[test]
fn a_job_that_is_not_due_raises_no_flag() {
    let mut queue = Sandbox::new();
    queue.push("-Q mail --delay 1h true");
    queue.push("-Q mail --max-attempts 2 --backoff fixed:1h false");
    queue.qctl("work --drain -Q mail").succeeds();
    assert!(!queue.has_flag("mail"));
    // The timer's turn.
    queue.advance("2h");
    queue.qctl("work --drain -Q mail").succeeds();
    assert_eq!((queue.state(1).as_str(), queue.state(2).as_str()), ("succeeded", "dead"));
    assert!(!queue.has_flag("mail"));
}

#[test]
fn a_worker_that_is_killed_leaves_the_flag_up() {
    let queue = Sandbox::new();
    let id = queue.push("-Q mail 'echo $$ >> pids; while [ ! -e go ]; do sleep 0.02; done'");
    let worker = queue.start("work -Q mail --drain");
    queue.wait_for_lines("pids", 1);
    worker.dies();
    assert!(queue.has_flag("mail"));
    queue.write("go", "");
    queue.qctl("work -Q mail --drain").succeeds();
    assert_eq!(queue.state(id), "succeeded");
    assert!(!queue.has_flag("mail"));
}

#[test]
fn a_worker_that_is_stopped_raises_the_flag_of_what_it_hands_back() {
    let queue = Sandbox::new();
    queue.push("-Q mail 'touch started; sleep 600'");
    let worker = queue.start("work --grace 0s");
    queue.wait_until("the job runs", || queue.path("started").exists());
    std::fs::remove_file(queue.path("queue.db-wake/mail.ready")).expect("the push raised it");
    worker.stops().succeeds();
    assert_eq!(queue.ids("ready"), [1]);
    assert!(queue.has_flag("mail"));
}

#[test]
fn a_worker_that_has_nothing_to_run_is_not_called_again_and_again() {
    let queue = Sandbox::new();
    queue.push("-Q mail --payload hello");
    queue.qctl("work -Q mail --drain").succeeds().says("queue mail is left alone");
    assert!(!queue.has_flag("mail"));
    // One that was not started for this queue has no say.
    queue.push("-Q mail --payload hello");
    queue.qctl("work --drain").succeeds();
    assert!(queue.has_flag("mail"));
    queue.qctl("work -Q mail --drain --quiet -- cat").succeeds();
    assert_eq!(queue.ids("succeeded"), [1, 2]);
    assert!(!queue.has_flag("mail"));
}

/// Pushes from several processes while workers come and go by the flag alone. Whoever pushed waits for
/// the job and pushes again at once: that is when the worker is about to leave.
fn push_while_workers_are_called(rules: [&str; 2]) {
    const N_PUSHERS: usize = 3;
    const N_PUSHES: usize = 20;
    let queue = Sandbox::new();
    let push = || {
        let id = queue.push("-Q q true");
        queue.qctl(&format!("wait {id} --timeout 50s")).succeeds();
    };
    let is_pushing = AtomicBool::new(true);
    thread::scope(|scope| {
        let manager = scope.spawn(|| {
            let mut n_called = 0;
            loop {
                let was_pushing = is_pushing.load(Ordering::Acquire);
                if queue.has_flag("q") {
                    queue.qctl(&format!("work --drain --quiet -Q q {}", rules[n_called % 2])).succeeds();
                    n_called += 1;
                } else if !was_pushing {
                    return n_called;
                } else {
                    thread::yield_now();
                }
            }
        });
        let pushers: Vec<_> = (0..N_PUSHERS).map(|_| scope.spawn(|| (0..N_PUSHES).for_each(|_| push()))).collect();
        // A pusher that waited in vain has failed, and the others need not hear of it first.
        let has_pushed =
            pushers.into_iter().map(thread::ScopedJoinHandle::join).fold(true, |all, one| all & one.is_ok());
        is_pushing.store(false, Ordering::Release);
        assert!(manager.join().expect("it calls workers") > 1);
        assert!(has_pushed, "a job was left without a flag and without a worker");
    });
    assert_eq!(queue.ids("succeeded").len(), N_PUSHERS * N_PUSHES);
    assert!(!queue.has_flag("q"));
}

#[test]
fn no_wake_up_is_lost_between_pushers_and_workers_that_drain() {
    push_while_workers_are_called(["", ""]);
}

#[test]
fn no_wake_up_is_lost_when_workers_leave_for_other_reasons() {
    // One leaves at any moment, also right after it lowered the flag; the next gets on with it, however
    // busy the machine is.
    push_while_workers_are_called(["--idle-exit 1ms --max-time 30ms", "--max-jobs 2"]);
}
