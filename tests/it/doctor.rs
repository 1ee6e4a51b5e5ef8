//! `doctor` says nothing when all is well, and else what is wrong and what cures it.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::{Output, Sandbox};

/// Someone who is neither root nor whoever runs the tests.
const SOMEONE: u32 = 12345;

/// The codes of what it found, in order.
#[track_caller]
fn codes(output: &Output) -> Vec<String> {
    let code = |line: &str| line.split('\t').next().expect("a first column").to_owned();
    output.out().lines().map(code).collect()
}

/// Claims that it finds exactly this; answers what it says and the cure.
#[track_caller]
fn finds(queue: &Sandbox, code: &str) -> (String, String) {
    finding(&queue.qctl("doctor"), code)
}

#[track_caller]
fn finding(output: &Output, code: &str) -> (String, String) {
    assert_eq!(codes(output), [code], "{}", output.story());
    assert_eq!(output.status(), 1, "{}", output.story());
    let out = output.out();
    let mut columns = out.trim_end().split('\t').skip(1).map(str::to_owned);
    (columns.next().expect("what it is"), columns.next().expect("a cure"))
}

#[track_caller]
fn is_well(queue: &Sandbox) {
    queue.qctl("doctor").succeeds().prints("").says_nothing();
}

/// Does what a cure says. Root need not ask for being it.
#[track_caller]
fn apply(queue: &Sandbox, cure: &str) {
    let words = shlex::split(cure).expect("quotes that match");
    match &words[..] {
        [program, file, statement] if program == "sqlite3" => {
            // Its row, where it has one, is of no interest.
            let conn = rusqlite::Connection::open(file).expect("the queue");
            conn.execute_batch(statement).expect("a statement that does it");
        }
        _ => {
            queue.sh(cure.trim_start_matches("sudo ")).succeeds();
        }
    }
}

/// Does to the file what no qctl does.
fn tamper(queue: &Sandbox, statements: &str) {
    let conn = rusqlite::Connection::open(queue.db()).expect("the queue");
    conn.execute_batch(statements).expect("a change");
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("one's own file");
}

/// Only root can give files away and be someone else.
fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A queue of someone else's, with a log, and a qctl that may be run by anyone.
fn queue_of_someone() -> Sandbox {
    let queue = Sandbox::new();
    queue.push("true");
    let folder = queue.path(".");
    queue.sh(&format!("cp \"$(command -v qctl)\" . && chown -R {SOMEONE}:{SOMEONE} .")).succeeds();
    assert!(folder.join("queue.db-shm").exists());
    queue
}

fn as_someone(queue: &Sandbox, line: &str) -> Output {
    queue.sh(&format!("setpriv --reuid={SOMEONE} --regid={SOMEONE} --clear-groups ./qctl {line}"))
}

#[test]
fn a_queue_that_is_worked_is_well_and_that_is_no_word_worth() {
    let queue = Sandbox::new();
    queue.push("true");
    is_well(&queue);
    let worker = queue.start("work -q");
    queue.wait_for_state(1, "succeeded");
    is_well(&queue);
    assert_eq!(queue.qctl("doctor --json").succeeds().json(), serde_json::json!({ "v": 1, "findings": [] }));
    worker.stops().succeeds();
    is_well(&queue);
}

#[test]
fn each_finding_has_a_code_a_message_and_a_cure_for_programs() {
    let queue = Sandbox::new();
    queue.push("true");
    chmod(&queue.path("queue.db-lock"), 0o606);
    let document = queue.qctl("doctor --json").exits(1).says_nothing().json();
    let finding = &document["findings"][0];
    assert_eq!((&document["v"], &finding["code"]), (&1.into(), &"writable".into()));
    let (file, message, hint) =
        (queue.path("queue.db-lock").canonicalize().expect("it is there"), &finding["message"], &finding["hint"]);
    assert!(message.as_str().expect("a text").contains(&format!("{} (mode 0606)", file.display())), "{message}");
    assert_eq!(hint, &format!("chmod go-w {}", file.display()));
}

#[test]
fn files_that_a_sudo_left_behind_are_named_with_the_chown_that_cures_them() {
    if !is_root() {
        return;
    }
    let queue = Sandbox::new();
    queue.push("true");
    for suffix in ["-wal", "-shm"] {
        chown(queue.path(format!("queue.db{suffix}")), Some(SOMEONE), None).expect("root may");
    }
    let (message, cure) = finds(&queue, "owner");
    assert!(message.contains("queue.db-wal belongs to user 12345") && message.contains("queue.db-shm"), "{message}");
    assert!(cure.starts_with("sudo chown 0 "), "{cure}");
    apply(&queue, &cure);
    is_well(&queue);
}

#[test]
fn even_where_they_keep_the_queue_from_being_opened() {
    if !is_root() {
        return;
    }
    let queue = queue_of_someone();
    as_someone(&queue, "doctor").succeeds().prints("");
    for suffix in ["-wal", "-shm", "-lock", "-wake"] {
        chown(queue.path(format!("queue.db{suffix}")), Some(0), Some(0)).expect("root may");
        let (message, cure) = finding(&as_someone(&queue, "doctor"), "owner");
        assert!(message.contains(&format!("queue.db{suffix} belongs to user 0")), "{message}");
        if ["-wal", "-shm"].contains(&suffix) {
            as_someone(&queue, "list").exits(78).says("`qctl doctor` tells which is not");
        }
        apply(&queue, &cure);
        as_someone(&queue, "doctor").succeeds().prints("");
    }
}

#[test]
fn permissions_that_shut_their_owner_out_are_named() {
    if !is_root() {
        return;
    }
    let queue = queue_of_someone();
    for (name, mode) in [("queue.db", 0o400), ("queue.db-shm", 0o200), ("queue.db-lock", 0), ("queue.db-wake", 0o500)] {
        chmod(&queue.path(name), mode);
        let (message, cure) = finding(&as_someone(&queue, "doctor"), "mode");
        assert!(message.ends_with(&format!("{name} (mode {mode:04o})")), "{message}");
        apply(&queue, &cure);
        as_someone(&queue, "doctor").succeeds().prints("");
    }
}

#[test]
fn a_folder_in_which_nothing_can_be_made_is_named_if_anything_is_missing() {
    if !is_root() {
        return;
    }
    let queue = queue_of_someone();
    chown(queue.path("."), Some(0), Some(0)).expect("root may");
    chmod(&queue.path("."), 0o755);
    as_someone(&queue, "doctor").succeeds().prints("");
    std::fs::remove_file(queue.path("queue.db-shm")).expect("root may");
    let (_, cure) = finding(&as_someone(&queue, "doctor"), "folder");
    assert!(cure.starts_with("sudo chown 12345 "), "{cure}");
    apply(&queue, &cure);
    as_someone(&queue, "doctor").succeeds().prints("");
}

#[test]
fn a_queue_of_someone_else_is_refused_with_both_ways_out() {
    if !is_root() {
        return;
    }
    let queue = queue_of_someone();
    let output = queue.qctl("doctor").exits(78).prints("").says("it belongs to user 12345, you are user 0");
    let err = output.err();
    let (_, cure) = err.trim_end().split_once("make it yours: ").expect("a cure");
    apply(&queue, cure);
    let (message, _) = finds(&queue, "folder_owner");
    assert!(message.contains("belongs to user 12345"), "{message}");
}

#[test]
fn what_others_may_write_is_named() {
    let queue = Sandbox::new();
    queue.push("'qctl step big -- head -c 2000000 /dev/zero'");
    queue.qctl("work --drain").succeeds();
    queue.push("true");
    for name in ["queue.db", "queue.db-wal", "queue.db-wake", "queue.db-steps", "."] {
        let path = queue.path(name);
        let mode = path.metadata().expect("it is there").permissions().mode();
        chmod(&path, mode | 0o022);
        let (_, cure) = finds(&queue, "writable");
        apply(&queue, &cure);
        is_well(&queue);
    }
}

#[test]
fn a_link_beside_the_queue_is_named() {
    let queue = Sandbox::new();
    queue.push("true");
    std::fs::rename(queue.path("queue.db-wal"), queue.path("elsewhere")).expect("one's own file");
    std::os::unix::fs::symlink("elsewhere", queue.path("queue.db-wal")).expect("a link");
    let (message, _) = finds(&queue, "link");
    assert!(message.contains("queue.db-wal is a symbolic link"), "{message}");
}

#[test]
fn damage_is_found_and_every_verb_that_meets_it_says_what_to_do() {
    let queue = Sandbox::new();
    let lines: String = (0..400).map(|n| format!("echo {n}\n")).collect();
    queue.qctl_fed("import", lines.as_bytes()).succeeds();
    let conn = rusqlite::Connection::open(queue.db()).expect("the queue");
    conn.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).expect("it is folded back");
    let root: usize = conn
        .query_row("select rootpage from sqlite_schema where name = 'job'", [], |row| row.get(0))
        .expect("the table of jobs");
    drop(conn);
    let mut bytes = std::fs::read(queue.db()).expect("the queue");
    bytes[(root - 1) * 4096..root * 4096].fill(0x5a);
    std::fs::write(queue.db(), bytes).expect("the queue");

    let (message, cure) = finds(&queue, "damage");
    assert!(message.contains("is damaged: "), "{message}");
    assert!(cure.contains(".recover | sqlite3 "), "{cure}");
    for verb in ["list --limit 1000", "push true"] {
        queue.qctl(verb).exits(78).prints("").says("is damaged").says(".recover | sqlite3 ");
    }
}

#[test]
fn a_schema_that_somebody_changed_is_told_statement_by_statement() {
    let queue = Sandbox::new();
    queue.push("true");
    let conn = rusqlite::Connection::open(queue.db()).expect("the queue");
    let changes = "drop index job_ready;
        drop index job_due;
        create index job_due on job (run_at);
        create trigger mine after insert on job begin select 1; end;";
    conn.execute_batch(changes).expect("changes");
    drop(conn);
    let output = queue.qctl("doctor").exits(1);
    assert_eq!(codes(&output), ["schema"; 3], "{}", output.story());
    for line in output.out().lines() {
        apply(&queue, line.rsplit('\t').next().expect("a cure"));
    }
    is_well(&queue);
    queue.qctl("work --drain -q").succeeds();
}

#[test]
fn what_is_kept_twice_and_disagrees_is_told_with_what_has_it_agree() {
    let queue = Sandbox::new();
    queue.push("-l team=blue true");
    let changes = [
        ("update counter set n = n + 1 where what = 'ready'", "counters"),
        ("update counter set n = 0 where what = 'job'", "the last job"),
        ("update label set value = 'green'", "labels"),
    ];
    for (change, what) in changes {
        tamper(&queue, change);
        let (message, cure) = finds(&queue, "schema");
        assert!(message.contains(what), "{message}");
        apply(&queue, &cure);
        is_well(&queue);
    }
    assert_eq!(queue.push("true"), 2);
}

#[test]
fn what_no_qctl_wrote_is_damage_to_the_verb_that_meets_it() {
    let changes = [
        ("update job set state = 'reads'", "list"),
        ("update job set context_id = 99", "update 1 --timeout 1s"),
        ("update counter set n = 9223372036854775807 where what = 'job'", "push true"),
        ("update counter set n = -7 where what = 'job'", "push true"),
        ("drop table label", "push -l a=b true"),
        ("update job set crashes = 4294967296", "show 1"),
    ];
    for (change, verb) in changes {
        let queue = Sandbox::new();
        queue.push("true");
        tamper(&queue, change);
        queue.qctl(verb).exits(78).prints("").says("is damaged: ");
        queue.qctl("doctor").exits(1);
    }
}

#[test]
fn a_job_that_only_the_index_calls_ready_is_not_run() {
    let queue = Sandbox::new();
    queue.push("true");
    queue.qctl("work --drain -q").succeeds();
    let (ready, succeeded) = ("state = 'ready'", "state = 'succeeded'");
    let relabel = |from: &str, to: &str| {
        let sql = format!(
            "pragma writable_schema = on;
             update sqlite_schema set sql = replace(sql, \"{from}\", \"{to}\") where name = 'job_ready'"
        );
        tamper(&queue, &sql);
    };
    relabel(ready, succeeded);
    tamper(&queue, "reindex job_ready");
    relabel(succeeded, ready);
    queue.qctl("work --drain -q").exits(78).says("is damaged: ");
    assert_eq!(queue.job(1)["attempts"].as_array().map(Vec::len), Some(1), "it ran once");
    let (message, cure) = finds(&queue, "schema");
    assert!(message.contains("index job_ready names other jobs"), "{message}");
    apply(&queue, &cure);
    is_well(&queue);
    queue.qctl("work --drain -q").succeeds();
}

#[test]
fn another_journal_mode_is_found() {
    let queue = Sandbox::new();
    queue.push("true");
    let conn = rusqlite::Connection::open(queue.db()).expect("the queue");
    conn.query_row("pragma journal_mode = delete", [], |_| Ok(())).expect("another journal");
    drop(conn);
    let (message, cure) = finds(&queue, "journal");
    assert!(message.contains("\"delete\""), "{message}");
    apply(&queue, cure.trim_start_matches("stop the workers, then "));
    is_well(&queue);
}

#[test]
fn a_log_that_a_long_reader_lets_grow_is_found() {
    let queue = Sandbox::new();
    queue.push("true");
    let reader = rusqlite::Connection::open(queue.db()).expect("the queue");
    reader.execute_batch("begin; select count(*) from job").expect("a long look");
    queue.write("large", vec![b'x'; 24 << 20]);
    for _ in 0..3 {
        queue.push("--payload-file large cat");
    }
    let (message, cure) = finds(&queue, "log");
    assert!(message.contains("queue.db-wal has grown to 72."), "{message}");
    assert!(cure.contains("fuser -v ") && cure.contains("qctl work --drain"), "{cure}");
    drop(reader);
    queue.qctl("work --drain -q").succeeds();
    is_well(&queue);
}

/// Runs a script where it may mount; `None` where nobody may.
fn where_one_may_mount(queue: &Sandbox, script: &str) -> Option<Output> {
    let may = queue.sh("unshare -m true").err().is_empty();
    may.then(|| queue.sh(&format!("exec unshare -m sh -ec {}", shlex::try_quote(script).expect("no NUL"))))
}

#[test]
fn a_file_that_is_mounted_by_itself_is_found() {
    let queue = Sandbox::new();
    queue.push("true");
    let Some(output) = where_one_may_mount(&queue, "mount --bind queue.db queue.db; exec qctl doctor") else { return };
    let (message, cure) = finding(&output, "mount");
    assert!(message.contains("queue.db is mounted by itself"), "{message}");
    assert!(cure.contains("mount the folder"), "{cure}");
}

#[test]
fn little_space_is_found() {
    let queue = Sandbox::new();
    let script = "mkdir -m 700 small; mount -t tmpfs -o size=8m,mode=700 none small
        qctl push --db small/queue.db true >&2
        exec qctl doctor --db small/queue.db";
    let Some(output) = where_one_may_mount(&queue, script) else { return };
    let (message, _) = finding(&output, "space");
    assert!(message.starts_with("only 7."), "{message}");
}

#[test]
fn a_full_disk_is_found_even_where_the_queue_can_no_longer_be_opened() {
    let queue = Sandbox::new();
    let script = "mkdir -m 700 small; mount -t tmpfs -o size=400k,mode=700 none small
        export QCTL_DB=small/queue.db
        qctl push true >&2
        rm small/queue.db-shm
        dd if=/dev/zero of=small/rest bs=1k 2>/dev/null || true
        qctl list || echo $?
        exec qctl doctor";
    let Some(output) = where_one_may_mount(&queue, script) else { return };
    assert!(output.out().starts_with("75\nspace\tonly 0 B are free "), "{}", output.story());
    output.exits(1);
}

#[test]
fn a_file_system_that_became_read_only_is_found() {
    let queue = Sandbox::new();
    let script = "mkdir -m 700 disk; mount -t tmpfs -o size=80m,mode=700 none disk
        qctl push --db disk/queue.db true >&2
        mount -o remount,ro disk
        exec qctl doctor --db disk/queue.db";
    let Some(output) = where_one_may_mount(&queue, script) else { return };
    finding(&output, "read_only");
}

#[test]
fn a_worker_that_hangs_is_found_until_it_goes_on() {
    let queue = Sandbox::new();
    queue.push("'touch started; while [ ! -e go ]; do sleep 0.02; done'");
    let worker = queue.start("work --lease 1s -q");
    queue.wait_until("the job runs", || queue.path("started").exists());
    worker.signal(Signal::SIGSTOP);
    queue.wait_until("it is found", || queue.qctl("doctor").status() == 1);
    let (message, cure) = finds(&queue, "worker_hung");
    assert!(message.contains(&format!("(process {} on ", worker.pid())), "{message}");
    assert!(message.ends_with("it holds 1 job (1)"), "{message}");
    assert!(cure.starts_with(&format!("kill -CONT {} ", worker.pid())), "{cure}");
    worker.signal(Signal::SIGCONT);
    queue.wait_until("it is heard of again", || queue.qctl("doctor").status() == 0);
    queue.write("go", "");
    worker.stops();
}

#[test]
fn jobs_of_a_dead_worker_are_found_while_nobody_takes_them_up() {
    let queue = Sandbox::new();
    queue.push("'touch started; while [ ! -e go ]; do sleep 0.02; done'");
    let worker = queue.start("work -q");
    queue.wait_until("the job runs", || queue.path("started").exists());
    worker.dies();
    let (message, cure) = finds(&queue, "abandoned");
    assert!(message.ends_with("no live one takes them up: 1"), "{message}");
    assert_eq!(cure, "qctl work");
    queue.write("go", "");
    queue.qctl("work --drain -q").succeeds();
    is_well(&queue);
}

#[test]
fn a_job_that_runs_far_longer_than_is_usual_in_its_queue_is_found() {
    let mut queue = Sandbox::new();
    let lines: String = "true\n".repeat(19);
    queue.qctl_fed("import", lines.as_bytes()).succeeds();
    queue.qctl("work --drain -q -j 4").succeeds();
    queue.push("'touch started; while [ ! -e go ]; do sleep 0.02; done'");
    let worker = queue.start("work -q -j 2");
    queue.wait_until("the job runs", || queue.path("started").exists());
    queue.advance("10m");
    is_well(&queue);
    // Now there are twenty, and that is enough to say what is usual.
    queue.push("true");
    queue.wait_for_state(21, "succeeded");
    let (message, cure) = finds(&queue, "slow");
    assert!(message.starts_with("job 20 in queue default has run for 10m"), "{message}");
    assert!(cure.contains("qctl cancel 20"), "{cure}");
    queue.write("go", "");
    worker.stops().succeeds();
}

#[test]
fn a_queue_that_nobody_serves_is_found_after_an_hour() {
    let mut queue = Sandbox::new();
    queue.push("-Q mail true");
    queue.push("-Q late --delay 10m true");
    queue.advance("59m");
    is_well(&queue);
    queue.advance("2m");
    let (message, cure) = finds(&queue, "unserved");
    assert_eq!(message, "a job in queue mail has waited for 1h 1m and no live worker serves it; none ever did");
    assert_eq!(cure, "qctl work -Q mail");
    queue.advance("1h");
    let output = queue.qctl("doctor").exits(1);
    assert_eq!(codes(&output), ["unserved", "unserved"], "{}", output.story());
    queue.qctl("work --drain -q").succeeds();
    is_well(&queue);
    queue.push("-Q mail true");
    queue.advance("2h");
    assert!(finds(&queue, "unserved").0.ends_with("the last one was there 2h ago"));
}

#[test]
fn a_pause_that_was_forgotten_is_found_if_jobs_wait() {
    let mut queue = Sandbox::new();
    queue.push("-Q mail true");
    queue.push("-Q video true");
    queue.qctl("work --drain -q -Q video").succeeds();
    queue.qctl("queue pause mail video").succeeds();
    queue.advance("23h");
    is_well(&queue);
    queue.advance("2h");
    let (message, cure) = finds(&queue, "paused");
    assert_eq!(message, "queue mail has been paused for 1d 1h; 1 job in it");
    assert_eq!(cure, "qctl queue resume mail");
}

#[test]
fn a_subscription_that_nobody_serves_is_found_after_an_hour_and_what_it_loses_before() {
    let mut queue = Sandbox::new();
    queue.qctl("subscription add audit > true").succeeds();
    for _ in 1..=2 {
        queue.qctl("publish order.created --lazy").succeeds();
    }
    queue.advance("59m");
    is_well(&queue);
    queue.advance("2m");
    let (message, cure) = finds(&queue, "behind");
    assert!(
        message.starts_with("subscription audit is behind by 2 events, the oldest published 1h 1m ago;"),
        "{message}"
    );
    assert_eq!(cure, "qctl work -Q audit");
    queue.advance("6d 22h");
    assert!(finds(&queue, "behind").0.contains("will be forgotten in 58m"));
    queue.qctl("work --drain -q").succeeds();
    is_well(&queue);
    queue.qctl("topic set order.> --keep 10m").succeeds();
    queue.qctl("publish order.created --lazy").succeeds();
    queue.advance("11m");
    assert!(finds(&queue, "behind").0.ends_with("will be forgotten next"));
    queue.qctl("prune").succeeds();
    assert!(finds(&queue, "behind").0.contains("event 3, where it stood, is forgotten by now"));
    queue.qctl("work --drain -q").succeeds();
    is_well(&queue);
}

#[test]
fn what_a_subscription_will_lose_to_a_limit_of_its_topic_is_found_before_it_is_forgotten() {
    let queue = Sandbox::new();
    queue.qctl("topic set order --keep-rows 4").succeeds();
    queue.qctl("topic set mail --keep-bytes 10").succeeds();
    queue.qctl("subscription add audit > true").succeeds();
    let publish = |topic: &str| drop(queue.qctl(&format!("publish {topic} --payload 123 --lazy")).succeeds());
    ["order", "order", "mail", "mail"].into_iter().for_each(publish);
    is_well(&queue);
    publish("order");
    assert!(finds(&queue, "behind").0.ends_with("; the oldest of order will be forgotten after 1 more"));
    ["order", "order", "mail"].into_iter().for_each(publish);
    let (message, cure) = finds(&queue, "behind");
    assert!(message.ends_with("; the oldest of order will be forgotten next"), "{message}");
    assert!(cure.ends_with("to keep them longer: qctl topic set order --keep-rows N"), "{cure}");
    queue.qctl("prune --dry-run --json").succeeds().prints("{\"v\":1,\"would_prune\":0,\"events\":1,\"dropped\":0}\n");
    queue.qctl("topic set order --keep-rows none").succeeds();
    assert!(finds(&queue, "behind").0.ends_with("; the oldest of mail will be forgotten after 1 B more"));
    queue.qctl("work --drain -q").succeeds();
    is_well(&queue);
}

#[test]
fn a_subscription_that_was_left_paused_is_found_after_a_day_if_it_misses_anything() {
    let mut queue = Sandbox::new();
    queue.qctl("subscription add audit > -Q slow").succeeds();
    queue.qctl("subscription pause audit").succeeds();
    queue.advance("25h");
    is_well(&queue);
    queue.qctl("publish order.created").succeeds();
    let (message, cure) = finds(&queue, "behind");
    assert!(message.ends_with("it has been paused for 1d 1h"), "{message}");
    apply(&queue, &cure);
    is_well(&queue);
}

#[test]
fn a_queue_that_was_paused_with_its_subscription_is_resumed_with_it() {
    let mut queue = Sandbox::new();
    queue.qctl("subscription add audit > true").succeeds();
    queue.qctl("publish order.created").succeeds();
    queue.qctl("subscription pause audit").succeeds();
    queue.advance("25h");
    let (message, cure) = finds(&queue, "paused");
    assert_eq!(message, "queue audit has been paused for 1d 1h; 1 job in it");
    assert_eq!(cure, "qctl subscription resume audit");
    apply(&queue, &cure);
    assert!(queue.qctl("subscription list").succeeds().out().contains("\t\t0\t"));
}

#[test]
fn a_key_that_a_dead_job_holds_is_found() {
    let queue = Sandbox::new();
    queue.qctl_with(&["push", "--key", "order\n\x1b[2J7", "--max-attempts", "1", "exit 1"]).succeeds();
    is_well(&queue);
    queue.qctl("work --drain -q").succeeds();
    let (message, cure) = finds(&queue, "key");
    assert_eq!(
        message,
        r#"key "order\n\u{1b}[2J7" in queue default is held by job 1, which is dead: a push of it runs nothing"#
    );
    assert_eq!(cure, "run it: qctl retry 1; or free the key: qctl delete 1");
    queue.qctl("retry 1").succeeds();
    is_well(&queue);
}

#[test]
fn a_clock_that_was_set_back_is_found() {
    let queue = Sandbox::new();
    queue.sh("QCTL_TEST_CLOCK_OFFSET=7200000 exec qctl push true").succeeds();
    let (message, _) = finds(&queue, "clock");
    assert!(message.starts_with("the clock was set back: job 1 was pushed 1h 59m from now"), "{message}");
}

#[test]
fn cures_name_the_file_that_was_named() {
    let queue = Sandbox::new();
    queue.qctl("push --db 'my queue.db' --key k --max-attempts 1 'exit 1'").succeeds();
    queue.qctl("work --db 'my queue.db' --drain -q").succeeds();
    let (_, cure) = finding(&queue.qctl("doctor --db 'my queue.db'"), "key");
    assert!(cure.starts_with("run it: qctl --db 'my queue.db' retry 1;"), "{cure}");
}
