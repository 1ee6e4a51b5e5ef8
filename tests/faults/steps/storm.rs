//! A storm over jobs of four steps: workers are killed at random, some with all that they run, until every job is
//! done; then what happened is held against what is on record. `charge` and `mail` verify, `reserve` and `ship`
//! are run again in doubt.
//!
//! A thousand jobs, in a minute or so:
//!
//! ```sh
//! QCTL_FAULTS_DOSE=13 cargo test --release --test faults steps::storm -- --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgid};
use qctl::clock::{Clock as _, SystemClock};
use qctl::job::{Filter, Outcome, Page, StateKind, StepOutput};
use qctl::store::{Access, Store, Target};

use super::{Effect, STEPS, add};
use crate::dose::Dose;
use crate::support::{Running, Sandbox};

/// How many jobs there are in the usual dose.
const N_JOBS: usize = 77;

/// How many workers there are.
const N_WORKERS: usize = 3;

/// How many jobs each works on at once.
const N_SLOTS: usize = 3;

/// After how many more effects the next worker is killed.
const PAUSE: std::ops::Range<usize> = 2..12;

/// A job in the end.
#[derive(Clone, Debug)]
struct Job {
    id: i64,
    state: StateKind,
    /// How its attempts ended, by their tokens.
    attempts: BTreeMap<i64, Option<Outcome>>,
    steps: Vec<Row>,
}

/// A step on record.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    state: &'static str,
    token: i64,
    key: String,
    /// What is recorded that it printed.
    output: String,
}

/// What is told in the end.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    n_lost: usize,
    /// Effects beyond one for each step.
    n_extra: usize,
    /// Steps that happened in one attempt and were recorded by a later one, which had looked.
    n_found: usize,
}

fn jobs_in(store: &mut dyn Store) -> Vec<Job> {
    let page = Page { after: None, limit: usize::MAX >> 1, oldest_first: true };
    let jobs = store.jobs(&Filter::default(), page).expect("the jobs");
    let job = |job: qctl::job::Job| Job {
        id: job.id.get(),
        state: job.state.kind(),
        attempts: store
            .attempts(job.id)
            .expect("its attempts")
            .into_iter()
            .map(|attempt| (attempt.token.get(), attempt.report.map(|report| report.outcome)))
            .collect(),
        steps: store
            .steps(job.id)
            .expect("its steps")
            .into_iter()
            .map(|step| Row {
                output: match store.step_output(job.id, &step.path).expect("what it printed") {
                    Some(StepOutput::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
                    other => format!("{other:?}"),
                },
                name: step.path.to_string(),
                state: step.state.name(),
                token: step.token.get(),
                key: step.key,
            })
            .collect(),
    };
    jobs.into_iter().map(job).collect()
}

/// Holds what happened against what is on record.
fn check(effects: &[Effect], jobs: &[Job]) -> Result<Sums, String> {
    let mut by_step: BTreeMap<(i64, &str), Vec<&Effect>> = BTreeMap::new();
    for effect in effects {
        by_step.entry((effect.job, &effect.step)).or_default().push(effect);
    }
    let mut sums = Sums::default();
    for job in jobs {
        let lost: BTreeSet<i64> =
            job.attempts.iter().filter(|(_, how)| **how == Some(Outcome::Lost)).map(|(token, _)| *token).collect();
        let n_succeeded = job.attempts.values().filter(|how| **how == Some(Outcome::Succeeded)).count();
        let names: Vec<&str> = job.steps.iter().map(|row| row.name.as_str()).collect();
        if job.state != StateKind::Succeeded || n_succeeded != 1 || lost.len() + 1 != job.attempts.len() {
            return Err(format!("it did not succeed once, or failed: {job:?}"));
        }
        if names != STEPS {
            return Err(format!("not each step is recorded once: {job:?}"));
        }
        let n_extra_before = sums.n_extra;
        for row in &job.steps {
            let happened = by_step.remove(&(job.id, row.name.as_str())).unwrap_or_default();
            check_step(row, &happened, &lost, &mut sums).map_err(|what| format!("{what}: {happened:?}, {job:?}"))?;
        }
        if sums.n_extra - n_extra_before > lost.len() {
            return Err(format!("more than one step was done again for a kill: {job:?}"));
        }
        sums.n_lost += lost.len();
    }
    by_step.pop_first().map_or(Ok(sums), |(_, effects)| Err(format!("nothing is on record of {effects:?}")))
}

/// Holds what happened in a step against its row; `lost` are the attempts whose worker was killed.
fn check_step(row: &Row, happened: &[&Effect], lost: &BTreeSet<i64>, sums: &mut Sums) -> Result<(), &'static str> {
    let Some((last, before)) = happened.split_last() else { return Err("a step did not happen") };
    let does_verify = ["charge", "mail"].contains(&row.name.as_str());
    let is_found = last.token != row.token;
    if row.state != "recorded" {
        return Err("a step is not recorded");
    }
    if happened.iter().any(|effect| effect.key != row.key) {
        return Err("a step had another key");
    }
    if !happened.is_sorted_by(|one, next| one.token < next.token) || last.token > row.token {
        return Err("a step happened in an attempt that had no right to it");
    }
    if row.output != format!("{} {}\n", row.name, row.key) {
        return Err("not what it printed is recorded");
    }
    if does_verify && !before.is_empty() {
        return Err("a step that verifies happened twice");
    }
    if before.iter().any(|effect| !lost.contains(&effect.token)) || (is_found && !lost.contains(&last.token)) {
        return Err("an attempt whose worker lived did not record what it had done");
    }
    if !does_verify && is_found {
        return Err("a step was recorded by an attempt in which it did not happen");
    }
    sums.n_extra += before.len();
    sums.n_found += usize::from(is_found);
    Ok(())
}

/// How often a worker was killed, and how many jobs were put back that had been given up for it.
#[derive(Clone, Copy, Debug, Default)]
struct Harm {
    n_kills: usize,
    /// Those of them in which the jobs were killed too, by their process groups.
    n_whole: usize,
    n_put_back: usize,
}

/// Puts jobs back that are dead because three workers in a row died of them; answers how many.
fn put_back(queue: &Sandbox) -> usize {
    let answer = queue.qctl("dlq requeue --all --json -q").json();
    answer["requeued"].as_array().expect("a list").len()
}

/// Kills all that a worker runs. It is stopped before, or it would see that and put it on record.
fn kill_jobs(queue: &Sandbox, worker: &Running) {
    worker.signal(Signal::SIGSTOP);
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", worker.pid())).expect("nobody has reaped it");
    queue.wait_until("the worker has stopped", || stat().contains(") T "));
    for task in std::fs::read_dir(format!("/proc/{}/task", worker.pid())).expect("it is there").flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().map(|pid| Pid::from_raw(pid.parse().expect("a number"))) {
            // Until its group is its own it is of ours.
            if getpgid(Some(child)) == Ok(child) {
                killpg(child, Signal::SIGKILL).expect("nobody has reaped it");
            }
        }
    }
}

/// Kills one worker after the other, each after some more steps have happened, until `n_effects` have.
/// Answers what was done, and the workers that are left.
fn rage(queue: &Sandbox, n_effects: usize, chance: &mut fastrand::Rng) -> (Harm, Vec<Running>) {
    let hire = || {
        let line = format!("exec qctl work -j {N_SLOTS} --lease 1s --grace 200ms --log none >/dev/null 2>>said");
        queue.start_sh(&line)
    };
    let n_now = || queue.read("effects").lines().count();
    let mut hands: Vec<Running> = (0..N_WORKERS).map(|_| hire()).collect();
    let mut harm = Harm::default();
    loop {
        let goal = (n_now() + chance.usize(PAUSE)).min(n_effects);
        queue.wait_until("more steps happen", || n_now() >= goal);
        if goal == n_effects {
            return (harm, hands);
        }
        // At any moment of a step, and not only right after an effect.
        SystemClock::default().pause(Duration::from_millis(chance.u64(..60)));
        let hand = hands.swap_remove(chance.usize(..hands.len()));
        if chance.bool() {
            kill_jobs(queue, &hand);
            harm.n_whole += 1;
        }
        hand.dies();
        hands.push(hire());
        harm.n_kills += 1;
        harm.n_put_back += put_back(queue);
    }
}

#[test]
fn in_a_storm_of_kills_each_step_of_each_job_is_recorded_once_and_those_that_verify_happen_once() {
    let dose = Dose::read();
    let n_jobs = N_JOBS * dose.factor;
    let queue = Sandbox::new();
    queue.write("job", include_str!("job.sh"));
    queue.write("jobs", "sh job mixed\n".repeat(n_jobs));
    queue.write("effects", "");
    // Long enough for some to be cut short by those who take their jobs over.
    queue.write("after", "case $QCTL_JOB_ID in *[05]) sleep 0.3 ;; *) sleep 0.02 ;; esac");
    queue.qctl("import jobs").succeeds();
    let since = queue.uptime();
    let (mut harm, hands) = rage(&queue, n_jobs * STEPS.len() * 9 / 10, &mut dose.chance());
    let n_left = || queue.qctl("list --limit 1000000 -s ready,running,dead -F id").succeeds().out().lines().count();
    loop {
        harm.n_put_back += put_back(&queue);
        let n = n_left();
        if n == 0 {
            break;
        }
        queue.wait_until("another job is done", || n_left() < n);
    }
    let took = queue.uptime().since(since);
    for hand in hands {
        hand.stops().succeeds();
    }
    let effects = Effect::all(&queue.read("effects"));
    let mut store = qctl::store::open(&Target::Sqlite(queue.db()), Access::Existing).expect("the queue");
    let jobs = jobs_in(&mut *store);
    assert_eq!(jobs.len(), n_jobs);
    let sums =
        check(&effects, &jobs).unwrap_or_else(|what| panic!("seed {}: {what}\n{}", dose.seed, queue.read("said")));
    assert!(harm.n_kills > n_jobs / 20 && sums.n_extra + sums.n_found > 0, "it was no storm");
    add(&format!(
        "storm: {n_jobs} jobs of 4 steps, {N_WORKERS} workers, {} kills ({} with all that ran), {} attempts lost, {} jobs dead of \
         it and put back, {} steps recorded \
         once each, {} effects, {} of them extra (all of steps that are run again in doubt), {} found by verify, \
         in {took:.1?}",
        harm.n_kills,
        harm.n_whole,
        sums.n_lost,
        harm.n_put_back,
        n_jobs * STEPS.len(),
        effects.len(),
        sums.n_extra,
        sums.n_found,
    ));
}

/// A job whose first attempt was lost after `charge` and in `ship`, and what happened in it.
fn sound() -> (Vec<Effect>, Vec<Job>) {
    let row = |name: &str, token| Row {
        name: name.to_owned(),
        state: "recorded",
        token,
        key: format!("key of {name}"),
        output: format!("{name} key of {name}\n"),
    };
    let effect = |step: &str, token| Effect { step: step.to_owned(), job: 1, token, key: format!("key of {step}") };
    let job = Job {
        id: 1,
        state: StateKind::Succeeded,
        attempts: BTreeMap::from([(1, Some(Outcome::Lost)), (2, Some(Outcome::Succeeded))]),
        steps: vec![row("reserve", 1), row("charge", 1), row("ship", 2), row("mail", 2)],
    };
    let effects = [("reserve", 1), ("charge", 1), ("ship", 1), ("ship", 2), ("mail", 2)];
    (effects.map(|(step, token)| effect(step, token)).to_vec(), vec![job])
}

#[test]
fn the_check_of_the_storm_sees_whatever_is_wrong_with_a_step() {
    let (effects, jobs) = sound();
    let sums = check(&effects, &jobs).expect("nothing is wrong");
    assert_eq!((sums.n_lost, sums.n_extra, sums.n_found), (1, 1, 0));
    let again = |n: usize, token| Effect { token, ..effects[n].clone() };
    type Wrong<'a> = (&'a str, Box<dyn Fn(&mut Vec<Effect>, &mut Job) + 'a>);
    let wrongs: [Wrong<'_>; 9] = [
        ("did not happen", Box::new(|effects, _| drop(effects.remove(0)))),
        (
            "verifies happened twice",
            Box::new(|effects, job| {
                effects.insert(2, again(1, 2));
                job.steps[1].token = 2;
            }),
        ),
        ("no right to it", Box::new(|effects, _| effects.push(again(4, 3)))),
        ("no right to it", Box::new(|effects, _| effects.push(again(0, 1)))),
        ("another key", Box::new(|_, job| job.steps[0].key = "another".to_owned())),
        ("is not recorded", Box::new(|_, job| job.steps[3].state = "uncertain")),
        ("recorded once", Box::new(|_, job| drop(job.steps.pop()))),
        ("did not happen", Box::new(|effects, _| effects.retain(|effect| effect.step != "mail"))),
        (
            "more than one step",
            Box::new(|effects, job| {
                effects.insert(1, again(0, 2));
                job.steps[0].token = 2;
            }),
        ),
    ];
    for (n, (what, wrong)) in wrongs.iter().enumerate() {
        let (mut effects, mut jobs) = sound();
        wrong(&mut effects, &mut jobs[0]);
        let found = check(&effects, &jobs).expect_err("something is wrong");
        assert!(found.contains(what), "{n}: {found}");
    }
}
