//! What a dead worker left running is gone before its job runs again, whatever it is and whatever became of
//! the files and numbers by which it is found; and nobody else is hurt. (`tests/it/crash.rs` has what holds
//! in the usual cases.)

use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Sandbox, is_alive, is_possible};

/// The beginning of every job here. All processes of a run inherit its lock, so that the next run knows
/// whether any of them is left.
const BEGIN: &str = "\
    exec 9> lock.$QCTL_JOB_ID
    flock -n 9 || echo overlap $QCTL_JOB_ID $QCTL_TOKEN >> log
    echo start $QCTL_JOB_ID $QCTL_TOKEN >> log\n";

/// The end of every job here.
const END: &str = "\necho end $QCTL_JOB_ID $QCTL_TOKEN >> log";

/// Waits for a file, a minute at most, so that nothing stays behind of a test that failed.
const HANG: &str = "n=0; while [ ! -e go ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done";

/// Whether there is what the jobs here are made of.
fn may_run() -> bool {
    is_possible("flock --version && setsid --version && bash --version")
}

#[expect(clippy::print_stdout, reason = "the figures are what the test is run for")]
fn tell(what: &str) {
    println!("faults: orphans: {what}");
}

/// A queue whose jobs do this in their first run, and a test that kills what is left of them if it fails.
struct Orphanage {
    queue: Sandbox,
}

impl Orphanage {
    fn new(first_run: &str, n_jobs: usize) -> Self {
        let queue = Sandbox::new();
        queue.write("job", format!("{BEGIN}if [ $QCTL_TOKEN = 1 ]; then\n{first_run}\nfi{END}"));
        queue.write("jobs", "sh job\n".repeat(n_jobs));
        queue.qctl("import jobs").succeeds();
        Self { queue }
    }

    /// The lines of the log that begin with this word.
    fn n(&self, word: &str) -> usize {
        self.queue.read("log").lines().filter(|line| line.starts_with(word)).count()
    }

    fn outcomes(&self, id: i64) -> Vec<String> {
        let attempts = self.queue.job(id)["attempts"].as_array().cloned().expect("attempts");
        attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap_or("running").to_owned()).collect()
    }

    fn wait_for_workers(&self, n: usize) {
        let fact = format!("live workers\t{n}");
        self.queue.wait_until(&fact, || self.queue.qctl("where").out().contains(&fact));
    }
}

impl Drop for Orphanage {
    fn drop(&mut self) {
        if thread::panicking() {
            for pid in self.queue.read("pids").split_whitespace().filter_map(|pid| pid.parse().ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// Four processes that do not hear TERM: one, a child in its group, a child in a session of its own, and a
/// grandchild there.
fn stubborn_family() -> String {
    format!(
        "trap '' TERM
        setsid sh -c '({HANG}) & echo $! $$ >> pids; {HANG}' &
        ({HANG}) & echo $! $$ >> pids
        {HANG}"
    )
}

#[test]
fn children_grandchildren_and_their_sessions_are_gone_before_any_of_eight_jobs_runs_again() {
    if !may_run() {
        return;
    }
    let home = Orphanage::new(&stubborn_family(), 8);
    let first = home.queue.start("work -j 8");
    home.queue.wait_for_lines("pids", 16);
    let second = home.queue.start("work -j 8");
    home.wait_for_workers(2);
    assert_eq!(home.n("start"), 8, "while the first lives nothing is taken from it");
    first.dies();
    home.queue.wait_until("all have run again", || home.n("end") == 8);
    home.queue.wait_until("all is settled", || home.queue.ids("succeeded").len() == 8);
    second.stops().succeeds();
    assert_eq!((home.n("start"), home.n("overlap")), (16, 0), "{}", home.queue.read("log"));
    let pids = home.queue.pids("pids");
    assert!(pids.len() == 32 && !pids.iter().any(|&pid| is_alive(pid)));
    for id in 1..=8 {
        assert_eq!(home.outcomes(id), ["lost", "succeeded"]);
    }
    tell("8 jobs of 4 stubborn processes in 2 sessions each, gone before the next run");
}

/// Runs a script in a process that has closed all files but the first three: what many a program does,
/// such as Python's `subprocess`.
fn closing_all_files(script: &str) -> String {
    let close = r#"for f in /proc/$$/fd/*; do n=${f##*/}; if [ $n -gt 2 ]; then eval "exec $n>&-"; fi; done"#;
    // What it has to say would otherwise end it: nobody reads that any more.
    format!("bash -c '{close}; trap : TERM; touch closed; {script}' > /dev/null 2>&1")
}

#[test]
fn a_group_is_waited_for_although_those_in_it_closed_what_they_inherited() {
    if !may_run() {
        return;
    }
    let child = closing_all_files(HANG);
    let home = Orphanage::new(&format!("{child} & echo $! $$ >> pids; {HANG}"), 1);
    home.queue.write(
        "job",
        home.queue.read("job").replacen(
            "echo start",
            "for p in $(cat pids); do [ -e /proc/$p/exe ] && echo overlap >> log; done; echo start",
            1,
        ),
    );
    let first = home.queue.start("work");
    home.queue.wait_until("it closed its files", || home.queue.path("closed").exists());
    home.queue.wait_for_lines("pids", 1);
    first.dies();
    home.queue.qctl("work --drain").succeeds().says("its worker died");
    assert_eq!(home.queue.state(1), "succeeded");
    assert_eq!(home.n("overlap"), 0, "{}", home.queue.read("log"));
    assert!(!home.queue.pids("pids").into_iter().any(is_alive));
}

#[test]
fn only_what_left_the_group_and_closed_its_files_too_is_not_found() {
    if !may_run() {
        return;
    }
    let daemon = closing_all_files(&format!("echo $$ >> pids; {HANG}"));
    let home = Orphanage::new(&format!("setsid {daemon} & {HANG}"), 1);
    let first = home.queue.start("work");
    home.queue.wait_for_lines("pids", 1);
    first.dies();
    home.queue.qctl("work --drain").succeeds();
    assert_eq!(home.queue.state(1), "succeeded");
    assert!(home.queue.pids("pids").into_iter().all(is_alive), "the page of guarantees says so");
    home.queue.write("go", "");
    home.queue.wait_until("it is gone", || !home.queue.pids("pids").into_iter().any(is_alive));
}

#[test]
fn a_worker_that_slept_past_its_lease_cannot_settle_what_ended_meanwhile() {
    if !may_run() {
        return;
    }
    // The second run goes on until it is told, so that a report under the first token could do harm.
    let home = Orphanage::new(HANG, 1);
    let job = home.queue.read("job");
    let second_run = "\nif [ $QCTL_TOKEN = 2 ]; then while [ ! -e go2 ]; do sleep 0.05; done; fi";
    home.queue.write("job", job.replace(END, &format!("{second_run}{END}")));
    let sleeper = home.queue.start_sh("exec qctl work --lease 1s 2>sleeper");
    home.queue.wait_until("it runs", || home.n("start") == 1);
    // Whoever is stopped before it says so still has the job's mark in hand itself.
    home.queue.wait_for_lines("sleeper", 1);
    sleeper.signal(Signal::SIGSTOP);
    home.queue.write("go", "");
    home.queue.wait_until("its command ends", || home.n("end") == 1);
    let other = home.queue.start("work");
    home.queue.wait_until("the other runs it", || home.n("start") == 2);
    sleeper.signal(Signal::SIGCONT);
    home.queue.wait_for_text("sleeper", "lost to another worker");
    let during = home.queue.job(1);
    assert_eq!((&during["state"], &during["attempt"]), (&"running".into(), &1.into()));
    assert_eq!(home.outcomes(1), ["lost", "running"]);
    sleeper.stops().succeeds();
    home.queue.write("go2", "");
    home.queue.wait_for_state(1, "succeeded");
    other.stops().succeeds();
    assert_eq!(home.outcomes(1), ["lost", "succeeded"]);
    assert_eq!((home.n("start"), home.n("overlap")), (2, 0));
}

#[test]
fn a_worker_that_slept_past_its_lease_stops_what_it_runs_and_the_other_waits_for_that() {
    if !may_run() {
        return;
    }
    let home = Orphanage::new(&stubborn_family(), 4);
    let sleeper = home.queue.start_sh("exec qctl work -j 4 --lease 1s 2>sleeper");
    home.queue.wait_for_lines("pids", 8);
    home.queue.wait_for_lines("sleeper", 4);
    sleeper.signal(Signal::SIGSTOP);
    let other = home.queue.start("work -j 4");
    home.queue.wait_until("all have run again", || home.n("end") == 4);
    sleeper.signal(Signal::SIGCONT);
    home.queue
        .wait_until("it says so of each", || home.queue.read("sleeper").matches("lost to another worker").count() == 4);
    sleeper.stops().succeeds();
    home.queue.wait_until("all is settled", || home.queue.ids("succeeded").len() == 4);
    other.stops().succeeds();
    assert_eq!((home.n("start"), home.n("overlap")), (8, 0), "{}", home.queue.read("log"));
    for id in 1..=4 {
        assert_eq!(home.outcomes(id), ["lost", "succeeded"]);
    }
    assert!(!home.queue.pids("pids").into_iter().any(is_alive));
}

#[test]
fn a_lock_file_that_is_deleted_under_a_worker_has_no_job_run_twice() {
    if !may_run() {
        return;
    }
    let home = Orphanage::new(&stubborn_family(), 1);
    let lock = home.queue.path("queue.db-lock");
    let first = home.queue.start("work -j 2");
    home.queue.wait_for_lines("pids", 2);
    std::fs::remove_file(&lock).expect("it is there");
    // What the first worker starts now is marked where it is itself, though the path leads elsewhere.
    assert_eq!(home.queue.push("sh job"), 2);
    home.queue.wait_for_lines("pids", 4);
    let other = home.queue.start("work");
    home.wait_for_workers(2);
    assert_eq!(home.queue.push("sh job"), 3);
    home.queue.wait_for_lines("pids", 6);
    std::fs::remove_file(&lock).expect("the push made another");
    assert_eq!(home.queue.push("--delay 1h true"), 4, "which makes a third");
    home.queue.qctl("work --drain").succeeds();
    assert_eq!(home.n("start"), 3, "nobody believes that they are gone: {}", home.queue.read("log"));
    first.dies();
    other.dies();
    std::fs::remove_file(&lock).expect("the push made it");
    home.queue.qctl("work --drain -j 3").succeeds();
    assert_eq!(home.queue.ids("succeeded"), [1, 2, 3]);
    assert_eq!((home.n("start"), home.n("overlap")), (6, 0), "{}", home.queue.read("log"));
    assert!(!home.queue.pids("pids").into_iter().any(is_alive));
    tell("a lock file deleted three times under two workers: no run beside another");
}

#[test]
fn a_worker_in_another_container_is_seen_although_its_lock_file_is_gone() {
    if !may_run() || !is_possible("unshare --pid --fork --mount-proc true") {
        return;
    }
    let home = Orphanage::new(HANG, 1);
    let worker = home.queue.start("work");
    home.queue.wait_until("it runs", || home.n("start") == 1);
    std::fs::remove_file(home.queue.path("queue.db-lock")).expect("it is there");
    home.queue.sh("exec unshare --pid --fork --mount-proc qctl work --drain").succeeds();
    assert_eq!((home.queue.state(1).as_str(), home.n("start")), ("running", 1));
    home.queue.write("go", "");
    home.queue.wait_for_state(1, "succeeded");
    worker.stops().succeeds();
}

#[test]
fn a_number_that_has_come_to_mean_another_process_is_never_signalled() {
    let in_a_container = "unshare --pid --fork --kill-child --mount-proc";
    let may_choose = format!("{in_a_container} sh -c 'echo 1000 > /proc/sys/kernel/ns_last_pid'");
    if !may_run() || !is_possible(&may_choose) {
        return;
    }
    // Of the first run only a grandchild in a session of its own is left.
    let home = Orphanage::new(&format!("setsid sh -c '{HANG}' & echo $! $$ >> pids; {HANG}"), 1);
    home.queue.write(
        "session",
        "wait_for() { n=0; while ! eval \"$1\" && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done; }
        qctl work 2>/dev/null & worker=$!
        wait_for '[ -s pids ]'
        read -r grandchild leader < pids
        kill -KILL $worker $leader; wait $worker 2>/dev/null
        wait_for \"! [ -e /proc/$leader ]\"
        # Both numbers now mean innocent processes, that of the leader the leader of a group as it was.
        echo $((leader - 1)) > /proc/sys/kernel/ns_last_pid; setsid sleep 61 & innocent=$!
        echo $((worker - 1)) > /proc/sys/kernel/ns_last_pid; sleep 62 & bystander=$!
        [ $innocent = $leader ] && [ $bystander = $worker ] || exit 99
        qctl work --drain 2>said
        kill -0 $innocent && kill -0 $bystander || echo hurt
        [ -e /proc/$grandchild/exe ] && echo left
        kill $innocent $bystander",
    );
    let output = home.queue.sh(&format!("exec {in_a_container} sh session")).succeeds();
    assert_eq!(output.out(), "", "{}", output.story());
    assert!(home.queue.read("said").contains("its worker died"), "{}", home.queue.read("said"));
    assert_eq!((home.queue.state(1).as_str(), home.n("overlap")), ("succeeded", 0));
    tell("the numbers of a dead worker and of its job reused by others, who are unharmed");
}

#[test]
fn a_job_of_another_queue_with_the_same_inode_and_numbers_is_left_in_peace() {
    let in_own_mounts = "unshare --mount";
    if !may_run() || !is_possible(&format!("{in_own_mounts} mount -t tmpfs none /mnt")) {
        return;
    }
    let queue = Sandbox::new();
    queue.write(
        "session",
        format!(
            "wait_for() {{ n=0; while ! eval \"$1\" && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done; }}
            for name in a b; do
              mkdir $name; mount -t tmpfs none $name; cd $name; export QCTL_DB=$PWD/queue.db
              qctl push 'if [ $QCTL_TOKEN = 1 ]; then echo $$ > pid; {HANG}; fi' > /dev/null
              qctl work 2>/dev/null & echo $! > worker
              wait_for '[ -s pid ]'; cd ..
            done
            [ $(stat -c %i a/queue.db-lock) = $(stat -c %i b/queue.db-lock) ] || echo other inodes
            kill -KILL $(cat b/worker); cd b; qctl work --drain 2>/dev/null; cd ..
            [ -e /proc/$(cat a/pid)/exe ] || echo hurt
            [ -e /proc/$(cat b/pid)/exe ] && echo left
            touch a/go; cd a; wait_for 'qctl list | grep -q succeeded'; kill $(cat worker); wait"
        ),
    );
    let output = queue.sh(&format!("exec {in_own_mounts} sh session")).succeeds();
    assert_eq!(output.out(), "", "{}", output.story());
}
