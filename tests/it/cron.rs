//! Under cron silence means that all is well.

use crate::support::Sandbox;

#[test]
fn a_run_in_which_all_is_well_prints_nothing() {
    let queue = Sandbox::new();
    queue.push("'echo noise; echo more >&2'");
    queue.push("--max-attempts 2 --backoff fixed:1h 'exit 1'");
    queue.qctl("work --cron").succeeds().prints("").says_nothing();
    assert_eq!((queue.state(1), queue.state(2)), ("succeeded".to_owned(), "retrying".to_owned()));
}

#[test]
fn each_death_is_a_block_that_says_what_why_and_what_to_do() {
    let queue = Sandbox::new();
    queue.push("-Q mail --max-attempts 1 'echo dialing >&2; echo refused >&2; exit 9'");
    let said = queue.qctl("work --cron").succeeds().says_nothing().out();
    let db = queue.db().canonicalize().expect("the queue file").display().to_string();
    for line in [
        "(queue mail)",
        "  echo dialing >&2; echo refused >&2; exit 9",
        "  dead after 1 attempt",
        "  exit 9: refused",
        "    | dialing",
        "    | refused",
        &format!("  qctl --db {db} logs 1"),
        &format!("  qctl --db {db} dlq requeue 1"),
    ] {
        assert!(said.contains(line), "{line:?} is missing in\n{said}");
    }
}

#[test]
fn a_second_such_worker_leaves_at_once() {
    let queue = Sandbox::new();
    queue.push("'touch started; while [ ! -e go ]; do sleep 0.02; done'");
    queue.push("'touch second'");
    let first = queue.start("work --cron");
    queue.wait_until("the job runs", || queue.path("started").exists());
    queue.qctl("work --cron").succeeds().prints("").says_nothing();
    assert!(!queue.path("second").exists());
    queue.write("go", "");
    first.ends().succeeds();
}

#[test]
fn a_queue_that_had_to_be_made_is_said_even_then() {
    let queue = Sandbox::new();
    queue.qctl("work --cron").succeeds().prints("").says("made a new queue at");
}
