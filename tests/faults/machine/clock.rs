//! A clock that is set while things go on, and a machine that starts anew.

use std::time::Duration;

use super::{quoted, tell};
use crate::support::{Running, Sandbox, is_alive, is_possible};

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

/// A queue and a clock that can be set under what runs already.
struct Set(Sandbox);

impl Set {
    fn new() -> Self {
        let set = Self(Sandbox::new());
        set.to(0);
        set
    }

    /// Sets it so many milliseconds off, at once and whole.
    fn to(&self, millis: i64) {
        self.0.write("clock.new", millis.to_string());
        std::fs::rename(self.0.path("clock.new"), self.0.path("clock")).expect("one's own file");
    }

    fn line(&self, line: &str) -> String {
        format!("export QCTL_TEST_CLOCK_FILE={}; exec qctl {line}", self.0.path("clock").display())
    }

    fn qctl(&self, line: &str) -> crate::support::Output {
        self.0.sh(&self.line(line)).succeeds()
    }

    fn start(&self, line: &str) -> Running {
        self.0.start_sh(&self.line(line))
    }
}

/// Whether every time that is told of a job is in order, and every length not negative.
fn is_in_order(job: &serde_json::Value) -> bool {
    let attempts = job["attempts"].as_array().expect("attempts");
    attempts.iter().all(|attempt| attempt["duration_ms"].as_i64().is_some_and(|length| length >= 0))
}

#[test]
fn a_clock_that_is_set_while_a_job_runs_costs_it_neither_its_lease_nor_its_attempt() {
    for millis in [-HOUR, YEAR] {
        let set = Set::new();
        let queue = &set.0;
        set.qctl("push --timeout 1h --key held 'echo $QCTL_TOKEN >> runs; while [ ! -e go ]; do sleep 0.02; done'");
        let workers = [set.start("work --lease 1s 2>said"), set.start("work --lease 1s 2>said2")];
        queue.wait_for_lines("runs", 1);
        set.to(millis);
        let since = queue.uptime();
        queue.wait_until("several leases have passed", || queue.uptime().since(since) > Duration::from_secs(4));
        assert_eq!(queue.state(1), "running");
        queue.write("go", "");
        queue.wait_for_state(1, "succeeded");
        assert_eq!(queue.read("runs"), "1\n");
        let job = queue.job(1);
        assert!(is_in_order(&job) && job["attempts"][0]["outcome"] == "succeeded", "{job}");
        for verb in ["show 1", "list", "stats", "workers", "why 1", "doctor --json || true"] {
            queue.sh(&set.line(verb)).err().is_empty().then_some(()).expect("no word of it");
        }
        for worker in workers {
            worker.stops().succeeds();
        }
    }
    tell("clock set back an hour and forward a year under running jobs: none lost its lease");
}

#[test]
fn what_is_scheduled_goes_by_the_clock_as_it_is_now_which_an_idle_worker_notices_within_a_second() {
    let set = Set::new();
    let queue = &set.0;
    set.qctl("push --delay 30m 'echo scheduled >> runs'");
    set.qctl("push --max-attempts 2 --backoff fixed:40m --jitter none 'echo tried >> runs; [ $QCTL_ATTEMPT = 2 ]'");
    let worker = set.start("work 2>said");
    queue.wait_for_state(2, "retrying");
    // Back: both wait for longer, and nothing is forgotten.
    set.to(-HOUR);
    let since = queue.uptime();
    queue.wait_until("it has had time to look", || queue.uptime().since(since) > Duration::from_millis(2500));
    assert_eq!((queue.state(1).as_str(), queue.state(2).as_str()), ("scheduled", "retrying"));
    // Forward: both are due at once.
    set.to(YEAR);
    let since = queue.uptime();
    queue.wait_for_lines("runs", 3);
    let took = queue.uptime().since(since);
    assert!(took < Duration::from_secs(5), "{took:?}");
    queue.wait_for_state(1, "succeeded");
    queue.wait_for_state(2, "succeeded");
    assert!(is_in_order(&queue.job(2)));
    worker.stops().succeeds();
    assert_eq!(queue.read("runs").lines().count(), 3, "each once");
}

#[test]
fn keys_and_expiry_go_by_the_clock_too() {
    let set = Set::new();
    let queue = &set.0;
    set.qctl("push --key k --key-ttl 1h true").prints("1\n");
    set.qctl("push --expires 30m --delay 1m true").prints("2\n");
    set.qctl("work --max-jobs 1 -q");
    set.to(-HOUR);
    set.qctl("push --key k true").prints("1\n");
    set.qctl("work --drain -q");
    assert_eq!(queue.state(2), "scheduled");
    set.to(YEAR);
    set.qctl("push --key k true").prints("3\n");
    let worker = set.start("work 2>said");
    queue.wait_for_state(2, "dead");
    assert_eq!(queue.job(2)["reason"], "expired");
    queue.wait_for_state(3, "succeeded");
    worker.stops().succeeds();
    // Set right again, what was done in the wrong year stays done, and work goes on.
    set.to(0);
    set.qctl("push --key k true").prints("3\n");
    set.qctl("push true").prints("4\n");
    set.qctl("work --drain -q");
    assert_eq!(queue.state(4), "succeeded");
}

/// Commands of another start of the machine: `boot_id` is another there.
fn after_restart(queue: &Sandbox, line: &str) -> String {
    let script =
        format!("mount --bind {} /proc/sys/kernel/random/boot_id; exec qctl {line}", queue.path("boot").display());
    format!("exec unshare -m sh -ec {}", quoted(&script))
}

#[test]
fn after_a_restart_of_the_machine_everything_that_ran_is_taken_up_at_once_whatever_leases_say() {
    if !is_possible("echo x > x && unshare -m mount --bind x /proc/sys/kernel/random/boot_id") {
        return;
    }
    let queue = Sandbox::new();
    queue.write("boot", "00000000-0000-4000-8000-000000000000\n");
    queue.push("'echo $QCTL_TOKEN $$ >> runs; [ $QCTL_TOKEN -gt 1 ] || sleep 300'");
    let worker = queue.start("work --lease 100h");
    queue.wait_for_lines("runs", 1);
    let pid: i32 = queue.read("runs").trim().rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a number");
    worker.dies();
    // A power cut takes the job too, and with it its mark.
    queue.sh(&format!("kill -KILL -{pid}")).succeeds();
    queue.wait_until("it is gone", || !is_alive(pid));
    // The machine has been up for less long than the lease was to last.
    let conn = rusqlite::Connection::open(queue.db()).expect("the queue");
    conn.execute("update worker set lease_until = lease_until + 1000000000000", []).expect("a lease of thirty years");
    drop(conn);
    let since = queue.uptime();
    queue.sh(&after_restart(&queue, "work --drain")).succeeds().says("its worker died");
    let took = queue.uptime().since(since);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!((queue.state(1), queue.read("runs").lines().count()), ("succeeded".to_owned(), 2));
}

/// Where the byte of the first worker lies in the lock file.
const FIRST_WORKER: i64 = (1 << 40) + 1;

#[test]
fn another_boot_id_frees_what_a_worker_held_even_where_its_lock_seems_to_be_held() {
    if !is_possible("echo x > x && unshare -m mount --bind x /proc/sys/kernel/random/boot_id") {
        return;
    }
    let queue = Sandbox::new();
    queue.write("boot", "00000000-0000-4000-8000-000000000000\n");
    queue.push("'echo $QCTL_TOKEN $$ >> runs; [ $QCTL_TOKEN -gt 1 ] || sleep 300'");
    let worker = queue.start("work --lease 100h");
    queue.wait_for_lines("runs", 1);
    let pid: i32 = queue.read("runs").trim().rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a number");
    worker.dies();
    queue.sh(&format!("kill -KILL -{pid}")).succeeds();
    let lock = std::fs::OpenOptions::new().write(true).open(queue.path("queue.db-lock")).expect("the lock file");
    let byte = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: FIRST_WORKER,
        l_len: 1,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&lock, nix::fcntl::FcntlArg::F_OFD_SETLK(&byte)).expect("a free byte");
    // On this start of the machine it seems to live, and keeps what it has.
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(1), "running");
    queue.sh(&after_restart(&queue, "work --drain")).succeeds().says("its worker died");
    assert_eq!((queue.state(1), queue.read("runs").lines().count()), ("succeeded".to_owned(), 2));
}
