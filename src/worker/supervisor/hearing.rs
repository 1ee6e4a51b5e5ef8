//! What the supervisor hears: signals, rings of the bell, and news of the other threads.

use std::time::Duration;

use super::{Asked, Ended, Mode, Supervisor, Unconfirmed};
use crate::clock::{Moment, Uptime};
use crate::job::{Event, Lease, QueueName, StopReason, Verdict};
use crate::process;
use crate::store::{Settled, Standing, Turned};
use crate::wake;
use crate::worker::news::News;
use crate::worker::rescue::Rescued;
use crate::worker::slot::Why;
use crate::worker::writer::RETRY;

/// The least time from one sync to the next while jobs run. Nobody waits for it but those who wait for
/// a job that ended beside others; a sync takes a tenth of it.
const SYNC: Duration = Duration::from_millis(5);

/// How often a trouble that lasts is told of.
const AGAIN: Duration = Duration::from_secs(60);

impl Supervisor<'_> {
    pub(super) fn hear_signals(&mut self, uptime: Uptime) {
        self.may_have_ended = self.ready.children && self.children.take() > 0;
        if self.may_have_ended && std::process::id() == 1 {
            let slots = &self.slots;
            process::adopted(|pid| slots.contains_key(&pid));
        }
        let n_asked = if self.ready.shutdown { self.shutdown.take() } else { 0 };
        for _ in 0..n_asked {
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
    pub(super) fn finish(&mut self, stop_at: Option<Uptime>) {
        if matches!(self.mode, Mode::Working | Mode::Finishing { stop_at: None }) {
            self.mode = Mode::Finishing { stop_at };
        }
    }

    pub(super) fn stop_all(&mut self, why: Why, mode: Mode, uptime: Uptime) {
        self.mode = mode;
        self.writer.give_up();
        for slot in self.slots.values_mut() {
            slot.stop(why, mode == Mode::Killing, uptime);
        }
    }

    pub(super) fn hear_news(&mut self, at: Moment) {
        if self.ready.bell
            && let Some(bell) = &mut self.bell
        {
            bell.hush();
            self.may_find_work = true;
            if !self.slots.is_empty() {
                self.keeper.knock();
            }
        }
        let news = if self.ready.inbox { self.inbox.take() } else { Vec::new() };
        for news in news {
            match news {
                News::Turned(turned) => self.take_up(turned, at),
                News::Durable(n_turns) => {
                    self.next_sync = Some(at.uptime.plus(SYNC));
                    self.tell_of_ended(n_turns);
                }
                News::Changed => self.may_find_work = true,
                News::Standings(standings) => self.heed(&standings, at.uptime),
                News::Rescued(rescued) => self.tell_of_rescued(&rescued),
                News::Trouble(message) => self.complain(message, at.uptime),
                News::Fatal(error) => self.give_up(error.into(), at.uptime),
            }
        }
    }

    /// Says what is wrong, once: what lasts is said again only now and then.
    pub(super) fn complain(&mut self, message: String, uptime: Uptime) {
        let is_known =
            self.complaint.as_ref().is_some_and(|(known, said)| *known == message && uptime.since(*said) < AGAIN);
        if !is_known {
            (self.report)(&Event::Trouble { message: &message, retry_in: RETRY });
            self.complaint = Some((message, uptime));
        }
    }

    /// Goes on from a turn that was taken.
    pub(super) fn take_up(&mut self, turned: Turned, at: Moment) {
        let Asked { ended: sent, mut has_handed_back, held_until } = self.asked.take().unwrap_or_default();
        self.unseen.clear();
        let is_empty = sent.is_empty();
        let mut recorded = Vec::new();
        for (ended, settled) in sent.into_iter().zip(turned.settled) {
            match (ended, settled) {
                (Some(ended), Settled::Recorded) => recorded.push(ended),
                (Some(ended), Settled::AsWished(granted)) => {
                    has_handed_back |= !granted.verdict.is_final();
                    recorded.push(ended.granted(granted));
                }
                (Some(ended), Settled::Uncounted(verdict)) => {
                    has_handed_back = true;
                    recorded.push(Ended { verdict, is_counted: false, ..ended });
                }
                (Some(ended), Settled::LeaseLost) => (self.report)(&Event::LeaseLost { job: &ended.job }),
                (None, Settled::Recorded | Settled::AsWished(_) | Settled::Uncounted(_) | Settled::LeaseLost) => {}
            }
        }
        if !is_empty {
            self.unconfirmed.push_back(Unconfirmed { ended: recorded, breakers: turned.breakers });
            self.unsynced.n_turns += 1;
            self.unsynced.has_handed_back |= has_handed_back;
        }
        for job in &turned.expired {
            self.summary.n_dead += 1;
            (self.report)(&Event::Expired { job });
        }
        for queue in &turned.promoted {
            wake::raise(&self.around.bells, queue.as_str());
        }
        self.pass_on(&turned.alarmed);
        if !turned.promoted.is_empty() || !turned.alarmed.is_empty() || !turned.claimed.is_empty() {
            self.has_lowered = false;
        }
        self.next_due = turned.next_due;
        self.may_find_work |= turned.is_behind || !turned.claimed.is_empty();
        for claimed in turned.claimed {
            self.start(claimed, at, held_until);
        }
    }

    /// Calls those who may run the hooks that were pushed into these queues: this worker may serve other ones.
    fn pass_on(&self, alarmed: &[QueueName]) {
        wake::raise_all(&self.around.bells, alarmed.iter().map(QueueName::as_str));
        if !alarmed.is_empty() {
            wake::ring(&self.around.bells, |name| name.starts_with(wake::WORKER));
        }
    }

    /// Says what was settled, now that it is durable.
    fn tell_of_ended(&mut self, n_turns: usize) {
        let turns: Vec<Unconfirmed> = self.unconfirmed.drain(..n_turns.min(self.unconfirmed.len())).collect();
        for Unconfirmed { ended, breakers } in turns {
            for Ended { job, report, verdict, is_counted, last_words } in ended {
                self.tally(verdict);
                (self.report)(&Event::Ended {
                    job: &job,
                    report: &report,
                    verdict,
                    is_counted,
                    last_words: &last_words,
                });
            }
            for news in &breakers {
                (self.report)(&Event::Breaker { news });
            }
        }
    }

    fn tell_of_rescued(&mut self, rescued: &[Rescued]) {
        self.may_find_work = true;
        for Rescued { job, report, verdict, alarmed } in rescued {
            self.pass_on(alarmed);
            match verdict {
                Verdict::Die { .. } => self.summary.n_dead += 1,
                Verdict::HandBack => wake::raise(&self.around.bells, job.queue.as_str()),
                Verdict::Succeed | Verdict::Retry { .. } | Verdict::Cancel => {}
            }
            let is_counted = report.outcome.is_counted();
            (self.report)(&Event::Ended { job, report, verdict: *verdict, is_counted, last_words: &[] });
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
}
