//! Dead letters go elsewhere and come back: export and import, drop and undo, and what is mended on the way.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Sandbox, Terminal, schema};

/// Bytes that no text has, and characters that mean something to JSON, shells and terminals.
const HOSTILE: &[u8] = b"\xff\xf0\x28 \"\\ \x1b[31m'$(x)\n\t=";

/// Three dead jobs: one with everything that is odd, one of a shell line, one with a payload.
fn with_odd() -> Sandbox {
    let queue = Sandbox::new();
    let folder = queue.path(OsStr::from_bytes(b"fold\xe9r"));
    std::fs::create_dir(&folder).expect("a folder");
    let mut words: Vec<&OsStr> =
        "push -Q odd --max-attempts 1 --priority 7 --key k --key-ttl 1h -l a=b --backoff list:1s,1500ms
        --jitter none --dead-on 65,70-78 --timeout 9s --kill-after 1500ms --cwd"
            .split_whitespace()
            .map(OsStr::new)
            .collect();
    let env = [b"X=".as_slice(), HOSTILE].concat();
    words.extend([folder.as_os_str(), "--env".as_ref(), OsStr::from_bytes(&env), "--payload".as_ref()]);
    words.extend([OsStr::from_bytes(HOSTILE), "--".as_ref(), "sh".as_ref(), "-c".as_ref()]);
    words.extend(["cat; printf '%s|' \"$X\" \"$1\"; pwd; exit 65".as_ref(), "sh".as_ref(), OsStr::from_bytes(HOSTILE)]);
    queue.qctl_with(&words).succeeds();
    queue.push("-Q plain --max-attempts 1 'qctl self progress 40% half; echo one >&2; exit 3'");
    queue.push("--max-attempts 1 --payload 'to: a' -- grep -q b");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.ids("dead"), [1, 2, 3]);
    queue
}

/// The lines of an export but for the ids.
fn lines(text: &str) -> Vec<serde_json::Value> {
    let line = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        schema::fits(&value, "dlq-export");
        value.as_object_mut().expect("a map").remove("id").expect("an id");
        value
    };
    text.lines().map(line).collect()
}

#[test]
fn an_export_that_is_imported_dead_is_exported_alike() {
    let queue = with_odd();
    let exported = queue.qctl("dlq export").succeeds().says_nothing();
    assert_eq!(exported.out().lines().count(), 3);
    queue.qctl("--db other.db push true").succeeds();
    queue.qctl_fed("--db other.db import --as-dead", exported.out().as_bytes()).succeeds().prints("2\n3\n4\n");
    let again = queue.qctl("--db other.db dlq export").succeeds();
    assert_eq!(lines(&again.out()), lines(&exported.out()));
    assert_eq!(queue.qctl("--db other.db dlq list").out().lines().count(), 3);
    queue.qctl("--db other.db push -Q odd --key k true").prints("2\n");
    // The second time another has the key.
    let twice = queue.qctl_fed("--db other.db import --as-dead", exported.out().as_bytes()).succeeds();
    twice.says("line 1: job 5 is without its key: job 2 holds it");
}

#[test]
fn an_export_that_is_imported_runs_as_it_did() {
    let queue = with_odd();
    let before = [1, 2, 3].map(|id| queue.qctl(&format!("logs {id}")).bytes().to_vec());
    assert!(before[0].ends_with(b"fold\xe9r\n") && before[0].starts_with(HOSTILE));
    let exported = queue.qctl("dlq export").succeeds().out();
    queue.qctl_fed("--db other.db import", exported.as_bytes()).succeeds().prints("1\n2\n3\n");
    queue.qctl("--db other.db work --drain").succeeds();
    assert_eq!([1, 2, 3].map(|id| queue.qctl(&format!("--db other.db logs {id}")).bytes().to_vec()), before);
    let again = lines(&queue.qctl("--db other.db dlq export").succeeds().out());
    let runs_alike = |of: &serde_json::Value| {
        let told = ["created_at", "run_at", "started_at", "died_at", "holds_key"];
        let mut of = of.as_object().expect("a map").clone();
        of.retain(|name, _| !told.contains(&name.as_str()));
        of
    };
    let mut wanted = lines(&exported);
    assert_eq!(
        again.iter().map(runs_alike).collect::<Vec<_>>(),
        wanted.iter_mut().map(|of| runs_alike(of)).collect::<Vec<_>>()
    );
}

#[test]
fn an_export_may_be_of_some_and_a_bad_line_takes_nothing_in() {
    let queue = with_odd();
    queue.qctl("dlq export 9").exits(3).prints("");
    queue.qctl("dlq export --dry-run").succeeds().says("would export 3 jobs");
    assert_eq!(queue.qctl("dlq export -Q plain").succeeds().out().lines().count(), 1);
    queue.push("true");
    assert_eq!(queue.qctl("dlq export 2-4").exits(4).says("job 4 is ready, not dead").out().lines().count(), 2);
    for bad in [
        r#"{"shell":"x"}"#,
        "true",
        r#"{"shell":"x","reason":"boredom","died_at":"@5"}"#,
        r#"{"shell":"x","reason":"expired","died_at":"@5","colour":1}"#,
        r#"{"shell":"x","shell_base64":"eA==","reason":"expired","died_at":"@5"}"#,
        r#"{"shell":"x","env_base64":["eA=="],"reason":"expired","died_at":"@5"}"#,
        r#"{"v":2,"shell":"x","reason":"expired","died_at":"@5"}"#,
    ] {
        let text = format!("{{\"shell\":\"x\",\"reason\":\"expired\",\"died_at\":\"@5\"}}\n{bad}\n");
        queue.qctl_fed("--db new.db import --as-dead", text.as_bytes()).exits(2).says("line 2: ").prints("");
        assert!(!queue.path("new.db").exists(), "{bad}");
    }
}

#[test]
fn a_drop_can_be_undone_and_everything_is_there_again() {
    let queue = with_odd();
    queue.push("-Q steps --max-attempts 1 'qctl step big -- head -c 3000000 /dev/zero >/dev/null; echo out; exit 3'");
    queue.qctl("work --drain").succeeds();
    let all = |id: i64| {
        (
            queue.job(id),
            queue.qctl(&format!("logs {id}")).bytes().to_vec(),
            queue.qctl(&format!("step list {id}")).out(),
        )
    };
    let before = [1, 4].map(all);
    queue.qctl("dlq undo").exits(3).says("there is nothing to bring back");
    queue.qctl("dlq undo --list").succeeds().prints("");
    queue.qctl("dlq drop 1 4").succeeds().prints("").says_nothing();
    queue.qctl("show 4").exits(3);
    queue.qctl("logs 1").exits(3);
    queue.qctl("step get --job 4 big").exits(3);
    // A worker that comes sweeps up files that belong to nothing.
    queue.qctl("work --drain").succeeds();
    queue.qctl("doctor").succeeds();
    queue.qctl("dlq drop 2").succeeds();
    let drops = queue.qctl("dlq undo --list --json").succeeds().gives("dlq-undo").json()["drops"].clone();
    assert_eq!((&drops[0]["undo"], &drops[0]["jobs"], &drops[1]["jobs"]), (&2.into(), &1.into(), &2.into()));
    queue.qctl("dlq undo 7").exits(3).says("there is no drop 7");
    queue.qctl("dlq undo 1").succeeds().prints("").says_nothing();
    assert_eq!([1, 4].map(all), before);
    assert_eq!(queue.qctl("step get --job 4 big").succeeds().bytes().len(), 3_000_000);
    assert_eq!(queue.qctl("dlq undo --json").succeeds().gives("dlq-undo").json()["restored"], serde_json::json!([2]));
    queue.qctl("dlq undo").exits(3);
    assert_eq!(queue.ids("dead"), [1, 2, 3, 4]);
}

#[test]
fn a_key_is_free_after_a_drop_and_an_undo_says_who_has_it() {
    let queue = with_odd();
    queue.qctl("dlq drop 1").succeeds();
    assert_eq!(queue.push("-Q odd --key k true"), 4);
    queue.qctl("dlq undo").succeeds().says("job 1 is back without its key: job 4 holds it by now");
    queue.qctl("dlq requeue 1").exits(4).says("job 4 is newer and holds its key");
}

#[test]
fn what_was_dropped_is_kept_for_a_day_and_with_no_undo_not_at_all() {
    let mut queue = with_odd();
    queue.qctl("dlq drop 3 --no-undo").succeeds();
    queue.qctl("dlq undo --list").prints("");
    queue.qctl("dlq drop 1").succeeds();
    queue.advance("23h");
    queue.qctl("dlq drop 2").succeeds();
    queue.qctl("prune").succeeds();
    assert_eq!(queue.qctl("dlq undo --list").out().lines().count(), 2);
    queue.advance("2h");
    queue.qctl("prune --dry-run").succeeds().says("would forget 0 jobs and 1 job that were dropped");
    assert_eq!(queue.qctl("prune --json").succeeds().gives("prune").json()["dropped"], 1);
    assert_eq!(queue.qctl("dlq undo --list").out().lines().count(), 1);
    queue.advance("24h");
    // Workers do so, too.
    let worker = queue.start("work");
    queue.wait_until("it is forgotten", || queue.qctl("dlq undo --list").out().is_empty());
    worker.stops().succeeds();
    queue.qctl("dlq undo").exits(3);
    queue.qctl("doctor").succeeds();
}

#[test]
fn purge_drops_all_dead_jobs_and_asks_first() {
    let queue = with_odd();
    queue.qctl("dlq purge").exits(4).says("nobody can be asked: drop 3 dead jobs").says("--yes");
    queue.qctl("dlq purge -Q nowhere --yes").exits(3);
    queue.qctl("dlq purge --dry-run").succeeds().says("would drop 3 jobs");
    let mut asked = queue.terminal((120, 30), "exec qctl dlq purge");
    asked.waits_for("drop 3 dead jobs (for a day: qctl dlq undo)? [y/N]");
    asked.types("n\r");
    asked.exits(4);
    assert_eq!(queue.ids("dead"), [1, 2, 3]);
    queue.qctl("dlq purge -Q odd --yes").succeeds().prints("");
    assert_eq!(queue.ids("dead"), [2, 3]);
    let mut asked = queue.terminal((120, 30), "exec qctl dlq purge");
    asked.waits_for("drop 2 dead jobs");
    asked.types("y\r");
    asked.succeeds();
    assert_eq!(queue.ids("dead"), [0; 0]);
    queue.qctl("dlq undo").succeeds();
    queue.qctl("dlq undo").succeeds();
    assert_eq!(queue.ids("dead"), [1, 2, 3]);
}

/// Writes an editor, a script.
fn editor(queue: &Sandbox, script: &str) {
    queue.write("editor", format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(queue.path("editor"), std::fs::Permissions::from_mode(0o755)).expect("one's own file");
}

#[test]
fn requeue_with_edit_changes_the_payload_or_else_the_command_and_the_old_one_is_kept() {
    let queue = with_odd();
    editor(
        &queue,
        "stat -c %a \"$1\" \"$(dirname \"$1\")\" >>modes; echo \"$1\" >>names; sed -i 's/to: a/to: b/; s/exit 3/exit 0/' \"$1\"",
    );
    queue.sh("EDITOR=./editor qctl dlq requeue 2-3 --edit").succeeds().prints("").says_nothing();
    assert_eq!(queue.read("modes"), "600\n700\n600\n700\n");
    assert!(queue.read("names").lines().all(|name| !std::path::Path::new(name).exists()));
    queue.qctl("work --drain").succeeds();
    assert_eq!(["succeeded", "succeeded"], [2, 3].map(|id| queue.state(id)).each_ref().map(String::as_str));
    let show = queue.qctl("show 3").succeeds().out();
    assert!(show.contains("replaced  the payload, ") && show.ends_with("what it was: qctl show 3 --json\n"), "{show}");
    let job = queue.qctl("show 3 --json").gives("job").json()["job"].clone();
    assert_eq!((&job["revisions"][0]["what"], &job["revisions"][0]["payload"]), (&"payload".into(), &"to: a".into()));
    let job = queue.job(2);
    assert!(job["revisions"][0]["command"].as_str().is_some_and(|old| old.ends_with("exit 3")), "{job}");
}

#[test]
fn an_editor_that_changes_nothing_or_fails_changes_nothing() {
    let queue = with_odd();
    for (script, said) in [
        ("exit 0", "job 3 stays dead: the text is as it was"),
        (": > \"$1\"", "job 3 stays dead: the text is empty"),
        ("echo 'to: b' > \"$1\"; exit 3", "the editor ./editor ended with exit 3"),
    ] {
        editor(&queue, script);
        queue.sh("VISUAL=./editor EDITOR=false qctl dlq requeue 3 --edit").exits(4).says(said);
    }
    queue
        .sh("EDITOR=./editor qctl dlq requeue 1 3 --edit")
        .exits(4)
        .says("the payload of job 1 is no text")
        .says("--set-payload");
    queue.qctl("dlq requeue 3 --edit").exits(4).says("nobody can edit here");
    queue.qctl("dlq requeue 3 --edit --set-payload x").exits(2);
    queue.sh("EDITOR=false qctl dlq requeue 3 --edit --dry-run").succeeds().says("would requeue 1 job");
    assert_eq!(queue.ids("dead"), [1, 2, 3]);
    assert!(queue.job(3)["revisions"].is_null());
}

#[test]
fn a_vector_is_edited_as_it_would_be_typed() {
    let queue = Sandbox::new();
    queue.push("--max-attempts 1 -- sh -c 'exit 3' 'two words'");
    queue.qctl("work --drain").succeeds();
    editor(&queue, "sed -i \"s/two words/it's \\\"more/\" \"$1\"; sed -i 's/exit 3/exit 0/' \"$1\"; cp \"$1\" seen");
    queue.sh("EDITOR=./editor qctl dlq requeue 1 --edit").exits(4).says("has a quote without its end");
    editor(&queue, "sed -i 's/two words/three of them/; s/exit 3/exit 0/' \"$1\"");
    queue.sh("EDITOR=./editor qctl dlq requeue 1 --edit").succeeds();
    assert_eq!(queue.job(1)["argv"], serde_json::json!(["sh", "-c", "exit 0", "three of them"]));
}

#[test]
fn set_payload_gives_all_of_them_the_same() {
    let queue = Sandbox::new();
    for _ in 0..3 {
        queue.push("--max-attempts 1 -- grep -q good");
    }
    queue.qctl("work --drain").succeeds();
    queue.qctl("dlq requeue 1 --set-payload @missing").exits(2).says("missing could not be read");
    assert_eq!(queue.ids("dead"), [1, 2, 3]);
    queue.qctl("dlq requeue 1 --set-payload good").succeeds();
    queue.write("file", b"\xff good");
    queue.qctl("dlq requeue 2 --set-payload @file").succeeds();
    queue.qctl_fed("dlq requeue 3 --set-payload -", b"no good").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.ids("succeeded"), [1, 2, 3]);
    let revision = queue.qctl("show 2 --json").gives("job").json()["job"]["revisions"][0].clone();
    assert_eq!((&revision["what"], &revision["payload"]), (&"payload".into(), &serde_json::Value::Null));
}

#[test]
fn a_drop_that_is_killed_has_dropped_nothing_that_cannot_be_brought_back() {
    let queue = Sandbox::new();
    queue.sh("yes '{\"shell\":\"x\",\"reason\":\"expired\",\"died_at\":\"@5\"}' | head -30000 | qctl import --as-dead >ids").succeeds();
    for delay in ["0.02", "0.05", "0.1"] {
        queue.sh(&format!("timeout -s KILL {delay} qctl dlq drop --all"));
        let n_dead: usize = queue.qctl("dlq list --limit 100000").out().lines().count();
        let drops = queue.qctl("dlq undo --list").out();
        let n_dropped: usize = drops.lines().filter_map(|line| line.split('\t').nth(2)?.parse::<usize>().ok()).sum();
        assert_eq!(n_dead + n_dropped, 30_000);
    }
    while !queue.qctl("dlq undo --list").out().is_empty() {
        queue.sh("timeout -s KILL 0.1 qctl dlq undo");
        queue.qctl("dlq undo");
    }
    assert_eq!(queue.qctl("dlq list --limit 100000").out().lines().count(), 30_000);
    queue.qctl("doctor").succeeds();
}

#[test]
fn ctrl_c_is_left_to_the_editor() {
    let queue = with_odd();
    editor(&queue, "trap 'echo > hit' INT; echo ready; while [ ! -e hit ]; do sleep 0.02; done; echo 'to: b' > \"$1\"");
    let mut edits = queue.terminal((120, 30), "EDITOR=./editor exec qctl dlq requeue 3 --edit");
    edits.waits_for("ready");
    edits.types(Terminal::CTRL_C);
    edits.succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(3), "succeeded");
}

#[test]
fn a_backup_has_what_was_dropped_and_can_bring_it_back() {
    let queue = with_odd();
    queue.qctl("dlq drop 2 3").succeeds();
    queue.qctl("backup copy.db").succeeds();
    queue.qctl("--db copy.db dlq undo").succeeds();
    assert_eq!(queue.qctl("--db copy.db dlq list").succeeds().out().lines().count(), 3);
    // Nothing but that one of them holds its key.
    assert_eq!(queue.qctl("--db copy.db doctor").out().lines().count(), 1);
}
