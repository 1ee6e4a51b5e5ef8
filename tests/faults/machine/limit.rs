//! Too few open files, too little memory, files that may not grow.

use super::{Disk, tell};
use crate::support::{Sandbox, is_possible};

#[test]
fn with_64_open_files_a_hundred_slots_are_as_many_as_fit_said_once_and_every_job_is_done() {
    let queue = Sandbox::new();
    let lines: String = (1..=200).map(|n| format!("echo $QCTL_JOB_ID >> runs; echo {n}\n")).collect();
    queue.qctl_fed("import", lines.as_bytes()).succeeds();
    let worked = queue.sh("ulimit -n 64; exec qctl work --drain -j 100").succeeds();
    assert_eq!(worked.err().matches("runs 12 jobs at the same time, not 100").count(), 1, "{}", worked.story());
    assert!(!worked.err().contains("Too many open files"), "{}", worked.story());
    assert_eq!(queue.ids("succeeded").len(), 200);
    assert_eq!(queue.read("runs").lines().count(), 200, "each ran once");
    assert_eq!(queue.job(200)["attempts"].as_array().expect("attempts").len(), 1);
    let json = queue.sh("qctl push true; ulimit -n 64; exec qctl work --drain -j 100 --log json").succeeds().err();
    assert!(json.contains(r#""event":"cramped","jobs":12,"wanted":100,"file_limit":64"#), "{json}");
}

#[test]
fn with_hardly_any_open_files_a_worker_says_what_it_lacks_and_loses_nothing() {
    let queue = Sandbox::new();
    queue.push("'echo done >> runs'");
    let mut n_worked = 0;
    for n in (8..=48).step_by(2) {
        let worked = queue.sh(&format!("ulimit -n {n}; exec qctl work --drain --max-time 1s --grace 1s"));
        let is_told = worked.err().contains("open files") || worked.err().contains("hint: ");
        assert!(worked.status() == 0 || [74, 75, 78, 127].contains(&worked.status()), "{n}\n{}", worked.story());
        assert!(worked.status() == 127 || worked.status() == 0 || is_told, "{n}\n{}", worked.story());
        assert!(!worked.err().contains("panicked"), "{n}\n{}", worked.story());
        if queue.state(1) == "succeeded" {
            n_worked += 1;
            queue.qctl("retry 1").succeeds();
        }
    }
    assert!(n_worked > 3);
    assert!(
        queue.read("runs").lines().count() >= n_worked,
        "a worker that cannot record what was done has it done again"
    );
    queue.qctl("work --drain -q").succeeds();
    assert_eq!(queue.state(1), "succeeded");
}

#[test]
fn a_job_that_takes_more_memory_than_it_may_is_an_ordinary_failure() {
    let queue = Sandbox::new();
    // What the kernel does to it, as it does under a limit of a control group.
    queue.push("--max-attempts 1 'kill -KILL $$'");
    queue.push("--max-attempts 1 'ulimit -v 20000; exec awk \"BEGIN { while (1) a[n++] = n }\"'");
    queue.push("true");
    queue.qctl("work --drain").succeeds();
    let (killed, starved) = (queue.job(1), queue.job(2));
    assert_eq!(
        (&killed["state"], &killed["reason"], &killed["signal"]),
        (&"dead".into(), &"exhausted".into(), &9.into())
    );
    assert_eq!((&starved["state"], &starved["crashes"]), (&"dead".into(), &0.into()));
    assert_eq!(queue.state(3), "succeeded");
}

#[test]
fn a_job_killed_for_the_memory_of_its_control_group_fails_and_the_worker_goes_on() {
    const GROUP: &str = "/sys/fs/cgroup/qctl-test";
    if !is_possible(
        "mkdir /sys/fs/cgroup/qctl-possible && test -e /sys/fs/cgroup/qctl-possible/memory.max; s=$?; rmdir /sys/fs/cgroup/qctl-possible; exit $s",
    ) {
        return;
    }
    let queue = Sandbox::new();
    let group = format!("{GROUP}-{}", std::process::id());
    queue.push("--max-attempts 1 'head -c 200m /dev/zero | tail'");
    queue.push("true");
    let script = format!(
        "mkdir {group} && echo 40m > {group}/memory.max; echo 0 > {group}/memory.swap.max
        (echo $BASHPID > {group}/cgroup.procs; exec qctl work --drain)"
    );
    let worked = queue.sh(&format!("exec bash -c {}", super::quoted(&script)));
    queue.sh(&format!("rmdir {group}")).succeeds();
    worked.succeeds();
    assert_eq!((queue.state(1), queue.state(2)), ("dead".to_owned(), "succeeded".to_owned()));
}

/// Whether code of qctl panicked. The runtime of Rust does where a new thread has no room for the stack on
/// which it would hear of an overflow, and nothing above it can keep it from that.
fn has_panicked(err: &str) -> bool {
    err.lines().any(|line| line.contains("panicked at") && !line.contains("/sys/pal/unix/stack_overflow.rs"))
}

#[test]
fn a_worker_with_little_memory_works_or_says_that_it_cannot_and_loses_nothing() {
    let queue = Sandbox::new();
    let (mut n_worked, mut n_limits) = (0, 0);
    for kilobytes in (12_000..44_000).step_by(1000) {
        let id = queue.push("'echo done'");
        let worked = queue.sh(&format!("ulimit -v {kilobytes}; exec qctl work --drain"));
        n_limits += 1;
        // 127 and 139: the loader had no room; 134: an allocation had none, or the runtime for a new thread.
        let is_known = [0, 74, 75, 127, 134, 139].contains(&worked.status());
        assert!(is_known && !has_panicked(&worked.err()), "{kilobytes}\n{}", worked.story());
        if worked.status() == 0 {
            n_worked += 1;
            assert_eq!(queue.state(id), "succeeded", "{}", worked.story());
        }
    }
    assert!(n_worked > 3);
    queue.qctl("work --drain -q").succeeds();
    // A job under which three of them died in a row is taken for what they died of, and waits for someone.
    for id in queue.ids("dead") {
        assert_eq!(queue.job(id)["reason"], "crashed");
    }
    queue.qctl("dlq requeue --all").succeeds();
    queue.qctl("work --drain -q").succeeds();
    assert_eq!(queue.ids("succeeded").len(), n_limits);
    tell(&format!("little memory: {n_limits} limits, {n_worked} of them enough, no job lost"));
}

/// A limit on the size of files makes a write short and the next one fail.
#[test]
fn wherever_a_file_may_not_grow_any_more_an_id_means_that_the_job_is_there() {
    let queue = Sandbox::new();
    let (mut n_acknowledged, mut n_refused) = (0, 0);
    for kilobytes in (0..180).step_by(4) {
        queue.sh("rm -rf queue.db*").succeeds();
        // As ignored, so that the write fails, and as not ignored, so that the signal kills.
        let trap = if kilobytes % 8 == 0 { "trap '' XFSZ;" } else { "" };
        let pushed =
            queue.sh(&format!("{trap} exec bash -c 'ulimit -f {kilobytes}; exec qctl push --key k true' 2>/dev/null"));
        let is_acknowledged = pushed.status() == 0 && !pushed.out().is_empty();
        assert!(is_acknowledged || pushed.status() != 0, "{}", pushed.story());
        let n_queued = queue.sh("qctl list 2>/dev/null | wc -l").out();
        if is_acknowledged {
            n_acknowledged += 1;
            assert_eq!(n_queued, "1\n", "{kilobytes}\n{}", pushed.story());
        } else {
            n_refused += 1;
        }
        queue.qctl("push --key k true").succeeds();
        queue.sh("qctl list | wc -l").prints("1\n");
    }
    assert!(n_acknowledged > 0 && n_refused > 0);
    tell(&format!("limited files: {n_acknowledged} pushes acknowledged, {n_refused} refused"));
}

#[test]
fn on_a_file_system_without_a_free_inode_nothing_is_queued_and_that_is_said() {
    let Some(disk) = Disk::of("4m,nr_inodes=12") else { return };
    disk.sh("i=0; while touch disk/$i 2>/dev/null; do i=$((i+1)); done").succeeds();
    disk.qctl("push true").exits(75).prints("").says("the disk under ").says("hint: make room");
    for _ in 0..6 {
        disk.sh("rm \"$(ls -d disk/[0-9]* | head -1)\"").succeeds();
        let pushed = disk.qctl("push --key k true");
        assert!([0, 75].contains(&pushed.status()), "{}", pushed.story());
        assert_eq!(pushed.status() == 0, !pushed.out().is_empty(), "{}", pushed.story());
    }
    disk.qctl("push --key k true").succeeds();
    disk.sh("qctl list | wc -l").prints("1\n");
}
