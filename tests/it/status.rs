//! Every exit status of the table is reached, through the binary, and means what the table says.

use std::collections::BTreeSet;

use crate::support::Sandbox;

/// What ends with each status; the script is run with `sh`, where job 1 has succeeded and a worker serves
/// the queue `run`.
const ENDS: &[(&str, i32, &[&str])] = &[
    (
        "0",
        0,
        &["qctl list", "qctl list -s dead", "qctl work --drain", "qctl wait 1", "qctl prune", "qctl run -Q run true"],
    ),
    (
        "1",
        1,
        &[
            "qctl push -Q fails --max-attempts 1 false; qctl work -Q fails --drain --exit-status",
            "qctl wait $(qctl list -s dead -F id --limit 1)",
            "qctl run -Q run 'exit 1'",
        ],
    ),
    ("2", 2, &["qctl", "qctl lst", "qctl push", "qctl push --delay 1M true", "qctl import missing", "qctl wait"]),
    ("3", 3, &["qctl show 99", "qctl queue show nowhere", "qctl wait 1 99", "qctl --db missing.db list"]),
    (
        "4",
        4,
        &[
            "qctl cancel 1",
            "qctl push --key k true && qctl push --key k --on-duplicate error true",
            "qctl queue purge default",
            "qctl backup queue.db",
        ],
    ),
    // What was asked may have been done, and nobody was told.
    ("74", 74, &["qctl list >/dev/full", "qctl push true >/dev/full", "qctl help >/dev/full"]),
    ("75", 75, &[FULL_DISK]),
    ("78", 78, &["qctl --db /dev/null list", "qctl --db / push true", "qctl --db /proc/x/q.db push true"]),
    (
        "124",
        124,
        &["qctl wait --timeout 10ms $(qctl push --delay 1h true)", "qctl run -Q run --timeout 50ms -- sleep 300"],
    ),
    ("126", 126, &["qctl run -Q run -- /etc/passwd x"]),
    ("127", 127, &["qctl run -Q run -- no-such-command x", "qctl run -Q run no-such-command"]),
    ("128+n", 128 + 9, &["qctl run -Q run 'kill -9 $$'"]),
    ("128+n", 128 + 15, &["qctl run -Q run 'kill $$'"]),
];

/// A push where there is no room left, on a small disk that nobody else sees. Where that may not be
/// made ([`can_mount`]), and only there, the tests do without.
const FULL_DISK: &str = r#"
    exec unshare -rm sh -c '
        mkdir small && mount -t tmpfs -o size=300k tmpfs small || exit 1
        qctl --db small/queue.db push "echo first" >/dev/null || exit 1
        cat /dev/zero > small/filling 2>/dev/null
        head -c 20000 /dev/zero | qctl --db small/queue.db push --stdin true
        status=$?
        qctl --db small/queue.db list -F id,command
        rm small/filling
        qctl --db small/queue.db push "echo second" || exit 1
        qctl --db small/queue.db work --drain --log none || exit 1
        qctl --db small/queue.db logs 2
        exit $status
    '
"#;

#[test]
fn every_status_of_the_table_is_reached() {
    let queue = Sandbox::new();
    queue.push("true");
    queue.qctl("work --drain").succeeds();
    let _worker = queue.start("work -Q run");
    for (_, status, scripts) in ENDS {
        for script in *scripts {
            if *script == FULL_DISK && !can_mount(&queue) {
                continue;
            }
            queue.sh(script).exits(*status);
        }
    }
    let reached: BTreeSet<&str> = ENDS.iter().map(|(name, ..)| *name).collect();
    let table = qctl::exit::table();
    let known: BTreeSet<&str> = table.iter().flat_map(|(names, _)| names.split(", ")).collect();
    assert_eq!(reached, known, "each status of the table has a test here, and no other");
}

#[test]
fn a_full_disk_takes_nothing_and_works_again_when_there_is_room() {
    let queue = Sandbox::new();
    if !can_mount(&queue) {
        return;
    }
    let output = queue.sh(FULL_DISK).exits(75).says("is full; nothing was written").says("hint: make room");
    assert!(output.err().contains("small/queue.db"), "{}", output.story());
    // The list while it was full, the number of the second push, and what that printed.
    assert_eq!(output.out(), "1\techo first\n2\nsecond\n", "{}", output.story());
    assert_eq!(output.err().lines().count(), 2, "{}", output.story());
}

#[test]
fn a_sync_that_fails_leaves_the_outcome_unknown_and_the_key_makes_it_safe_to_push_again() {
    let queue = Sandbox::new();
    if !has(&queue, "strace -o /dev/null true") {
        return;
    }
    queue.push("true");
    let failing = "strace -f -o /dev/null -e trace=fdatasync -e inject=fdatasync:error=EIO";
    let output = queue.sh(&format!("{failing} qctl push --key inv-17 'echo once'")).exits(74).prints("");
    let output = output.says("may or may not have taken effect").says("hint: push again with the same --key");
    assert_eq!(output.err().lines().count(), 2, "{}", output.story());
    let id = queue.push("--key inv-17 'echo once'");
    assert_eq!(queue.qctl("list -F key").succeeds().out().matches("inv-17").count(), 1);
    queue.qctl("work --drain").succeeds();
    queue.qctl(&format!("logs {id}")).prints("once\n");
}

#[test]
fn an_interrupted_run_ends_as_a_shell_would_have_it() {
    let queue = Sandbox::new();
    let run = queue.start("run 'true'");
    queue.wait_until("it is queued", || queue.db().exists() && queue.qctl("list").out().contains("ready"));
    run.signal(nix::sys::signal::Signal::SIGINT);
    run.ends().exits(128 + 2);
}

/// Whether a disk can be made here.
fn can_mount(queue: &Sandbox) -> bool {
    std::fs::create_dir_all(queue.path("probe")).expect("a folder");
    has(queue, "unshare -rm mount -t tmpfs -o size=100k tmpfs probe")
}

/// Whether what a test needs can be had here; `.ci/run` installs it and says where it cannot.
fn has(queue: &Sandbox, script: &str) -> bool {
    queue.sh(&format!("{script} >/dev/null 2>&1; echo $?")).out() == "0\n"
}
