//! Claim, run, settle: a worker.
//!
//! Three threads. The supervisor (here, the caller's) polls children, pipes, the doorbell, timers and
//! signals, and takes a turn (settles and claims) itself where nobody is in the way of that: a tenth of a
//! millisecond, where two hand-overs to another thread and back cost up to ten times that on busy cores.
//! It waits for nobody, so no commit delays a child: what has to wait, for others who write or for the
//! disk, is the *writer*'s, and what ends meanwhile gathers for the next turn. The *keeper* has a
//! connection of its own for the heartbeat, which must not wait behind anything, for the jobs of dead
//! workers, and for the log.
//!
//! A worker emits events and prints nothing.

mod keeper;
mod launch;
mod lock;
mod news;
mod rescue;
mod slot;
mod supervisor;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use lock::Sole;

use crate::clock::Clock;
use crate::job::{Event, QueuePattern};
use crate::store::{self, Store};

/// What a worker is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which queues it serves; empty: every one.
    pub queues: Vec<QueuePattern>,
    /// How many jobs it runs at the same time.
    pub n_slots: usize,
    /// What gets each job instead of its own command.
    pub handler: Option<Vec<Vec<u8>>>,
    /// When it stops by itself.
    pub stop: StopRules,
    /// How long it may be silent before its jobs are taken over.
    pub lease: Duration,
    /// How long running jobs get after the first signal; `None`: as long as they need.
    pub grace: Option<Duration>,
}

/// When a worker stops by itself. All that are given apply.
#[derive(Clone, Debug, Default)]
pub struct StopRules {
    /// Having started this many jobs.
    pub max_jobs: Option<usize>,
    /// When nothing is due and nothing runs, and nothing falls due within this time.
    pub drain: Option<Duration>,
    /// It takes no new job after this time.
    pub max_time: Option<Duration>,
    /// After this long without work.
    pub idle_exit: Option<Duration>,
}

/// What surrounds a worker.
#[derive(Clone)]
pub struct Surroundings {
    /// Opens a connection to the queue; called once for each thread.
    pub open: Arc<dyn Fn() -> store::Result<Box<dyn Store>> + Send + Sync>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What jobs find in `QCTL_DB`.
    pub db: PathBuf,
    /// Where bells hang.
    pub bells: PathBuf,
    /// The name of this machine.
    pub host: String,
}

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Attempts started.
    pub n_started: usize,
    /// Jobs that succeeded.
    pub n_succeeded: usize,
    /// Attempts after which the job waits for another.
    pub n_retrying: usize,
    /// Jobs that died, those that expired or whose worker was lost included.
    pub n_dead: usize,
    /// Jobs that were cancelled while they ran.
    pub n_cancelled: usize,
    /// Jobs handed back unfinished.
    pub n_handed_back: usize,
}

/// Why a worker had to give up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The queue can no longer be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The system denied what a worker needs.
    #[error("the worker could not be set up")]
    System(#[from] std::io::Error),
}

/// Works until told to stop or out of work, then lets what is running finish.
///
/// # Errors
///
/// [`Error`]; what was running has been stopped and will be taken up by another worker.
pub fn run(plan: &Plan, around: &Surroundings, report: &mut dyn FnMut(&Event<'_>)) -> Result<Summary, Error> {
    supervisor::Supervisor::set_up(plan, around, report)?.run()
}
