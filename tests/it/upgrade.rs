//! A queue file of every schema that was ever released is taken up by this qctl, with all it holds.

use std::path::Path;

use crate::support::Sandbox;

/// Makes the queue of the sandbox one of this schema.
fn lay_down(queue: &Sandbox, schema: &str) {
    let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/schema/{schema}.sql"));
    let old = rusqlite::Connection::open(queue.db()).expect("a file");
    old.execute_batch("pragma journal_mode = wal").expect("a log");
    old.execute_batch(&std::fs::read_to_string(dump).expect("the fixture")).expect("the old schema");
}

fn schema_of(queue: &Sandbox) -> String {
    let facts = queue.qctl("where").succeeds().out();
    facts.lines().find_map(|line| line.strip_prefix("schema\t")).expect("a schema").to_owned()
}

#[test]
fn a_queue_of_schema_1_is_taken_up_with_all_it_holds() {
    let queue = Sandbox::new();
    lay_down(&queue, "0001");
    let states = |of: &Sandbox| {
        let list = of.qctl("list --reverse -F id,queue,state").succeeds().out();
        list.replace('\t', " ").replace('\n', ", ")
    };
    assert_eq!(
        states(&queue),
        "1 mail dead, 2 default succeeded, 3 default retrying, 4 default scheduled, 5 default cancelled, 6 default ready, "
    );
    assert_eq!(schema_of(&queue), "6");
    queue.qctl("queue show mail").succeeds();
    assert!(!queue.qctl("doctor").out().contains("schema"), "as if it had been made anew");
    assert_eq!(queue.job(1)["reason"], "exhausted");

    // What died before there were groups is in one.
    let groups = queue.qctl("dlq groups").succeeds().out();
    assert!(groups.contains("\tmail\t1\texhausted\t"), "{groups}");

    // What it holds still works: the dead one is requeued, the paused queue resumed.
    queue.qctl("dlq requeue 1").succeeds();
    queue.qctl("queue resume default").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.ids("ready"), [0_i64; 0]);
    assert_eq!(queue.push("true"), 7, "numbers go on");
}

#[test]
fn a_queue_of_schema_2_is_taken_up_with_the_job_of_a_worker_that_died() {
    let queue = Sandbox::new();
    lay_down(&queue, "0002");
    // Where that worker's byte was is not on the books of such a queue.
    assert_eq!(queue.state(2), "running");
    assert_eq!(schema_of(&queue), "6");
    queue.qctl("work --drain").succeeds().says("its worker died");
    assert_eq!(queue.ids("succeeded"), [1, 2]);
    assert!(!queue.qctl("doctor").out().contains("schema"), "as if it had been made anew");
}

#[test]
fn a_queue_of_schema_3_is_taken_up_and_its_jobs_may_speak_for_themselves() {
    let queue = Sandbox::new();
    lay_down(&queue, "0003");
    assert_eq!(
        (queue.state(1), queue.state(2), queue.state(3)),
        ("succeeded".into(), "retrying".into(), "running".into())
    );
    assert_eq!(schema_of(&queue), "6");
    assert_eq!((&queue.job(1)["snoozes"], &queue.job(1)["progress"]), (&0.into(), &serde_json::Value::Null));
    queue.qctl("work --drain").succeeds().says("its worker died");
    queue.push("'qctl self bury'");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.job(4)["reason"], "buried");
    assert!(!queue.qctl("doctor").out().contains("schema"), "as if it had been made anew");
}

#[test]
fn a_queue_of_schema_4_is_taken_up_and_its_jobs_may_have_steps() {
    let queue = Sandbox::new();
    lay_down(&queue, "0004");
    let states = [1, 2, 3, 4].map(|id| queue.state(id));
    assert_eq!(states, ["succeeded", "retrying", "retrying", "running"]);
    assert_eq!(schema_of(&queue), "6");
    assert_eq!((&queue.job(3)["snoozes"], &queue.job(3)["progress"]["percent"]), (&1.into(), &40.into()));
    queue.qctl("step list 3").succeeds().prints("");
    // What the one that was lost asked for dies with its attempt, as ever.
    queue.qctl("work -Q default --drain").succeeds().says("its worker died");
    assert_eq!((queue.state(4).as_str(), queue.state(1).as_str()), ("succeeded", "succeeded"));
    queue.push("'qctl step a -- echo a'");
    queue.qctl("work --drain").succeeds();
    queue.qctl("step get --job 5 a").succeeds().prints("a\n");
    assert!(!queue.qctl("doctor").out().contains("schema"), "as if it had been made anew");
}

#[test]
fn a_queue_of_schema_5_is_taken_up_and_its_dead_jobs_are_in_groups() {
    let queue = Sandbox::new();
    lay_down(&queue, "0005");
    assert_eq!(schema_of(&queue), "6");
    let groups = queue.qctl("dlq groups -Q mail").succeeds().out();
    let groups: Vec<Vec<&str>> = groups.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(groups.len(), 2, "{groups:?}");
    assert_eq!((groups[0][2], groups[0][4], groups[0][8]), ("2", "exit 65", "no mailbox *"));
    assert_eq!((groups[1][2], groups[1][3], groups[1][4]), ("1", "permanent", "exit 3"));
    queue.qctl(&format!("dlq requeue --group {}", groups[0][0])).succeeds();
    assert_eq!(queue.ids("ready"), [1, 2]);
    assert_eq!((queue.state(4).as_str(), queue.state(5).as_str()), ("retrying", "succeeded"));
    queue.qctl("subscription show welcome").succeeds();
    let doctor = queue.qctl("doctor").out();
    assert!(!doctor.contains("schema") && !doctor.contains("counters"), "as if it had been made anew: {doctor}");
}

#[test]
fn an_old_queue_is_not_migrated_by_a_completion() {
    let queue = Sandbox::new();
    lay_down(&queue, "0001");
    queue.sh("COMPLETE=bash _CLAP_COMPLETE_INDEX=2 qctl -- qctl show ''").succeeds();
    let old = rusqlite::Connection::open(queue.db()).expect("the file");
    let schema: i64 = old.query_row("pragma user_version", [], |row| row.get(0)).expect("a number");
    assert_eq!(schema, 1);
}
