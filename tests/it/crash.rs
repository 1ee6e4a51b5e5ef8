//! A worker that dies takes nothing with it: its jobs run again elsewhere, never twice at once.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Sandbox, is_alive};

/// Hangs in its first attempt, with a grandchild, and succeeds in every later one.
const HANGS_ONCE: &str = "\
    echo start $QCTL_TOKEN $$ >> log; \
    if [ $QCTL_TOKEN = 1 ]; then sleep 300 & echo $! >> pids; echo $$ >> pids; sleep 300; fi; \
    echo end $QCTL_TOKEN >> log";

fn outcomes(queue: &Sandbox, id: i64) -> Vec<String> {
    let attempts = queue.job(id)["attempts"].as_array().cloned().expect("attempts");
    attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap_or("running").to_owned()).collect()
}

#[test]
fn a_worker_that_runs_already_takes_up_the_jobs_of_a_killed_one_within_two_seconds() {
    let queue = Sandbox::new();
    let ids = [(); 2].map(|()| queue.qctl_with(&["push", HANGS_ONCE]).succeeds().out().trim().parse().expect("an id"));
    let first = queue.start("work -j 2");
    queue.wait_for_lines("pids", 4);
    let _second = queue.start("work -j 2");
    queue.wait_until("there are two workers", || queue.qctl("where").out().contains("live workers\t2"));
    let killed_at = queue.uptime();
    first.dies();
    queue.wait_for_lines("log", 4);
    assert!(queue.uptime().since(killed_at) < Duration::from_secs(2));
    for id in ids {
        queue.wait_for_state(id, "succeeded");
        assert_eq!(outcomes(&queue, id), ["lost", "succeeded"]);
        assert_eq!(queue.job(id)["attempt"], 1);
    }
    assert!(queue.pids("pids").into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn a_worker_that_is_started_later_takes_them_up_too() {
    let queue = Sandbox::new();
    queue.qctl_with(&["push", HANGS_ONCE]).succeeds();
    let first = queue.start("work");
    queue.wait_for_lines("pids", 2);
    first.dies();
    assert_eq!(queue.state(1), "running");
    queue.qctl("work --drain").succeeds().says("its worker died");
    assert_eq!(queue.state(1), "succeeded");
    assert_eq!(
        queue.read("log").lines().map(|line| line.split(' ').next()).collect::<Vec<_>>(),
        [Some("start"), Some("start"), Some("end")]
    );
    assert!(queue.pids("pids").into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn a_command_that_ignores_being_asked_is_killed_before_its_job_runs_again() {
    let queue = Sandbox::new();
    let stubborn = "if [ $QCTL_TOKEN = 1 ]; then trap '' TERM; echo $$ >> pids; while :; do sleep 1; done; fi";
    queue.qctl_with(&["push", stubborn]).succeeds();
    let first = queue.start("work");
    queue.wait_for_lines("pids", 1);
    first.dies();
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(1), "succeeded");
    assert!(queue.pids("pids").into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn a_job_under_which_three_workers_in_a_row_die_is_dead() {
    let queue = Sandbox::new();
    queue.push("--max-attempts 1 'echo started >> log; sleep 300'");
    for n in 1..=3 {
        let worker = queue.start("work");
        queue.wait_for_lines("log", n);
        assert_eq!(queue.job(1)["crashes"], n - 1);
        worker.dies();
    }
    queue.qctl("work --drain --exit-status").exits(1).says("its worker died 3 times in a row");
    let job = queue.job(1);
    assert_eq!((&job["state"], &job["reason"]), (&"dead".into(), &"crashed".into()));
    assert_eq!((&job["crashes"], &job["attempt"]), (&3.into(), &0.into()));
    assert_eq!(outcomes(&queue, 1), ["lost", "lost", "lost"]);
}

#[test]
fn a_stopped_worker_that_wakes_after_its_lease_records_nothing_and_says_so() {
    let queue = Sandbox::new();
    queue.qctl_with(&["push", HANGS_ONCE]).succeeds();
    let sleeper = queue.start_sh("exec qctl work --lease 1s 2>sleeper");
    queue.wait_for_lines("pids", 2);
    // Stopped before that, in the middle of starting it, it would still hold the mark of the attempt.
    queue.wait_for_text("sleeper", "attempt 1/5");
    sleeper.signal(Signal::SIGSTOP);
    let _other = queue.start("work");
    queue.wait_for_state(1, "succeeded");
    sleeper.signal(Signal::SIGCONT);
    queue.wait_for_text("sleeper", "lost to another worker");
    sleeper.stops().succeeds();
    assert_eq!(outcomes(&queue, 1), ["lost", "succeeded"]);
    assert_eq!(queue.state(1), "succeeded");
}

/// Whoever looks after the jobs of a worker that sleeps asks their commands to end. When the worker wakes in that
/// moment it sees a command end that failed, or even one that ended well, and must not report that.
#[test]
fn what_is_stopped_because_its_worker_is_silent_neither_fails_nor_succeeds() {
    for (ending, status) in [("fails", 1), ("ends well", 0)] {
        let queue = Sandbox::new();
        // In its first attempt it takes its time to end, and says when it was asked to.
        let script = format!(
            "if [ $QCTL_TOKEN = 1 ]; then \
               trap 'echo asked > asked; while [ ! -e awake ]; do sleep 0.01; done; exit {status}' TERM; \
               echo $$ > pids; while :; do sleep 0.01; done; \
             fi; echo done > done"
        );
        queue.qctl_with(&["push", "--max-attempts", "1", &script]).succeeds();
        let sleeper = queue.start_sh("exec qctl work --lease 1s 2>sleeper");
        queue.wait_for_lines("pids", 1);
        queue.wait_for_text("sleeper", "attempt 1/1");
        sleeper.signal(Signal::SIGSTOP);
        let _other = queue.start("work");
        queue.wait_for_lines("asked", 1);
        sleeper.signal(Signal::SIGCONT);
        queue.write("awake", "");
        queue.wait_for_state(1, "succeeded");
        assert_eq!(outcomes(&queue, 1), ["lost", "succeeded"], "its first command {ending}");
        assert_eq!((queue.job(1)["attempt"].as_i64(), queue.read("done").as_str()), (Some(1), "done\n"));
        sleeper.stops().succeeds();
    }
}
