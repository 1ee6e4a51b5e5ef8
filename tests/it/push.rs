//! `push` puts a job into a queue, and says which.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::Sandbox;

#[test]
fn push_prints_the_id_and_nothing_else() {
    let queue = Sandbox::new();
    queue.qctl("push 'echo hi'").succeeds().prints("1\n").says_nothing();
    queue.sh("id=$(qctl push true); echo \"[$id]\"").prints("[2]\n");
    queue.sh("qctl add true; qctl enqueue true; qctl submit true").prints("3\n4\n5\n");
}

#[test]
fn json_says_which_job_and_whether_it_is_new() {
    let queue = Sandbox::new();
    let answer = "{\"v\":1,\"id\":1,\"queue\":\"mail\",\"outcome\":\"created\",\"state\":\"ready\"}\n";
    queue.qctl("push --json -Q mail --key k true").prints(answer);
    let answer = queue.qctl("push --json -Q mail --key k true").succeeds().json();
    assert_eq!((&answer["id"], &answer["outcome"]), (&1.into(), &"existing".into()));
    let answer = queue.qctl("push --json -Q mail --key k --on-duplicate replace --delay 1h false").succeeds().json();
    assert_eq!(
        (&answer["id"], &answer["outcome"], &answer["state"]),
        (&1.into(), &"replaced".into(), &"scheduled".into())
    );
}

#[test]
fn one_argument_is_a_line_for_the_shell_and_more_are_a_vector_that_no_shell_sees() {
    let queue = Sandbox::new();
    queue.push("'echo a; echo $((1+1))'");
    queue.qctl_with(&["push", "--", "printf", "%s\n", "$HOME; b", "*"]).succeeds();
    queue.qctl("work --drain").succeeds();
    queue.qctl("logs 1").prints("a\n2\n");
    queue.qctl("logs 2").prints("$HOME; b\n*\n");
    assert_eq!(queue.job(1)["shell"], true);
    assert_eq!(queue.job(2)["argv"], serde_json::json!(["printf", "%s\n", "$HOME; b", "*"]));
}

#[test]
fn a_held_key_answers_with_its_job_and_says_where_the_two_differ() {
    let queue = Sandbox::new();
    queue.push("--key k 'echo a'");
    queue.qctl("push --key k 'echo a'").succeeds().prints("1\n").says_nothing();
    queue.qctl("push --key k 'echo b'").succeeds().prints("1\n").says("another command or payload");
    queue.qctl("push --key k --on-duplicate error 'echo a'").exits(4).prints("").says("held by job 1");
    assert_eq!(queue.push("-Q other --key k 'echo a'"), 2);
}

#[test]
fn a_finished_job_holds_its_key_for_its_time_and_no_longer() {
    let mut queue = Sandbox::new();
    queue.push("--key day true");
    queue.push("--key none --key-ttl none true");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.push("--key day true"), 1);
    assert_eq!(queue.push("--key none true"), 3);
    queue.advance("23h 59m");
    assert_eq!(queue.push("--key day true"), 1);
    queue.advance("2m");
    assert_eq!(queue.push("--key day true"), 4);
}

#[test]
fn an_instant_is_echoed_in_local_time_and_in_utc() {
    let queue = Sandbox::new();
    queue
        .qctl("push --at 2100-01-02T03:04:05Z true")
        .prints("1\n")
        .says("2100-01-02 03:04:05 UTC (2100-01-02T03:04:05Z)");
    assert_eq!(queue.state(1), "scheduled");
    queue.qctl("push -q --at @4102542245 true").succeeds().says_nothing();
    assert_eq!(queue.job(2)["run_at"], queue.job(1)["run_at"]);
}

#[test]
fn defaults_come_from_the_queue() {
    let queue = Sandbox::new();
    queue.qctl("queue set mail --max-attempts 9 --priority 7 --timeout 3s").succeeds().says_nothing();
    queue.push("-Q mail true");
    queue.push("-Q mail --max-attempts 2 --timeout none true");
    assert_eq!((&queue.job(1)["max_attempts"], &queue.job(1)["priority"]), (&9.into(), &7.into()));
    assert_eq!(queue.job(2)["max_attempts"], 2);
    queue.qctl("show 1").succeeds().out().find("timeout 3s").expect("the queue's timeout");
    queue.qctl("show 2").succeeds().out().find("timeout none").expect("its own timeout");
}

#[test]
fn what_it_makes_is_the_owners_alone_whatever_the_umask() {
    for umask in ["000", "077", "777"] {
        let queue = Sandbox::new();
        queue.sh(&format!("umask {umask}; qctl --db new/q.db push true")).succeeds();
        let mode = |name| queue.path(name).metadata().expect("it was made").permissions().mode() & 0o7777;
        assert_eq!(mode("new/q.db"), 0o600, "{umask}");
        for name in ["new", "new/q.db-wal", "new/q.db-shm", "new/q.db-lock"] {
            assert_eq!(mode(name) & 0o077, 0, "{name} under {umask}");
        }
    }
}
