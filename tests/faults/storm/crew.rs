//! The workers, and who does them harm: with a seeded chance it kills them, stops them for longer than their
//! lease, tells them to leave, and meddles with jobs and queues. Whoever is gone is replaced.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qctl::clock::{Clock as _, SystemClock, Uptime};

use super::Storm;
use super::history::{Deed, Fate, What};
use super::pusher::QUEUES;
use crate::support::{Running, Sandbox, is_alive};

/// How many workers there are.
pub(super) const N_WORKERS: usize = 4;

/// How long a worker may be silent: the shortest lease that there is.
const LEASE: &str = "1s";

/// How long a stopped worker stays so, in milliseconds: some wake just before others have noticed, most long
/// after.
const STOP: std::ops::Range<u64> = 1_000..3_000;

/// For how many deeds a queue is paused.
const PAUSE: usize = 8;

/// The longest that nothing is done where nothing moves, because everyone is stopped.
const LULL: Duration = Duration::from_millis(500);

/// What was done, for the closing line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Harm {
    pub(super) n_kills: usize,
    pub(super) n_stops: usize,
    pub(super) n_leaves: usize,
    pub(super) n_meddlings: usize,
}

/// The workers and whoever does them harm.
pub(super) struct Crew<'s> {
    storm: &'s Storm,
    chance: fastrand::Rng,
    hands: Vec<Hand>,
    fates: Vec<Fate>,
    deeds: Vec<Deed>,
    harm: Harm,
    /// A paused queue, and for how many more deeds it stays so.
    paused: Option<(&'static str, usize)>,
}

/// A worker at work.
struct Hand {
    worker: Running,
    /// How many came before it.
    n: usize,
}

/// Who is stopped, and until when. Whoever is woken here was not waited for yet, so its number is its own.
#[derive(Debug, Default)]
pub(super) struct Sleepers(Mutex<Vec<(Pid, Uptime)>>);

impl Sleepers {
    fn all(&self) -> MutexGuard<'_, Vec<(Pid, Uptime)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops a worker for so long, unless it is stopped already; answers whether it was not.
    fn put_to_sleep(&self, worker: &Running, duration: Duration) -> bool {
        let mut sleepers = self.all();
        let is_awake = sleepers.iter().all(|&(pid, _)| pid != worker.pid());
        if is_awake {
            worker.signal(Signal::SIGSTOP);
            sleepers.push((worker.pid(), SystemClock::default().uptime().plus(duration)));
        }
        is_awake
    }

    /// Continues a worker, if it is stopped.
    fn wake(&self, worker: &Running) {
        self.wake_whom(|pid, _| pid == worker.pid());
    }

    fn wake_whom(&self, is_meant: impl Fn(Pid, Uptime) -> bool) {
        self.all().retain(|&(pid, until)| {
            let is_meant = is_meant(pid, until);
            if is_meant {
                kill(pid, Signal::SIGCONT).expect("it was not waited for");
            }
            !is_meant
        });
    }

    /// Wakes each in its time until the storm is over, and then all. This has a thread of its own, because
    /// everybody else may be waiting for a lock that a sleeper holds.
    pub(super) fn wake_in_time(&self, is_over: impl Fn() -> bool) {
        let clock = SystemClock::default();
        while !is_over() {
            self.wake_whom(|_, until| until <= clock.uptime());
            clock.pause(Duration::from_millis(10));
        }
        self.wake_whom(|_, _| true);
    }
}

/// What a crew leaves behind.
pub(super) struct Records {
    pub(super) fates: BTreeMap<String, Fate>,
    pub(super) deeds: Vec<Deed>,
    pub(super) harm: Harm,
}

impl<'s> Crew<'s> {
    pub(super) fn new(storm: &'s Storm) -> Self {
        let chance = storm.dose.chance();
        let (fates, deeds, harm) = (Vec::new(), Vec::new(), Harm::default());
        let mut crew = Self { storm, chance, hands: Vec::new(), fates, deeds, harm, paused: None };
        crew.fill_up();
        crew
    }

    /// Does so many deeds, each after the jobs have moved on a little.
    pub(super) fn suffer(&mut self, n_deeds: usize) {
        for _ in 0..n_deeds {
            self.let_jobs_move_on();
            match self.chance.u8(..100) {
                0..28 => self.kill(),
                28..60 => self.stop(),
                60..68 => self.send_home(),
                68..78 => self.cancel(),
                78..86 => self.retry(),
                86..92 => self.requeue(),
                _ => self.pause(),
            }
            self.resume();
            self.fill_up();
        }
    }

    /// Opens all queues and lets everyone be.
    pub(super) fn calm_down(&mut self) {
        self.storm.queue.qctl(&format!("queue resume {}", QUEUES.join(" "))).succeeds();
    }

    /// Sends all home, and tells what happened.
    pub(super) fn disband(self) -> Records {
        let queue = &self.storm.queue;
        for hand in self.hands {
            leaves(hand, queue);
        }
        let name = |n: usize| -> Option<String> {
            let up: serde_json::Value = serde_json::from_str(queue.read(&said_by(n)).lines().next()?).ok()?;
            Some(up["worker"].as_str()?.to_owned())
        };
        let fates = self.fates.iter().enumerate().filter_map(|(n, fate)| Some((name(n)?, *fate))).collect();
        Records { fates, deeds: self.deeds, harm: self.harm }
    }

    /// Waits until the log has grown by a drawn length.
    fn let_jobs_move_on(&mut self) {
        let clock = SystemClock::default();
        let (since, goal) = (clock.uptime(), self.storm.log_length() + self.chance.usize(50..700));
        let has_moved = || self.storm.log_length() >= goal || clock.uptime().since(since) >= LULL;
        self.storm.queue.wait_until("jobs move on", has_moved);
    }

    /// Hires as many as are missing. Nobody leaves unasked.
    fn fill_up(&mut self) {
        for hand in &self.hands {
            let is_there = is_alive(hand.worker.pid().as_raw());
            assert!(is_there, "a worker left by itself:\n{}", self.storm.queue.read(&said_by(hand.n)));
        }
        while self.hands.len() < N_WORKERS {
            let n = self.fates.len();
            let line = format!(
                "exec qctl work -j {} --lease {LEASE} --grace 200ms --log json >/dev/null 2>{}",
                self.chance.usize(2..=6),
                said_by(n)
            );
            self.fates.push(Fate::default());
            self.hands.push(Hand { worker: self.storm.queue.start_sh(&line), n });
        }
    }

    fn somebody(&mut self) -> usize {
        self.chance.usize(..self.hands.len())
    }

    fn kill(&mut self) {
        let n = self.somebody();
        let hand = self.hands.swap_remove(n);
        self.fates[hand.n].was_killed = true;
        // Some are killed while they are stopped: it makes no difference to them.
        self.storm.sleepers.wake(&hand.worker);
        hand.worker.dies();
        self.harm.n_kills += 1;
    }

    fn stop(&mut self) {
        let n = self.somebody();
        let hand = &self.hands[n];
        let duration = Duration::from_millis(self.chance.u64(STOP));
        if self.storm.sleepers.put_to_sleep(&hand.worker, duration) {
            self.fates[hand.n].was_stopped = true;
            self.harm.n_stops += 1;
        }
    }

    fn send_home(&mut self) {
        let n = self.somebody();
        let hand = self.hands.swap_remove(n);
        self.storm.sleepers.wake(&hand.worker);
        self.fates[hand.n].was_told_to_leave = true;
        leaves(hand, &self.storm.queue);
        self.harm.n_leaves += 1;
    }

    fn cancel(&mut self) {
        let Some(job) = self.storm.some_job(&mut self.chance) else { return };
        let output = self.storm.queue.qctl(&format!("cancel {job} --json -q"));
        let at = self.storm.log_length();
        match outcome_in(&output.json()) {
            Some("cancelled") => self.deeds.push(Deed { job, what: What::Cancelled, at }),
            Some("asked") => self.deeds.push(Deed { job, what: What::AskedToStop, at }),
            _ => {
                output.exits(4);
            }
        }
        self.harm.n_meddlings += 1;
    }

    fn retry(&mut self) {
        let Some(job) = self.storm.some_job(&mut self.chance) else { return };
        let at = self.storm.log_length();
        let output = self.storm.queue.qctl(&format!("retry {job} --json -q"));
        if outcome_in(&output.json()) == Some("retried") {
            self.deeds.push(Deed { job, what: What::PutBack, at });
        } else {
            output.exits(4);
        }
        self.harm.n_meddlings += 1;
    }

    /// Requeues the last few dead letters of a queue. With all of them, what is put back would soon be more
    /// than what is pushed.
    fn requeue(&mut self) {
        let queue = self.chance.choice(QUEUES).expect("three");
        let dead = self.storm.queue.qctl(&format!("dlq list -Q {queue} --limit 6")).succeeds().out();
        let ids: Vec<&str> = dead.lines().filter_map(|line| line.split('\t').next()).collect();
        if ids.is_empty() {
            return;
        }
        let at = self.storm.log_length();
        let output = self.storm.queue.qctl(&format!("dlq requeue {} --json -q", ids.join(" ")));
        let put_back = output.json()["requeued"].as_array().cloned().expect("a list");
        let job = |id: serde_json::Value| id.as_i64().expect("a number");
        self.deeds.extend(put_back.into_iter().map(|id| Deed { job: job(id), what: What::PutBack, at }));
        self.harm.n_meddlings += 1;
    }

    fn pause(&mut self) {
        if self.paused.is_none() {
            let queue = QUEUES[self.chance.usize(..QUEUES.len())];
            self.storm.queue.qctl(&format!("queue pause {queue} -q")).succeeds();
            self.paused = Some((queue, PAUSE));
            self.harm.n_meddlings += 1;
        }
    }

    /// Opens the paused queue once it has been so for some deeds: all that waits would come to wait there.
    fn resume(&mut self) {
        match &mut self.paused {
            Some((queue, 0)) => {
                self.storm.queue.qctl(&format!("queue resume {queue} -q")).succeeds();
                self.paused = None;
            }
            Some((_, n_deeds_left)) => *n_deeds_left -= 1,
            None => {}
        }
    }
}

/// Tells a worker to leave, once it can hear that, and waits until it has.
fn leaves(hand: Hand, queue: &Sandbox) {
    let said = said_by(hand.n);
    queue.wait_for_text(&said, "\"up\"");
    let output = hand.worker.stops();
    assert_eq!(output.status(), 0, "{}\n{}", output.story(), queue.read(&said));
}

/// Where a worker's events are.
fn said_by(n: usize) -> String {
    format!("worker-{n}")
}

fn outcome_in(answer: &serde_json::Value) -> Option<&str> {
    answer["jobs"][0]["outcome"].as_str()
}
