//! A storm: eight who push, four workers that are killed and stopped at random, and a checker of all that
//! happened.
//!
//! Everything is the real thing, in processes of its own. Each run of a job writes to one log what it does,
//! and holds a lock of its job from its first breath to its last, so that the log is a history without gaps:
//! its order is the order of things, and who runs beside another says so. [`checker`] judges it.

mod checker;
mod crew;
mod doctored;
mod history;
mod pusher;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use qctl::clock::{Clock as _, SystemClock, Timestamp};
use qctl::job::{Filter, Page, State, StateKind};
use qctl::store::{Access, Store, Target};

use self::checker::{Findings, Violation};
use self::crew::{Crew, Harm, N_WORKERS, Records, Sleepers};
use self::history::{Attempt, Entry, Glimpse, History, Job, Push};
use self::pusher::{Pusher, QUEUES};
use crate::dose::Dose;
use crate::support::Sandbox;

/// How many push at once.
const N_PUSHERS: usize = 8;

/// How often somebody is harmed or something meddled with, in the usual dose.
const N_DEEDS: usize = 110;

/// What all who take part share.
struct Storm {
    queue: Sandbox,
    dose: Dose,
    is_over: AtomicBool,
    n_unfinished: AtomicUsize,
    n_killed_pushes: AtomicUsize,
    jobs: Mutex<Vec<i64>>,
    sleepers: Sleepers,
}

impl Storm {
    fn brewing(dose: Dose) -> Self {
        let queue = Sandbox::new();
        queue.write("job.sh", include_str!("job.sh"));
        queue.write("log", "");
        std::fs::create_dir(queue.path("locks")).expect("a folder in the folder");
        for name in QUEUES {
            queue.qctl(&format!("queue set {name} --backoff fixed:50ms --kill-after 300ms")).succeeds();
        }
        Self {
            queue,
            dose,
            is_over: AtomicBool::new(false),
            n_unfinished: AtomicUsize::new(0),
            n_killed_pushes: AtomicUsize::new(0),
            jobs: Mutex::default(),
            sleepers: Sleepers::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// The length of the log: what is written later stands behind it.
    fn log_length(&self) -> usize {
        let length = self.queue.path("log").metadata().expect("the log is there").len();
        usize::try_from(length).expect("it is no longer than memory")
    }

    /// How many jobs wait or run, as of a moment ago.
    fn n_unfinished(&self) -> usize {
        self.n_unfinished.load(Ordering::Relaxed)
    }

    /// Counts them again and again.
    fn keep_count(&self) {
        let mut store = self.open();
        while !self.is_over() {
            self.n_unfinished.store(n_unfinished(&mut *store), Ordering::Relaxed);
            SystemClock::default().pause(Duration::from_millis(20));
        }
    }

    fn open(&self) -> Box<dyn Store> {
        qctl::store::open(&Target::Sqlite(self.queue.db()), Access::Existing).expect("the queue")
    }

    /// Waits until every job has come to its end, for as long as one after the other does.
    fn runs_dry(&self, store: &mut dyn Store) {
        loop {
            let n_left = n_unfinished(store);
            if n_left == 0 {
                return;
            }
            let states = StateKind::ALL.into_iter().filter(|state| !state.is_final()).collect();
            let filter = Filter { states, ..Filter::default() };
            let first = store.jobs(&filter, Page { after: None, limit: 3, oldest_first: true }).expect("the jobs");
            let fact = format!("one of {n_left} jobs comes to its end, of which the first are {first:#?}");
            self.queue.wait_until(&fact, || n_unfinished(store) < n_left);
        }
    }

    fn note_killed_push(&self) {
        self.n_killed_pushes.fetch_add(1, Ordering::Relaxed);
    }

    fn note_job(&self, id: i64) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(id);
    }

    /// Some job, rather a late one: of those something can still be changed.
    fn some_job(&self, chance: &mut fastrand::Rng) -> Option<i64> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let late = &jobs[jobs.len().saturating_sub(80)..];
        chance.choice(late).copied()
    }

    /// Turns the pages of the list again and again; answers the finished jobs that it saw.
    fn leaf_through(&self) -> Vec<Glimpse> {
        let mut glimpses = BTreeSet::new();
        while !self.is_over() {
            let mut after = String::new();
            for _ in 0..5 {
                let page = self.queue.qctl(&format!("list --json --limit 40 {after}")).succeeds().json();
                let jobs = page["jobs"].as_array().cloned().expect("a list");
                let ids: Vec<i64> = jobs.iter().filter_map(|job| job["id"].as_i64()).collect();
                assert!(ids.is_sorted_by(|one, next| one > next), "{ids:?}");
                glimpses.extend(jobs.iter().filter_map(glimpse));
                let Some(last) = ids.last() else { break };
                after = format!("--after {last}");
            }
        }
        glimpses.into_iter().collect()
    }
}

fn n_unfinished(store: &mut dyn Store) -> usize {
    let tallies = store.queues().expect("the queues").into_iter().map(|queue| queue.tally);
    let n = tallies.flat_map(|tally| tally.iter().filter(|(state, _)| !state.is_final()).collect::<Vec<_>>());
    n.map(|(_, n)| usize::try_from(n).expect("no count is below zero")).sum()
}

fn glimpse(job: &serde_json::Value) -> Option<Glimpse> {
    let finished_at: jiff::Timestamp = job["finished_at"].as_str()?.parse().expect("an instant");
    let state = job["state"].as_str()?.to_owned();
    Some(Glimpse { job: job["id"].as_i64()?, state, finished_at: finished_at.as_millisecond() })
}

/// Every job that is there, with its attempts, and when it ended.
fn jobs_in(store: &mut dyn Store) -> (Vec<Job>, Vec<Glimpse>) {
    let page = Page { after: None, limit: usize::MAX >> 1, oldest_first: true };
    let (mut jobs, mut glimpses) = (Vec::new(), Vec::new());
    for job in store.jobs(&Filter::default(), page).expect("the jobs") {
        let (id, state) = (job.id.get(), job.state.kind());
        let finished_at = job.state.finished_at().map(Timestamp::as_millis);
        glimpses.extend(finished_at.map(|finished_at| Glimpse {
            job: id,
            state: state.name().to_owned(),
            finished_at,
        }));
        jobs.push(Job {
            id,
            tag: job.labels.get("tag").cloned().unwrap_or_default(),
            queue: job.queue.to_string(),
            key: job.key,
            state,
            reason: if let State::Dead { reason, .. } = job.state { Some(reason) } else { None },
            attempts: store.attempts(job.id).expect("its attempts").into_iter().map(attempt).collect(),
        });
    }
    (jobs, glimpses)
}

fn attempt(attempt: qctl::job::Attempt) -> Attempt {
    let report = attempt.report.as_ref();
    Attempt {
        token: attempt.token.get(),
        outcome: report.map(|report| report.outcome),
        exit_code: report.and_then(|report| report.exit_code),
        error: report.and_then(|report| report.error.clone()),
        worker: attempt.worker,
    }
}

/// What the queue says of itself agrees with its rows, and nothing is wrong with it.
fn all_is_well(queue: &Sandbox, jobs: &[Job]) {
    let mut counts: BTreeMap<(&str, StateKind), u64> = BTreeMap::new();
    for job in jobs {
        *counts.entry((&job.queue, job.state)).or_default() += 1;
    }
    let stats = queue.qctl("stats --json").succeeds().json();
    let queues = stats["queues"].as_array().expect("a list");
    assert_eq!(queues.len(), QUEUES.len());
    for told in queues {
        let name = told["name"].as_str().expect("a name");
        for state in StateKind::ALL {
            let n = counts.get(&(name, state)).copied().unwrap_or(0);
            assert_eq!(told[state.name()], n, "{name}: {}\n{stats}", state.name());
        }
    }
    // That a dead job holds its key is so, and none of the storm's doing.
    let found = queue.qctl("doctor").says_nothing().out();
    assert!(found.lines().all(|line| line.starts_with("key\t")), "{found}");
    queue.qctl("workers --json").succeeds().prints("{\"v\":1,\"workers\":[]}\n");
    let conn = rusqlite::Connection::open(queue.db()).expect("the queue");
    let verdict: String = conn.query_row("pragma integrity_check", [], |row| row.get(0)).expect("a verdict");
    assert_eq!(verdict, "ok");
}

/// `show --json` tells of a job and its attempts what the store has.
fn is_shown(queue: &Sandbox, job: &Job) {
    let shown = queue.job(job.id);
    let attempts = shown["attempts"].as_array().expect("a list").iter();
    let shown_attempts: Vec<_> =
        attempts.map(|attempt| (attempt["attempt"].as_i64(), attempt["outcome"].as_str())).collect();
    let attempts = job.attempts.iter();
    let attempts: Vec<_> =
        attempts.map(|attempt| (Some(attempt.token), attempt.outcome.map(qctl::job::Outcome::name))).collect();
    assert_eq!((shown["state"].as_str(), shown_attempts), (Some(job.state.name()), attempts));
}

/// Lets it rage, waits until every job has come to its end, and tells what happened.
fn rage(storm: &Storm) -> (History, Harm) {
    let mut crew = Crew::new(storm);
    let (pushes, mut glimpses) = thread::scope(|scope| {
        let pushers: Vec<_> = (0..N_PUSHERS).map(|n| scope.spawn(move || Pusher::new(storm, n).run())).collect();
        let reader = scope.spawn(|| storm.leaf_through());
        scope.spawn(|| storm.keep_count());
        scope.spawn(|| storm.sleepers.wake_in_time(|| storm.is_over()));
        let calm = OnDrop(&storm.is_over);
        crew.suffer(N_DEEDS * storm.dose.factor);
        drop(calm);
        let pushes: Vec<Push> =
            pushers.into_iter().flat_map(|pusher| pusher.join().expect("it says what was wrong")).collect();
        (pushes, reader.join().expect("it says what was wrong"))
    });
    crew.calm_down();
    let mut store = storm.open();
    storm.runs_dry(&mut *store);
    let Records { fates: workers, deeds, harm } = crew.disband();
    let log = Entry::all(&storm.queue.read("log"));
    let (jobs, last_glimpses) = jobs_in(&mut *store);
    glimpses.extend(last_glimpses);
    (History { pushes, deeds, workers, log, glimpses, jobs }, harm)
}

#[test]
#[expect(clippy::print_stdout, reason = "what was done is told at the end")]
fn a_storm_loses_nothing_and_runs_nothing_twice_at_once() {
    let storm = Storm::brewing(Dose::read());
    let (history, harm) = rage(&storm);
    let Findings { violations, duplicates, n_runs } = checker::check(&history);
    assert!(
        violations.is_empty(),
        "seed {}: {}\n{violations:#?}",
        storm.dose.seed,
        story(&storm, &history, &violations)
    );
    all_is_well(&storm.queue, &history.jobs);
    for job in history.jobs.iter().step_by(history.jobs.len() / 20 + 1) {
        is_shown(&storm.queue, job);
    }
    assert!(n_runs > history.jobs.len() / 2 && harm.n_kills > 0 && harm.n_stops > 0, "it was no storm");
    println!(
        "faults: storm: {} jobs pushed by {N_PUSHERS} pushers ({} killed in mid-push) to {N_WORKERS} workers, \
         {} kills, {} stops, {} sent home, {} meddlings, {n_runs} runs, {} attempts lost, {} duplicates (all explained: \
         {duplicates:?}), 0 violations",
        history.jobs.len(),
        storm.n_killed_pushes.load(Ordering::Relaxed),
        harm.n_kills,
        harm.n_stops,
        harm.n_leaves,
        harm.n_meddlings,
        history.n_lost(),
        duplicates.n_by_faults() + duplicates.n_put_back,
    );
}

/// Says that it is over, also where a claim fails: nobody would end otherwise.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All that is known of the jobs that something is wrong with.
fn story(storm: &Storm, history: &History, violations: &[Violation]) -> String {
    let mut story = String::new();
    for job in violations.iter().filter_map(Violation::job).collect::<BTreeSet<i64>>() {
        let _ = writeln!(story, "\n{:#?}", history.jobs.iter().find(|one| one.id == job));
        for deed in history.deeds.iter().filter(|deed| deed.job == job) {
            let _ = writeln!(story, "{deed:?}");
        }
        for entry in history.log.iter().filter(|entry| entry.job == job) {
            let _ = writeln!(story, "{entry:?} {:?}", history.workers.get(&entry.worker));
        }
        let grep = format!("grep -H '\"id\":{job},' worker-*");
        let _ = writeln!(story, "{}", storm.queue.sh(&grep).out());
    }
    story
}
