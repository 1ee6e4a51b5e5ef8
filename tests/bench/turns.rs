//! A worker's turns with nothing around them: to be timed, or, for which the bench starts itself, to be
//! run under callgrind.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use qctl::clock::{Clock as _, SystemClock, Timestamp};
use qctl::job::{
    Claimed, Command, Context, Due, EnvVars, Labels, NewJob, Outcome, QueueName, Report, Settlement, Terms, Usage,
    Verdict, WorkerId,
};
use qctl::store::{self, Access, NewWorker, Serving, Settled, Store, Target, Tidy, Turn, Turned};

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
    Some(match take(n_turns, Path::new(file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::say(format_args!("turns: {error}"));
            ExitCode::FAILURE
        }
    })
}

fn take(n_turns: usize, file: &Path) -> store::Result<()> {
    let mut runner = Runner::new(file, Access::Create)?;
    runner.store.push(&mut std::iter::repeat_n(job(), N_JOBS), SystemClock::default().now())?;
    for _ in 0..n_turns {
        runner.turn()?;
        runner.sync()?;
    }
    Ok(())
}

/// A worker without processes: what it claims has succeeded at once.
pub(crate) struct Runner {
    store: Box<dyn Store>,
    worker: WorkerId,
    settlements: Vec<Settlement>,
}

impl Runner {
    /// A worker of this queue.
    pub(crate) fn new(file: &Path, access: Access) -> store::Result<Self> {
        let mut store = store::open(&Target::Sqlite(file.to_owned()), access)?;
        let worker = store.enroll(&newcomer(), SystemClock::default().moment())?;
        Ok(Self { store, worker, settlements: Vec::new() })
    }

    /// Settles the job of the turn before and claims another; there must be one.
    pub(crate) fn turn(&mut self) -> store::Result<()> {
        let claimed = self.try_turn(1)?.claimed;
        assert_eq!(claimed.len(), 1, "there are more jobs than turns");
        let now = SystemClock::default().now();
        self.settlements = claimed.iter().map(|claimed| success(claimed, self.worker, now)).collect();
        Ok(())
    }

    /// Takes a turn that claims nothing, so that all it does is to deliver events; answers whether there are more.
    pub(crate) fn deliver(&mut self) -> store::Result<bool> {
        Ok(self.try_turn(0)?.is_behind)
    }

    /// Makes it durable.
    pub(crate) fn sync(&mut self) -> store::Result<()> {
        self.store.make_durable()
    }

    /// What another thread of a worker does between jobs.
    pub(crate) fn tidy(&mut self) -> store::Result<()> {
        self.store.tidy(Tidy::Working)
    }

    /// Settles the last job and goes off the books.
    pub(crate) fn leave(&mut self) -> store::Result<()> {
        self.try_turn(0)?;
        self.store.retire(self.worker, SystemClock::default().now())?;
        self.store.tidy(Tidy::Leaving)
    }

    fn try_turn(&mut self, n_wanted: usize) -> store::Result<Turned> {
        let (worker, serving) = (self.worker, Serving::default());
        let turn = Turn { worker, settlements: &self.settlements, output: &[], serving: &serving, n_wanted };
        let turned = self.store.turn(&turn, SystemClock::default().now())?;
        assert!(turned.settled.iter().all(|settled| *settled == Settled::Recorded), "the leases hold");
        Ok(turned)
    }
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
    let verdict = Verdict::Succeed;
    Settlement { lease: claimed.lease, verdict, heed: qctl::policy::heed, report: Some(report), output: Vec::new() }
}
