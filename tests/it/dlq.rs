//! Dead letters wait until someone looks, and come back under their old ids.

use crate::support::Sandbox;

fn with_dead() -> Sandbox {
    let queue = Sandbox::new();
    queue.push("-Q a --max-attempts 1 'echo one >&2; exit 3'");
    queue.push("-Q a --max-attempts 1 'exit 4'");
    queue.push("-Q b --max-attempts 1 'kill -9 $$'");
    queue.push("-Q b true");
    queue.qctl("work --drain").succeeds();
    queue
}

#[test]
fn the_list_says_why_each_died() {
    let queue = with_dead();
    let list = queue.qctl("dlq list --reverse").exits(2);
    assert!(list.err().contains("--reverse"));
    let list = queue.qctl("dlq list").succeeds().out();
    let short: Vec<Vec<&str>> = list.lines().map(|line| line.split('\t').collect()).collect();
    let of = |id: &str| short.iter().find(|fields| fields[0] == id).expect("it is dead").clone();
    assert_eq!((of("1")[2], of("1")[5]), ("exhausted", "exit 3: one"));
    assert_eq!((of("2")[5], of("3")[5]), ("exit 4", "signal 9"));
    assert_eq!(queue.qctl("dlq list -Q b").out().lines().count(), 1);
    queue.qctl("dlq list -Q nowhere").exits(3);
}

#[test]
fn show_ends_with_the_end_of_its_stderr_and_is_for_dead_jobs() {
    let queue = with_dead();
    assert!(queue.qctl("dlq show 1").succeeds().out().ends_with("the end of its stderr\n    | one\n"));
    queue.qctl("dlq show 4").exits(4).says("job 4 is succeeded, not dead");
    queue.qctl("dlq show 9").exits(3);
}

#[test]
fn requeue_takes_ids_ranges_queues_or_all() {
    let queue = with_dead();
    queue.qctl("dlq requeue").exits(2).says("no dead jobs are named");
    queue.qctl("dlq requeue 1 99").exits(3);
    queue.qctl("dlq requeue --all --dry-run").succeeds().says("would requeue 3 jobs");
    assert_eq!(queue.ids("ready"), [0; 0]);
    queue.qctl("dlq requeue 1").succeeds().prints("").says_nothing();
    assert_eq!((queue.ids("ready"), queue.job(1)["attempt"].as_i64()), (vec![1], Some(0)));
    queue.qctl("dlq requeue 1-2").exits(4).says("job 1 is ready, not dead");
    assert_eq!(queue.ids("ready"), [1, 2]);
    queue.qctl("redrive -Q b").succeeds();
    assert_eq!(queue.ids("ready"), [1, 2, 3]);
    queue.qctl("dlq requeue --all").succeeds();
}

#[test]
fn drop_forgets_a_dead_job_with_all_it_left_and_its_number_is_not_given_again() {
    let queue = with_dead();
    queue.qctl("dlq drop 4").exits(4);
    queue.qctl("dlq drop --all --dry-run").succeeds();
    queue.qctl("dlq drop 3").succeeds();
    queue.qctl("show 3").exits(3);
    queue.qctl("logs 3").exits(3);
    queue.qctl("dlq drop --all").succeeds();
    assert_eq!(queue.ids("dead"), [0; 0]);
    assert_eq!(queue.push("true"), 5);
}

#[test]
fn a_newer_holder_of_the_key_wins_and_the_older_is_reported() {
    let queue = Sandbox::new();
    queue.push("--key k --key-ttl none --max-attempts 1 false");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.push("--key k --delay 1h true"), 2);
    queue.qctl("dlq requeue 1").exits(4).says("job 2 is newer and holds its key");
    assert_eq!(queue.state(1), "dead");
}

/// Three dead jobs with keys, the second of which a job in flight has by now.
fn with_newer_holder() -> Sandbox {
    let queue = Sandbox::new();
    for key in ["a", "k", "b"] {
        queue.push(&format!("--key {key} --key-ttl none --max-attempts 1 false"));
    }
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.push("--key k --key-ttl none --delay 1h true"), 4);
    queue
}

#[test]
fn a_batch_goes_on_past_a_job_whose_key_a_newer_one_holds() {
    for batch in ["retry 1-3", "dlq requeue 1-3", "dlq requeue --all", "dlq requeue -Q default"] {
        let queue = with_newer_holder();
        queue.qctl(batch).exits(4).says("job 4 is newer and holds its key");
        assert_eq!([1, 2, 3].map(|id| queue.state(id)), ["ready", "dead", "ready"], "{batch}");
        assert_eq!(queue.state(4), "scheduled", "the newer one is left alone");
        // Done with, the newer one stands in the way no longer.
        queue.qctl("cancel 4").succeeds();
        queue.qctl("retry 2").succeeds();
    }
}

#[test]
fn of_two_dead_jobs_with_one_key_the_first_to_be_put_back_has_it() {
    let queue = Sandbox::new();
    for _ in 0..2 {
        queue.push("--key k --key-ttl none --max-attempts 1 false");
        queue.qctl("work --drain").succeeds();
    }
    queue.qctl("retry 1-2").exits(4).says("job 2 stays dead: job 1 holds its key by now");
    assert_eq!([1, 2].map(|id| queue.state(id)), ["ready", "dead"]);
    // The last to die is the first to be put back.
    queue.qctl("work --drain").succeeds();
    queue.qctl("dlq requeue --all").exits(4).says("holds its key");
    assert_eq!(queue.ids("ready").len(), 1);
}

#[test]
fn json_names_the_newer_holder() {
    let answer = with_newer_holder().qctl("dlq requeue 1-3 --json").exits(4).gives("dlq-changes").json();
    assert_eq!((&answer["requeued"], &answer["skipped"]), (&serde_json::json!([1, 3]), &1.into()));
    assert_eq!(answer["key_taken"], serde_json::json!([{ "id": 2, "holder": 4 }]));
    let answer = with_newer_holder().qctl("retry 2-3 --json").exits(4).gives("changes").json();
    let kept = serde_json::json!({ "id": 2, "outcome": "key_taken", "state": "dead", "holder": 4 });
    assert_eq!((&answer["jobs"][0], &answer["jobs"][1]["outcome"]), (&kept, &"retried".into()));
}
