//! The loop that everything goes through: news, signals, children, claims, and then waiting.

mod attempts;
mod hearing;
mod waiting;

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::keeper::Keeper;
use super::news::{self, Inbox};
use super::slot::{Slot, Why};
use super::writer::{Ask, Unsynced, Writer};
use super::{Error, Plan, Summary, Surroundings};
use crate::clock::{Moment, Timestamp, Uptime};
use crate::job::{BreakerNews, Chunk, Event, Granted, Job, Lease, QueueName, Report, Settlement, Verdict, WorkerId};
use crate::process;
use crate::signal::SignalPipe;
use crate::store::{NewWorker, Serving, Store};
use crate::wake::{self, Bell};

/// How many files a worker has open for itself, and for a moment while it starts a job: about 25 and
/// 8, and some to spare.
const FILES_OF_ITS_OWN: usize = 40;

/// How many files a running job takes: its stdout and its stderr.
const FILES_PER_JOB: usize = 2;

/// What it does about new jobs and running ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Takes jobs.
    Working,
    /// Takes none and lets run what runs, until the grace ends, if it does.
    Finishing { stop_at: Option<Uptime> },
    /// Has asked what runs to end.
    Stopping,
    /// Has killed what ran.
    Killing,
}

/// Which of its own files have something to read.
#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    inbox: bool,
    children: bool,
    shutdown: bool,
    bell: bool,
}

/// A turn that is being taken.
#[derive(Default)]
struct Asked {
    /// What to say of each settlement.
    ended: Vec<Option<Ended>>,
    /// Whether one of them puts its job back into the queue.
    has_handed_back: bool,
    /// Until when nobody takes away what is claimed with it: the end of the worker's lease as it was
    /// known before. What the keeper renews meanwhile does not count: the lease may have ended before.
    held_until: Uptime,
}

/// A settlement that was sent, and what to say of it once it is durable.
struct Ended {
    job: Job,
    report: Report,
    verdict: Verdict,
    is_counted: bool,
    last_words: Vec<u8>,
}

/// What a turn brought of which nothing is said before it is durable.
struct Unconfirmed {
    ended: Vec<Ended>,
    breakers: Vec<BreakerNews>,
}

impl Ended {
    /// What is to be said where the attempt asked for something else.
    fn granted(self, Granted { verdict, outcome, error, group: _ }: Granted) -> Self {
        let is_counted = outcome.is_counted();
        Self { verdict, is_counted, report: Report { outcome, error, ..self.report }, ..self }
    }
}

/// The worker's main thread.
pub(super) struct Supervisor<'a> {
    plan: &'a Plan,
    around: &'a Surroundings,
    report: &'a mut dyn FnMut(&Event<'_>),
    worker: WorkerId,
    keeper: Keeper,
    writer: Writer,
    /// Keeps the worker alive on the books, marks its attempts, and takes its turns, where no commit of
    /// others is in the way of that: whoever waits here cannot look after what runs.
    /// After the writer, so that the worker is there until it is off the books.
    own: Box<dyn Store>,
    inbox: Inbox,
    bell: Option<Bell>,
    children: SignalPipe,
    shutdown: SignalPipe,
    ready: Ready,
    /// Whether a child may have ended since the last look.
    may_have_ended: bool,
    slots: HashMap<i32, Slot>,
    serving: Serving,
    mode: Mode,
    n_signals: usize,
    summary: Summary,
    started: Uptime,
    last_work: Uptime,
    /// What ended and is not settled yet, with what to say of it.
    ended: Vec<(Settlement, Option<Ended>)>,
    asked: Option<Asked>,
    /// What was settled and is not durable yet.
    unconfirmed: VecDeque<Unconfirmed>,
    /// What of that was not given to the writer to sync yet.
    unsynced: Unsynced,
    /// Before when no sync is asked for while jobs run; `None` while there is one.
    next_sync: Option<Uptime>,
    /// Whether there may be work that has not been asked for.
    may_find_work: bool,
    /// Whether the keeper might still bring back jobs of dead workers, as of before the news were read.
    is_rescuing: bool,
    /// Whether the flags of its queues are down since it last found something.
    has_lowered: bool,
    /// The queues whose flags it lowered and has not looked into since.
    unseen: Vec<String>,
    /// Queues to which it gave something back.
    handed_back: BTreeSet<QueueName>,
    next_due: Option<Timestamp>,
    /// Nothing is started before this time: the machine has no room.
    no_room_until: Option<Uptime>,
    /// How many jobs it can run at the same time: as many as it should, or as there are files for.
    n_slots: usize,
    /// What it complained of last, and when.
    complaint: Option<(String, Uptime)>,
    fatal: Option<Error>,
    buffer: Vec<u8>,
}

impl<'a> Supervisor<'a> {
    pub(super) fn set_up(
        plan: &'a Plan,
        around: &'a Surroundings,
        report: &'a mut dyn FnMut(&Event<'_>),
    ) -> Result<Self, Error> {
        let (children, shutdown) = (SignalPipe::of_children()?, SignalPipe::of_shutdown()?);
        let (teller, inbox) = news::line()?;
        let mut own = (around.open)()?;
        let about = NewWorker {
            host: around.host.clone(),
            pid: std::process::id(),
            queues: plan.queues.clone(),
            n_slots: plan.n_slots,
            lease: plan.lease,
            has_handler: plan.handler.is_some(),
        };
        let enrolled = around.clock.moment();
        let worker = own.enroll(&about, enrolled)?;
        // Without a bell it finds out a little later.
        let bell = Bell::hang(&around.bells, &format!("{}-{}", wake::WORKER, worker.get())).ok();
        let uptime = around.clock.uptime();
        Ok(Self {
            plan,
            around,
            report,
            worker,
            own,
            writer: Writer::start((around.open)()?, worker, around, teller.clone())?,
            keeper: Keeper::start((worker, enrolled.uptime), plan.lease, around, teller)?,
            inbox,
            bell,
            children,
            shutdown,
            ready: Ready::default(),
            may_have_ended: false,
            slots: HashMap::new(),
            serving: Serving { patterns: plan.queues.clone(), except: Vec::new() },
            mode: Mode::Working,
            n_signals: 0,
            summary: Summary::default(),
            started: uptime,
            last_work: uptime,
            ended: Vec::new(),
            asked: None,
            unsynced: Unsynced::default(),
            next_sync: Some(uptime),
            unconfirmed: VecDeque::new(),
            may_find_work: true,
            is_rescuing: true,
            has_lowered: false,
            unseen: Vec::new(),
            handed_back: BTreeSet::new(),
            next_due: None,
            no_room_until: None,
            n_slots: plan.n_slots,
            complaint: None,
            fatal: None,
            buffer: Vec::new(),
        })
    }

    /// Works until there is nothing more to do.
    pub(super) fn run(mut self) -> Result<Summary, Error> {
        (self.report)(&Event::Up { worker: self.worker });
        self.fit_in();
        loop {
            let at = self.around.clock.moment();
            self.hear_signals(at.uptime);
            self.hear_news(at);
            self.tend_slots(at);
            self.check_rules(at);
            // Nothing comes between lowering and looking once more: a rule that had it leave there
            // would leave behind what was made ready meanwhile, and no flag.
            self.lower_flags(at);
            let has_turned = self.ask(at);
            self.sync(at);
            if self.is_done() {
                self.raise_flags();
                return self.fatal.map_or(Ok(self.summary), Err);
            }
            if has_turned {
                // What it brought may be reason for another.
                self.ready = Ready::default();
            } else {
                self.wait(at);
            }
        }
    }

    /// Runs no more jobs at the same time than the limit of open files has room for: one that is
    /// reached is in the way of everything else too.
    fn fit_in(&mut self) {
        let Some(limit) = process::open_file_limit() else { return };
        let n_fitting = (limit.saturating_sub(FILES_OF_ITS_OWN) / FILES_PER_JOB).max(1);
        if n_fitting < self.n_slots {
            self.n_slots = n_fitting;
            (self.report)(&Event::Cramped { n_wanted: self.plan.n_slots, n_fitting, limit });
        }
    }

    fn is_done(&self) -> bool {
        let is_idle = self.slots.is_empty();
        let is_settled = self.ended.is_empty() && self.asked.is_none() && self.unconfirmed.is_empty();
        self.mode != Mode::Working && is_idle && (is_settled || self.fatal.is_some())
    }

    /// Lowers the flags of its queues once it found nothing, and looks once more: what was made ready
    /// before is found by that look, and what is made ready after it raises its flag again.
    fn lower_flags(&mut self, at: Moment) {
        let may_look = self.mode == Mode::Working && self.fatal.is_none() && self.n_wanted(at) > 0;
        if may_look && !self.has_lowered && self.has_found_nothing() {
            self.unseen = wake::lower(&self.around.bells, |name| self.answers_to(name));
            self.has_lowered = true;
            self.may_find_work = true;
        }
    }

    /// Whether the flag of this queue calls it. One that was started for this very queue is called
    /// even where it leaves the queue alone: it would be started again and again otherwise.
    fn answers_to(&self, name: &str) -> bool {
        let is_named = self.plan.queues.iter().any(|pattern| pattern.as_str() == name);
        is_named || QueueName::new(name).is_ok_and(|queue| self.serving.includes(&queue))
    }

    /// Raises the flags of the queues to which it gave something back and which it no longer serves,
    /// and those that it lowered without having got to look once more.
    fn raise_flags(&self) {
        for queue in self.handed_back.iter().map(QueueName::as_str).chain(self.unseen.iter().map(String::as_str)) {
            wake::raise(&self.around.bells, queue);
        }
    }

    fn has_found_nothing(&self) -> bool {
        let is_idle = self.slots.is_empty() && self.ended.is_empty() && self.asked.is_none();
        is_idle && !self.may_find_work && !self.is_rescuing
    }

    fn check_rules(&mut self, at: Moment) {
        match self.mode {
            Mode::Working if self.has_had_enough(at) => self.finish(None),
            Mode::Finishing { stop_at: Some(stop_at) } if stop_at <= at.uptime => {
                self.stop_all(Why::Released, Mode::Stopping, at.uptime);
            }
            Mode::Working | Mode::Finishing { .. } | Mode::Stopping | Mode::Killing => {}
        }
    }

    fn has_had_enough(&self, at: Moment) -> bool {
        let rules = &self.plan.stop;
        let is_idle = self.slots.is_empty() && self.ended.is_empty() && self.asked.is_none();
        let has_found_nothing = self.has_lowered && self.has_found_nothing();
        rules.max_jobs.is_some_and(|max| self.summary.n_started >= max)
            || rules.max_time.is_some_and(|max| at.uptime.since(self.started) >= max)
            || rules.idle_exit.is_some_and(|max| is_idle && at.uptime.since(self.last_work) >= max)
            || rules.drain.is_some_and(|wait| has_found_nothing && !self.falls_due_before(at.now.plus(wait)))
    }

    fn falls_due_before(&self, instant: Timestamp) -> bool {
        self.next_due.is_some_and(|due| due <= instant)
    }

    /// Takes a turn, if there is reason to: here, if that can be done at once, else the writer takes it.
    /// Answers whether one was taken.
    fn ask(&mut self, at: Moment) -> bool {
        if self.asked.is_some() || self.fatal.is_some() {
            return false;
        }
        let n_wanted = self.n_wanted(at);
        let is_due = self.may_find_work || self.falls_due_before(at.now);
        let output = self.news(at.uptime);
        if self.ended.is_empty() && output.is_empty() && (n_wanted == 0 || !is_due) {
            return false;
        }
        if n_wanted > 0 {
            self.may_find_work = false;
        }
        let (settlements, ended): (Vec<Settlement>, _) = self.ended.drain(..).unzip();
        let has_handed_back = settlements.iter().any(|one| !one.verdict.is_final());
        self.asked = Some(Asked { ended, has_handed_back, held_until: self.keeper.lease_until() });
        let ask = Ask { settlements, output, serving: self.serving.clone(), n_wanted };
        match self.own.try_turn(&ask.turn(self.worker), self.around.clock.now()) {
            Ok(Some(turned)) => {
                self.take_up(turned, at);
                return true;
            }
            Ok(None) => self.writer.ask(ask),
            Err(error) if error.is_passing() => self.writer.ask(ask),
            Err(error) => self.give_up(error.into(), at.uptime),
        }
        false
    }

    /// Has what was settled made durable: at once, if nothing else runs, else together with what ends
    /// within the next moments.
    fn sync(&mut self, at: Moment) {
        let is_time = self.next_sync.is_some_and(|next| next <= at.uptime || self.slots.is_empty());
        if self.unsynced.n_turns > 0 && is_time {
            self.writer.sync(std::mem::take(&mut self.unsynced));
            self.next_sync = None;
        }
    }

    fn give_up(&mut self, error: Error, uptime: Uptime) {
        self.fatal.get_or_insert(error);
        self.stop_all(Why::Released, Mode::Stopping, uptime);
    }

    fn n_wanted(&self, at: Moment) -> usize {
        if self.mode != Mode::Working || self.no_room_until.is_some_and(|until| until > at.uptime) {
            return 0;
        }
        let n_free = self.n_slots.saturating_sub(self.slots.len());
        let n_left = self.plan.stop.max_jobs.map_or(usize::MAX, |max| max.saturating_sub(self.summary.n_started));
        n_free.min(n_left)
    }

    fn news(&mut self, uptime: Uptime) -> Vec<(Lease, Vec<Chunk>)> {
        let news = self.slots.values_mut().map(|slot| (slot.claimed.lease, slot.news(uptime)));
        news.filter(|(_, chunks)| !chunks.is_empty()).collect()
    }
}
