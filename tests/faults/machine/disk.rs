//! A disk that is full, fails, or becomes read-only.

use std::time::Duration;

use super::{Disk, tell};
use crate::support::is_possible;

#[test]
fn a_full_disk_refuses_a_push_with_75_names_the_file_and_the_cure_and_takes_it_later() {
    let Some(disk) = Disk::of("3m") else { return };
    disk.qctl("push true").succeeds().prints("1\n");
    disk.queue.write("lines", "true\n".repeat(2000));
    disk.fill();
    for verb in ["push true", "import lines", "run true", "queue set mail --priority 3", "work --drain"] {
        disk.qctl(verb)
            .exits(75)
            .prints("")
            .says("the disk under ")
            .says("/disk/queue.db")
            .says("hint: make room, then try again");
    }
    // What is there can be looked at.
    disk.qctl("list -F id,state").succeeds().prints("1\tready\n");
    disk.make_room();
    disk.qctl("push true").succeeds().prints("2\n");
    disk.qctl("work --drain -q").succeeds();
    assert_eq!((disk.state(1), disk.state(2)), ("succeeded".to_owned(), "succeeded".to_owned()));
}

/// The disk is full after each number of pages: of a push that makes the queue, and of one that adds to
/// it. The last page is written in part: a true short write.
#[test]
fn wherever_the_disk_gets_full_in_a_push_an_id_means_that_the_job_is_there() {
    let Some(disk) = Disk::of("1m") else { return };
    let (mut n_points, mut n_acknowledged, mut n_refused) = (0, 0, 0);
    for n_free in 0..44 {
        for prepare in ["rm -rf disk/*", "rm -rf disk/*; qctl push -Q first true >/dev/null"] {
            disk.sh(&format!(
                "{prepare}; dd if=/dev/zero of=disk/rest bs=4k 2>/dev/null; truncate -s -{n_free}x disk/rest"
            )
            .replace(&format!("-{n_free}x"), &format!("-{}", n_free * 4096)))
                .succeeds();
            let pushed = disk.qctl("push --key k true");
            n_points += 1;
            let is_acknowledged = pushed.status() == 0 && !pushed.out().is_empty();
            if is_acknowledged {
                n_acknowledged += 1;
            } else {
                n_refused += 1;
                assert!([74, 75].contains(&pushed.status()) && pushed.out().is_empty(), "{}", pushed.story());
                assert!(pushed.err().contains("/disk/") && pushed.err().contains("hint: "), "{}", pushed.story());
            }
            disk.make_room();
            let n_queued = disk.sh("qctl list -Q default 2>/dev/null | wc -l").succeeds().out();
            let n_queued: usize = n_queued.trim().parse().expect("a number");
            assert!(n_queued <= 1 && (n_queued == 1 || !is_acknowledged), "{n_free} pages\n{}", pushed.story());
            assert!(n_queued == 0 || pushed.status() != 75, "75 means that nothing was written\n{}", pushed.story());
            disk.qctl("push --key k true").succeeds();
            disk.sh("qctl list -Q default | wc -l").prints("1\n");
            disk.qctl("doctor --json").says_nothing();
        }
    }
    assert!(n_acknowledged > 0 && n_refused > 10);
    tell(&format!("full disk: {n_points} points of a push, {n_acknowledged} acknowledged, {n_refused} refused"));
}

/// Prints while there is room, while there is none, and after; each run leaves a line.
const PRINTS: &str = "echo $QCTL_TOKEN >> runs; echo first; touch started
    while [ ! -e go ]; do sleep 0.02; done; seq 1 10000; echo complaint >&2; touch printed
    while [ ! -e end ]; do sleep 0.02; done; echo last; touch ended";

#[test]
fn a_worker_on_a_full_disk_says_so_keeps_its_jobs_and_records_them_when_there_is_room() {
    let Some(disk) = Disk::of("3m") else { return };
    disk.queue.write("job.sh", PRINTS);
    disk.qctl("push 'sh job.sh'").succeeds();
    // Leases that run out while nobody can prolong them, and someone else who could take the job.
    let worker = disk.start("exec qctl work --lease 1s 2>said");
    disk.queue.wait_until("the job runs", || disk.queue.path("started").exists());
    let other = disk.start("exec qctl work --lease 1s 2>other");
    disk.queue.wait_until("both are there", || disk.qctl("where").out().contains("live workers\t2"));
    disk.fill();
    disk.queue.write("go", "");
    disk.queue.wait_until("it has printed", || disk.queue.path("printed").exists());
    disk.queue.wait_for_text("said", "is full");
    let full_since = disk.queue.uptime();
    disk.queue.wait_until("every lease has run out thrice", || {
        disk.queue.uptime().since(full_since) > Duration::from_millis(3500)
    });
    disk.queue.write("end", "");
    disk.queue.wait_until("it has ended", || disk.queue.path("ended").exists());
    assert_eq!(disk.state(1), "running", "it could not be recorded");
    disk.make_room();
    disk.wait_for_state(1, "succeeded");
    let printed = disk.qctl("logs 1").succeeds().says("complaint").out();
    assert_eq!(printed, format!("first\n{}last\n", (1..=10000).map(|n| format!("{n}\n")).collect::<String>()));
    assert_eq!(disk.queue.read("runs"), "1\n");
    let said = disk.queue.read("said");
    assert!(said.matches("is full").count() <= 2, "it is said once a minute, not once a second\n{said}");
    disk.qctl("push true").succeeds();
    disk.wait_for_state(2, "succeeded");
    worker.stops().succeeds();
    other.stops().succeeds();
    assert_eq!(disk.queue.read("other").matches("lost").count(), 0, "{}", disk.queue.read("other"));
}

#[test]
fn a_job_that_ended_on_a_full_disk_and_whose_worker_was_killed_runs_again() {
    let Some(disk) = Disk::of("3m") else { return };
    disk.qctl("push 'echo $QCTL_TOKEN >> runs; touch started; while [ ! -e end ]; do sleep 0.02; done'").succeeds();
    let worker = disk.start("exec qctl work 2>said");
    disk.queue.wait_until("the job runs", || disk.queue.path("started").exists());
    disk.fill();
    disk.queue.write("end", "");
    disk.queue.wait_for_text("said", "is full");
    worker.dies();
    disk.make_room();
    disk.qctl("work --drain -q").succeeds();
    assert_eq!((disk.state(1), disk.queue.read("runs")), ("succeeded".to_owned(), "1\n2\n".to_owned()));
}

#[test]
fn on_a_disk_mounted_for_reading_one_may_look_and_changes_are_refused_with_78() {
    let Some(disk) = Disk::of("3m") else { return };
    disk.qctl("push 'echo hello'").succeeds();
    disk.qctl("work --drain -q").succeeds();
    disk.sh("mount -o remount,ro disk").succeeds();
    for (verb, shown) in
        [("list -F id,state", "1\tsucceeded\n"), ("logs 1", "hello\n"), ("wait 1", ""), ("queue list", "default")]
    {
        let output = disk.qctl(verb).succeeds();
        assert!(output.out().starts_with(shown), "{}", output.story());
    }
    disk.qctl("show 1").succeeds();
    for verb in ["push true", "work --drain", "retry 1", "queue pause default", "delete 1"] {
        disk.qctl(verb)
            .exits(78)
            .prints("")
            .says("/disk/queue.db could not be opened: read-only filesystem")
            .says("hint: mount it for writing");
    }
    disk.sh("qctl --db disk/new.db push true").exits(78).says("/disk/new.db").says("hint: mount it for writing");
    // Without the index of the log, which has to be made then, not even looking works.
    disk.sh("mount -o remount,rw disk; rm disk/queue.db-shm; mount -o remount,ro disk").succeeds();
    disk.qctl("list").exits(78).says("/disk/queue.db").says("Read-only").says("hint: mount it for writing");
    disk.sh("mount -o remount,rw disk").succeeds();
    disk.qctl("push true").succeeds().prints("2\n");
    disk.qctl("work --drain -q").succeeds();
    assert_eq!(disk.state(2), "succeeded");
}

/// ext4 makes itself read-only when it meets an error; `abort` is its own way to rehearse that.
#[test]
fn a_file_system_that_gives_up_under_a_worker_stops_it_loudly_and_its_job_runs_again() {
    if !is_possible("mkdir x && truncate -s 16M y && mkfs.ext4 -q y && unshare -m mount -o loop y x") {
        return;
    }
    let mount = "mount -o loop image disk";
    let Some(disk) = Disk::mounted(&format!("truncate -s 16M image; mkfs.ext4 -q image; {mount}")) else { return };
    // A claim need not survive this, so the token of the second attempt may be that of the first.
    disk.qctl("push 'echo $$ >> pids; [ $(wc -l < pids) -gt 1 ] || sleep 300'").succeeds();
    let worker = disk.start("exec qctl work --lease 1s 2>said");
    disk.queue.wait_for_lines("pids", 1);
    disk.sh("mount -o remount,abort disk").succeeds();
    let ended = worker.ends();
    let said = disk.queue.read("said");
    assert!([74, 78].contains(&ended.status()) && said.contains("/disk/queue.db"), "{said}{}", ended.story());
    assert!(!said.contains("succeeded") && said.contains("hint: "), "{said}");
    disk.qctl("push true").exits(78).says("/disk/queue.db");
    let pid = disk.queue.pids("pids")[0];
    assert!(!crate::support::is_alive(pid), "what it ran was stopped");
    disk.sh(&format!("umount disk; {mount}; exec qctl work --drain -q")).succeeds();
    assert_eq!(disk.state(1), "succeeded");
    tell("file system aborted under a worker: stopped, its job run again");
}
