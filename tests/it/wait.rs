//! `wait` returns when jobs are done with, and its status says how that went.

use crate::support::Sandbox;

fn mixed() -> Sandbox {
    let queue = Sandbox::new();
    queue.push("-l build=1 true");
    queue.push("-l build=1 -l part=b --max-attempts 1 'echo why >&2; exit 3'");
    queue.push("-l build=2 --delay 1h true");
    queue.qctl("work --drain").succeeds();
    queue
}

#[test]
fn the_status_tells_success_from_death_and_from_the_time_being_up() {
    let queue = mixed();
    queue.qctl("wait 1").succeeds().prints("").says_nothing();
    queue.qctl("wait 1-2").exits(1).prints("").says("job 2 dead: exit 3: why");
    queue.qctl("wait 1 3 --timeout 20ms").exits(124).says("still waiting for job 3");
    queue.qctl("wait 99").exits(3).says("there is no job 99");
    queue.qctl("wait").exits(2);
    queue.qctl("cancel 3").succeeds();
    queue.qctl("wait 3").exits(1).says("job 3 cancelled");
}

#[test]
fn labels_and_queues_name_jobs_too() {
    let queue = mixed();
    queue.qctl("wait -l build=1").exits(1);
    queue.qctl("wait -l build=1 -l part=b").exits(1);
    queue.qctl("wait -l build=3").exits(3).says("no job has these labels");
    queue.qctl("wait -Q default --timeout 20ms").exits(124);
    queue.qctl("wait -Q nowhere").exits(3).says("there is no queue nowhere");
}

#[test]
fn any_and_fail_fast_return_before_all_are_done() {
    let queue = mixed();
    queue.qctl("wait --any 1 3").succeeds();
    queue.qctl("wait --fail-fast 2 3").exits(1);
}

#[test]
fn it_returns_when_the_job_ends_and_says_when_nobody_serves_its_queue() {
    let queue = Sandbox::new();
    queue.push("true");
    let waiting = queue.start_sh("exec qctl wait 1 2>said");
    queue.wait_for_text("said", "no worker serves default");
    queue.qctl("work --drain").succeeds();
    waiting.ends().succeeds();
}
