//! The thread that claims and settles.
//!
//! It has one request at a time. A turn's claims are handed over as soon as they are committed, so
//! that children start while what was settled is still being synced. While others still run, a sync
//! waits a little for what they bring: one sync covers many turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Surroundings;
use super::news::{News, Teller};
use crate::clock::Uptime;
use crate::job::{Chunk, Lease, Settlement, WorkerId};
use crate::store::{Result, Serving, Store, Tidy, Turn, Turned};
use crate::wake;

/// How long it waits before it tries again what failed in passing (a full disk, a stuck lock).
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// The least time from one sync to the next while jobs run. Nobody waits for it but those who wait for
/// a job that ended beside others; a sync takes a tenth of it.
const SYNC: Duration = Duration::from_millis(5);

/// A turn to take.
#[derive(Debug, Default)]
pub(super) struct Ask {
    pub(super) settlements: Vec<Settlement>,
    pub(super) output: Vec<(Lease, Vec<Chunk>)>,
    pub(super) serving: Serving,
    pub(super) n_wanted: usize,
    /// How many jobs run meanwhile.
    pub(super) n_running: usize,
}

/// The thread, as the supervisor has it.
pub(super) struct Writer {
    asks: Option<Sender<Ask>>,
    give_up: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        store: Box<dyn Store>,
        worker: WorkerId,
        around: &Surroundings,
        teller: Teller,
    ) -> std::io::Result<Self> {
        let (asks, receiver) = mpsc::channel();
        let give_up = Arc::new(AtomicBool::new(false));
        let desk = Desk {
            store,
            worker,
            around: around.clone(),
            teller,
            give_up: Arc::clone(&give_up),
            unsynced: Unsynced::default(),
            last_sync: Uptime::default(),
        };
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(move || desk.work(&receiver))?;
        Ok(Self { asks: Some(asks), give_up, thread: Some(thread) })
    }

    /// Asks for a turn.
    pub(super) fn ask(&self, ask: Ask) {
        if let Some(asks) = &self.asks {
            // A thread that has gone has said why.
            let _ = asks.send(ask);
        }
    }

    /// Lets what keeps failing be: no more tries.
    pub(super) fn give_up(&self) {
        self.give_up.store(true, Ordering::Relaxed);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Desk {
    store: Box<dyn Store>,
    worker: WorkerId,
    around: Surroundings,
    teller: Teller,
    give_up: Arc<AtomicBool>,
    unsynced: Unsynced,
    last_sync: Uptime,
}

/// What was settled and is not durable yet.
#[derive(Default)]
struct Unsynced {
    n_turns: usize,
    /// Whether a job was put back into its queue.
    has_handed_back: bool,
}

impl Desk {
    fn work(mut self, asks: &Receiver<Ask>) {
        loop {
            let ask = if self.unsynced.n_turns == 0 {
                asks.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                asks.recv_timeout(self.last_sync.plus(SYNC).since(self.around.clock.uptime()))
            };
            match ask {
                Ok(ask) => self.serve(&ask),
                Err(RecvTimeoutError::Timeout) => self.confirm(),
                Err(RecvTimeoutError::Disconnected) => return self.leave(),
            }
        }
    }

    fn serve(&mut self, ask: &Ask) {
        match self.persist(ask) {
            Ok(turned) => {
                let is_last = ask.n_running + turned.claimed.len() == 0;
                self.teller.tell(News::Turned(turned));
                if !ask.settlements.is_empty() {
                    self.unsynced.n_turns += 1;
                    self.unsynced.has_handed_back |= ask.settlements.iter().any(|one| !one.verdict.is_final());
                }
                let is_time = self.last_sync.plus(SYNC) <= self.around.clock.uptime();
                if self.unsynced.n_turns > 0 && (is_last || is_time) {
                    self.confirm();
                }
            }
            Err(error) => self.teller.tell(News::Fatal(error)),
        }
    }

    /// Takes the turn, again and again while what prevents it may pass.
    fn persist(&mut self, ask: &Ask) -> Result<Turned> {
        loop {
            let turn = Turn {
                worker: self.worker,
                settlements: &ask.settlements,
                output: &ask.output,
                serving: &ask.serving,
                n_wanted: ask.n_wanted,
            };
            match self.store.turn(&turn, self.around.clock.now()) {
                Err(error) if error.is_passing() && !self.give_up.load(Ordering::Relaxed) => {
                    self.teller.tell(News::Trouble(error.to_string()));
                    self.around.clock.pause(RETRY);
                }
                done => return done,
            }
        }
    }

    fn confirm(&mut self) {
        let Unsynced { n_turns, has_handed_back } = std::mem::take(&mut self.unsynced);
        match self.store.make_durable() {
            Ok(()) => self.teller.tell(News::Durable(n_turns)),
            Err(error) => self.teller.tell(News::Fatal(error)),
        }
        self.last_sync = self.around.clock.uptime();
        // Those who wait for a job, and, where one was put back, those who could run it.
        wake::ring(&self.around.bells, |name| has_handed_back || name.starts_with(wake::WAITER));
    }

    /// Goes off the books. What fails here is put right by the next worker.
    fn leave(mut self) {
        if self.unsynced.n_turns > 0 {
            self.confirm();
        }
        let _ = self.store.retire(self.worker, self.around.clock.now());
        let _ = self.store.tidy(Tidy::Leaving);
    }
}
