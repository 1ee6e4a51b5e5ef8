//! The thread that waits for the disk, and for others who write.
//!
//! What the supervisor can do at once, it does itself: a turn takes less time than to have another thread
//! take it. Left to this one is a turn that somebody's transaction is in the way of, or a full disk, and
//! every sync.

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

impl Ask {
    /// The turn of this worker.
    pub(super) fn turn(&self, worker: WorkerId) -> Turn<'_> {
        Turn {
            worker,
            settlements: &self.settlements,
            output: &self.output,
            serving: &self.serving,
            n_wanted: self.n_wanted,
        }
    }
}

/// What was settled and is not durable yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsynced {
    /// In how many turns.
    pub(super) n_turns: usize,
    /// Whether a job was put back into its queue.
    pub(super) has_handed_back: bool,
}

/// Something to do.
enum Task {
    Turn(Ask),
    Sync(Unsynced),
}

/// The thread, as the supervisor has it.
pub(super) struct Writer {
    tasks: Option<Sender<Task>>,
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
    ) -> std::result::Result<Self, super::Error> {
        let (tasks, receiver) = mpsc::channel();
        let give_up = Arc::new(AtomicBool::new(false));
        let mut desk = Desk { store, worker, around: around.clone(), teller, give_up: Arc::clone(&give_up) };
        // A sync that fails is heard of only where the log was open before.
        desk.store.check_place()?;
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(move || {
            while let Ok(task) = receiver.recv() {
                match task {
                    Task::Turn(ask) => desk.serve(&ask),
                    Task::Sync(unsynced) => desk.confirm(unsynced),
                }
            }
            desk.leave();
        })?;
        Ok(Self { tasks: Some(tasks), give_up, thread: Some(thread) })
    }

    /// Asks for a turn, to be taken once that can be.
    pub(super) fn ask(&self, ask: Ask) {
        self.send(Task::Turn(ask));
    }

    /// Asks that what was settled be made durable.
    pub(super) fn sync(&self, unsynced: Unsynced) {
        self.send(Task::Sync(unsynced));
    }

    fn send(&self, task: Task) {
        if let Some(tasks) = &self.tasks {
            // A thread that has gone has said why.
            let _ = tasks.send(task);
        }
    }

    /// Lets what keeps failing be: no more tries.
    pub(super) fn give_up(&self) {
        self.give_up.store(true, Ordering::Relaxed);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.tasks = None;
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
        let news = self.persist(ask).map_or_else(News::Fatal, News::Turned);
        self.teller.tell(news);
    }

    /// Takes the turn, again and again while what prevents it may pass.
    fn persist(&mut self, ask: &Ask) -> Result<Turned> {
        loop {
            match self.store.turn(&ask.turn(self.worker), self.around.clock.now()) {
                Err(error) if error.is_passing() && !self.give_up.load(Ordering::Relaxed) => {
                    self.teller.tell(News::Trouble(error.to_string()));
                    self.around.clock.pause(RETRY);
                }
                done => return done,
            }
        }
    }

    fn confirm(&mut self, Unsynced { n_turns, has_handed_back }: Unsynced) {
        match self.store.make_durable() {
            Ok(()) => self.teller.tell(News::Durable(n_turns)),
            Err(error) => self.teller.tell(News::Fatal(error)),
        }
        // Those who wait for a job, and, where one was put back, those who could run it.
        wake::ring(&self.around.bells, |name| has_handed_back || name.starts_with(wake::WAITER));
    }

    /// Goes off the books. What fails here is put right by the next worker.
    fn leave(mut self) {
        let _ = self.store.retire(self.worker, self.around.clock.now());
        let _ = self.store.tidy(Tidy::Leaving);
    }
}
