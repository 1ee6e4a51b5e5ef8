//! Files that are deleted, moved, replaced or damaged while someone works with them.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::tell;
use crate::support::{Sandbox, is_alive, is_possible};

/// What may happen to the files of a queue, and which of them is then named.
const MISHAPS: [(&str, &str); 6] = [
    ("rm q/queue.db", "queue.db"),
    ("mv q/queue.db q/elsewhere.db", "queue.db"),
    ("mv q/queue.db q/old; cp q/old q/queue.db", "queue.db"),
    ("mv q old; qctl push true", "queue.db"),
    ("rm -r q", "queue.db"),
    ("rm q/queue.db-wal", "queue.db-wal"),
];

/// A queue in a folder of its own.
fn queue() -> (Sandbox, String) {
    let queue = Sandbox::new();
    let db = queue.path("q/queue.db").display().to_string();
    (queue, format!("export QCTL_DB={db}; "))
}

#[test]
fn whoever_works_with_a_file_that_is_moved_deleted_or_replaced_stops_loudly_and_stops_what_it_runs() {
    for (mishap, named) in MISHAPS {
        let (queue, env) = queue();
        queue
            .sh(&format!(
                "{env} qctl push 'echo $$ >> pids; sleep 300 & echo $! >> pids; wait'; qctl push -Q other true"
            ))
            .succeeds();
        let worker = queue.start_sh(&format!("{env} exec qctl work -Q default --lease 1h"));
        queue.wait_for_lines("pids", 2);
        let idle = queue.start_sh(&format!("{env} exec qctl work -Q nothing --log json 2>idle"));
        queue.wait_for_text("idle", "\"up\"");
        let others = ["wait 1", "wait 2", "logs -f 1", "logs -f 2", "run -Q other true"];
        let others = others.map(|verb| queue.start_sh(&format!("{env} exec qctl {verb}")));
        queue.wait_until("all are there", || {
            let bells = queue.sh("ls q/queue.db-wake").out();
            bells.matches("wait-").count() == 5 && bells.matches("work-").count() == 2
        });
        queue.sh(&format!("{env} {mishap}")).succeeds();
        let since = queue.uptime();
        let says = format!("q/{named} was moved, deleted or replaced while it was in use");
        worker.ends().exits(78).says(&says).says("hint: ");
        idle.ends().exits(78);
        assert!(queue.read("idle").contains(&says), "{}", queue.read("idle"));
        let took = queue.uptime().since(since);
        assert!(queue.pids("pids").into_iter().all(|pid| !is_alive(pid)), "{mishap}");
        for other in others {
            other.ends().exits(78).says(&says);
        }
        assert!(took < Duration::from_secs(10), "{mishap}: {took:?}");
    }
    tell(&format!("files gone under workers: {} mishaps, 7 processes each", MISHAPS.len()));
}

#[test]
fn a_file_that_is_put_back_is_worked_on_as_if_its_workers_had_died() {
    let (queue, env) = queue();
    queue.sh(&format!("{env} qctl push 'echo $QCTL_TOKEN >> runs; [ $QCTL_TOKEN -gt 1 ] || sleep 300'")).succeeds();
    let worker = queue.start_sh(&format!("{env} exec qctl work"));
    queue.wait_for_lines("runs", 1);
    queue.sh("mv q/queue.db q/away").succeeds();
    worker.ends().exits(78);
    queue.sh(&format!("mv q/away q/queue.db; {env} exec qctl work --drain")).succeeds().says("its worker died");
    assert_eq!(queue.read("runs"), "1\n2\n");
}

#[test]
fn a_push_into_a_file_that_is_replaced_meanwhile_prints_no_id() {
    if !is_possible("strace -o /dev/null true") {
        return;
    }
    for mishap in ["mv q/queue.db q/old", "rm q/queue.db", "rm q/queue.db-wal"] {
        let (queue, env) = queue();
        queue.sh(&format!("{env} qctl push true")).succeeds();
        let push = queue.start_sh(&format!(
            "{env} exec strace -qq -y -o trace -e trace=fdatasync -e inject=fdatasync:delay_exit=1500000 qctl push true"
        ));
        queue.wait_for_text("trace", "fdatasync(");
        queue.sh(mishap).succeeds();
        push.ends().exits(78).prints("").says("was moved, deleted or replaced while it was in use");
    }
}

/// Overwrites the page at which the table of jobs begins.
fn damage(queue: &Sandbox) {
    let conn = rusqlite::Connection::open(queue.db()).expect("the queue");
    conn.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).expect("it is folded back");
    let root: u64 = conn
        .query_row("select rootpage from sqlite_schema where name = 'job'", [], |row| row.get(0))
        .expect("the table of jobs");
    drop(conn);
    queue
        .sh(&format!(
            "yes qctl | dd of=queue.db bs=4096 seek={} count=1 iflag=fullblock conv=notrunc 2>/dev/null",
            root - 1
        ))
        .succeeds();
}

#[test]
fn a_worker_that_meets_a_damaged_page_stops_loudly_and_says_how_to_recover() {
    let queue = Sandbox::new();
    queue.qctl_fed("import", "sleep 300\n".repeat(300).as_bytes()).succeeds();
    queue.push("-Q running 'echo $$ > pids; sleep 300'");
    let worker = queue.start_sh("exec qctl work -Q running 2>said");
    queue.wait_for_lines("pids", 1);
    queue.wait_for_lines("said", 1);
    worker.signal(Signal::SIGSTOP);
    damage(&queue);
    // Something else changes, so that the worker looks again.
    queue.qctl("queue pause elsewhere");
    queue.sh("qctl queue set elsewhere --priority 1; true");
    worker.signal(Signal::SIGCONT);
    worker.ends().exits(78);
    let said = queue.read("said");
    assert!(said.contains("queue.db is damaged") && said.contains("hint: keep a copy, then recover"), "{said}");
    assert!(!is_alive(queue.pids("pids")[0]));
    for verb in ["list", "push true", "work --drain", "show 1"] {
        queue.qctl(verb).exits(78).prints("").says("queue.db is damaged").says("sqlite3 FILE .recover | sqlite3 NEW");
    }
}

#[test]
fn the_way_to_recover_that_is_named_brings_back_what_can_be_read() {
    // The sqlite3 of Debian is built without what `.recover` needs.
    if !is_possible(
        "sqlite3 x 'create table t (n)' && sqlite3 x .recover | sqlite3 y && test \"$(sqlite3 y .tables)\" = t",
    ) {
        return;
    }
    let queue = Sandbox::new();
    queue.push("'echo kept'");
    queue.qctl("work --drain -q").succeeds();
    damage(&queue);
    queue.sh("sqlite3 queue.db .recover | sqlite3 new.db").succeeds();
    queue.sh("sqlite3 new.db 'select count(*) from output'").succeeds().prints("1\n");
}
