//! The loop that everything goes through: news, signals, children, claims, and then waiting.

use std::collections::{HashMap, VecDeque};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::keeper::Keeper;
use super::launch;
use super::news::{self, Inbox, News};
use super::rescue::Rescued;
use super::slot::{Remains, Slot, Why};
use super::writer::{Ask, RETRY, Writer};
use super::{Error, Plan, Summary, Surroundings};
use crate::clock::{Moment, Timestamp, Uptime};
use crate::job::{
    Chunk, Claimed, Event, Job, Lease, Outcome, Report, Settlement, StopReason, Stream, Verdict, WorkerId,
};
use crate::policy;
use crate::process::{self, SpawnError};
use crate::signal::SignalPipe;
use crate::store::{NewWorker, Serving, Settled, Standing, Store, Turned};
use crate::wake::{self, Bell};

/// How long it sleeps at the most when a job is to fall due: a clock that is set meanwhile is
/// noticed within this time.
const CLOCK_LOOK: Duration = Duration::from_secs(1);

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

/// A settlement that was sent, and what to say of it once it is durable.
struct Ended {
    job: Job,
    report: Report,
    verdict: Verdict,
    last_words: Vec<u8>,
}

/// The worker's main thread.
pub(super) struct Supervisor<'a> {
    plan: &'a Plan,
    around: &'a Surroundings,
    report: &'a mut dyn FnMut(&Event<'_>),
    worker: WorkerId,
    /// Marks attempts; never reads or writes the queue.
    marker: Box<dyn Store>,
    keeper: Keeper,
    writer: Writer,
    inbox: Inbox,
    bell: Option<Bell>,
    children: SignalPipe,
    shutdown: SignalPipe,
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
    /// What the writer has in hand.
    asked: Option<Vec<Option<Ended>>>,
    /// What was settled and is not durable yet.
    unconfirmed: VecDeque<Vec<Ended>>,
    /// Whether there may be work that has not been asked for.
    may_find_work: bool,
    next_due: Option<Timestamp>,
    /// Nothing is started before this time: the machine has no room.
    no_room_until: Option<Uptime>,
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
        let mut store = (around.open)()?;
        let about = NewWorker {
            host: around.host.clone(),
            pid: std::process::id(),
            queues: plan.queues.clone(),
            n_slots: plan.n_slots,
            lease: plan.lease,
        };
        let worker = store.enroll(&about, around.clock.moment())?;
        // Without a bell it finds out a little later.
        let bell = Bell::hang(&around.bells, &format!("{}-{}", wake::WORKER, worker.get())).ok();
        let uptime = around.clock.uptime();
        Ok(Self {
            plan,
            around,
            report,
            worker,
            marker: (around.open)()?,
            writer: Writer::start(store, worker, around, teller.clone())?,
            keeper: Keeper::start(worker, plan.lease, around, teller)?,
            inbox,
            bell,
            children,
            shutdown,
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
            unconfirmed: VecDeque::new(),
            may_find_work: true,
            next_due: None,
            no_room_until: None,
            fatal: None,
            buffer: Vec::new(),
        })
    }

    /// Works until there is nothing more to do.
    pub(super) fn run(mut self) -> Result<Summary, Error> {
        (self.report)(&Event::Up { worker: self.worker });
        loop {
            let at = self.around.clock.moment();
            self.hear_signals(at.uptime);
            self.hear_news(at);
            self.tend_slots(at);
            self.check_rules(at);
            self.ask(at);
            if self.is_done() {
                return self.fatal.map_or(Ok(self.summary), Err);
            }
            self.wait(at);
        }
    }

    fn is_done(&self) -> bool {
        let is_idle = self.slots.is_empty();
        let is_settled = self.ended.is_empty() && self.asked.is_none() && self.unconfirmed.is_empty();
        self.mode != Mode::Working && is_idle && (is_settled || self.fatal.is_some())
    }

    // Signals

    fn hear_signals(&mut self, uptime: Uptime) {
        self.may_have_ended = self.children.take() > 0;
        if self.may_have_ended && std::process::id() == 1 {
            let slots = &self.slots;
            process::adopted(|pid| slots.contains_key(&pid));
        }
        for _ in 0..self.shutdown.take() {
            self.n_signals += 1;
            let reason = match self.n_signals {
                1 => StopReason::Signal,
                2 => StopReason::SignalTwice,
                _ => StopReason::SignalThrice,
            };
            (self.report)(&Event::Stopping { reason, n_running: self.slots.len() });
            match reason {
                StopReason::Signal => self.finish(self.plan.grace.map(|grace| uptime.plus(grace))),
                StopReason::SignalTwice => self.stop_all(Why::Released, Mode::Stopping, uptime),
                StopReason::SignalThrice => self.stop_all(Why::Released, Mode::Killing, uptime),
            }
        }
    }

    /// Takes no more jobs. What runs is stopped at `stop_at`, if that is given.
    fn finish(&mut self, stop_at: Option<Uptime>) {
        if matches!(self.mode, Mode::Working | Mode::Finishing { stop_at: None }) {
            self.mode = Mode::Finishing { stop_at };
        }
    }

    fn stop_all(&mut self, why: Why, mode: Mode, uptime: Uptime) {
        self.mode = mode;
        self.writer.give_up();
        for slot in self.slots.values_mut() {
            slot.stop(why, mode == Mode::Killing, uptime);
        }
    }

    // News

    fn hear_news(&mut self, at: Moment) {
        if let Some(bell) = &mut self.bell {
            let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n > 0) {
                bell.hush();
                self.may_find_work = true;
                if !self.slots.is_empty() {
                    self.keeper.knock();
                }
            }
        }
        for news in self.inbox.take() {
            match news {
                News::Turned(turned) => self.take_up(turned, at),
                News::Durable => self.tell_of_ended(),
                News::Changed => self.may_find_work = true,
                News::Standings(standings) => self.heed(&standings, at.uptime),
                News::Rescued(rescued) => self.tell_of_rescued(&rescued),
                News::Trouble(message) => (self.report)(&Event::Trouble { message: &message, retry_in: RETRY }),
                News::Fatal(error) => {
                    self.fatal.get_or_insert(error.into());
                    self.stop_all(Why::Released, Mode::Stopping, at.uptime);
                }
            }
        }
    }

    fn take_up(&mut self, turned: Turned, at: Moment) {
        let sent = self.asked.take().unwrap_or_default();
        let is_empty = sent.is_empty();
        let mut recorded = Vec::new();
        for (ended, settled) in sent.into_iter().zip(turned.settled) {
            match (ended, settled) {
                (Some(ended), Settled::Recorded) => recorded.push(ended),
                (Some(ended), Settled::LeaseLost) => (self.report)(&Event::LeaseLost { job: &ended.job }),
                (None, Settled::Recorded | Settled::LeaseLost) => {}
            }
        }
        if !is_empty {
            self.unconfirmed.push_back(recorded);
        }
        for job in &turned.expired {
            self.summary.n_dead += 1;
            (self.report)(&Event::Expired { job });
        }
        self.next_due = turned.next_due;
        self.may_find_work |= turned.is_behind || !turned.claimed.is_empty();
        for claimed in turned.claimed {
            self.start(claimed, at);
        }
    }

    /// Says what was settled, now that it is durable.
    fn tell_of_ended(&mut self) {
        let Some(ended) = self.unconfirmed.pop_front() else { return };
        for Ended { job, report, verdict, last_words } in ended {
            self.tally(verdict);
            (self.report)(&Event::Ended { job: &job, report: &report, verdict, last_words: &last_words });
        }
    }

    fn tell_of_rescued(&mut self, rescued: &[Rescued]) {
        self.may_find_work = true;
        for Rescued { job, report, verdict } in rescued {
            if matches!(verdict, Verdict::Die { .. }) {
                self.summary.n_dead += 1;
            }
            (self.report)(&Event::Ended { job, report, verdict: *verdict, last_words: &[] });
        }
    }

    fn tally(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Succeed => self.summary.n_succeeded += 1,
            Verdict::Retry { .. } => self.summary.n_retrying += 1,
            Verdict::HandBack => self.summary.n_handed_back += 1,
            Verdict::Die { .. } => self.summary.n_dead += 1,
            Verdict::Cancel => self.summary.n_cancelled += 1,
        }
    }

    /// Stops jobs that are no longer this worker's, or should not go on.
    fn heed(&mut self, standings: &[(Lease, Standing)], uptime: Uptime) {
        for (lease, standing) in standings {
            let Some(slot) = self.slots.values_mut().find(|slot| slot.claimed.lease == *lease) else { continue };
            match standing {
                Standing::Held => {}
                Standing::CancelRequested => slot.stop(Why::Cancelled, false, uptime),
                Standing::Lost => slot.stop(Why::LeaseLost, false, uptime),
            }
        }
    }

    // Attempts

    fn start(&mut self, claimed: Claimed, at: Moment) {
        self.last_work = at.uptime;
        let Some(argv) = launch::argv(claimed.job.command.as_ref(), self.plan.handler.as_ref()) else {
            return self.leave_alone(claimed);
        };
        if self.mode == Mode::Stopping || self.mode == Mode::Killing {
            return self.hand_back(claimed.lease);
        }
        let mark = match self.marker.mark(claimed.lease) {
            Ok(mark) => mark,
            Err(error) => return self.make_room(claimed.lease, &error.to_string(), at.uptime),
        };
        let launch = launch::launch(&claimed, argv, mark, (&self.around.db, self.worker));
        match launch.spawn() {
            Ok(child) => {
                self.summary.n_started += 1;
                (self.report)(&Event::Started { job: &claimed.job });
                self.slots.insert(child.pid(), Slot::new(claimed, child, at));
                self.share_leases();
            }
            Err(error) if error.is_the_commands_fault() => self.fail_to_start(claimed, &error, at.now),
            Err(error) => self.make_room(claimed.lease, &error.to_string(), at.uptime),
        }
    }

    /// Gives a job back untouched.
    fn hand_back(&mut self, lease: Lease) {
        self.ended.push((Settlement { lease, verdict: Verdict::HandBack, report: None, output: Vec::new() }, None));
    }

    /// A job with nothing to run: another worker may have a handler for its queue.
    fn leave_alone(&mut self, claimed: Claimed) {
        if !self.serving.except.contains(&claimed.job.queue) {
            self.serving.except.push(claimed.job.queue.clone());
            (self.report)(&Event::NothingToRun { job: &claimed.job });
        }
        self.hand_back(claimed.lease);
    }

    /// The machine could not start it: no fault of the job's.
    fn make_room(&mut self, lease: Lease, message: &str, uptime: Uptime) {
        (self.report)(&Event::Trouble { message, retry_in: RETRY });
        self.no_room_until = Some(uptime.plus(RETRY));
        self.hand_back(lease);
    }

    /// The command cannot be run: a failed attempt, as a shell would have it.
    fn fail_to_start(&mut self, claimed: Claimed, error: &SpawnError, now: Timestamp) {
        self.summary.n_started += 1;
        (self.report)(&Event::Started { job: &claimed.job });
        let words = format!("qctl: {error}\n");
        let report = Report {
            outcome: Outcome::Failed,
            exit_code: Some(error.exit_code()),
            signal: None,
            error: Some(error.to_string()),
            started_at: now,
            ended_at: now,
            usage: None,
            stdout_bytes: 0,
            stderr_bytes: words.len() as u64,
            is_truncated: false,
            worker: self.worker.to_string(),
        };
        let last_words = words.trim_end().as_bytes().to_vec();
        let bytes = words.into_bytes();
        let output = vec![Chunk { stream: Stream::Stderr, offset: 0, bytes, drops_from: None }];
        self.settle(Remains { claimed, why: None, report, output, last_words });
    }

    fn tend_slots(&mut self, at: Moment) {
        let mut finished = Vec::new();
        for (&pid, slot) in &mut self.slots {
            if self.may_have_ended {
                slot.look(at.uptime);
            }
            if slot.tend(at.uptime, &mut self.buffer) {
                finished.push(pid);
            }
        }
        for pid in finished {
            let slot = self.slots.remove(&pid).expect("it was just seen");
            let remains = slot.bury(at.now, self.worker);
            self.last_work = at.uptime;
            self.share_leases();
            if remains.why == Some(Why::LeaseLost) {
                (self.report)(&Event::LeaseLost { job: &remains.claimed.job });
            } else {
                self.settle(remains);
            }
        }
    }

    fn settle(&mut self, remains: Remains) {
        let Remains { claimed, report, output, last_words, .. } = remains;
        let ending = (report.outcome, report.exit_code);
        let verdict = policy::verdict(&claimed.job, &claimed.context.terms, ending, report.ended_at, fastrand::f64());
        let settlement = Settlement { lease: claimed.lease, verdict, report: Some(report.clone()), output };
        self.ended.push((settlement, Some(Ended { job: claimed.job, report, verdict, last_words })));
    }

    fn share_leases(&self) {
        self.keeper.set_leases(self.slots.values().map(|slot| slot.claimed.lease).collect());
    }

    // Rules

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
        let has_found_nothing = is_idle && !self.may_find_work && !self.keeper.is_rescuing();
        rules.max_jobs.is_some_and(|max| self.summary.n_started >= max)
            || rules.max_time.is_some_and(|max| at.uptime.since(self.started) >= max)
            || rules.idle_exit.is_some_and(|max| is_idle && at.uptime.since(self.last_work) >= max)
            || rules.drain.is_some_and(|wait| has_found_nothing && !self.falls_due_before(at.now.plus(wait)))
    }

    fn falls_due_before(&self, instant: Timestamp) -> bool {
        self.next_due.is_some_and(|due| due <= instant)
    }

    // Turns

    fn ask(&mut self, at: Moment) {
        if self.asked.is_some() || self.fatal.is_some() {
            return;
        }
        let n_wanted = self.n_wanted(at);
        let is_due = self.may_find_work || self.falls_due_before(at.now);
        let output = self.news(at.uptime);
        if self.ended.is_empty() && output.is_empty() && (n_wanted == 0 || !is_due) {
            return;
        }
        if n_wanted > 0 {
            self.may_find_work = false;
        }
        let (settlements, ended) = self.ended.drain(..).unzip();
        self.asked = Some(ended);
        self.writer.ask(Ask { settlements, output, serving: self.serving.clone(), n_wanted });
    }

    fn n_wanted(&self, at: Moment) -> usize {
        if self.mode != Mode::Working || self.no_room_until.is_some_and(|until| until > at.uptime) {
            return 0;
        }
        let n_free = self.plan.n_slots.saturating_sub(self.slots.len());
        let n_left = self.plan.stop.max_jobs.map_or(usize::MAX, |max| max.saturating_sub(self.summary.n_started));
        n_free.min(n_left)
    }

    fn news(&mut self, uptime: Uptime) -> Vec<(Lease, Vec<Chunk>)> {
        let news = self.slots.values_mut().map(|slot| (slot.claimed.lease, slot.news(uptime)));
        news.filter(|(_, chunks)| !chunks.is_empty()).collect()
    }

    // Waiting

    fn wait(&mut self, at: Moment) {
        let timeout = self.timeout(at);
        let mut fds = vec![
            PollFd::new(self.inbox.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.shutdown.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.bell.iter().map(|bell| PollFd::new(bell.as_fd(), PollFlags::POLLIN)));
        let n_own = fds.len();
        let mut pipes = Vec::new();
        for (&pid, slot) in &self.slots {
            for (place, pipe) in slot.child().pipes() {
                fds.push(PollFd::new(pipe, PollFlags::POLLIN));
                pipes.push((pid, place));
            }
        }
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, timeout);
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let ready: Vec<bool> = fds[n_own..].iter().map(is_ready).collect();
        for ((pid, place), _) in pipes.into_iter().zip(ready).filter(|(_, is_ready)| *is_ready) {
            if let Some(slot) = self.slots.get_mut(&pid) {
                slot.read(place, &mut self.buffer);
            }
        }
    }

    /// How long there is nothing to do but wait.
    fn timeout(&self, at: Moment) -> PollTimeout {
        let rules = &self.plan.stop;
        let rule_ends = [
            rules.max_time.map(|max| self.started.plus(max)),
            rules.idle_exit.filter(|_| self.slots.is_empty()).map(|max| self.last_work.plus(max)),
            self.no_room_until,
            if let Mode::Finishing { stop_at } = self.mode { stop_at } else { None },
        ];
        let rule_ends = rule_ends.into_iter().flatten().filter(|&end| end > at.uptime);
        let slot_ends = self.slots.values().filter_map(Slot::next_deadline);
        let by_uptime = rule_ends.chain(slot_ends).map(|end| end.since(at.uptime)).min();
        let by_clock = self.next_due.map(|due| due.since(at.now).min(CLOCK_LOOK));
        let shortest = by_uptime.into_iter().chain(by_clock.filter(|_| self.n_wanted(at) > 0)).min();
        // Rounded up, or the last fraction of a millisecond would be spent in a busy loop.
        let millis = shortest.map(|wait| u32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u32::MAX));
        millis.map_or(PollTimeout::NONE, |millis| PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX))
    }
}
