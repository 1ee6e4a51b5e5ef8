//! What is pushed inside of a step is queued once, however often the step is run.

use std::collections::BTreeSet;

use crate::support::Sandbox;

/// A job with one step, the lines of which are in the file `step`.
fn with_step(lines: &str) -> Sandbox {
    let queue = Sandbox::new();
    queue.write("step", lines);
    queue.push("-Q outer --max-attempts 1 'worker=$PPID qctl step tell -- sh -e step'");
    queue
}

/// Kills the worker and with it all of the job; for a step, the first time that it comes here.
const CRASH: &str = "[ -e crashed ] || { touch crashed; kill -9 $worker 0; }\n";

/// Works the outer job until it is done.
#[track_caller]
fn work(queue: &Sandbox) {
    queue.qctl("work -Q outer --drain --quiet").succeeds();
    assert_eq!(queue.state(1), "succeeded");
}

/// Lets the first worker die in the step, and another one do it again.
#[track_caller]
fn work_twice(queue: &Sandbox) {
    queue.qctl("work -Q outer --drain --quiet").exits(137);
    assert_eq!(step(queue)["state"], "running", "as far as anyone knows");
    work(queue);
}

/// The step of the outer job.
fn step(queue: &Sandbox) -> serde_json::Value {
    queue.qctl("step list 1 --json").succeeds().json()["steps"][0].clone()
}

/// The commands of the jobs in the default queue, in their order.
fn commands(queue: &Sandbox) -> Vec<String> {
    let list = queue.qctl("list -Q default --reverse -F command").succeeds().out();
    list.lines().map(str::to_owned).collect()
}

fn key(queue: &Sandbox, job: i64) -> String {
    queue.job(job)["key"].as_str().expect("a key").to_owned()
}

#[test]
fn a_step_that_died_after_its_push_meets_its_own_job() {
    let queue = with_step(&format!("qctl push echo\n{CRASH}"));
    work_twice(&queue);
    assert_eq!(commands(&queue), ["echo"]);
    queue.qctl("step get --job 1 tell").prints("2\n");
    let made_from = format!("step-{}-", step(&queue)["key"].as_str().expect("a key"));
    assert!(key(&queue, 2).starts_with(&made_from), "{}", key(&queue, 2));
}

#[test]
fn two_different_pushes_of_one_step_are_two_jobs() {
    let pushes = "qctl push -- echo a\nqctl push -- echo b\nqctl push -Q more -- echo a\n\
                  qctl push --payload x -- echo a\nqctl push --env N=1 -- echo a\nqctl push --env N=2 -- echo a\n\
                  qctl push -l N=1 -- echo a\nqctl push --cwd / -- echo a\n";
    let queue = with_step(&format!("{pushes}{CRASH}"));
    work_twice(&queue);
    assert_eq!(queue.ids("ready").len(), pushes.lines().count());
}

#[test]
fn the_same_push_twice_in_one_step_is_one_job_unless_each_has_a_key() {
    let same = "qctl push echo\nqctl push echo\nqctl push --priority 5 --delay 1h echo\n";
    let queue = with_step(&format!("{same}qctl push --key a echo\nqctl push --key b echo\n"));
    work(&queue);
    queue.qctl("step get --job 1 tell").prints("2\n2\n2\n3\n4\n");
}

#[test]
fn an_explicit_key_is_taken_as_it_is() {
    let queue = with_step("qctl push --key k echo\nqctl push --key auto echo\n");
    let auto = queue.qctl("push -Q other --key auto --json echo").succeeds().json()["key"].clone();
    work(&queue);
    assert_eq!((key(&queue, 3), &key(&queue, 4).into()), ("k".to_owned(), &auto));
}

#[test]
fn equal_lines_of_one_import_are_as_many_jobs_however_often_it_is_run() {
    let lines = "echo\n{\"shell\":\"echo\"}\n{\"shell\":\"echo\",\"queue\":\"default\"}\necho b\n{\"shell\":\"echo\",\"key\":\"k\"}\n";
    let queue = with_step(&format!("qctl import lines\n{CRASH}"));
    queue.write("lines", lines);
    work_twice(&queue);
    assert_eq!(commands(&queue), ["echo", "echo", "echo", "echo b", "echo"]);
    queue.qctl("step get --job 1 tell").prints("2\n3\n4\n5\n6\n");
    assert_eq!(key(&queue, 3), key(&queue, 2) + "-2");
    assert_eq!(key(&queue, 6), "k");
}

#[test]
fn an_import_to_which_a_line_was_added_queues_that_line() {
    let queue = with_step(&format!("qctl import lines\n{CRASH}"));
    queue.write("lines", "echo a\necho a\n");
    queue.qctl("work -Q outer --drain --quiet").exits(137);
    queue.write("lines", "echo new\necho a\necho a\n");
    work(&queue);
    assert_eq!(commands(&queue), ["echo a", "echo a", "echo new"]);
}

#[test]
fn a_run_that_is_run_again_ends_as_the_job_that_it_queued() {
    let queue = with_step(&format!("qctl run -Q inner 'echo ran >>runs; echo out' >output\n{CRASH}cat output\n"));
    let worker = queue.start("work -Q inner --quiet");
    work_twice(&queue);
    worker.stops();
    assert_eq!(queue.read("runs"), "ran\n");
    queue.qctl("step get --job 1 tell").prints("out\n");
}

#[test]
fn a_run_whose_key_is_held_no_longer_than_it_runs_is_run_anew() {
    let queue = with_step("qctl run -Q inner --key-ttl none 'echo ran >>runs; [ -e mended ]'\n");
    let worker = queue.start("work -Q inner --quiet");
    queue.qctl("work -Q outer --drain --quiet").succeeds();
    assert_eq!(queue.state(1), "dead");
    queue.write("mended", "");
    queue.qctl("dlq requeue 1").succeeds();
    work(&queue);
    worker.stops();
    assert_eq!(queue.read("runs"), "ran\nran\n");
}

#[test]
fn steps_inside_of_each_other_push_jobs_of_their_own() {
    let queue = with_step("qctl push echo\nfor n in 1 2; do qctl step inner:$n -- qctl push echo; done\n");
    work(&queue);
    assert_eq!(commands(&queue).len(), 3);
    let keys: BTreeSet<String> = [2, 3, 4].into_iter().map(|job| key(&queue, job)).collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
}

#[test]
fn a_job_that_is_put_back_from_the_dead_letters_meets_what_its_step_pushed() {
    let queue = with_step("qctl push echo\n[ -e mended ]\n");
    queue.qctl("work -Q outer --drain --quiet").succeeds();
    assert_eq!(queue.state(1), "dead");
    queue.qctl("work -Q default --drain --quiet").succeeds();
    queue.write("mended", "");
    queue.qctl("dlq requeue 1").succeeds();
    work(&queue);
    assert_eq!(commands(&queue), ["echo"], "also one that has ended since");
    queue.qctl("step get --job 1 tell").prints("2\n");
}

#[test]
fn a_step_that_was_reset_pushes_anew() {
    let queue = with_step("qctl push echo\n");
    work(&queue);
    queue.qctl("step reset 1 tell").succeeds();
    queue.qctl("retry 1").succeeds();
    work(&queue);
    assert_eq!(commands(&queue), ["echo", "echo"]);
}

#[test]
fn a_job_pushed_in_a_step_is_not_itself_in_that_step() {
    let queue =
        with_step("qctl push 'qctl push -Q third echo; echo \"[$QCTL_STEP_KEY]\"'\nqctl work -Q default --drain\n");
    work(&queue);
    queue.qctl("logs 2").prints("3\n[]\n");
    assert_eq!(queue.job(3)["key"], serde_json::Value::Null);
}

#[test]
fn what_says_how_a_key_is_held_needs_one_outside_of_a_step_and_not_inside() {
    let queue = with_step("qctl push --json --key-ttl none echo\nqctl push --on-duplicate error echo\n");
    queue.qctl("push --key-ttl 1h true").exits(2).says("--key-ttl").says("hint: ");
    queue.qctl("push --on-duplicate error true").exits(2).says("--on-duplicate");
    queue.qctl("work -Q outer --drain --quiet").succeeds();
    assert_eq!(queue.state(1), "dead");
    queue.qctl("logs 1").says("is held by job 2");
    assert_eq!(commands(&queue), ["echo"]);
    queue.sh("QCTL_STEP_KEY= qctl push --json -Q none true | grep '\"key\":null'").succeeds();
}
