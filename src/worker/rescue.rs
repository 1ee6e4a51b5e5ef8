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
use crate::job::{Job, Lease, Outcome, QueueName, Report, Settlement, State, Stream, Verdict, WorkerId};
use crate::policy;
use crate::process::{LockedByte, Remnant};
use crate::store::{Mark, Orphan, Result, Serving, Settled, Store, Turn};

/// How long the processes of a dead worker get between being asked and being killed. They have lost
/// whoever read their output; the job's own patience does not apply.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a worker that is about to leave stays for a rescue. What cannot be killed by then
/// belongs to another user or hangs in the kernel.
const WORTH_WAITING: Duration = Duration::from_secs(5);

/// A job that was taken from a dead worker.
pub(super) struct Rescued {
    pub(super) job: Job,
    pub(super) report: Report,
    pub(super) verdict: Verdict,
    /// The queue into which a hook was pushed for it, if it died.
    pub(super) alarmed: Vec<QueueName>,
}

/// How long a worker must be seen to hang, by one who can write all the while, until its jobs are
/// taken from it. A full disk, or a stopped process that holds the write lock, keeps everyone from
/// prolonging a lease; once that is over, those who live do so within a second.
const DOUBT: Duration = Duration::from_millis(2500);

/// The rescues under way.
#[derive(Default)]
pub(super) struct Rescue {
    /// Since when the holder of a lease has been seen to hang.
    suspected: HashMap<Lease, Uptime>,
    stopped: HashMap<Lease, Stopped>,
}

/// The processes of an attempt that are being stopped.
struct Stopped {
    /// Since when they have been asked to end.
    since: Uptime,
    remnant: Remnant,
}

impl Rescue {
    /// Whether jobs of a worker that is dead or seems to hang will soon be free.
    pub(super) fn is_under_way(&self, uptime: Uptime) -> bool {
        let stopped = self.stopped.values().map(|stopped| stopped.since);
        stopped.chain(self.suspected.values().copied()).any(|since| uptime.since(since) < WORTH_WAITING)
    }

    /// Whether processes of a dead worker are being stopped.
    pub(super) fn is_stopping(&self) -> bool {
        !self.stopped.is_empty()
    }

    /// Whether anyone is seen to hang. Whoever asks is to write something before the next look, so
    /// that it is known that this can be done.
    pub(super) fn suspects_anyone(&self) -> bool {
        !self.suspected.is_empty()
    }

    /// Holds nothing against anyone that was seen before.
    pub(super) fn trust_all(&mut self) {
        self.suspected.clear();
    }

    /// Looks for jobs of dead workers and takes each a step further; answers those brought home.
    pub(super) fn advance(&mut self, store: &mut dyn Store, worker: WorkerId, at: Moment) -> Result<Vec<Rescued>> {
        let mut orphans = store.lost(at.uptime)?;
        orphans.retain(|orphan| !is_held_by(orphan, worker));
        self.suspected.retain(|lease, _| orphans.iter().any(|orphan| orphan.lease == *lease && orphan.is_contested()));
        self.stopped.retain(|lease, _| orphans.iter().any(|orphan| orphan.lease == *lease));
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
        let since = *self.suspected.entry(orphan.lease).or_insert(uptime);
        Ok(uptime.since(since) >= DOUBT && store.take_away(orphan.lease, uptime)?)
    }

    /// Whether no process of the attempt is left; sees to it otherwise.
    fn is_gone(&mut self, store: &dyn Store, orphan: &Orphan, uptime: Uptime) -> Result<bool> {
        let mark = store.marked(orphan.lease)?.map(|Mark { device, inode, byte }| LockedByte { device, inode, byte });
        let spare = orphan.hung_pid.and_then(|pid| i32::try_from(pid).ok());
        let Some(stopped) = self.stopped.get_mut(&orphan.lease) else {
            if mark.is_none() {
                return Ok(true);
            }
            let mut remnant = Remnant::default();
            remnant.look(mark, spare);
            remnant.ask();
            self.stopped.insert(orphan.lease, Stopped { since: uptime, remnant });
            return Ok(false);
        };
        let is_any_left = stopped.remnant.look(mark, spare);
        if mark.is_none() && !is_any_left {
            self.stopped.remove(&orphan.lease);
            return Ok(true);
        }
        if uptime.since(stopped.since) >= PATIENCE {
            stopped.remnant.kill(mark, spare);
        }
        Ok(false)
    }
}

/// Whether it is one's own, and not taken away. Who looks for those that hang does not hang; its lease
/// may have run out all the same where it could not be prolonged.
fn is_held_by(orphan: &Orphan, me: WorkerId) -> bool {
    let is_own = matches!(&orphan.job.state, State::Running { worker, .. } if *worker == me.to_string());
    is_own && !orphan.is_taken
}

/// Records the attempt as lost and puts the job where the policy says, unless someone else has.
fn bring_home(store: &mut dyn Store, worker: WorkerId, orphan: Orphan, at: Moment) -> Result<Option<Rescued>> {
    let verdict = policy::verdict(&orphan.job, &orphan.context.terms, (Outcome::Lost, None), at.now, 1.0);
    let report = report(store, &orphan, at)?;
    let Orphan { lease, job, .. } = orphan;
    let heed = policy::heed;
    let settlement = Settlement { lease, verdict, heed, report: Some(report.clone()), output: Vec::new() };
    let serving = Serving::default();
    let turn = Turn { worker, settlements: &[settlement], output: &[], serving: &serving, n_wanted: 0 };
    let turned = store.turn(&turn, at.now)?;
    let is_recorded = turned.settled.first() == Some(&Settled::Recorded);
    store.make_durable()?;
    Ok(is_recorded.then_some(Rescued { job, report, verdict, alarmed: turned.alarmed }))
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
