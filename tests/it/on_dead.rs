//! A queue tells of its dead: a hook runs once for each cause and period, as a job itself, and neither storms nor calls
//! itself.

use crate::support::Sandbox;

/// A queue whose hook writes what it gets into two files.
const HOOK: &str = r#"queue set mail --max-attempts 1 --on-dead 'cat >>told; echo "$QCTL_DEAD_ID $QCTL_DEAD_QUEUE $QCTL_DEAD_REASON $QCTL_DEAD_GROUP $QCTL_DEAD_ERROR" >>vars'"#;

fn with_hook() -> Sandbox {
    let queue = Sandbox::new();
    queue.qctl(HOOK).succeeds();
    queue
}

/// What was told to the hooks that ran, in the order in which they did.
fn told(queue: &Sandbox) -> Vec<serde_json::Value> {
    let text = if queue.path("told").exists() { queue.read("told") } else { String::new() };
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn who_works_a_queue_by_its_name_runs_its_hook_for_what_died() {
    let queue = with_hook();
    queue.push("-Q mail -l team=x 'echo disk full >&2; exit 3'");
    queue.qctl("work -Q mail --drain").succeeds();
    let told = told(&queue);
    assert_eq!(told.len(), 1);
    let group = told[0]["group"].as_str().expect("a name").to_owned();
    let expected = serde_json::json!({
        "v": 1, "id": 1, "queue": "mail", "group": group, "count": 1, "reason": "exhausted", "exit_code": 3,
        "signal": null, "error": "disk full", "command": "echo disk full >&2; exit 3", "labels": { "team": "x" },
        "attempt": 1, "max_attempts": 1,
    });
    assert_eq!(told[0], expected);
    assert_eq!(queue.read("vars"), format!("1 mail exhausted {group} disk full\n"));
    let hook = queue.job(2);
    assert_eq!((hook["queue"].as_str(), hook["key"].as_str()), (Some("mail.on-dead"), Some(group.as_str())));
}

#[test]
fn two_hundred_deaths_of_one_cause_call_one_hook_and_another_cause_calls_another() {
    let queue = with_hook();
    let mut jobs = "{\"shell\":\"echo row $QCTL_JOB_ID is bad >&2; exit 1\",\"queue\":\"mail\"}\n".repeat(200);
    jobs.push_str("{\"shell\":\"exit 9\",\"queue\":\"mail\"}\n");
    queue.write("jobs", &jobs);
    queue.qctl("import jobs").succeeds();
    queue.qctl("work -Q mail --drain -j 4").succeeds();
    assert_eq!(queue.ids("dead").len(), 201);
    assert_eq!(told(&queue).len(), 2);
}

#[test]
fn a_cause_is_told_again_once_the_period_is_over() {
    let mut queue = with_hook();
    let die = |queue: &Sandbox| {
        queue.push("-Q mail false");
        queue.qctl("work -Q mail --drain").succeeds();
        told(queue).len()
    };
    assert_eq!((die(&queue), die(&queue)), (1, 1));
    queue.advance("61m");
    assert_eq!((die(&queue), die(&queue)), (2, 2));
    queue.qctl("queue set mail --on-dead-every 5m").succeeds();
    queue.advance("61m");
    assert_eq!(die(&queue), 3);
    queue.advance("6m");
    assert_eq!(die(&queue), 4);
    assert_eq!(told(&queue)[3]["count"], 6, "it tells how many are dead of it");
}

#[test]
fn each_way_to_die_calls_the_hook() {
    let mut queue = with_hook();
    queue.push("-Q mail --dead-on 7 --max-attempts 3 'exit 7'");
    queue.push("-Q mail 'qctl self bury --group spam hopeless'");
    queue.push("-Q mail --timeout 100ms 'sleep 60'");
    queue.push("-Q mail --expires 1h --delay 2h true");
    queue.advance("3h");
    queue.qctl("work -Q mail --drain").succeeds();
    let mut reasons: Vec<(i64, String)> = told(&queue)
        .iter()
        .map(|told| (told["id"].as_i64().expect("a number"), told["reason"].as_str().expect("a word").to_owned()))
        .collect();
    reasons.sort();
    let expected = [(1, "permanent"), (2, "buried"), (3, "exhausted"), (4, "expired")];
    assert_eq!(reasons, expected.map(|(id, reason)| (id, reason.to_owned())));
    assert!(queue.read("vars").contains("2 mail buried spam hopeless\n"), "{}", queue.read("vars"));
}

#[test]
fn what_a_job_wrote_is_never_run_and_makes_no_variable() {
    let queue = Sandbox::new();
    queue.qctl(r#"queue set mail --max-attempts 1 --on-dead 'echo "$QCTL_DEAD_ERROR" >error; env >env'"#).succeeds();
    queue.push(r#"-Q mail 'printf "\$(touch run) \`touch run\`; touch run\0EVIL=1\n" >&2; exit 1'"#);
    queue.qctl("work -Q mail --drain").succeeds();
    assert_eq!(queue.read("error"), "$(touch run) `touch run`; touch run EVIL=1\n");
    assert!(!queue.path("run").exists());
    assert!(!queue.read("env").lines().any(|line| line.starts_with("EVIL")));
}

#[test]
fn a_hook_that_fails_is_tried_again_ends_among_the_dead_and_calls_none() {
    let queue = Sandbox::new();
    queue.qctl("queue set mail --max-attempts 1 --on-dead 'exit 4'").succeeds();
    queue.qctl("queue set mail.on-dead --max-attempts 2 --backoff fixed:10ms").succeeds();
    queue.push("-Q mail false");
    queue.qctl("work -Q mail --drain --wait-due 1s").succeeds();
    assert_eq!(queue.qctl("dlq list -Q mail.on-dead").out().lines().count(), 1);
    assert_eq!(queue.job(2)["attempt"], 2);
    assert_eq!(queue.qctl("list").out().lines().count(), 2, "no hook for the hook");
}

#[test]
fn a_queue_of_hooks_has_no_hook_nor_has_one_whose_name_leaves_no_room() {
    let queue = with_hook();
    queue.qctl("queue set mail.on-dead --on-dead true").exits(2).says("mail.on-dead is a queue of hooks");
    queue.qctl("queue set mail.on-dead --on-dead none --priority 3").succeeds();
    let long = "x".repeat(57);
    queue.qctl(&format!("queue set {long} --on-dead true")).exits(2).says("too long for a queue");
    queue.qctl(&format!("queue show {long}")).exits(3);
    queue.qctl(&format!("queue set {} --on-dead true", "x".repeat(56))).succeeds();
    queue.qctl("queue set mail --on-dead ''").exits(2).says("the command is empty");
    queue.qctl("queue set mail --on-dead-every 0s").exits(2);
}

#[test]
fn what_is_set_is_shown_and_none_takes_it_back() {
    let queue = Sandbox::new();
    queue.qctl("queue set mail --max-attempts 1 --on-dead './page now' --on-dead-every 15m").succeeds();
    let shown = queue.qctl("queue show mail --json").succeeds().gives("queue").json();
    let defaults = &shown["queue"]["defaults"];
    assert_eq!((defaults["on_dead"].as_str(), defaults["on_dead_every"].as_str()), (Some("./page now"), Some("15m")));
    let folder = queue.path("").canonicalize().expect("a folder").display().to_string();
    assert_eq!(shown["queue"]["on_dead_cwd"].as_str(), Some(folder.trim_end_matches('/')));
    assert!(queue.qctl("queue show mail").succeeds().out().contains("\non-dead\t./page now\n"));
    let none = queue.qctl("queue set mail --on-dead none --json").succeeds().gives("queue").json();
    assert_eq!((&none["queue"]["defaults"]["on_dead"], &none["queue"]["on_dead_cwd"]), (&"none".into(), &().into()));
    queue.push("-Q mail false");
    queue.qctl("work -Q mail --drain").succeeds();
    assert_eq!(queue.ids("dead"), [1]);
    assert_eq!(queue.qctl("list").out().lines().count(), 1);
}

#[test]
fn the_hook_runs_where_it_was_set_with_the_path_of_then() {
    let queue = Sandbox::new();
    queue
        .sh("mkdir -p ops/bin jobs && printf '#!/bin/sh\\npwd >told\\n' >ops/bin/page && chmod +x ops/bin/page")
        .succeeds();
    queue.sh("cd ops && PATH=$PWD/bin:$PATH qctl queue set mail --max-attempts 1 --on-dead page").succeeds();
    queue.sh("cd jobs && qctl push -Q mail false && qctl work -Q mail --drain").succeeds();
    assert!(queue.read("ops/told").trim_end().ends_with("/ops"));
}

#[test]
fn what_was_dead_before_calls_no_hook_nor_does_what_is_only_grouped_anew() {
    let queue = Sandbox::new();
    queue.push("-Q mail --max-attempts 1 'echo row 7 of users >&2; exit 1'");
    queue.qctl("work --drain").succeeds();
    queue.qctl(HOOK).succeeds();
    queue.qctl("queue set mail --group-by 'of (.*)'").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(told(&queue).len(), 0);
    // Put back it dies anew, of a cause that was not told.
    queue.qctl("dlq requeue 1").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(told(&queue)[0]["count"], 1);
}

#[test]
fn a_paused_queue_holds_back_its_jobs_and_not_its_hook() {
    let queue = with_hook();
    queue.push("-Q mail 'qctl queue pause mail; false'");
    queue.push("-Q mail true");
    queue.qctl("work -Q mail --drain").succeeds();
    assert_eq!((told(&queue).len(), queue.state(2)), (1, "ready".to_owned()));
}

#[test]
fn a_handler_gets_no_hook() {
    let queue = with_hook();
    queue.push("-Q mail --payload x");
    queue.qctl("work -Q mail --drain -- sh -c 'cat >>handled; exit 1'").succeeds();
    assert_eq!((queue.read("handled").as_str(), told(&queue).len()), ("x", 1));
}

#[test]
fn a_worker_that_waits_is_called_for_a_hook_that_another_pushed() {
    let queue = with_hook();
    let waiting = queue.start("work -Q mail.on-dead --max-jobs 1");
    queue.wait_until("it waits", || queue.qctl("workers").out().lines().count() == 1);
    queue.push("-Q mail false");
    // Served by a pattern, its hooks are left to who is asked for them.
    queue.qctl("work -Q 'm*l' --drain").succeeds();
    waiting.ends().succeeds();
    assert_eq!(told(&queue).len(), 1);
}

#[test]
fn a_hook_is_run_though_its_queue_was_deleted_meanwhile() {
    let queue = with_hook();
    queue.qctl("queue delete mail.on-dead --yes").succeeds();
    queue.push("-Q mail false");
    queue.qctl("work -Q mail --drain").succeeds();
    assert_eq!(told(&queue).len(), 1);
}

#[test]
fn with_its_queue_a_hook_is_deleted_and_so_is_the_queue_of_hooks_unless_something_is_in_it() {
    let queue = with_hook();
    queue.qctl("queue delete mail --yes").succeeds();
    assert_eq!(queue.qctl("queue list").succeeds().out(), "");
    queue.push("-Q mail --max-attempts 1 false");
    queue.qctl("work --drain").succeeds();
    assert_eq!(told(&queue).len(), 0, "nothing of it is left");

    let queue = with_hook();
    queue.push("-Q mail false");
    queue.qctl("work --drain").succeeds();
    queue.qctl("queue delete mail --yes").succeeds();
    assert!(queue.qctl("queue list").out().starts_with("mail.on-dead\t"), "its history stays");
}

#[test]
fn a_job_whose_workers_die_again_and_again_calls_the_hook() {
    let queue = with_hook();
    queue.push("-Q mail 'kill -9 $PPID; sleep 60'");
    for _ in 0..3 {
        queue.qctl("work -Q mail --drain");
    }
    queue.qctl("work -Q mail --drain").succeeds();
    assert_eq!(queue.state(1), "dead");
    assert_eq!(told(&queue)[0]["reason"], "crashed");
}
