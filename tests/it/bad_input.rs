//! Bad input gets one clear line and its status, and changes nothing.

use std::path::Path;

use crate::support::{Output, Sandbox};

/// Command lines that make no sense.
const NONSENSE: &[&str] = &[
    "",
    "lst",
    "push",
    "push ''",
    "push '  '",
    "push --no-such-option true",
    "push --key '' true",
    "push --delay 1M true",
    "push --delay 5 true",
    "push --delay 1s --at 18:00 true",
    "push --at tomorrow true",
    "push --at 25:00 true",
    "push --backoff 5s true",
    "push --backoff exp:1m..1s true",
    "push --jitter some true",
    "push --dead-on 256 true",
    "push --dead-on '' true",
    "push --timeout 0s true",
    "push --expires 0s true",
    "push --kill-after 1year true",
    "push -Q 'a b' true",
    "push -Q '' true",
    "push -l nothing true",
    "push -l 'a b=c' true",
    "push --priority 101 true",
    "push --max-attempts 0 true",
    "push --max-attempts 1001 true",
    "push --on-duplicate maybe --key k true",
    "push --key-ttl 1h true",
    "push --payload a --stdin true",
    "push --payload-file missing true",
    "push --cwd missing true",
    "push --env NO_SUCH_VARIABLE true",
    "push --env =x true",
    "import missing",
    "run",
    "work -j 0",
    "work --lease 10ms",
    "work --max-jobs 0",
    "work -Q 'a b'",
    "work --once --max-jobs 2",
    "list -s finished",
    "list --limit many",
    "list --since whenever",
    "show one",
    "show 0",
    "logs 1 --attempt 0",
    "wait",
    "wait 7-3",
    "wait 1 --timeout 1M",
    "cancel",
    "retry",
    "dlq",
    "dlq requeue",
    "dlq drop",
    "dlq drop --all 1",
    "dlq undo x",
    "dlq undo 1 --list",
    "queue set mail --backoff never",
    "queue pause",
    "completions csh",
];

/// Every file of the folder, with what it holds.
fn everything(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.ends_with("queue.db-shm"))
        .map(|path| (path.clone(), std::fs::read(&path).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

/// Claims that stderr is one line of message, and one hint at the most.
#[track_caller]
fn is_one_clear_line(output: &Output) {
    let err = output.err();
    let lines: Vec<&str> = err.lines().collect();
    let is_clear = match lines[..] {
        [message] => message.starts_with("qctl: "),
        [message, hint] => message.starts_with("qctl: ") && hint.starts_with("hint: "),
        _ => false,
    };
    assert!(is_clear && output.out().is_empty(), "{}", output.story());
}

#[test]
fn nonsense_is_told_in_one_line_and_changes_nothing() {
    let queue = Sandbox::new();
    for line in NONSENSE {
        is_one_clear_line(&queue.qctl(line).exits(2));
    }
    assert!(!queue.db().exists());
    queue.push("true");
    let before = everything(&queue.path("."));
    for line in NONSENSE {
        is_one_clear_line(&queue.qctl(line).exits(2));
    }
    assert!(everything(&queue.path(".")) == before);
}

#[test]
fn with_json_the_error_follows_as_a_document() {
    let queue = Sandbox::new();
    for (line, status, code) in [
        ("push --delay 1M true --json", 2, "usage"),
        ("show 1 --json", 3, "not_found"),
        ("wait --json 1", 3, "not_found"),
        ("list --json --db /dev/null", 78, "bad_file"),
    ] {
        let output = queue.qctl(line).exits(status).prints("");
        let last = output.err().lines().last().expect("a line").to_owned();
        let document: serde_json::Value = serde_json::from_str(&last).expect("a document");
        assert_eq!((&document["v"], &document["error"]["code"]), (&1.into(), &code.into()), "{}", output.story());
    }
}

#[test]
fn verbs_that_look_answer_3_where_there_is_no_queue_and_make_none() {
    let queue = Sandbox::new();
    for verb in [
        "list",
        "show 1",
        "logs 1",
        "wait 1",
        "stats",
        "cancel 1",
        "retry 1",
        "dlq list",
        "queue list",
        "queue pause a",
        "doctor",
    ] {
        let output = queue.qctl(verb).exits(3).says(&queue.db().display().to_string());
        let output = output.says("hint: name the file with --db or QCTL_DB");
        is_one_clear_line(&output);
    }
    assert!(everything(&queue.path(".")).is_empty());
}

/// Claims that neither a verb that looks nor one that puts in touches the file.
#[track_caller]
fn is_refused(queue: &Sandbox, path: &Path, because: &str) {
    is_refused_by(queue, path, because, &["list", "push true", "work --drain", "queue set a --priority 1", "doctor"]);
}

/// Claims that these verbs refuse the file, and do not touch it.
#[track_caller]
fn is_refused_by(queue: &Sandbox, path: &Path, because: &str, verbs: &[&str]) {
    let before = std::fs::read(path).ok();
    for verb in verbs {
        let words = shlex::split(&format!("--db {} {verb}", path.display())).expect("quotes that match");
        let output = queue.qctl_with(&words).exits(78).says(because).says(&path.display().to_string()).says("hint: ");
        is_one_clear_line(&output);
    }
    assert!(std::fs::read(path).ok() == before);
}

#[test]
fn a_text_file_is_no_queue() {
    let queue = Sandbox::new();
    queue.write("text", "Dear diary, today I was taken for a database, which I am not.\n".repeat(20));
    is_refused(&queue, &queue.path("text"), "it is not a SQLite file");
    queue.write("short", "x");
    is_refused(&queue, &queue.path("short"), "it is not a SQLite file");
}

#[test]
fn a_folder_or_a_device_is_no_queue() {
    let queue = Sandbox::new();
    std::fs::create_dir(queue.path("folder")).expect("a folder");
    is_refused(&queue, &queue.path("folder"), "it is a folder");
    is_refused(&queue, Path::new("/dev/null"), "it is not a regular file");
}

#[test]
fn another_programs_sqlite_file_is_left_alone() {
    let queue = Sandbox::new();
    let other = rusqlite::Connection::open(queue.path("other.db")).expect("a file");
    other.execute_batch("create table diary (day text); insert into diary values ('today')").expect("a table");
    drop(other);
    is_refused(&queue, &queue.path("other.db"), "another program's SQLite file");
}

#[test]
fn a_queue_of_a_newer_qctl_is_left_alone() {
    let queue = Sandbox::new();
    queue.push("true");
    let conn = rusqlite::Connection::open(queue.db()).expect("the queue");
    conn.execute_batch("pragma user_version = 999; pragma wal_checkpoint(truncate)").expect("a new schema");
    drop(conn);
    is_refused(&queue, &queue.db(), "has schema 999; this qctl knows up to 6");
}

#[test]
fn a_link_is_not_followed() {
    let queue = Sandbox::new();
    queue.push("true");
    std::os::unix::fs::symlink(queue.db(), queue.path("link.db")).expect("a link");
    is_refused(&queue, &queue.path("link.db"), "symbolic link");
}

#[test]
fn a_folder_that_cannot_be_written_is_told_with_its_path() {
    let queue = Sandbox::new();
    // Not even root can make a file there.
    for db in ["/proc/qctl.db", "/proc/qctl/queue.db"] {
        let output = queue.qctl(&format!("push --db {db} true")).exits(78).says("/proc").says("hint: ");
        is_one_clear_line(&output);
    }
}

#[test]
fn someone_elses_queue_is_refused() {
    let queue = Sandbox::new();
    queue.push("true");
    if !nix::unistd::geteuid().is_root() {
        // Only root can give a file away.
        return;
    }
    std::os::unix::fs::chown(queue.db(), Some(12345), None).expect("root may");
    is_refused(&queue, &queue.db(), "it belongs to user 12345, you are user 0");
}

/// Claims that user 12345 gets one line that names this path and why, and one that names the cure.
#[track_caller]
fn is_denied_to_another(queue: &Sandbox, path: &Path, because: &str) {
    for verb in ["list", "push true", "work --drain"] {
        let line = format!("setpriv --reuid 12345 --clear-groups qctl --db {} {verb}", path.display());
        let output = queue.sh(&line).exits(78).says(because).says(&path.display().to_string()).says("hint: ");
        is_one_clear_line(&output);
    }
}

#[test]
fn to_another_user_a_queue_is_denied_with_its_path_and_the_cure() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let queue = Sandbox::new();
    let allow = |name: &str, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(queue.path(name), permissions).expect("it is ours");
    };
    allow(".", 0o755);
    if queue.sh("setpriv --reuid 12345 --clear-groups qctl --version").err() != "" {
        // Only root can become someone else, and not everywhere.
        return;
    }
    queue.push("true");
    is_denied_to_another(&queue, &queue.db(), "it belongs to user 0, you are user 12345");
    for (folder, mode) in [("private", 0o700), ("open", 0o755), ("bare", 0o755)] {
        queue.qctl(&format!("--db {folder}/queue.db push true")).succeeds();
        allow(folder, mode);
        chown(queue.path(folder).join("queue.db"), Some(12345), None).expect("root may");
    }
    is_denied_to_another(&queue, &queue.path("private/queue.db"), "Permission denied");
    // Its own file, but what belongs beside it is not.
    queue.sh("rm open/queue.db-*; rm -r open/queue.db-wake").exits(0);
    is_denied_to_another(&queue, &queue.path("open/queue.db"), "could not be opened");
    allow("bare/queue.db", 0o000);
    is_denied_to_another(&queue, &queue.path("bare/queue.db"), "Permission denied");
    let output = queue.sh("setpriv --reuid 12345 --clear-groups qctl --db new.db push true").exits(78);
    is_one_clear_line(&output.says("new.db could not be opened: Permission denied").says("hint: "));
}

#[test]
fn a_damaged_file_is_told_with_what_can_be_saved() {
    let queue = Sandbox::new();
    queue.sh("seq 500 | sed 's/.*/true/' | qctl import; qctl publish a").succeeds();
    let conn = rusqlite::Connection::open(queue.db()).expect("the queue");
    conn.execute_batch("pragma wal_checkpoint(truncate)").expect("nobody reads");
    let mut query = conn.prepare("select rootpage from sqlite_schema where rootpage > 0").expect("a statement");
    let roots: Vec<usize> =
        query.query_map([], |row| row.get(0)).expect("pages").map(|page| page.expect("one")).collect();
    drop(query);
    drop(conn);
    let mut bytes = std::fs::read(queue.db()).expect("the queue");
    let is_damaged = |bytes: &[u8]| {
        std::fs::write(queue.db(), bytes).expect("the queue");
        let output = queue.qctl("list").says("sqlite3 FILE .recover");
        assert!(output.err().contains("is damaged"), "{}", output.story());
        let verbs = ["list", "push true", "work --drain", "queue set a --priority 1"];
        is_refused_by(&queue, &queue.db(), "is damaged", &verbs);
    };
    // It says which tables there are, and they are none.
    for root in roots {
        bytes[(root - 1) * 4096..root * 4096].fill(0xa5);
    }
    is_damaged(&bytes);
    queue.qctl("doctor").exits(1);
    // The first page says that it is a queue; what follows, with the rest of the schema, is not even so in name.
    bytes[4096..].fill(0xa5);
    is_damaged(&bytes);
    queue.qctl("doctor").exits(78).says("is damaged");
}

#[test]
fn an_empty_file_is_missing_to_those_who_look_and_new_to_those_who_put_in() {
    let queue = Sandbox::new();
    queue.write("queue.db", "");
    queue.qctl("list").exits(3);
    assert_eq!(queue.push("true"), 1);
}

#[test]
fn nobody_begins_with_what_is_yet_to_come_but_for_the_next_event() {
    let queue = Sandbox::new();
    queue
        .qctl("subscription add log order.* --from 2 true")
        .exits(3)
        .says("there is no event 2: none was published yet");
    queue.qctl("publish order.created").succeeds();
    queue.qctl("subscription add log order.* --from 2 true").succeeds();
    for line in ["subscription rewind log --to 3", "listen order.* --from 3 --no-follow"] {
        queue.qctl(line).exits(3).says("there is no event 3: the last one is 1");
    }
    queue.qctl("listen order.* --from 2126-01-01 --no-follow").exits(2).says("has not come yet");
    queue.qctl("publish order.created").succeeds();
    queue.qctl("list -F event_id").succeeds().prints("2\n");
}
