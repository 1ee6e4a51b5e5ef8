//! What changes jobs and queues: `retry`, `cancel`, `queue`.

use crate::support::Sandbox;

#[test]
fn retry_puts_a_finished_job_back_under_its_old_id() {
    let queue = Sandbox::new();
    queue.push("true");
    queue.push("--delay 1h true");
    queue.qctl("work --drain").succeeds();
    queue.qctl("cancel 2").succeeds().prints("").says_nothing();
    queue.qctl("retry 1-2").succeeds().prints("").says_nothing();
    assert_eq!(queue.ids("ready"), [1, 2]);
    assert_eq!(queue.job(1)["attempt"], 0);
    queue.qctl("retry 1").exits(4).says("job 1 is ready");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.job(1)["attempts"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_unknown_job_is_told_before_any_other_is_touched() {
    let queue = Sandbox::new();
    queue.push("true");
    queue.qctl("cancel 1 99").exits(3).says("there is no job 99");
    assert_eq!(queue.state(1), "ready");
    queue.qctl("kill 1").succeeds();
    queue.qctl("cancel 1").exits(4).says("job 1 has already been cancelled");
    queue.qctl("retry 7-9").exits(3);
}

#[test]
fn a_paused_queue_waits_until_it_is_resumed() {
    let queue = Sandbox::new();
    queue.push("-Q mail true");
    queue.qctl("queue pause mail").succeeds().says_nothing();
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(1), "ready");
    assert_eq!(queue.qctl("queue list --json").json()["queues"][0]["paused"], true);
    queue.qctl("queue resume mail").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(1), "succeeded");
}

#[test]
fn a_queue_that_does_not_exist_is_not_paused_nor_shown() {
    let queue = Sandbox::new();
    queue.push("-Q mail true");
    queue.qctl("queue pause mail nowhere").exits(3).says("there is no queue nowhere");
    assert_eq!(queue.qctl("queue list --json").json()["queues"][0]["paused"], false);
    queue.qctl("queue show nowhere").exits(3);
    queue.qctl("queue set mail").exits(2).says("nothing is set");
}

#[test]
fn show_tells_a_queues_own_settings_from_the_defaults() {
    let queue = Sandbox::new();
    queue.qctl("queue set mail --backoff list:1s,5s --dead-on 65,100-110").succeeds();
    let shown = queue.qctl("queue show mail").succeeds().out();
    for line in
        ["backoff\tlist:1s,5s\n", "dead-on\t65,100-110\n", "max-attempts\t5 (default)\n", "jitter\thalf (default)\n"]
    {
        assert!(shown.contains(line), "{line:?} is missing in\n{shown}");
    }
    queue.qctl("queue set mail --dead-on none").succeeds();
    assert!(queue.qctl("queue show mail").out().contains("dead-on\tnone\n"));
}

#[test]
fn an_update_moves_a_waiting_job_in_priority_time_and_queue() {
    let queue = Sandbox::new();
    let id = queue.push("true");
    let now =
        queue.qctl(&format!("update {id} --priority 7 --delay 1h -Q slow --max-attempts 9 --json")).succeeds().json();
    assert_eq!(now["jobs"][0], serde_json::json!({ "id": 1, "outcome": "updated", "state": "scheduled" }));
    let job = queue.job(id);
    assert_eq!((&job["priority"], &job["queue"], &job["max_attempts"]), (&7.into(), &"slow".into(), &9.into()));
    queue.qctl(&format!("update {id} --at 2126-01-01T00:00:00Z")).succeeds().says("not before 2126-01-01 00:00:00 UTC");
    queue.qctl(&format!("update {id} --delay 0s --timeout 5m")).succeeds();
    queue.qctl("work --drain").succeeds();
    queue.qctl(&format!("update {id} --priority 1")).exits(4).says("job 1 is succeeded; that cannot be changed now");
    queue.qctl(&format!("update {id}")).exits(2).says("nothing is to be changed");
    queue.qctl("update 99 --priority 1").exits(3);
}

#[test]
fn an_update_to_a_queue_where_its_key_is_held_is_refused() {
    let queue = Sandbox::new();
    let holder = queue.push("-Q mail --key k true");
    let id = queue.push("--key k true");
    queue.qctl(&format!("update {id} -Q mail")).exits(4).says(&format!("job {holder} holds its key there"));
    assert_eq!(queue.job(id)["queue"], "default");
}
