//! The steps of a job happen once, at whichever moment its worker, or all of it, is killed.
//!
//! Each step leaves a line in an effects log outside of the queue; what the queue has on record is held against
//! that. Where a kill falls between an effect and its record nobody can know of it but whoever looks at the log:
//! `rerun` may do the step once more there, `verify` must not, and `fail` leaves it to people.
//!
//! In the usual dose as many calls are swept as fit, spread evenly from a place that the seed draws. All:
//!
//! ```sh
//! QCTL_FAULTS_DOSE=50 cargo test --release --test faults steps:: -- --nocapture
//! ```

mod doubt;
mod storm;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::annex::has_table;
use crate::dose::Dose;
use crate::killing::{sweep, tell};
use crate::strike::{self, Struck, may_trace};
use crate::support::Sandbox;

/// The steps of every job here, in their order.
const STEPS: [&str; 4] = ["reserve", "charge", "ship", "mail"];

/// How many calls are swept in the usual dose, by each test.
const N_POINTS: usize = 30;

const WORK: &str = "work --drain --wait-due 5s";

/// A line of the effects log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Effect {
    step: String,
    job: i64,
    token: i64,
    key: String,
}

impl Effect {
    /// All of a log, in order.
    fn all(log: &str) -> Vec<Self> {
        let read = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let [step, job, token, key] = words[..] else { panic!("a torn line: {line:?}") };
            let number = |word: &str| word.parse().expect("a number");
            Self { step: step.to_owned(), job: number(job), token: number(token), key: key.to_owned() }
        };
        log.lines().map(read).collect()
    }
}

/// A queue with a job of four steps, and what became of it.
struct Order {
    queue: Sandbox,
}

/// What a kill left.
#[derive(Debug)]
struct Left {
    /// The steps that had begun, with the word for where each stands.
    records: BTreeMap<String, String>,
    effects: Vec<Effect>,
}

impl Left {
    /// The step of which it is not known whether it happened.
    fn begun(&self) -> Option<&str> {
        self.records.iter().find(|(_, state)| *state == "begun").map(|(step, _)| step.as_str())
    }

    fn has_happened(&self, step: &str) -> bool {
        self.effects.iter().any(|effect| effect.step == step)
    }
}

impl Order {
    fn new(how: &str) -> Self {
        let queue = Sandbox::new();
        queue.write("job", include_str!("steps/job.sh"));
        queue.write("effects", "");
        queue.write("is-large", "");
        queue.push(&format!("sh job {how}"));
        Self { queue }
    }

    fn effects(&self) -> Vec<Effect> {
        Effect::all(&self.queue.read("effects"))
    }

    fn n_effects(&self, step: &str) -> usize {
        self.effects().iter().filter(|effect| effect.step == step).count()
    }

    /// What there is now. The queue is looked at as it is: its log is not folded back.
    fn left(&self) -> Left {
        let conn = Connection::open_with_flags(self.queue.db(), OpenFlags::SQLITE_OPEN_READ_WRITE).expect("the queue");
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).expect("an option");
        if !has_table(&conn, "step").expect("the schema") {
            return Left { records: BTreeMap::new(), effects: self.effects() };
        }
        let mut query = conn.prepare("select name, state from step").expect("the steps");
        let records = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("the steps");
        let records = records.collect::<rusqlite::Result<_>>().expect("the steps");
        Left { records, effects: self.effects() }
    }

    /// The job has succeeded, and each step is on record with what it printed, which the last attempt printed too.
    fn is_delivered(&self, story: &dyn Fn() -> String) {
        assert_eq!(self.queue.state(1), "succeeded", "{}", story());
        let list = self.queue.qctl("step list 1").succeeds().out();
        let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split('\t').collect()).collect();
        let steps: Vec<[&str; 2]> = rows.iter().map(|row| [row[0], row[1]]).collect();
        assert_eq!(steps, STEPS.map(|step| [step, "recorded"]), "{}", story());
        let effects = self.effects();
        for row in &rows {
            let (step, bytes, key) = (row[0], row[6], row[7]);
            let of_step = || effects.iter().filter(|effect| effect.step == step);
            assert!(of_step().count() > 0 && of_step().all(|effect| effect.key == key), "{step}: {}", story());
            let printed = std::fs::read(self.queue.path(format!("printed.1.{step}"))).expect("what it printed");
            let recorded = self.queue.qctl(&format!("step get --job 1 {step}")).succeeds();
            assert_eq!(printed.len().to_string(), bytes, "{step}: {}", story());
            assert!(printed == recorded.bytes(), "{step} prints what is recorded: {}", story());
            assert!(printed.starts_with(format!("{step} {key}\n").as_bytes()), "{step}: {}", story());
        }
        let firsts: Vec<&str> = effects.iter().map(|effect| effect.step.as_str()).collect();
        assert!(firsts.is_sorted_by_key(|step| STEPS.iter().position(|one| one == step)), "{}", story());
    }

    /// Nothing is left in the folder of what steps printed but what is on record, once a worker has come by.
    fn is_tidy(&self, story: &dyn Fn() -> String) {
        self.queue.qctl(WORK).succeeds();
        let conn = Connection::open(self.queue.db()).expect("the queue");
        let recorded: Vec<String> = conn
            .prepare("select file from step where file is not null")
            .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
            .expect("the steps");
        let there: Vec<String> = std::fs::read_dir(self.queue.path("queue.db-steps"))
            .map(|folder| folder.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        assert_eq!(there, recorded, "{}", story());
    }

    fn story(&self, left: &Left, struck: &Struck) -> String {
        let list = self.queue.qctl("step list 1").out();
        format!("{struck:?}\nleft: {left:?}\nnow:\n{list}\n{}", self.queue.read("effects"))
    }
}

/// The calls that are swept: all where the dose has room for them.
fn points(last: usize, dose: Dose) -> BTreeSet<usize> {
    strike::spread(last, N_POINTS * dose.factor, &mut dose.chance())
}

#[expect(clippy::print_stdout, reason = "the figures are what the test is run for")]
fn add(what: &str) {
    println!("faults: steps: {what}");
}

/// Kills the worker alone, at one of its calls, and has another do the rest; answers how often a step happened
/// twice. Where steps are slow, the second one may cut one short after its effect.
fn worker_is_killed(how: &str, is_slow: bool, point: usize) -> (Struck, usize) {
    let order = Order::new(how);
    if is_slow {
        order.queue.write("after", "sleep 0.1");
    }
    let struck = strike::at(&order.queue, WORK, point);
    let left = order.left();
    order.queue.qctl(WORK).succeeds();
    let story = || order.story(&left, &struck);
    order.is_delivered(&story);
    // What goes on without its worker may still have come to its next step since it was looked at.
    let n_more = order.effects().len() - STEPS.len();
    assert!(n_more <= 1, "{}", story());
    assert!(how == "rerun" || n_more == 0, "{}", story());
    for (step, _) in left.records.iter().filter(|(_, state)| *state == "recorded") {
        assert_eq!(order.n_effects(step), 1, "{step} is done again: {}", story());
    }
    order.is_tidy(&story);
    (struck, n_more)
}

#[test]
fn of_a_job_whose_worker_is_killed_at_any_call_each_step_is_recorded_once_and_no_recorded_one_is_run_again() {
    if !may_trace() {
        return;
    }
    let dose = Dose::read();
    for how in ["rerun", "verify"] {
        let last = worker_is_killed(how, false, usize::MAX).0.n_calls;
        let points = points(last, dose);
        let n_extra = AtomicUsize::new(0);
        let killed = sweep(&points, |point| {
            let (struck, n_more) = worker_is_killed(how, point.is_multiple_of(2), point);
            n_extra.fetch_add(n_more, Ordering::Relaxed);
            struck.who
        });
        tell(&format!("work on a job of four steps, {how}"), points.len(), last, &killed);
        let n_extra = n_extra.into_inner();
        add(&format!("killed workers, {how}: a step happened twice at {n_extra} of {} points", points.len()));
    }
}

/// Kills all at a call of a step, has a worker do the rest, and claims what holds whatever the step says of doubt.
/// Answers what had been left.
fn all_is_killed(order: &Order, point: usize) -> (Struck, Left) {
    let struck = strike::in_steps(&order.queue, WORK, point);
    let left = order.left();
    order.queue.qctl(WORK).succeeds();
    let story = || order.story(&left, &struck);
    let n_begun = left.records.values().filter(|state| *state == "begun").count();
    assert!(n_begun <= 1 && left.records.values().all(|state| ["begun", "recorded"].contains(&state.as_str())));
    for step in STEPS {
        let state = left.records.get(step).map(String::as_str);
        let n_before = left.effects.iter().filter(|effect| effect.step == step).count();
        let n_after = order.n_effects(step);
        // Nothing happens that is not known to have begun, and nothing is known to be done that has not happened.
        assert!(n_before <= usize::from(state.is_some()), "{step}: {}", story());
        assert!(state != Some("recorded") || (n_before, n_after) == (1, 1), "{step}: {}", story());
    }
    (struck, left)
}

#[test]
fn a_job_that_is_killed_whole_at_any_call_of_its_steps_does_no_step_again_but_the_one_that_was_under_way() {
    if !may_trace() {
        return;
    }
    let dose = Dose::read();
    let n_extra = AtomicUsize::new(0);
    let run = |point| {
        let order = Order::new("rerun");
        let (struck, left) = all_is_killed(&order, point);
        let story = || order.story(&left, &struck);
        order.is_delivered(&story);
        order.is_tidy(&story);
        for step in STEPS {
            let is_twice = left.begun() == Some(step) && left.has_happened(step);
            assert_eq!(order.n_effects(step), 1 + usize::from(is_twice), "{step}: {}", story());
            n_extra.fetch_add(usize::from(is_twice), Ordering::Relaxed);
        }
        struck
    };
    let last = run(usize::MAX).n_calls;
    let points = points(last, dose);
    let killed = sweep(&points, |point| run(point).who);
    tell("four steps that are run again", points.len(), last, &killed);
    assert!(killed.values().sum::<usize>() * 10 >= points.len() * 8, "most were killed: {killed:?}");
    add(&format!("killed jobs, rerun: a step happened twice at {} of {} points", n_extra.into_inner(), points.len()));
}

#[test]
fn steps_that_verify_happen_once_at_whichever_of_their_calls_the_job_is_killed() {
    if !may_trace() {
        return;
    }
    let dose = Dose::read();
    let n_saved = AtomicUsize::new(0);
    let run = |point| {
        let order = Order::new("verify");
        let (struck, left) = all_is_killed(&order, point);
        let story = || order.story(&left, &struck);
        order.is_delivered(&story);
        order.is_tidy(&story);
        for step in STEPS {
            assert_eq!(order.n_effects(step), 1, "{step}: {}", story());
            let is_saved = left.begun() == Some(step) && left.has_happened(step);
            n_saved.fetch_add(usize::from(is_saved), Ordering::Relaxed);
        }
        struck
    };
    let last = run(usize::MAX).n_calls;
    let points = points(last, dose);
    let killed = sweep(&points, |point| run(point).who);
    tell("four steps that verify", points.len(), last, &killed);
    assert!(killed.values().sum::<usize>() * 10 >= points.len() * 8, "most were killed: {killed:?}");
    add(&format!(
        "killed jobs, verify: no step happened twice; at {} of {} points it was found to have happened",
        n_saved.into_inner(),
        points.len()
    ));
}

#[test]
fn a_step_that_fails_where_it_is_uncertain_never_happens_twice_and_its_job_is_dead_there_and_only_there() {
    if !may_trace() {
        return;
    }
    let dose = Dose::read();
    let (n_dead, n_happened) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let run = |point| {
        let order = Order::new("fail");
        let (struck, left) = all_is_killed(&order, point);
        let story = || order.story(&left, &struck);
        let job = order.queue.job(1);
        if let Some(step) = left.begun() {
            assert_eq!(
                (job["state"].as_str(), job["reason"].as_str()),
                (Some("dead"), Some("uncertain")),
                "{}",
                story()
            );
            assert_eq!(order.n_effects(step), usize::from(left.has_happened(step)), "{}", story());
            is_put_right(&order, step, left.has_happened(step));
            n_dead.fetch_add(1, Ordering::Relaxed);
            n_happened.fetch_add(usize::from(left.has_happened(step)), Ordering::Relaxed);
        }
        order.is_delivered(&story);
        order.is_tidy(&story);
        assert_eq!(order.effects().len(), STEPS.len(), "{}", story());
        struck
    };
    let last = run(usize::MAX).n_calls;
    let points = points(last, dose);
    let killed = sweep(&points, |point| run(point).who);
    tell("four steps that fail in doubt", points.len(), last, &killed);
    assert!(killed.values().sum::<usize>() * 10 >= points.len() * 8, "most were killed: {killed:?}");
    add(&format!(
        "killed jobs, fail: no step happened twice; dead and uncertain at {} of {} points, of which {} had happened",
        n_dead.into_inner(),
        points.len(),
        n_happened.into_inner()
    ));
}

/// What somebody does who has looked whether the step happened.
fn is_put_right(order: &Order, step: &str, has_happened: bool) {
    let queue = &order.queue;
    if has_happened {
        // It is told where it is asked: the next attempt records what is known.
        queue.write("job", include_str!("steps/job.sh").replace("how=$1", "how=verify"));
        queue.qctl("dlq requeue 1").succeeds();
    } else {
        queue.qctl(&format!("step reset 1 {step}")).succeeds();
        queue.qctl("dlq requeue 1").succeeds();
    }
    queue.qctl(WORK).succeeds();
}
