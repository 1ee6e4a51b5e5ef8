//! A worker's turns with nothing around them, to be run under callgrind: the bench starts itself so.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use qctl::clock::{Clock as _, SystemClock, Timestamp};
use qctl::job::{
    Claimed, Command, Context, Due, EnvVars, Labels, NewJob, Outcome, QueueName, Report, Settlement, Terms, Usage,
    Verdict, WorkerId,
};
use qctl::store::{self, Access, NewWorker, Serving, Store, Target, Turn};

use crate::progress;

/// The argument with which the bench does this instead; the number of turns and the queue file follow.
pub(crate) const ARGUMENT: &str = "--take-turns";

/// How many jobs there are, however many turns are taken.
const N_JOBS: usize = 400;

/// Takes turns, if these are the arguments for it.
pub(crate) fn run(arguments: &[String]) -> Option<ExitCode> {
    let [argument, n_turns, file] = arguments else { return None };
    if argument != ARGUMENT {
        return None;
    }
    let n_turns = n_turns.parse().expect("the bench gives a number");
    Some(match take(n_turns, PathBuf::from(file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::say(format_args!("turns: {error}"));
            ExitCode::FAILURE
        }
    })
}

/// Each turn settles the job of the one before and claims another, and is made durable, as the writer of
/// a worker does it.
fn take(n_turns: usize, file: PathBuf) -> store::Result<()> {
    let mut store = store::open(&Target::Sqlite(file), Access::Create)?;
    let at = SystemClock::default().moment();
    let worker = store.enroll(&newcomer(), at)?;
    store.push(&mut std::iter::repeat_n(job(), N_JOBS), at.now)?;
    let mut settlements = Vec::new();
    for _ in 0..n_turns {
        let claimed = turn(store.as_mut(), worker, &settlements, at.now)?;
        settlements = claimed.iter().map(|claimed| success(claimed, worker, at.now)).collect();
    }
    Ok(())
}

fn turn(
    store: &mut dyn Store,
    worker: WorkerId,
    settlements: &[Settlement],
    now: Timestamp,
) -> store::Result<Vec<Claimed>> {
    let serving = Serving::default();
    let turned = store.turn(&Turn { worker, settlements, output: &[], serving: &serving, n_wanted: 1 }, now)?;
    assert_eq!(turned.claimed.len(), 1, "there are more jobs than turns");
    store.make_durable()?;
    Ok(turned.claimed)
}

fn newcomer() -> NewWorker {
    NewWorker {
        host: "bench".to_owned(),
        pid: std::process::id(),
        queues: Vec::new(),
        n_slots: 1,
        lease: Duration::from_secs(30),
        has_handler: false,
    }
}

fn job() -> NewJob {
    NewJob {
        queue: QueueName::default(),
        command: Some(Command::Shell(b"true".to_vec())),
        payload: None,
        key: None,
        priority: 0,
        due: Due::Now,
        expires_at: None,
        max_attempts: 5,
        labels: Labels::new(),
        env: EnvVars::new(),
        context: Arc::new(Context {
            cwd: b"/".to_vec(),
            env: vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())],
            terms: Terms::default(),
        }),
    }
}

fn success(claimed: &Claimed, worker: WorkerId, now: Timestamp) -> Settlement {
    let report = Report {
        outcome: Outcome::Succeeded,
        exit_code: Some(0),
        signal: None,
        error: None,
        started_at: now,
        ended_at: now,
        usage: Some(Usage { cpu: Duration::from_millis(1), max_rss_bytes: 1 << 20 }),
        stdout_bytes: 0,
        stderr_bytes: 0,
        is_truncated: false,
        worker: worker.to_string(),
    };
    Settlement { lease: claimed.lease, verdict: Verdict::Succeed, report: Some(report), output: Vec::new() }
}
