//! Taking up the jobs of workers that died.
//!
//! A worker that is killed leaves its commands running. Before their jobs go back into the queue
//! these are stopped, so that no two copies run at once: asked first, then killed. As long as the
//! kernel says that any process of an attempt is left, the job waits.
//!
//! A worker that hangs may wake at any moment. So the job is taken away from it before anything is
//! done to the processes: what it then sees of their end it would report as a failure of the job, or,
//! of a command that ends well when it is asked to, as a success.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::{Moment, Uptime};
use crate::job::{Job, Lease, Outcome, Report, Settlement, State, Stream, Verdict, WorkerId};
use crate::policy;
use crate::process;
use crate::store::{Orphan, Result, Serving, Settled, Store, Turn};

/// How long the processes of a dead worker get between being asked and being killed. They have lost
/// whoever read their output; the job's own patience does not apply.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a worker must be seen to be silent beyond its lease: a stopped process that holds the write
/// lock silences everyone, and whoever comes first after it has gone must not take the others for hung.
const DOUBT: Duration = Duration::from_millis(500);

/// How long a worker that is about to leave stays for a rescue. What cannot be killed by then
/// belongs to another user or hangs in the kernel.
const WORTH_WAITING: Duration = Duration::from_secs(5);

/// A job that was taken from a dead worker.
pub(super) struct Rescued {
    pub(super) job: Job,
    pub(super) report: Report,
    pub(super) verdict: Verdict,
}

/// The rescues under way.
#[derive(Default)]
pub(super) struct Rescue {
    /// Since when the worker of an attempt has been seen to be silent.
    doubted: HashMap<Lease, Uptime>,
    /// Since when the processes of an attempt have been asked to end.
    asked: HashMap<Lease, Uptime>,
}

impl Rescue {
    /// Whether processes of a dead worker are being stopped and will soon be gone, or a worker is
    /// silent and may soon count as dead.
    pub(super) fn is_under_way(&self, uptime: Uptime) -> bool {
        self.asked.values().chain(self.doubted.values()).any(|&since| uptime.since(since) < WORTH_WAITING)
    }

    /// Looks for jobs of dead workers and takes each a step further; answers those brought home.
    pub(super) fn advance(&mut self, store: &mut dyn Store, worker: WorkerId, at: Moment) -> Result<Vec<Rescued>> {
        let orphans = store.lost(at.uptime)?;
        self.asked.retain(|lease, _| orphans.iter().any(|orphan| orphan.lease == *lease));
        self.doubted.retain(|lease, _| orphans.iter().any(|orphan| orphan.lease == *lease && orphan.is_contested()));
        let mut rescued = Vec::new();
        for orphan in orphans {
            if self.is_taken(store, &orphan, at.uptime)? && self.is_gone(store, &orphan, at.uptime)? {
                rescued.extend(bring_home(store, worker, orphan, at)?);
            }
        }
        Ok(rescued)
    }

    /// Whether its worker can no longer report on it; takes it away once there is no doubt.
    fn is_taken(&mut self, store: &mut dyn Store, orphan: &Orphan, uptime: Uptime) -> Result<bool> {
        if !orphan.is_contested() {
            return Ok(true);
        }
        let since = *self.doubted.entry(orphan.lease).or_insert(uptime);
        Ok(uptime.since(since) >= DOUBT && store.take_away(orphan.lease, uptime)?)
    }

    /// Whether no process of the attempt is left; sees to it otherwise.
    fn is_gone(&mut self, store: &dyn Store, orphan: &Orphan, uptime: Uptime) -> Result<bool> {
        let Some(mark) = store.marked(orphan.lease)? else {
            self.asked.remove(&orphan.lease);
            return Ok(true);
        };
        let spare = orphan.hung_pid.and_then(|pid| i32::try_from(pid).ok());
        match self.asked.get(&orphan.lease) {
            None => {
                self.asked.insert(orphan.lease, uptime);
                process::stop_holders(mark.inode, mark.byte, spare, false);
            }
            Some(&since) if uptime.since(since) >= PATIENCE => {
                process::stop_holders(mark.inode, mark.byte, spare, true);
            }
            Some(_) => {}
        }
        Ok(false)
    }
}

/// Records the attempt as lost and puts the job where the policy says, unless someone else has.
fn bring_home(store: &mut dyn Store, worker: WorkerId, orphan: Orphan, at: Moment) -> Result<Option<Rescued>> {
    let verdict = policy::verdict(&orphan.job, &orphan.context.terms, (Outcome::Lost, None), at.now, 1.0);
    let report = report(store, &orphan, at)?;
    let Orphan { lease, job, .. } = orphan;
    let settlement = Settlement { lease, verdict, report: Some(report.clone()), output: Vec::new() };
    let serving = Serving::default();
    let turn = Turn { worker, settlements: &[settlement], output: &[], serving: &serving, n_wanted: 0 };
    let is_recorded = store.turn(&turn, at.now)?.settled.first() == Some(&Settled::Recorded);
    store.make_durable()?;
    Ok(is_recorded.then_some(Rescued { job, report, verdict }))
}

fn report(store: &mut dyn Store, orphan: &Orphan, at: Moment) -> Result<Report> {
    let Orphan { lease, job, .. } = orphan;
    let mut n_bytes = [0; 2];
    for (n, stream) in n_bytes.iter_mut().zip(Stream::ALL) {
        let chunks = store.output(lease.job, lease.token, stream, 0)?;
        *n = chunks.last().map_or(0, crate::job::Chunk::end);
    }
    let worker = match &job.state {
        State::Running { worker, .. } => worker.clone(),
        _ => String::new(),
    };
    Ok(Report {
        outcome: Outcome::Lost,
        exit_code: None,
        signal: None,
        error: Some(
            if orphan.is_taken || orphan.hung_pid.is_some() { "its worker fell silent" } else { "its worker died" }
                .to_owned(),
        ),
        started_at: job.started_at.unwrap_or(at.now),
        ended_at: at.now,
        usage: None,
        stdout_bytes: n_bytes[0],
        stderr_bytes: n_bytes[1],
        is_truncated: false,
        worker,
    })
}
