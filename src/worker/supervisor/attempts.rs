//! From a claimed job to a settlement: starting attempts, tending them, taking what is left.

use super::{Ended, Mode, Supervisor};
use crate::clock::{Moment, Timestamp, Uptime};
use crate::job::{Chunk, Claimed, Event, Lease, Outcome, Report, Settlement, Stream, Verdict, unheeded};
use crate::policy;
use crate::process::SpawnError;
use crate::worker::launch;
use crate::worker::slot::{Remains, Slot, Why};
use crate::worker::writer::RETRY;

impl Supervisor<'_> {
    pub(super) fn start(&mut self, claimed: Claimed, at: Moment, held_until: Uptime) {
        self.last_work = at.uptime;
        let Some(argv) = launch::argv(&claimed.job, self.plan.handler.as_ref()) else {
            return self.leave_alone(claimed);
        };
        if self.mode == Mode::Stopping || self.mode == Mode::Killing {
            return self.hand_back(&claimed);
        }
        let clock = &self.around.clock;
        let mark = match self.own.mark(claimed.lease, &|| clock.uptime() < held_until) {
            Ok(Some(mark)) => mark,
            // It was stopped for so long since it claimed the job that another took it away.
            Ok(None) => return (self.report)(&Event::LeaseLost { job: &claimed.job }),
            Err(error) => return self.make_room(&claimed, error.to_string(), at.uptime),
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
            Err(error) => self.make_room(&claimed, error.to_string(), at.uptime),
        }
    }

    /// Gives a job back untouched, for whoever comes next.
    fn hand_back(&mut self, claimed: &Claimed) {
        self.handed_back.insert(claimed.job.queue.clone());
        self.return_untouched(claimed.lease);
    }

    fn return_untouched(&mut self, lease: Lease) {
        let verdict = Verdict::HandBack;
        self.ended.push((Settlement { lease, verdict, heed: unheeded, report: None, output: Vec::new() }, None));
    }

    /// A job with nothing to run: another worker may have a handler for its queue.
    fn leave_alone(&mut self, claimed: Claimed) {
        if !self.serving.except.contains(&claimed.job.queue) {
            self.serving.except.push(claimed.job.queue.clone());
            (self.report)(&Event::NothingToRun { job: &claimed.job });
        }
        // No flag is raised for it: that would call back a worker like this one.
        self.return_untouched(claimed.lease);
    }

    /// The machine could not start it: no fault of the job's.
    fn make_room(&mut self, claimed: &Claimed, message: String, uptime: Uptime) {
        self.complain(message, uptime);
        self.no_room_until = Some(uptime.plus(RETRY));
        self.hand_back(claimed);
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

    pub(super) fn tend_slots(&mut self, at: Moment) {
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
        if verdict == Verdict::HandBack {
            self.handed_back.insert(claimed.job.queue.clone());
        }
        let heed = policy::heed;
        let settlement = Settlement { lease: claimed.lease, verdict, heed, report: Some(report.clone()), output };
        let is_counted = report.outcome.is_counted();
        self.ended.push((settlement, Some(Ended { job: claimed.job, report, verdict, is_counted, last_words })));
    }

    fn share_leases(&self) {
        self.keeper.set_leases(self.slots.values().map(|slot| slot.claimed.lease).collect());
    }
}
