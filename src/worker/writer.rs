//! The thread that claims and settles.
//!
//! It has one request at a time. A turn's claims are handed over as soon as they are committed, so
//! that children start while what was settled is still being synced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Surroundings;
use super::news::{News, Teller};
use crate::job::{Chunk, Lease, Settlement, WorkerId};
use crate::store::{Result, Serving, Store, Tidy, Turn, Turned};
use crate::wake;

/// How long it waits before it tries again what failed in passing (a full disk, a stuck lock).
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// A turn to take.
#[derive(Debug, Default)]
pub(super) struct Ask {
    pub(super) settlements: Vec<Settlement>,
    pub(super) output: Vec<(Lease, Vec<Chunk>)>,
    pub(super) serving: Serving,
    pub(super) n_wanted: usize,
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
        let mut desk = Desk { store, worker, around: around.clone(), teller, give_up: Arc::clone(&give_up) };
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(move || {
            while let Ok(ask) = receiver.recv() {
                desk.serve(&ask);
            }
            desk.leave();
        })?;
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
}

impl Desk {
    fn serve(&mut self, ask: &Ask) {
        match self.persist(ask) {
            Ok(turned) => {
                let is_settled = !ask.settlements.is_empty();
                let is_handed_back = ask.settlements.iter().any(|one| !one.verdict.is_final());
                self.teller.tell(News::Turned(turned));
                if is_settled {
                    self.confirm(is_handed_back);
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

    fn confirm(&mut self, is_handed_back: bool) {
        match self.store.make_durable() {
            Ok(()) => self.teller.tell(News::Durable),
            Err(error) => self.teller.tell(News::Fatal(error)),
        }
        // Those who wait for a job, and, where one was put back, those who could run it.
        wake::ring(&self.around.bells, |name| is_handed_back || name.starts_with(wake::WAITER));
    }

    /// Goes off the books. What fails here is put right by the next worker.
    fn leave(&mut self) {
        let _ = self.store.retire(self.worker, self.around.clock.now());
        let _ = self.store.tidy(Tidy::Leaving);
    }
}
