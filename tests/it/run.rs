//! `run` queues a command, waits for it, and ends as it did.

use nix::sys::signal::Signal;

use crate::support::Sandbox;

#[test]
fn output_goes_to_its_streams_and_the_status_is_the_commands() {
    let queue = Sandbox::new();
    let _worker = queue.start("work");
    let output = queue.qctl("run 'echo out; echo err >&2; exit 7'").exits(7).prints("out\n");
    assert_eq!(output.err(), "err\n");
    queue.qctl("run -- printf %s done").succeeds().prints("done");
    queue.qctl("run -- no-such-command x").exits(127).says("command not found");
    queue.qctl("run -- /etc/passwd x").exits(126);
    queue.qctl("run 'kill -9 $$'").exits(137);
    queue.qctl("run --timeout 50ms -- sleep 300").exits(124);
}

#[test]
fn it_is_tried_once_unless_more_is_asked_for() {
    let queue = Sandbox::new();
    let _worker = queue.start("work");
    queue.qctl("run 'echo tried; exit 1'").exits(1).prints("tried\n");
    let again = "run --max-attempts 3 --backoff fixed:10ms 'echo try $QCTL_ATTEMPT; [ $QCTL_ATTEMPT = 3 ]'";
    queue.qctl(again).succeeds().prints("try 1\ntry 2\ntry 3\n");
}

#[test]
fn an_interrupt_cancels_the_job() {
    let queue = Sandbox::new();
    let _worker = queue.start("work");
    let run = queue.start("run 'touch started; sleep 300'");
    queue.wait_until("the job runs", || queue.path("started").exists());
    run.signal(Signal::SIGINT);
    run.ends().exits(130);
    assert_eq!(queue.state(1), "cancelled");
}

#[test]
fn run_says_whose_end_it_waits_for_where_its_key_is_held() {
    let queue = Sandbox::new();
    queue.push("--key k --max-attempts 1 'exit 3'");
    queue.qctl("work --drain").succeeds();
    let output = queue.qctl("run --json --key k 'exit 4'").exits(3);
    let output = output.says("the key is held by job 1, which is dead: exhausted, ").says("and has another command; ");
    let answer = output.says("this ends as that job does").gives("job").json();
    assert_eq!((&answer["outcome"], &answer["differs"]), (&"existing".into(), &serde_json::json!(["command"])));
}
