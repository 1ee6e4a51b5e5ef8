//! A failed job is tried again as its terms say, and what is past trying waits in the dead-letter
//! queue.

use serde_json::Value;

use crate::support::Sandbox;

/// An instant of the JSON, in milliseconds.
#[track_caller]
fn millis(instant: &Value) -> i64 {
    let text = instant.as_str().unwrap_or_else(|| panic!("{instant} is no instant"));
    text.parse::<jiff::Timestamp>().expect("RFC 3339").as_millisecond()
}

/// The pause that a retrying job has been given, in milliseconds.
#[track_caller]
fn pause(job: &Value) -> i64 {
    assert_eq!(job["state"], "retrying", "{job}");
    let last = job["attempts"].as_array().and_then(|attempts| attempts.last()).expect("an attempt");
    millis(&job["run_at"]) - millis(&last["ended_at"])
}

/// The pauses of a job with these options that fails and fails again, in seconds.
#[track_caller]
fn pauses(options: &str, n: usize) -> Vec<i64> {
    let mut queue = Sandbox::new();
    let id = queue.push(&format!("{options} 'exit 3'"));
    let mut pauses = Vec::new();
    for _ in 0..n {
        queue.qctl("work --drain").succeeds();
        let pause = pause(&queue.job(id));
        assert_eq!(pause % 1000, 0, "{pause}");
        pauses.push(pause / 1000);
        queue.advance(&format!("{pause}ms"));
    }
    pauses
}

/// The first pauses of 40 jobs with these options, in milliseconds.
fn draws(options: &str) -> Vec<i64> {
    let queue = Sandbox::new();
    let lines = format!("for i in $(seq 40); do qctl push {options} 'exit 3'; done");
    queue.sh(&lines).succeeds();
    queue.qctl("work --drain --log none").succeeds();
    (1..=40).map(|id| pause(&queue.job(id))).collect()
}

#[test]
fn a_job_that_fails_is_tried_as_often_as_it_may() {
    let queue = Sandbox::new();
    let id = queue.push("--max-attempts 4 --backoff fixed:1ms 'echo >> tries; exit 3'");
    queue.qctl("work --drain --wait-due 1m").succeeds();
    assert_eq!(queue.read("tries").lines().count(), 4);
    let job = queue.job(id);
    assert_eq!((&job["state"], &job["attempt"]), (&"dead".into(), &4.into()), "{job}");
    let attempts = job["attempts"].as_array().expect("a list");
    let ends: Vec<_> = attempts.iter().map(|one| (one["outcome"].as_str(), one["exit_code"].as_i64())).collect();
    assert_eq!(ends, [(Some("failed"), Some(3)); 4]);
}

#[test]
fn a_job_that_succeeds_is_not_tried_again() {
    let queue = Sandbox::new();
    let id = queue.push("--backoff fixed:1ms 'echo >> tries; test $(grep -c . tries) -ge 0; test $QCTL_ATTEMPT = 2'");
    queue.qctl("work --drain --wait-due 1m").succeeds();
    let job = queue.job(id);
    assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &2.into()), "{job}");
    assert_eq!(queue.read("tries").lines().count(), 2);
}

#[test]
fn the_next_attempt_waits_for_the_pause_to_pass() {
    let queue = Sandbox::new();
    let id = queue.push("--max-attempts 3 --backoff fixed:300ms --jitter none 'exit 3'");
    queue.qctl("work --drain --wait-due 1m").succeeds();
    let job = queue.job(id);
    let attempts = job["attempts"].as_array().expect("a list");
    for pair in attempts.windows(2) {
        let pause = millis(&pair[1]["started_at"]) - millis(&pair[0]["ended_at"]);
        assert!((300..5000).contains(&pause), "{pause} ms\n{job}");
    }
}

#[test]
fn fixed_pauses_are_all_the_same() {
    assert_eq!(pauses("--backoff fixed:90s --jitter none", 3), [90, 90, 90]);
}

#[test]
fn listed_pauses_are_taken_in_turn_and_the_last_repeats() {
    assert_eq!(pauses("--backoff list:1s,1m,5s --jitter none", 4), [1, 60, 5, 5]);
}

#[test]
fn exponential_pauses_double_up_to_their_cap() {
    assert_eq!(pauses("--max-attempts 6 --backoff exp:10s..1m --jitter none", 5), [10, 20, 40, 60, 60]);
}

#[test]
fn half_jitter_draws_the_second_half_of_each_pause() {
    let draws = draws("--backoff fixed:100s --jitter half");
    assert!(draws.iter().all(|pause| (50_000..=100_000).contains(pause)), "{draws:?}");
    assert!(draws.iter().any(|pause| *pause != draws[0]), "{draws:?}");
}

#[test]
fn full_jitter_draws_the_whole_pause() {
    let draws = draws("--backoff fixed:100s --jitter full");
    assert!(draws.iter().all(|pause| (0..=100_000).contains(pause)), "{draws:?}");
    assert!(draws.iter().any(|pause| *pause < 50_000), "{draws:?}");
}

#[test]
fn without_a_word_pauses_begin_at_ten_seconds_less_up_to_a_half() {
    let draws = draws("");
    assert!(draws.iter().all(|pause| (5_000..=10_000).contains(pause)), "{draws:?}");
}

#[test]
fn each_attempt_keeps_its_own_output() {
    let queue = Sandbox::new();
    queue.push("--max-attempts 3 --backoff fixed:1ms 'echo out $QCTL_ATTEMPT; echo err $QCTL_ATTEMPT >&2; exit 3'");
    queue.qctl("work --drain --wait-due 1m").succeeds();
    for n in 1..=3 {
        let output = queue.qctl(&format!("logs 1 --attempt {n}")).succeeds().prints(&format!("out {n}\n"));
        assert_eq!(output.err(), format!("err {n}\n"));
    }
    queue.qctl("logs 1").prints("out 3\n");
    queue.qctl("logs 1 --attempt 4").exits(3).prints("");
}

#[test]
fn an_exhausted_job_is_listed_dead_with_the_last_line_of_its_stderr() {
    let queue = Sandbox::new();
    let id = queue.push("-Q mail --max-attempts 1 'echo first >&2; echo no such host >&2; exit 3'");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.job(id)["reason"], "exhausted");
    let list = queue.qctl("dlq list").succeeds().out();
    let fields: Vec<&str> = list.trim_end().split('\t').collect();
    assert_eq!((fields[0], fields[1], fields[2]), ("1", "mail", "exhausted"), "{list}");
    assert!(list.contains("\texit 3: no such host\t"), "{list}");
    assert!(!list.contains("first\t"), "{list}");
}

#[test]
fn a_dead_job_succeeds_under_its_old_id_once_its_cause_is_mended_and_it_is_requeued() {
    let queue = Sandbox::new();
    let id = queue.push("--max-attempts 2 --backoff fixed:1ms 'test -e mended'");
    queue.qctl("work --drain --wait-due 1m").succeeds();
    assert_eq!(queue.state(id), "dead");

    queue.write("mended", "");
    queue.qctl(&format!("dlq requeue {id}")).succeeds();
    let job = queue.job(id);
    assert_eq!((&job["state"], &job["attempt"], &job["reason"]), (&"ready".into(), &0.into(), &Value::Null), "{job}");
    queue.qctl("dlq list").succeeds().prints("");

    queue.qctl("work --drain").succeeds();
    let job = queue.job(id);
    assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &1.into()), "{job}");
    assert_eq!(job["attempts"].as_array().map(Vec::len), Some(3), "{job}");
    assert_eq!(queue.ids("succeeded"), [id]);
}

#[test]
fn a_requeued_job_that_fails_on_has_all_its_attempts_again() {
    let queue = Sandbox::new();
    let id = queue.push("--max-attempts 2 --backoff fixed:1ms 'echo >> tries; exit 3'");
    queue.qctl("work --drain --wait-due 1m").succeeds();
    queue.qctl(&format!("dlq requeue {id}")).succeeds();
    queue.qctl("work --drain --wait-due 1m").succeeds();
    assert_eq!(queue.state(id), "dead");
    assert_eq!(queue.read("tries").lines().count(), 4);
}

#[test]
fn an_exit_status_that_is_final_kills_a_job_at_once() {
    let queue = Sandbox::new();
    let ids = ["64", "65", "100", "105"].map(|code| queue.push(&format!("--dead-on 65,100-110 'exit {code}'")));
    queue.qctl("work --drain").succeeds();
    assert_eq!(ids.map(|id| queue.state(id)), ["retrying", "dead", "dead", "dead"]);
    let job = queue.job(ids[1]);
    assert_eq!((&job["reason"], &job["attempt"]), (&"permanent".into(), &1.into()), "{job}");
}

#[test]
fn a_job_not_started_in_time_is_dead_and_never_runs() {
    let mut queue = Sandbox::new();
    let id = queue.push("--expires 1h 'echo >> ran'");
    queue.advance("61m");
    queue.qctl("work --drain").succeeds().says("not started in time");
    let job = queue.job(id);
    assert_eq!((&job["state"], &job["reason"]), (&"dead".into(), &"expired".into()), "{job}");
    assert!(!queue.path("ran").exists());
}

#[test]
fn a_job_started_in_time_does_not_expire_between_its_attempts() {
    let mut queue = Sandbox::new();
    let id = queue.push("--expires 1h --backoff fixed:2h 'test $QCTL_ATTEMPT = 2'");
    queue.qctl("work --drain").succeeds();
    queue.advance("3h");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(id), "succeeded");
}

#[test]
fn a_delayed_job_does_not_run_before_its_time() {
    let mut queue = Sandbox::new();
    let id = queue.push("--delay 1h true");
    queue.advance("59m");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(id), "scheduled");
    queue.advance("1m");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(id), "succeeded");
}

#[test]
fn a_retrying_job_does_not_run_before_its_time() {
    let mut queue = Sandbox::new();
    let id = queue.push("--backoff fixed:1h --jitter none 'test -e mended'");
    queue.qctl("work --drain").succeeds();
    queue.write("mended", "");
    queue.advance("59m");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(id), "retrying");
    queue.advance("1m");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(id), "succeeded");
}

/// The end of the only attempt that a job has had.
#[track_caller]
fn only_attempt(queue: &Sandbox, id: i64) -> Value {
    let job = queue.job(id);
    assert_eq!(job["attempts"].as_array().map(Vec::len), Some(1), "{job}");
    job["attempts"][0].clone()
}

#[test]
fn a_command_that_is_not_found_fails_with_127() {
    let queue = Sandbox::new();
    let ids = ["no-such-program x", "./no-such-program x"].map(|words| queue.push(&format!("-- {words}")));
    queue.qctl("work --drain").succeeds();
    for id in ids {
        let attempt = only_attempt(&queue, id);
        assert_eq!((&attempt["outcome"], &attempt["exit_code"]), (&"failed".into(), &127.into()), "{attempt}");
        assert!(attempt["error"].as_str().expect("an error").contains("not found"), "{attempt}");
        assert_eq!(queue.state(id), "retrying");
        queue.qctl(&format!("logs {id}")).succeeds().says("no-such-program");
    }
}

#[test]
fn a_command_that_cannot_be_executed_fails_with_126() {
    let queue = Sandbox::new();
    queue.write("plain", "no program");
    let id = queue.push("-- ./plain x");
    queue.qctl("work --drain").succeeds();
    let attempt = only_attempt(&queue, id);
    assert_eq!((&attempt["outcome"], &attempt["exit_code"]), (&"failed".into(), &126.into()), "{attempt}");
}

#[test]
fn a_working_directory_that_is_gone_is_a_failed_attempt() {
    let queue = Sandbox::new();
    std::fs::create_dir(queue.path("gone")).expect("a folder");
    let id = queue.push("--cwd gone --max-attempts 2 --backoff fixed:1ms true");
    std::fs::remove_dir(queue.path("gone")).expect("it is empty");
    queue.qctl("work --once").succeeds();
    let attempt = only_attempt(&queue, id);
    assert_eq!(attempt["outcome"], "failed", "{attempt}");
    assert!(attempt["error"].as_str().expect("an error").contains("gone"), "{attempt}");

    std::fs::create_dir(queue.path("gone")).expect("a folder");
    queue.qctl("work --drain --wait-due 1m").succeeds();
    assert_eq!(queue.state(id), "succeeded");
}

#[test]
fn a_command_that_dies_of_a_signal_has_failed() {
    let queue = Sandbox::new();
    let id = queue.push("'kill -SEGV $$'");
    queue.qctl("work --drain").succeeds();
    let attempt = only_attempt(&queue, id);
    assert_eq!((&attempt["outcome"], &attempt["signal"]), (&"failed".into(), &11.into()), "{attempt}");
    assert_eq!((&attempt["exit_code"], &attempt["error"]), (&Value::Null, &"signal 11".into()), "{attempt}");
}
