//! The thread that keeps the worker's lease, watches for changes by others, takes up the jobs of
//! dead workers, and folds the log back.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Surroundings;
use super::news::{News, Teller};
use super::rescue::Rescue;
use super::writer::RETRY;
use crate::clock::{Moment, Uptime};
use crate::job::{Lease, WorkerId};
use crate::policy;
use crate::store::{Result, Store, Tidy};

/// How often it looks for changes that nobody rang for, and for dead workers: half of the two
/// seconds in which the jobs of a dead worker should run again, with room for a loaded machine.
const LOOK: Duration = Duration::from_millis(500);

/// How often it looks for finished jobs that are no longer to be kept.
const PRUNE: Duration = Duration::from_secs(60);

/// How long it leaves the write lock to others between two portions of them.
const PRUNE_PAUSE: Duration = Duration::from_millis(20);

/// How often it looks while it stops the processes of a dead worker.
const LOOK_CLOSELY: Duration = Duration::from_millis(50);

/// The thread, as the supervisor has it.
pub(super) struct Keeper {
    leases: Arc<Mutex<Vec<Lease>>>,
    lease_until: Arc<AtomicI64>,
    is_rescuing: Arc<AtomicBool>,
    knocks: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn start(
        (worker, enrolled): (WorkerId, Uptime),
        lease: Duration,
        around: &Surroundings,
        teller: Teller,
    ) -> std::result::Result<Self, super::Error> {
        let store = (around.open)()?;
        let lease_until = Arc::new(AtomicI64::new(enrolled.plus(lease).as_millis()));
        let leases = Arc::new(Mutex::new(Vec::new()));
        let is_rescuing = Arc::new(AtomicBool::new(true));
        let (knocks, receiver) = mpsc::channel::<()>();
        let mut round = Round {
            store,
            worker,
            lease,
            around: around.clone(),
            teller,
            leases: Arc::clone(&leases),
            lease_until: Arc::clone(&lease_until),
            is_rescuing: Arc::clone(&is_rescuing),
            rescue: Rescue::default(),
            next_beat: around.clock.uptime().plus(policy::heartbeat(lease)),
            next_rescue: around.clock.uptime(),
            next_prune: around.clock.uptime(),
            version: None,
        };
        let thread = thread::Builder::new().name("keeper".to_owned()).spawn(move || {
            let mut pause = Duration::ZERO;
            loop {
                match receiver.recv_timeout(pause) {
                    Ok(()) | Err(RecvTimeoutError::Timeout) => pause = round.walk(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        Ok(Self { leases, lease_until, is_rescuing, knocks: Some(knocks), thread: Some(thread?) })
    }

    /// Says which jobs the supervisor holds now.
    pub(super) fn set_leases(&self, leases: Vec<Lease>) {
        *self.leases.lock().unwrap_or_else(PoisonError::into_inner) = leases;
    }

    /// Until when the worker's lease holds, as far as is known: nobody takes a job from it before.
    pub(super) fn lease_until(&self) -> Uptime {
        Uptime::from_millis(self.lease_until.load(Ordering::Acquire))
    }

    /// Has it look at once.
    pub(super) fn knock(&self) {
        if let Some(knocks) = &self.knocks {
            let _ = knocks.send(());
        }
    }

    /// Whether it may yet bring back jobs of dead workers.
    pub(super) fn is_rescuing(&self) -> bool {
        self.is_rescuing.load(Ordering::Acquire)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.knocks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Round {
    store: Box<dyn Store>,
    worker: WorkerId,
    lease: Duration,
    around: Surroundings,
    teller: Teller,
    leases: Arc<Mutex<Vec<Lease>>>,
    lease_until: Arc<AtomicI64>,
    is_rescuing: Arc<AtomicBool>,
    rescue: Rescue,
    next_beat: Uptime,
    next_rescue: Uptime,
    next_prune: Uptime,
    version: Option<u64>,
}

impl Round {
    /// Does what is due; answers how long nothing will be.
    fn walk(&mut self) -> Duration {
        if let Err(error) = self.try_walk() {
            // Who cannot write himself cannot tell whether others are silent or cannot write either.
            self.rescue.trust_all();
            if error.is_passing() {
                self.teller.tell(News::Trouble(error.to_string()));
            } else {
                self.teller.tell(News::Fatal(error));
            }
            return RETRY;
        }
        let uptime = self.around.clock.uptime();
        let until_beat = self.next_beat.since(uptime);
        let until_rescue = self.next_rescue.since(uptime);
        let until_prune = self.next_prune.since(uptime);
        LOOK.min(until_beat.min(until_rescue).min(until_prune).max(Duration::from_millis(1)))
    }

    fn try_walk(&mut self) -> Result<()> {
        self.store.check_place()?;
        let at = self.around.clock.moment();
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if at.uptime >= self.next_beat || self.rescue.suspects_anyone() {
            let lease_until = at.uptime.plus(self.lease);
            let standings = self.store.renew(self.worker, &leases, lease_until, at)?;
            self.lease_until.store(lease_until.as_millis(), Ordering::Release);
            self.next_beat = at.uptime.plus(policy::heartbeat(self.lease));
            self.teller.tell(News::Standings(standings));
        }
        let version = self.store.version()?;
        if self.version.replace(version) != Some(version) {
            self.teller.tell(News::Changed);
            if !leases.is_empty() {
                self.teller.tell(News::Standings(self.store.standings(&leases)?));
            }
            self.store.tidy(Tidy::Working)?;
        }
        if at.uptime >= self.next_rescue {
            self.try_rescue(at)?;
        }
        if at.uptime >= self.next_prune {
            self.prune(at)?;
        }
        Ok(())
    }

    /// Forgets a portion of the finished jobs of each queue that are no longer to be kept, of the events, of the
    /// tasks that are over, and of the dead jobs that were dropped a day ago.
    fn prune(&mut self, at: Moment) -> Result<()> {
        self.next_prune = at.uptime.plus(PRUNE);
        for queue in self.store.queues()? {
            let keep = policy::retention(&queue.settings, at.now);
            if self.store.prune(&queue.name, &keep, at.now)? > 0 {
                self.next_prune = at.uptime.plus(PRUNE_PAUSE);
            }
        }
        let n_dropped = self.store.forget_dropped(at.now.minus(policy::UNDO))?;
        if self.store.prune_events(at.now)? + self.store.forget_tasks(at.now)? + n_dropped > 0 {
            self.next_prune = at.uptime.plus(PRUNE_PAUSE);
        }
        Ok(())
    }

    fn try_rescue(&mut self, at: Moment) -> Result<()> {
        let rescued = self.rescue.advance(&mut *self.store, self.worker, at)?;
        if !rescued.is_empty() {
            self.teller.tell(News::Rescued(rescued));
        }
        let is_under_way = self.rescue.is_under_way(at.uptime);
        self.next_rescue = at.uptime.plus(if self.rescue.is_stopping() && is_under_way { LOOK_CLOSELY } else { LOOK });
        if self.is_rescuing.swap(is_under_way, Ordering::AcqRel) && !is_under_way {
            // Who waits for the rescue to be over hears of it.
            self.teller.tell(News::Changed);
        }
        Ok(())
    }
}
