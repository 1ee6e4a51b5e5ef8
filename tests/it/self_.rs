//! Jobs speak for themselves: `self snooze`, `self bury`, `self progress`, `self retry-after`.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::Sandbox;

/// A queue with one job of this shell line, that has been run once.
fn run_once(options: &str, line: &str) -> Sandbox {
    let queue = Sandbox::new();
    queue.write("job.sh", line);
    queue.push(&format!("{options} -- sh job.sh"));
    queue.qctl("work --drain").succeeds();
    queue
}

/// How each attempt of job 1 ended.
fn outcomes(queue: &Sandbox) -> Vec<Value> {
    let attempts = queue.job(1)["attempts"].clone();
    attempts.as_array().expect("a list").iter().map(|attempt| attempt["outcome"].clone()).collect()
}

/// Milliseconds from the end of the last attempt of job 1 until it is due.
fn pause_ms(queue: &Sandbox) -> i64 {
    let job = queue.job(1);
    let last = job["attempts"].as_array().and_then(|attempts| attempts.last()).expect("an attempt")["ended_at"].clone();
    let at = |time: &Value| {
        let time: jiff::Timestamp = time.as_str().expect("a time").parse().expect("a time");
        time.as_millisecond()
    };
    at(&job["run_at"]) - at(&last)
}

#[test]
fn a_snoozed_job_runs_again_after_its_pause_and_the_attempt_is_not_counted() {
    let mut queue = run_once("--max-attempts 1", "[ -e ready ] || qctl self snooze 10m");
    let job = queue.job(1);
    assert_eq!((&job["state"], &job["attempt"], &job["snoozes"]), (&json!("retrying"), &json!(0), &json!(1)));
    assert_eq!((&job["exit_code"], &job["error"]), (&json!(0), &Value::Null));
    assert_eq!(pause_ms(&queue), 600_000);
    queue.qctl("work --drain").succeeds();
    assert_eq!(outcomes(&queue), ["snoozed"], "not before its time");

    queue.advance("10m");
    queue.qctl("work --drain").succeeds();
    queue.advance("10m");
    queue.write("ready", "");
    queue.qctl("work --drain").succeeds();
    assert_eq!(outcomes(&queue), ["snoozed", "snoozed", "succeeded"]);
    let job = queue.job(1);
    assert_eq!((&job["state"], &job["attempt"], &job["snoozes"]), (&json!("succeeded"), &json!(1), &json!(2)));
    let shown = queue.qctl("show 1").succeeds().out();
    assert!(shown.contains("snoozed   2 times, not counted"), "{shown}");
}

#[test]
fn a_job_that_snoozes_is_snoozed_whatever_its_exit_status() {
    for end in ["exit 0", "exit 3", "kill -9 $$"] {
        let queue = run_once("--max-attempts 1 --dead-on 3", &format!("qctl self snooze 1m\n{end}"));
        assert_eq!(queue.state(1), "retrying", "{end}");
        assert_eq!(outcomes(&queue), ["snoozed"], "{end}");
    }
}

#[test]
fn a_job_that_buries_itself_is_dead_whatever_its_exit_status() {
    for end in ["exit 0", "exit 3"] {
        let queue = run_once("", &format!("qctl self bury 'no customer 7'\n{end}"));
        let job = queue.job(1);
        assert_eq!((&job["state"], &job["reason"]), (&json!("dead"), &json!("buried")), "{end}");
        assert_eq!((&job["error"], &job["attempt"]), (&json!("no customer 7"), &json!(1)), "{end}");
        assert_eq!(outcomes(&queue), ["buried"]);
        assert_eq!(queue.qctl("dlq list").succeeds().out().lines().count(), 1);
    }
}

#[test]
fn a_job_that_buries_itself_without_a_word_is_told_of_by_its_last_line() {
    let queue = run_once("", "qctl self bury; echo 'the disk is gone' >&2; exit 1");
    assert_eq!(queue.job(1)["error"], "the disk is gone");
    let queue = run_once("", "qctl self bury");
    assert_eq!(queue.job(1)["error"], "buried");
}

#[test]
fn the_last_word_counts() {
    let queue = run_once("", "qctl self bury; qctl self snooze 1m");
    assert_eq!(outcomes(&queue), ["snoozed"]);
    let queue = run_once("", "qctl self snooze 1m; qctl self bury; exit 1");
    assert_eq!(outcomes(&queue), ["buried"]);
    let queue = run_once("", "qctl self bury; qctl self retry-after 1m");
    assert_eq!(outcomes(&queue), ["succeeded"]);
}

#[test]
fn a_pause_that_a_job_asks_for_takes_the_place_of_its_backoff_once() {
    let mut queue = run_once(
        "--max-attempts 3 --backoff fixed:1h --jitter none",
        "[ -e said ] || qctl self retry-after 90s; touch said; exit 1",
    );
    assert_eq!((pause_ms(&queue), outcomes(&queue)), (90_000, vec![json!("failed")]));
    assert_eq!(queue.job(1)["attempt"], 1, "it counts");
    queue.advance("90s");
    queue.qctl("work --drain").succeeds();
    assert_eq!(pause_ms(&queue), 3_600_000, "the next goes by the backoff again");
}

#[test]
fn a_pause_that_a_job_asks_for_gives_it_no_further_attempt() {
    let queue = run_once("--max-attempts 1", "qctl self retry-after 1m; exit 1");
    assert_eq!(queue.job(1)["reason"], "exhausted");
    let queue = run_once("--dead-on 65", "qctl self retry-after 1m; exit 65");
    assert_eq!(queue.job(1)["reason"], "permanent");
    let queue = run_once("", "qctl self retry-after 1m");
    assert_eq!(queue.state(1), "succeeded");
}

#[test]
fn a_snooze_does_not_undo_a_timeout_and_a_burial_outlasts_it() {
    let queue = run_once("--timeout 300ms --max-attempts 1", "qctl self snooze 1m; sleep 300");
    assert_eq!((outcomes(&queue), queue.job(1)["reason"].clone()), (vec![json!("timeout")], json!("exhausted")));
    let queue = run_once("--timeout 300ms", "qctl self bury never; sleep 300");
    assert_eq!((outcomes(&queue), queue.job(1)["reason"].clone()), (vec![json!("buried")], json!("buried")));
}

#[test]
fn progress_is_seen_at_once_and_cleared_by_the_next_attempt() {
    let queue = Sandbox::new();
    queue.push("--backoff fixed:0s 'if [ -e said ]; then touch again; else qctl self progress 40% resizing; touch said; fi; while [ -e hold$QCTL_ATTEMPT ]; do sleep 0.02; done; exit 1'");
    queue.sh("touch hold1 hold2").succeeds();
    let worker = queue.start("work");
    queue.wait_until("it has said so", || queue.path("said").exists());
    assert_eq!(queue.job(1)["progress"], json!({ "percent": 40, "message": "resizing" }));
    assert_eq!(queue.qctl("list -F id,progress").succeeds().out(), "1\t40%, resizing\n");
    let shown = queue.qctl("show 1").succeeds().out();
    assert!(shown.contains("progress  40%, resizing"), "{shown}");
    assert!(queue.qctl("why 1").succeeds().out().contains(", 40%, resizing"));
    queue.sh("rm hold1").succeeds();
    queue.wait_until("it runs again", || queue.path("again").exists());
    assert_eq!(queue.job(1)["progress"], Value::Null);
    queue.qctl("cancel 1").succeeds();
    worker.stops().succeeds();
}

#[test]
fn a_snooze_from_deep_within_a_chain_of_processes_counts() {
    let queue = run_once("", "sh -c '(setsid sh -c \"qctl self snooze 1m\"); true' | cat");
    assert_eq!(outcomes(&queue), ["snoozed"]);
}

#[test]
fn what_a_job_says_of_itself_is_not_on_its_stderr() {
    let queue =
        run_once("--max-attempts 1", "echo 'the cause' >&2; qctl self progress 1; qctl self retry-after 1s; exit 1");
    assert_eq!(queue.job(1)["error"], "the cause");
    queue.qctl("logs 1 --stream stdout").succeeds().prints("");
}

#[test]
fn outside_a_job_there_is_nothing_to_speak_for() {
    let queue = Sandbox::new();
    queue.push("true");
    for line in ["self snooze 1m", "self bury", "self progress 1", "self retry-after 1m"] {
        queue.qctl(line).exits(2).says("this is not inside a job");
        queue.sh(&format!("QCTL_JOB_ID=x QCTL_TOKEN=1 qctl {line}")).exits(2);
        queue.sh(&format!("QCTL_JOB_ID=1 QCTL_TOKEN=1 qctl --db other.db {line}")).exits(2).says("another queue file");
    }
    for line in ["self snooze 0s", "self snooze 1M", "self progress 101", "self progress -- -1", "self progress half"] {
        queue.sh(&format!("QCTL_JOB_ID=1 QCTL_TOKEN=1 qctl {line}")).exits(2);
    }
}

#[test]
fn what_an_attempt_left_behind_is_refused_once_the_job_is_anothers() {
    let mut queue = run_once(
        "--backoff fixed:1m --jitter none --max-attempts 2",
        "echo \"QCTL_DB='$QCTL_DB' QCTL_JOB_ID=$QCTL_JOB_ID QCTL_TOKEN=$QCTL_TOKEN\" >>env; [ $QCTL_ATTEMPT = 2 ] || exit 1; while [ -e hold ]; do sleep 0.02; done",
    );
    let words = ["snooze 1m", "bury", "progress 1", "retry-after 1m"];
    let say = |queue: &Sandbox| {
        let first = queue.read("env").lines().next().expect("its environment").to_owned();
        for word in words {
            queue.sh(&format!("{first} qctl self {word}")).exits(4).says("job 1 is no longer this attempt's");
        }
    };
    say(&queue);
    queue.write("hold", "");
    queue.advance("1m");
    let worker = queue.start("work --drain");
    queue.wait_for_lines("env", 2);
    say(&queue);
    queue.sh("rm hold").succeeds();
    worker.ends().succeeds();
    say(&queue);
    let job = queue.job(1);
    assert_eq!((&job["state"], &job["snoozes"], &job["progress"]), (&json!("succeeded"), &json!(0), &Value::Null));
}

#[test]
fn a_wish_dies_with_an_attempt_that_was_handed_back_cancelled_or_lost() {
    let line = "qctl self bury; touch said; while :; do sleep 0.02; done";
    let running = || {
        let queue = Sandbox::new();
        queue.write("job.sh", line);
        queue.push("-- sh job.sh");
        let worker = queue.start("work --grace 0s");
        queue.wait_until("it has said so", || queue.path("said").exists());
        (queue, worker)
    };
    let (queue, worker) = running();
    worker.signal(Signal::SIGTERM);
    worker.ends().succeeds();
    assert_eq!((outcomes(&queue), queue.state(1)), (vec![json!("released")], "ready".to_owned()));

    let (queue, worker) = running();
    queue.qctl("cancel 1").succeeds();
    queue.wait_for_state(1, "cancelled");
    assert_eq!(outcomes(&queue), ["cancelled"]);
    worker.stops().succeeds();

    let (queue, worker) = running();
    worker.dies();
    queue.write("job.sh", "true");
    queue.qctl("work --drain").succeeds();
    assert_eq!((outcomes(&queue), queue.state(1)), (vec![json!("lost"), json!("succeeded")], "succeeded".to_owned()));
}

#[test]
fn a_worker_says_that_a_job_snoozed_or_was_buried() {
    let queue = Sandbox::new();
    queue.push("'qctl self snooze 5m; exit 1'");
    queue.push("'qctl self bury \"no customer\"'");
    let said = queue.qctl("work --drain").succeeds().err();
    assert!(said.contains("snoozed after ") && said.contains("; next attempt in 5m"), "{said}");
    assert!(said.contains("buried (no customer) after ") && said.contains("; dead: it said so itself"), "{said}");
    queue.push("-Q mail 'qctl self snooze 5m'");
    let summary = queue.qctl("work -Q mail --drain --json").succeeds().json()["summary"].clone();
    assert_eq!((&summary["retrying"], &summary["succeeded"]), (&json!(1), &json!(0)));
}

#[test]
fn why_says_until_when_a_job_is_snoozed() {
    let queue = run_once("", "qctl self snooze 2h");
    let why = queue.qctl("why 1").succeeds().out();
    assert!(why.contains("it asked to be run again later: snoozed until ") && why.contains("in 1h 59m"), "{why}");
    assert_eq!(queue.qctl("why 1 --json").succeeds().json()["reasons"][0]["code"], "snoozed");
}

#[test]
fn a_snoozed_job_is_waited_for_to_its_end() {
    let queue = Sandbox::new();
    queue.push("'[ -e tried ] || { touch tried; qctl self snooze 300ms; }'");
    let worker = queue.start("work");
    queue.qctl("wait 1 --timeout 60s").succeeds();
    assert_eq!(outcomes(&queue), ["snoozed", "succeeded"]);
    worker.stops().succeeds();
    // And by whoever runs it.
    let worker = queue.start("work");
    queue.qctl("run '[ -e again ] || { touch again; qctl self snooze 300ms; exit 7; }'").succeeds();
    worker.stops().succeeds();
}

#[test]
fn snoozes_are_neither_failures_nor_successes_in_the_stats() {
    let queue = Sandbox::new();
    queue.push("'qctl self snooze 1h'");
    queue.push("'qctl self bury'");
    queue.qctl("work --drain").succeeds();
    let stats = queue.qctl("stats --json").succeeds().json()["queues"][0].clone();
    assert_eq!((&stats["done"], &stats["failed"], &stats["retrying"]), (&json!(0), &json!(1), &json!(1)));
}
