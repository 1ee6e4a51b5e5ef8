//! `why` names the reason for every state, and the command that it names changes it.

use crate::support::Sandbox;

/// The codes of the reasons, in order.
fn codes(queue: &Sandbox, id: i64) -> Vec<String> {
    let lines = queue.qctl(&format!("why {id}")).succeeds().says_nothing().out();
    lines.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

/// The command that the first reason names.
fn cure(queue: &Sandbox, id: i64) -> String {
    let document = queue.qctl(&format!("why {id} --json")).succeeds().json();
    document["reasons"][0]["hint"].as_str().expect("a hint").to_owned()
}

#[test]
fn a_paused_queue_is_named_and_resumed_by_what_is_said() {
    let queue = Sandbox::new();
    let id = queue.push("-Q mail true");
    queue.qctl("queue pause mail").succeeds();
    assert_eq!(codes(&queue, id), ["paused", "no_worker"]);
    queue.sh(&cure(&queue, id)).succeeds();
    assert_eq!(codes(&queue, id), ["no_worker"]);
}

#[test]
fn a_job_that_is_not_due_says_when_and_is_made_ready_by_what_is_said() {
    let queue = Sandbox::new();
    let id = queue.push("--delay 2h true");
    assert_eq!(codes(&queue, id), ["not_due", "no_worker"]);
    let text = queue.qctl(&format!("why {id}")).succeeds().out();
    assert!(text.contains(", in 1h 59m") || text.contains(", in 2h"), "{text}");
    queue.sh(&cure(&queue, id)).succeeds();
    assert_eq!(queue.state(id), "ready");
}

#[test]
fn a_backoff_says_what_failed_and_until_when() {
    let queue = Sandbox::new();
    let id = queue.push("--backoff fixed:1h --jitter none 'echo no luck >&2; exit 3'");
    queue.qctl("work --drain").succeeds();
    assert_eq!(codes(&queue, id)[0], "backing_off");
    let text = queue.qctl(&format!("why {id}")).succeeds().out();
    assert!(text.contains("attempt 1 of 5 ended with exit 3: no luck; it backs off until "), "{text}");
    assert!(text.contains("the last one left "), "{text}");
    queue.sh(&cure(&queue, id)).succeeds();
    assert_eq!(queue.state(id), "ready");
}

#[test]
fn a_delivery_whose_subscription_is_paused_goes_on_with_that() {
    let queue = Sandbox::new();
    queue.qctl("subscription add welcome user.* true").succeeds();
    queue.qctl("publish user.joined").succeeds();
    queue.qctl("subscription pause welcome").succeeds();
    queue.qctl("publish user.joined").succeeds();
    assert_eq!(codes(&queue, 1), ["paused", "no_worker"]);
    assert_eq!(cure(&queue, 1), "qctl subscription resume welcome");
    queue.sh(&cure(&queue, 1)).succeeds();
    queue.qctl("work --drain -q").succeeds();
    assert_eq!(queue.ids("succeeded").len(), 2);
}

#[test]
fn a_queue_without_a_worker_and_a_payload_without_a_handler_are_told_apart() {
    let queue = Sandbox::new();
    let id = queue.push("-Q pay --payload x");
    assert_eq!(codes(&queue, id), ["no_worker"]);
    assert_eq!(cure(&queue, id), "qctl work -Q pay -- HANDLER");
    let worker = queue.start("work -Q pay");
    queue.wait_until("it is told that a handler is missing", || codes(&queue, id) == ["no_handler"]);
    worker.stops().succeeds();
    let handling = queue.start("work -Q pay -- cat");
    queue.wait_for_state(id, "succeeded");
    handling.stops().succeeds();
    assert_eq!(codes(&queue, id), ["succeeded"]);
}

#[test]
fn a_running_job_says_where_and_one_behind_it_that_every_slot_is_taken() {
    let queue = Sandbox::new();
    let first = queue.push("'touch up; read x < fifo'");
    let second = queue.push("true");
    queue.sh("mkfifo fifo").succeeds();
    let worker = queue.start("work");
    queue.wait_until("it runs", || queue.path("up").exists());
    queue.wait_for_state(first, "running");
    assert_eq!(codes(&queue, first), ["running"]);
    assert_eq!(cure(&queue, first), format!("qctl logs -f {first}"));
    queue.wait_until("the second is told to wait", || codes(&queue, second) == ["busy"]);
    let text = queue.qctl(&format!("why {second}")).succeeds().out();
    assert!(text.contains("it is the next of its queue; 1 worker with 1 slot in all"), "{text}");
    queue.sh("echo > fifo").succeeds();
    queue.wait_for_state(second, "succeeded");
    worker.stops().succeeds();
}

#[test]
fn a_job_in_a_pause_between_its_steps_says_what_ends_it() {
    let queue = Sandbox::new();
    let id =
        queue.push("'set -e; qctl step \"two words\" -- sh -c \"qctl step sleep 3d\"; qctl step sleep 2h; touch over'");
    queue.qctl("work --drain").succeeds();
    let text = queue.qctl(&format!("why {id}")).succeeds().out();
    assert!(text.contains("its step two words/sleep lets time pass until "), "{text}");
    assert_eq!(codes(&queue, id)[0], "snoozed");
    let wake = |cure: &str| {
        assert_eq!(queue.qctl(&format!("why {id} --json")).json()["reasons"][0]["hint"], cure);
        queue.sh(cure).succeeds();
        queue.qctl("work --drain").succeeds();
    };
    wake(&format!("qctl step set --job {id} 'two words/sleep' '' && qctl update {id} --delay 0s"));
    assert_eq!(queue.state(id), "retrying");
    queue.qctl(&format!("step set --job {id} sleep#2 x")).exits(2).says("a value is not called sleep");
    wake(&format!("qctl step set --job {id} sleep '' && qctl update {id} --delay 0s"));
    assert_eq!((queue.state(id).as_str(), queue.path("over").exists()), ("succeeded", true));
}

#[test]
fn what_is_over_says_how_and_how_to_have_it_again() {
    let queue = Sandbox::new();
    let dead = queue.push("--max-attempts 1 'exit 7'");
    let cancelled = queue.push("--delay 1h true");
    queue.qctl("work --drain").succeeds();
    queue.qctl(&format!("cancel {cancelled}")).succeeds();
    assert_eq!(
        (codes(&queue, dead), codes(&queue, cancelled)),
        (vec!["dead".to_owned()], vec!["cancelled".to_owned()])
    );
    queue.sh(&cure(&queue, cancelled)).succeeds();
    assert_eq!(queue.state(cancelled), "ready");
    assert!(cure(&queue, dead).contains(&format!("qctl dlq requeue {dead}")));
    queue.qctl("why 99").exits(3).says("there is no job 99");
}

#[test]
fn a_job_of_a_dead_worker_says_that_the_next_takes_it_up() {
    let queue = Sandbox::new();
    let id = queue.push("'echo $$ > pid; sleep 1000'");
    let worker = queue.start("work");
    queue.wait_for_lines("pid", 1);
    queue.wait_for_state(id, "running");
    worker.dies();
    assert_eq!(codes(&queue, id), ["worker_died"]);
    for pid in queue.pids("pid") {
        queue.sh(&format!("kill -9 -{pid}")).succeeds();
    }
}
