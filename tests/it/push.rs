//! `push` puts a job into a queue, and says which.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

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
    let answer = "{\"v\":1,\"id\":1,\"queue\":\"mail\",\"outcome\":\"created\",\"state\":\"ready\",\
                  \"reason\":null,\"due\":null,\"key\":\"k\",\"key_until\":null,\"differs\":[]}\n";
    queue.qctl("push --json -Q mail --key k --key-ttl none true").prints(answer);
    let answer = queue.qctl("push --json -Q mail --key k true").succeeds().json();
    assert_eq!((&answer["id"], &answer["outcome"]), (&1.into(), &"existing".into()));
    assert_eq!(answer["key_until"], Value::Null, "the holder's time, not that of this push");
    let answer = queue.qctl("push --json -Q mail --key k --on-duplicate replace --delay 1h false").succeeds().json();
    assert_eq!(
        (&answer["id"], &answer["outcome"], &answer["state"]),
        (&1.into(), &"replaced".into(), &"scheduled".into())
    );
    assert_eq!((&answer["due"], &answer["differs"]), (&queue.job(1)["run_at"], &json!(["command"])));
    assert!(answer["key_until"].is_string(), "{answer}");
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
    let differs = |words: &str, what: &str, json: Value| {
        let held = "the key is held by job 1, which is ready, waiting for a worker, and has another";
        let said = format!("{held} {what}; nothing was queued");
        queue.qctl(&format!("push --key k {words}")).succeeds().prints("1\n").says(&said);
        let answer = queue.qctl(&format!("push --json --key k {words}")).succeeds().json();
        assert_eq!((&answer["outcome"], &answer["differs"]), (&"existing".into(), &json));
    };
    differs("'echo b'", "command", json!(["command"]));
    differs("--payload x 'echo a'", "payload", json!(["payload"]));
    differs("--payload x 'echo b'", "command and another payload", json!(["command", "payload"]));
    queue.qctl("push --key k --on-duplicate error 'echo a'").exits(4).prints("").says("held by job 1");
    assert_eq!(queue.push("-Q other --key k 'echo a'"), 2);
}

#[test]
fn a_push_whose_key_is_held_says_where_its_job_stands_and_why() {
    let mut queue = Sandbox::new();
    let answer = |queue: &Sandbox| {
        let answer = queue.qctl("push --json --key k 'exit 3'").succeeds().gives("push").json();
        assert_eq!((&answer["id"], &answer["outcome"]), (&1.into(), &"existing".into()));
        answer
    };
    let refused = |queue: &Sandbox, words: &str| {
        queue.qctl("push --key k --on-duplicate error 'exit 3'").exits(4).says(words);
    };
    queue.push("--key k --delay 1m --max-attempts 2 --backoff fixed:1m --jitter none 'exit 3'");
    assert_eq!(answer(&queue)["due"], queue.job(1)["run_at"]);
    refused(&queue, "which is scheduled, not before 20");
    queue.advance("1m");
    queue.qctl("work --drain").succeeds();
    let waiting = answer(&queue);
    assert_eq!((&waiting["state"], &waiting["due"]), (&"retrying".into(), &queue.job(1)["run_at"]));
    refused(&queue, "which is retrying, waiting for its backoff until 20");
    queue.advance("1m");
    queue.qctl("work --drain").succeeds();

    let dead = answer(&queue);
    let facts = (&dead["state"], &dead["reason"], &dead["due"]);
    assert_eq!(facts, (&"dead".into(), &"exhausted".into(), &Value::Null));
    assert!(dead["key_until"].is_string(), "{dead}");
    refused(&queue, "which is dead: exhausted, ");
    refused(&queue, "run it: qctl retry 1; or free the key: qctl delete 1");
    // That nothing is going to run is said, even where it is the same job once more.
    let output = queue.qctl("push --key k 'exit 3'").succeeds().prints("1\n");
    output.says("the key is held by job 1, which is dead: exhausted, ").says("nothing was queued");
    queue.qctl("push --key k --on-duplicate replace 'exit 3'").succeeds().says("it is past replacing");
}

#[test]
fn an_automatic_key_is_made_from_command_payload_and_folder() {
    let queue = Sandbox::new();
    queue.sh("mkdir a b").succeeds();
    let first = queue.qctl("push --json --key auto --cwd a -- echo x").succeeds().json();
    let key = first["key"].as_str().expect("a key");
    assert!(key.starts_with("auto-") && key.len() == 37, "{key}");
    assert_eq!(
        queue.push("--key auto --cwd a --priority 3 -l x=y --env A=b -- echo x"),
        1,
        "what else it has is nothing to it"
    );
    assert_eq!(queue.push(&format!("--key {key} --cwd a -- echo x")), 1, "it is a key like any other");
    assert_eq!(queue.push("--key auto --cwd b -- echo x"), 2);
    assert_eq!(queue.push("--key auto --cwd a 'echo x'"), 3);
    assert_eq!(queue.push("--key auto --cwd a --payload p -- echo x"), 4);
    assert_eq!(queue.push("-Q other --key auto --cwd a -- echo x"), 5);
    let line = r#"{"command":["echo","x"],"cwd":"a","key":"auto"}"#;
    queue.sh(&format!("echo '{line}' | qctl import")).succeeds().prints("1\n");
    assert_eq!(queue.job(1)["key"], key);
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
