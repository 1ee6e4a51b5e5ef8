//! A requeue that takes its time: a sample first, at a rate, carried on by the workers.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::Sandbox;

/// So many dead jobs, which fail as long as `ok` is not there; each notes its number in `ran`.
fn with_dead(n: usize) -> Sandbox {
    let queue = Sandbox::new();
    queue.write("ok", "");
    let line = "echo $QCTL_JOB_ID >>ran; test -e ok && test ! -e bad-$QCTL_JOB_ID || { echo no luck >&2; exit 3; }";
    queue.write("jobs", format!("{line}\n").repeat(n));
    queue.qctl("import -Q mail jobs").succeeds();
    queue.sh("qctl queue set mail --max-attempts 1; rm ok").succeeds();
    queue.sh("qctl list -Q mail -F id | xargs -n 1 qctl update --max-attempts 1").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.ids("dead").len(), n);
    queue.write("ok", "");
    queue.sh("rm ran").succeeds();
    queue
}

/// A task as `dlq tasks show --json` has it.
#[track_caller]
fn task(queue: &Sandbox, id: i64) -> Value {
    queue.qctl(&format!("dlq tasks show {id} --json")).succeeds().gives("task").json()["task"].clone()
}

fn phase(queue: &Sandbox, id: i64) -> String {
    task(queue, id)["phase"].as_str().expect("a phase").to_owned()
}

fn ran(queue: &Sandbox) -> Vec<i64> {
    queue.read("ran").lines().map(|line| line.parse().expect("a number")).collect()
}

#[test]
fn the_rest_follows_a_sample_that_succeeds() {
    let queue = with_dead(6);
    let worker = queue.start("work");
    let requeue = queue.qctl("dlq requeue -Q mail --sample 2").succeeds().prints("1\n");
    requeue.says("task 1 has requeued 6 jobs: ");
    queue.wait_until("all are done", || queue.ids("succeeded").len() == 6);
    let seen = task(&queue, 1);
    assert_eq!((&seen["phase"], &seen["sample"], &seen["succeeded"]), (&"done".into(), &2.into(), &6.into()));
    assert_eq!(ran(&queue), [1, 2, 3, 4, 5, 6]);
    worker.stops().succeeds();
}

#[test]
fn one_failure_in_the_sample_leaves_the_rest_dead_and_is_told_with_its_cause() {
    let queue = with_dead(6);
    queue.write("bad-2", "");
    let worker = queue.start("work");
    let requeue = queue.qctl("dlq requeue -Q mail --sample 3").exits(1);
    requeue
        .says("task 1 stopped: 2 of 3 in the sample succeeded, which is less than 100%; 3 jobs stay dead")
        .says("relapsed: 1 of exit 3: no luck (such as job 2, group ");
    worker.stops().succeeds();
    assert_eq!((queue.ids("dead"), ran(&queue)), (vec![2, 4, 5, 6], vec![1, 2, 3]));
    let seen = task(&queue, 1);
    let group = &queue.job(2)["group"];
    let relapse = serde_json::json!({ "group": group, "error": "exit 3: no luck", "count": 1, "sample_id": 2 });
    assert_eq!((group.is_string(), &seen["relapses"]), (true, &serde_json::json!([relapse])));
    let shown = queue.qctl("dlq tasks show 1").succeeds().out();
    assert!(shown.contains("phase\tstopped: 2 of 3 in the sample succeeded"), "{shown}");
    // Cured, the rest can be requeued by the next.
    queue.qctl("dlq requeue -Q mail --sample 1 --detach").succeeds().prints("2\n");
    queue.qctl("work --drain").succeeds();
    assert_eq!((queue.ids("dead"), phase(&queue, 2)), (vec![2], "done".to_owned()));
}

#[test]
fn a_few_may_fail_where_that_is_said() {
    let queue = with_dead(8);
    queue.write("bad-1", "");
    let worker = queue.start("work -j 2");
    queue.qctl("dlq requeue --all --sample 5 --if-ok 80%").succeeds();
    queue.wait_until("the rest is done", || queue.ids("succeeded").len() == 7);
    worker.stops().succeeds();
    assert_eq!(queue.ids("dead"), [1]);
}

#[test]
fn a_requeue_survives_its_terminal_and_its_worker() {
    let queue = with_dead(12);
    queue.write("bad-1", "");
    let worker = queue.start("work -j 2");
    let mut terminal = queue.terminal((80, 24), "exec qctl dlq requeue -Q mail --sample 2 --if-ok 50 --rate 20/s");
    terminal.waits_for("task 1 requeues");
    drop(terminal);
    queue.wait_for_lines("ran", 4);
    worker.dies();
    let n_ran = ran(&queue).len();
    assert!(n_ran < 12, "not all went by before it died");
    let worker = queue.start("work");
    queue.wait_until("the task is done", || phase(&queue, 1) == "done");
    queue.wait_until("its jobs are", || queue.qctl("stats mail --json").json()["queues"][0]["succeeded"] == 11);
    worker.stops().succeeds();
    let seen = task(&queue, 1);
    let counts = ["released", "skipped", "succeeded", "relapsed", "under_way"].map(|name| seen[name].as_i64());
    assert_eq!(counts, [12, 0, 11, 1, 0].map(Some));
    for id in 1..=12 {
        // Who was running when the worker died runs once more; nobody is put back twice.
        let attempts = queue.job(id)["attempts"].clone();
        let ends: Vec<&Value> =
            attempts.as_array().expect("a list").iter().map(|attempt| &attempt["outcome"]).collect();
        let n_ended = ends.iter().filter(|outcome| **outcome != "lost").count();
        assert_eq!(n_ended, 2, "job {id}: {ends:?}");
    }
}

#[test]
fn who_is_interrupted_leaves_the_task_to_the_workers_and_says_how_to_end_it() {
    let queue = with_dead(3);
    let requeue = queue.start_sh("exec qctl dlq requeue -Q mail --sample 1 2>said");
    queue.wait_until("the sample is put back", || queue.ids("ready") == [1]);
    requeue.signal(Signal::SIGINT);
    requeue.ends().exits(130);
    let said = queue.read("said");
    assert!(said.contains("the workers carry it on; end it: qctl dlq tasks cancel 1"), "{said}");
    assert!(said.contains("no worker is there to carry it on; start one: qctl work"), "{said}");
    queue.qctl("work --drain").succeeds();
    assert_eq!((queue.ids("succeeded"), phase(&queue, 1)), (vec![1, 2, 3], "done".to_owned()));
}

#[test]
fn a_queue_that_nobody_serves_is_named_while_its_sample_is_waited_for() {
    let queue = with_dead(2);
    let requeue = queue.start_sh("exec qctl dlq requeue -Q mail --sample 1 2>said");
    queue.wait_for_text("said", "no worker serves mail; start one: qctl work -Q mail");
    queue.qctl("dlq tasks cancel 1").succeeds();
    requeue.ends().exits(1);
    assert!(queue.read("said").contains("task 1 was cancelled; 1 job left dead"));
}

#[test]
fn at_a_rate_one_job_follows_another_in_its_time_and_a_night_without_workers_is_not_made_up_for() {
    let mut queue = with_dead(4);
    let requeue = queue.qctl("dlq requeue -Q mail --rate 1/h").succeeds().prints("1\n");
    requeue.says("task 1 requeues 3 jobs at 1/h, in 2h 59m; watch it: qctl dlq tasks show 1");
    queue.qctl("work --drain").succeeds();
    assert_eq!(ran(&queue), [1]);
    queue.advance("61m");
    queue.qctl("work --drain").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(ran(&queue), [1, 2]);
    queue.advance("10h");
    queue.qctl("work --drain").succeeds();
    assert_eq!((ran(&queue), phase(&queue, 1)), (vec![1, 2, 3], "releasing".to_owned()));
    assert!(task(&queue, 1)["ends_at"].is_string());
    queue.advance("61m");
    queue.qctl("work --drain").succeeds();
    assert_eq!((ran(&queue), phase(&queue, 1)), (vec![1, 2, 3, 4], "done".to_owned()));
}

#[test]
fn an_idle_worker_wakes_for_the_next_release() {
    let queue = with_dead(3);
    let worker = queue.start("work -Q mail");
    queue.qctl("dlq requeue -Q mail --ramp 20/s..40/s,1s").succeeds();
    queue.wait_until("all are done", || queue.ids("succeeded").len() == 3);
    worker.stops().succeeds();
    assert_eq!(task(&queue, 1)["rate"], "20/s..40/s,1s");
}

#[test]
fn a_task_can_be_paused_resumed_and_cancelled() {
    let mut queue = with_dead(4);
    queue.qctl("dlq requeue -Q mail --rate 1/h").succeeds();
    queue.qctl("dlq tasks pause 1").succeeds().prints("").says_nothing();
    queue.qctl("dlq tasks pause 1").succeeds();
    queue.advance("5h");
    queue.qctl("work --drain").succeeds();
    assert_eq!((ran(&queue), phase(&queue, 1)), (vec![1], "paused".to_owned()));
    queue.qctl("dlq tasks resume 1").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(ran(&queue), [1], "its time stood still");
    queue.advance("1h");
    queue.qctl("work --drain").succeeds();
    assert_eq!(ran(&queue), [1, 2]);
    queue.qctl("dlq tasks cancel 1").succeeds();
    queue.advance("5h");
    queue.qctl("work --drain").succeeds();
    assert_eq!((queue.ids("dead"), phase(&queue, 1)), (vec![3, 4], "cancelled".to_owned()));
    queue.qctl("dlq tasks resume 1").exits(4).says("task 1 is cancelled").says("hint: qctl dlq tasks show 1");
    let list = queue.qctl("dlq tasks").succeeds().out();
    assert!(list.starts_with("1\tcancelled\t4\t2\t0\t1/h\t") && list.ends_with("\t-Q mail\n"), "{list}");
    assert_eq!(queue.qctl("dlq tasks list").out(), list);
    for line in ["show 9", "pause 9", "resume 9", "cancel 9"] {
        let answer = queue.qctl(&format!("dlq tasks {line}")).exits(3);
        answer.says("qctl: there is no task 9\nhint: see which there are: qctl dlq tasks");
    }
}

#[test]
fn what_dies_again_at_once_is_not_put_back_again() {
    let queue = with_dead(5);
    queue.sh("rm ok").succeeds();
    queue.qctl("dlq requeue -Q mail --rate 100/s").succeeds();
    queue.qctl("work --drain --wait-due 1s").succeeds();
    assert_eq!((ran(&queue).len(), queue.ids("dead").len()), (5, 5));
    let seen = task(&queue, 1);
    assert_eq!((&seen["phase"], &seen["relapsed"]), (&"done".into(), &5.into()));
    let relapse = &seen["relapses"][0];
    assert_eq!((&relapse["error"], &relapse["count"]), (&"exit 3: no luck".into(), &5.into()));
    assert_eq!((&relapse["sample_id"], &relapse["group"]), (&1.into(), &queue.job(1)["group"]));
}

#[test]
fn what_is_not_dead_any_more_is_skipped_and_told() {
    let queue = with_dead(4);
    queue.qctl("dlq requeue 1-4 --rate 1/h").succeeds();
    queue.qctl("dlq requeue 2").succeeds();
    queue.qctl("dlq drop 3").succeeds();
    let carried = queue.qctl("dlq requeue 1-2 4 --sample 1 --detach").exits(4);
    carried.says("job 1 is ready, not dead").says("job 2 is ready, not dead");
    queue.qctl("work --drain").succeeds();
    let seen = task(&queue, 2);
    assert_eq!((&seen["jobs"], &seen["selection"]), (&1.into(), &"1-2 4".into()));
    let mut queue = queue;
    queue.advance("61m");
    queue.qctl("work --drain").succeeds();
    let seen = task(&queue, 1);
    assert_eq!((&seen["phase"], &seen["released"], &seen["skipped"]), (&"done".into(), &1.into(), &3.into()));
    let why = serde_json::json!({ "not_dead": 2, "key_taken": 0, "no_step": 0, "deleted": 1 });
    assert_eq!(seen["skipped_because"], why);
    assert!(queue.qctl("dlq tasks show 1").out().contains("skipped\t3: 2 not dead any more, 1 deleted\n"));
}

#[test]
fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let queue = with_dead(10);
    let dry = queue.qctl("dlq requeue -Q mail --sample 4 --rate 2/s --limit 8 --order newest --dry-run").succeeds();
    assert_eq!(dry.out().lines().collect::<Vec<_>>(), ["10", "9", "8", "7", "6", "5", "4", "3"]);
    dry.says("would requeue 8 jobs")
        .says("a sample of 4 first; the rest if 100% of it succeeds")
        .says("4 jobs at 2/s, which takes 1.5s");
    let dry = queue.qctl("dlq requeue -Q mail --rate 2/s --dry-run --json").succeeds().gives("dlq-changes").json();
    assert_eq!((dry["would_requeue"].as_array().map(Vec::len), &dry["takes_ms"]), (Some(10), &4500.into()));
    assert_eq!((queue.ids("dead").len(), queue.qctl("dlq tasks").succeeds().out()), (10, String::new()));
}

#[test]
fn jobs_come_back_in_another_queue_later_and_with_as_many_attempts_as_is_said() {
    for pacing in ["", "--sample 9 --detach", "--rate 1000/s"] {
        let queue = with_dead(4);
        let how = "--limit 3 --order newest --to slow --delay 1h --max-attempts 7";
        queue.qctl(&format!("dlq requeue -Q mail {how} {pacing}")).succeeds();
        queue.qctl("work -Q other --drain --wait-due 1s").succeeds();
        assert_eq!(queue.ids("scheduled"), [2, 3, 4], "{pacing}");
        let job = queue.job(4);
        assert_eq!((&job["queue"], &job["max_attempts"], &job["attempt"]), (&"slow".into(), &7.into(), &0.into()));
        assert_eq!((queue.state(1), &queue.job(1)["queue"]), ("dead".to_owned(), &"mail".into()));
        queue.qctl("doctor").succeeds();
    }
}

#[test]
fn the_first_to_die_comes_back_first_unless_another_order_is_asked_for() {
    let queue = Sandbox::new();
    for _ in 0..3 {
        queue.push("-Q mail --max-attempts 1 --delay 1h false");
    }
    for id in [2, 1, 3] {
        queue.qctl(&format!("update {id} --delay 0s")).succeeds();
        queue.qctl("work --drain").succeeds();
    }
    let order = |line: &str| {
        let dry = queue.qctl(&format!("dlq requeue {line} --dry-run")).succeeds().out();
        dry.lines().map(|line| line.parse().expect("a number")).collect::<Vec<i64>>()
    };
    assert_eq!(order("--all"), [2, 1, 3]);
    assert_eq!(order("1-3"), [2, 1, 3]);
    assert_eq!(order("-Q mail --order newest"), [3, 1, 2]);
    let mut drawn = order("--all --order random");
    drawn.sort_unstable();
    assert_eq!(drawn, [1, 2, 3]);
}

#[test]
fn a_slip_names_the_option_and_the_cure_and_changes_nothing() {
    let queue = with_dead(1);
    for (line, says) in [
        ("--all --rate 5", "write a rate such as 10/s, 600/m or 1/h"),
        ("--all --ramp 1/s..x", "write a ramp such as 1/s..50/s, or 1/s..50/s,10m"),
        ("--all --ramp 1/s..2/s --rate 1/s", "cannot be used with"),
        ("--all --sample 0", "write a number from 1 on"),
        ("--all --sample 1 --if-ok 101", "write a share from 1 to 100, such as 80"),
        ("--all --if-ok 80", "--sample <N>"),
        ("--all --order first", "write oldest, newest or random"),
        ("--all --max-attempts 0", "--max-attempts"),
        ("--rate 1/s", "no dead jobs are named"),
    ] {
        queue.qctl(&format!("dlq requeue {line}")).exits(2).says(says);
    }
    queue.qctl("dlq tasks show one").exits(2).says("\"one\" is no number of a task");
    assert_eq!((queue.ids("dead"), queue.qctl("dlq tasks").out()), (vec![1], String::new()));
}
