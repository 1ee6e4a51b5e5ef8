//! A worker goes when it is told to, and a job stops when it is.

use nix::sys::signal::Signal;

use crate::support::{Sandbox, is_alive};

#[test]
fn the_first_term_lets_running_jobs_finish() {
    let queue = Sandbox::new();
    queue.push("'touch started; while [ ! -e go ]; do sleep 0.02; done'");
    queue.push("'touch never'");
    let worker = queue.start_sh("exec qctl work 2>said");
    queue.wait_until("the job runs", || queue.path("started").exists());
    worker.signal(Signal::SIGTERM);
    queue.wait_for_text("said", "finishing 1 running job");
    queue.write("go", "");
    worker.ends().succeeds();
    assert_eq!((queue.state(1), queue.state(2)), ("succeeded".to_owned(), "ready".to_owned()));
    assert!(!queue.path("never").exists());
}

#[test]
fn what_outlasts_the_grace_is_handed_back_with_its_attempt_uncounted() {
    let queue = Sandbox::new();
    queue.push("'echo $$ > pids; sleep 300'");
    let worker = queue.start("work --grace 100ms");
    queue.wait_for_lines("pids", 1);
    worker.stops().succeeds().says("back in the queue");
    let job = queue.job(1);
    assert_eq!((&job["state"], &job["attempt"], &job["crashes"]), (&"ready".into(), &0.into(), &0.into()));
    assert_eq!(job["attempts"][0]["outcome"], "released");
    assert!(!is_alive(queue.pids("pids")[0]));
}

#[test]
fn a_second_term_hands_back_at_once() {
    let queue = Sandbox::new();
    queue.push("'echo $$ > pids; sleep 300'");
    let worker = queue.start_sh("exec qctl work --grace none 2>said");
    queue.wait_for_lines("pids", 1);
    worker.signal(Signal::SIGTERM);
    queue.wait_for_text("said", "finishing");
    worker.stops().succeeds();
    assert_eq!((queue.state(1), queue.job(1)["attempt"].as_i64()), ("ready".to_owned(), Some(0)));
}

#[test]
fn a_third_term_kills_what_will_not_stop() {
    let queue = Sandbox::new();
    queue
        .qctl_with(&["push", "--kill-after", "1h", "trap '' TERM; echo $$ > pids; while :; do sleep 1; done"])
        .succeeds();
    let worker = queue.start_sh("exec qctl work 2>said");
    queue.wait_for_lines("pids", 1);
    for words in ["finishing", "handing back", "killing"] {
        worker.signal(Signal::SIGTERM);
        queue.wait_for_text("said", words);
    }
    worker.ends().succeeds();
    assert!(!is_alive(queue.pids("pids")[0]));
    assert_eq!(queue.state(1), "ready");
}

#[test]
fn a_cancelled_job_is_stopped_and_not_tried_again() {
    let queue = Sandbox::new();
    queue.push("'echo $$ >> pids; sleep 300'");
    let worker = queue.start("work");
    queue.wait_for_lines("pids", 1);
    queue.qctl("cancel 1").succeeds();
    queue.wait_for_state(1, "cancelled");
    assert!(!is_alive(queue.pids("pids")[0]));
    assert_eq!(queue.job(1)["attempts"][0]["outcome"], "cancelled");
    worker.stops().succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.read("pids").lines().count(), 1);
}
