//! What is kept and for how long: retention, pruning, deleting, purging, and copies of the whole.

use crate::support::Sandbox;

/// A queue with one job in each state that lasts.
fn mixed() -> Sandbox {
    let queue = Sandbox::new();
    queue.push("true");
    queue.push("--max-attempts 1 false");
    queue.push("--delay 1h true");
    queue.qctl("cancel 3").succeeds();
    queue.qctl("work --drain").succeeds();
    queue.push("--delay 1h true");
    queue.push("true");
    queue
}

fn states(queue: &Sandbox) -> String {
    let list = queue.qctl("list --reverse -F id,state").succeeds().out();
    list.trim_end().replace('\t', " ").replace('\n', ", ")
}

#[test]
fn a_worker_forgets_what_is_older_than_a_week_but_no_dead_letter() {
    let mut queue = mixed();
    queue.advance("6d");
    queue.qctl("work --drain --max-jobs 0").exits(2);
    queue.qctl("work -Q other --drain").succeeds();
    assert_eq!(states(&queue), "1 succeeded, 2 dead, 3 cancelled, 4 ready, 5 ready", "not yet");
    queue.advance("2d");
    let worker = queue.start("work -Q other");
    queue.wait_until("the old ones are gone", || !states(&queue).contains("1 succeeded"));
    queue.wait_until("the cancelled one too", || !states(&queue).contains("3 cancelled"));
    worker.stops().succeeds();
    assert!(states(&queue).starts_with("2 dead, "), "{}", states(&queue));
}

#[test]
fn a_queue_says_itself_how_much_it_keeps() {
    let queue = Sandbox::new();
    queue.qctl("queue set ci --keep-rows 3 --keep none").succeeds();
    for _ in 0..5 {
        queue.push("-Q ci true");
    }
    let worker = queue.start("work");
    queue.wait_until("all have run", || queue.qctl("list -s ready").out().is_empty());
    worker.stops().succeeds();
    queue.qctl("prune").succeeds().prints("");
    assert_eq!(states(&queue), "3 succeeded, 4 succeeded, 5 succeeded");
    let shown = queue.qctl("queue show ci").succeeds().out();
    assert!(shown.contains("keep\tnone\n") && shown.contains("keep-rows\t3\n"), "{shown}");
    queue.qctl("queue set ci --keep-rows 0").exits(2);
}

#[test]
fn prune_says_first_what_it_would_do_and_keeps_what_holds_a_key() {
    let mut queue = mixed();
    queue.push("--key k true");
    queue.qctl("work --drain").succeeds();
    queue.advance("1h");
    queue.qctl("prune --older-than 10m --dry-run").succeeds().says("would forget 3 jobs");
    assert_eq!(queue.qctl("prune --older-than 10m --json").succeeds().json()["pruned"], 3);
    assert_eq!(states(&queue), "2 dead, 4 scheduled, 6 succeeded");
    queue.advance("24h");
    queue.qctl("prune --older-than 10m -Q default").succeeds();
    assert_eq!(states(&queue), "2 dead, 4 scheduled");
    queue.qctl("prune -Q nowhere").exits(3);
}

#[test]
fn delete_forgets_what_is_over_and_refuses_the_rest() {
    let queue = mixed();
    queue.qctl("delete 1-3 --dry-run").succeeds().says("would delete 3 jobs");
    queue.qctl("rm 1 2").succeeds().prints("").says_nothing();
    queue.qctl("delete 3-5").exits(4).says("job 4 is scheduled; cancel it first: qctl cancel 4");
    assert_eq!(states(&queue), "4 scheduled, 5 ready");
    queue.qctl("show 1").exits(3);
    queue.qctl("logs 1").exits(3);
    queue.qctl("delete 1").exits(3).says("there is no job 1");
}

/// A queue with a job of each end, each of which holds its key for a day.
fn keyed() -> Sandbox {
    let queue = Sandbox::new();
    queue.push("--key s true");
    queue.push("--key d --max-attempts 1 false");
    queue.push("--key c --delay 1h true");
    queue.qctl("cancel 3").succeeds();
    queue.qctl("work --drain").succeeds();
    queue
}

/// The jobs that a second push of the keys of [`keyed`] answers with.
fn holders(queue: &Sandbox) -> [i64; 3] {
    ["s", "d", "c"].map(|key| queue.push(&format!("--key {key} true")))
}

#[test]
fn a_key_holds_through_its_time_whatever_history_is_pruned() {
    let mut queue = keyed();
    queue.push("true");
    queue.qctl("work --drain").succeeds();
    queue.qctl("queue set default --keep 1s --keep-rows 1").succeeds();
    queue.advance("23h");
    let worker = queue.start("work");
    queue.wait_until("the worker forgets what holds no key", || !states(&queue).contains("4 succeeded"));
    worker.stops().succeeds();
    queue.qctl("prune --older-than 0s --dry-run").succeeds().says("would forget 0 jobs");
    assert_eq!(queue.qctl("prune --older-than 0s --json").succeeds().json()["pruned"], 0);
    assert_eq!(holders(&queue), [1, 2, 3]);
    queue.advance("2h");
    assert_eq!(queue.qctl("prune --older-than 0s --json").succeeds().json()["pruned"], 2);
    assert_eq!(holders(&queue), [5, 6, 7]);
}

#[test]
fn a_key_that_is_held_again_by_the_time_that_prune_may_write_keeps_its_job() {
    let mut queue = keyed();
    queue.advance("25h");
    let turn = std::fs::File::open(queue.path("queue.db-lock")).expect("the lock file");
    turn.lock().expect("nobody writes");
    let prune = queue.start("prune --older-than 0s");
    let waits = format!("-> FLOCK ADVISORY WRITE {} ", prune.pid());
    queue.wait_until("it waits for its turn", || {
        let locks = std::fs::read_to_string("/proc/locks").expect("the locks");
        locks.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").contains(&waits))
    });
    let conn = rusqlite::Connection::open(queue.db()).expect("the queue");
    conn.execute("update job set key_until = key_until + 86400000 where id = 1", []).expect("a change");
    drop(turn);
    prune.ends().succeeds();
    assert_eq!(states(&queue), "1 succeeded, 2 dead");
    assert_eq!(holders(&queue)[0], 1);
}

#[test]
fn a_key_is_free_once_its_job_is_deleted_dropped_or_purged() {
    let frees = |forget: &str, then: [i64; 3]| {
        let queue = keyed();
        queue.qctl(forget).succeeds().prints("").says_nothing();
        assert_eq!(holders(&queue), then, "{forget}");
    };
    frees("delete 1-3", [4, 5, 6]);
    frees("delete 2", [1, 4, 3]);
    frees("dlq drop 2", [1, 4, 3]);
    frees("dlq drop --all", [1, 4, 3]);
    frees("queue purge default -s succeeded,dead,cancelled --yes", [4, 5, 6]);
    frees("queue purge default -s dead --yes", [1, 4, 3]);
    let queue = keyed();
    queue.push("--key w --delay 1h true");
    queue.qctl("queue purge default --yes").succeeds().says_nothing();
    assert_eq!(queue.push("--key w true"), 5);
    assert_eq!(holders(&queue), [1, 2, 3]);
}

#[test]
fn a_dry_run_counts_jobs_that_hold_their_keys_and_frees_none() {
    let queue = keyed();
    queue.qctl("delete 1-3 --dry-run").succeeds().says("would delete 3 jobs");
    queue.qctl("dlq drop --all --dry-run").succeeds().says("would drop 1 job");
    let purge = "queue purge default -s succeeded,dead,cancelled --dry-run";
    queue.qctl(purge).succeeds().says("would purge 3 jobs of default");
    assert_eq!(holders(&queue), [1, 2, 3]);
}

#[test]
fn a_purge_needs_a_yes_and_leaves_dead_letters_and_history() {
    let queue = mixed();
    queue.qctl("queue purge default").exits(4).says("forget 2 jobs of default").says("hint: say so with --yes");
    queue.qctl("queue purge default --dry-run").succeeds().says("would purge 2 jobs");
    assert_eq!(states(&queue).matches(',').count(), 4);
    assert_eq!(queue.qctl("queue purge default --yes --json").succeeds().json()["purged"], 2);
    assert_eq!(states(&queue), "1 succeeded, 2 dead, 3 cancelled");
    queue.qctl("queue purge default -s succeeded --yes").succeeds();
    assert_eq!(states(&queue), "2 dead, 3 cancelled");
    queue.qctl("queue purge default -s running --yes").exits(2);
    queue.qctl("queue purge nowhere --yes").exits(3);
}

#[test]
fn a_queue_is_deleted_whole_unless_it_runs_something() {
    let queue = mixed();
    queue.push("-Q busy 'touch up; read x < fifo'");
    queue.sh("mkfifo fifo").succeeds();
    let worker = queue.start("work -Q busy");
    queue.wait_until("it runs", || queue.path("up").exists());
    queue.wait_for_state(6, "running");
    queue.qctl("queue delete busy --yes").exits(4).says("1 of the jobs of busy run");
    queue.sh("echo > fifo").succeeds();
    queue.wait_for_state(6, "succeeded");
    worker.stops().succeeds();
    queue.qctl("queue delete default").exits(4).says("delete queue default with 5 jobs, 1 of them dead letters?");
    queue.qctl("queue delete default --dry-run").succeeds().says("would delete queue default with 5 jobs");
    queue.qctl("queue delete default --yes").succeeds();
    queue.qctl("queue delete busy --yes").succeeds();
    queue.qctl("queue list").succeeds().prints("");
    assert_eq!(queue.push("true"), 7, "numbers are not given twice");
}

#[test]
fn a_copy_is_made_while_workers_work_and_is_a_queue_of_its_own() {
    let queue = Sandbox::new();
    queue.sh("seq 300 | sed 's/.*/true/' | qctl import >/dev/null").succeeds();
    let worker = queue.start("work -j 2");
    queue.wait_until("some have run", || !queue.qctl("list -s succeeded --limit 1").out().is_empty());
    let answer = queue.qctl("backup copy.db --json").succeeds().json();
    assert!(answer["bytes"].as_u64().is_some_and(|n| n > 4096), "{answer}");
    let ids = queue.qctl("--db copy.db list --limit 1000 -F id").succeeds().out();
    assert_eq!(ids.lines().count(), 300);
    let n_done = |db: &str| queue.qctl(&format!("--db {db} list -s succeeded --limit 1000")).out().lines().count();
    let n_copied = n_done("copy.db");
    queue.wait_until("the rest has run", || n_done("queue.db") == 300);
    worker.stops().succeeds();
    assert_eq!(n_done("copy.db"), n_copied, "the copy stands still");
    queue.qctl("backup copy.db").exits(4).says("copy.db is there already");
    queue.qctl("backup /nowhere/copy.db").exits(78).says("/nowhere/copy.db");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(queue.path("copy.db")).expect("the copy").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
