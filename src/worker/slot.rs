//! One attempt under way: from its start to what there is to report of it.

use std::time::Duration;

use crate::clock::{Moment, Timestamp, Uptime};
use crate::job::{Chunk, Claimed, Outcome, Report, Stream, Usage, WorkerId};
use crate::process::{Child, Exit, Piece, Used};

/// How long the streams of a command are still read after it has ended: time enough for what is on
/// its way, while something left in the background may hold them open for ever.
const AFTERMATH: Duration = Duration::from_millis(100);

/// How often it is looked whether a group that was asked to end has gone.
const KIN_LOOK: Duration = Duration::from_millis(20);

/// How long an attempt's output may wait before it can be followed from elsewhere.
const NEWS: Duration = Duration::from_millis(250);

/// How many of the last lines of stderr the report of a death shows.
const LAST_WORDS: usize = 5;

/// The longest `error` that is kept, in bytes: one line of it is shown in lists.
const MAX_ERROR: usize = 1000;

/// Why an attempt is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Timeout,
    Cancelled,
    Released,
    LeaseLost,
}

/// How far along an attempt is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Running,
    /// It was asked to end and will be killed at this time; `None`: it has been killed.
    Stopping {
        why: Why,
        kill_at: Option<Uptime>,
    },
}

/// An attempt under way.
pub(super) struct Slot {
    pub(super) claimed: Claimed,
    child: Child,
    phase: Phase,
    started: Moment,
    /// Since when its leader has ended.
    ended: Option<Uptime>,
    last_news: Uptime,
    next_kin_look: Uptime,
}

/// All that is left of an attempt.
pub(super) struct Remains {
    pub(super) claimed: Claimed,
    pub(super) why: Option<Why>,
    pub(super) report: Report,
    pub(super) output: Vec<Chunk>,
    pub(super) last_words: Vec<u8>,
}

impl Slot {
    /// An attempt whose command has just been started.
    pub(super) fn new(claimed: Claimed, child: Child, started: Moment) -> Self {
        Self {
            claimed,
            child,
            phase: Phase::Running,
            started,
            ended: None,
            last_news: started.uptime,
            next_kin_look: started.uptime,
        }
    }

    /// The command.
    pub(super) fn child(&self) -> &Child {
        &self.child
    }

    /// Reads what one of its streams has.
    pub(super) fn read(&mut self, place: usize, buffer: &mut Vec<u8>) {
        self.child.read(place, buffer);
    }

    /// Asks it to end, to be killed after the job's patience, or `at_once`. A reason that was given
    /// before stands, except that a lost lease outdoes all others: nothing may be reported then.
    pub(super) fn stop(&mut self, why: Why, at_once: bool, uptime: Uptime) {
        let why = match self.phase {
            Phase::Stopping { why: before, .. } if why != Why::LeaseLost => before,
            Phase::Running | Phase::Stopping { .. } => why,
        };
        if at_once {
            self.child.kill();
            self.phase = Phase::Stopping { why, kill_at: None };
        } else if matches!(self.phase, Phase::Running) {
            self.child.terminate();
            let kill_at = Some(uptime.plus(self.claimed.context.terms.kill_after));
            self.phase = Phase::Stopping { why, kill_at };
        } else if let Phase::Stopping { kill_at, .. } = self.phase {
            self.phase = Phase::Stopping { why, kill_at };
        }
    }

    /// Looks whether its leader has ended.
    pub(super) fn look(&mut self, uptime: Uptime) {
        if self.ended.is_none() && self.child.has_ended() {
            self.ended = Some(uptime);
        }
    }

    /// Does what time demands; answers whether there is nothing left to wait for.
    pub(super) fn tend(&mut self, uptime: Uptime, buffer: &mut Vec<u8>) -> bool {
        match self.phase {
            Phase::Running if self.ended.is_none() => {
                if self.times_out_at().is_some_and(|at| at <= uptime) {
                    self.stop(Why::Timeout, false, uptime);
                }
                false
            }
            Phase::Running => self.is_read_out(uptime, buffer),
            Phase::Stopping { why, kill_at: Some(at) } if at <= uptime => {
                self.child.kill();
                self.phase = Phase::Stopping { why, kill_at: None };
                false
            }
            // The leader is not reaped while others of its group may still clean up after themselves.
            Phase::Stopping { kill_at: Some(_), .. } => {
                let is_gone = self.ended.is_some() && self.next_kin_look <= uptime && !self.child.has_kin();
                self.next_kin_look =
                    if self.next_kin_look <= uptime { uptime.plus(KIN_LOOK) } else { self.next_kin_look };
                is_gone && self.is_read_out(uptime, buffer)
            }
            Phase::Stopping { kill_at: None, .. } => self.ended.is_some() && self.is_read_out(uptime, buffer),
        }
    }

    fn is_read_out(&mut self, uptime: Uptime, buffer: &mut Vec<u8>) -> bool {
        self.child.drain(buffer);
        self.child.is_silent() || self.aftermath_ends_at() <= uptime
    }

    fn aftermath_ends_at(&self) -> Uptime {
        self.ended.map_or(Uptime::from_millis(i64::MAX), |ended| ended.plus(AFTERMATH))
    }

    fn times_out_at(&self) -> Option<Uptime> {
        self.claimed.context.terms.timeout.map(|timeout| self.started.uptime.plus(timeout))
    }

    /// When time will next demand something.
    pub(super) fn next_deadline(&self) -> Option<Uptime> {
        let by_phase = match (self.phase, self.ended) {
            (Phase::Running, None) => self.times_out_at(),
            (Phase::Stopping { kill_at: Some(kill_at), .. }, None) => Some(kill_at),
            (Phase::Stopping { kill_at: None, .. }, None) => None,
            (Phase::Stopping { kill_at: Some(kill_at), .. }, Some(_)) => Some(kill_at.min(self.next_kin_look)),
            (Phase::Running | Phase::Stopping { kill_at: None, .. }, Some(_)) => Some(self.aftermath_ends_at()),
        };
        let by_news = self.has_news().then(|| self.last_news.plus(NEWS));
        by_phase.into_iter().chain(by_news).min()
    }

    fn has_news(&self) -> bool {
        self.child.has_news()
    }

    /// What it has printed since the last call, if it is time to hand that out, or much.
    pub(super) fn news(&mut self, uptime: Uptime) -> Vec<Chunk> {
        if !self.has_news() || (self.last_news.plus(NEWS) > uptime && !self.child.holds_much()) {
            return Vec::new();
        }
        self.last_news = uptime;
        let [stdout, stderr] = self.child.captures();
        chunks(stdout.news(), stderr.news())
    }

    /// Takes what is left of it. To be called once there is nothing left to wait for.
    pub(super) fn bury(mut self, now: Timestamp, worker: WorkerId) -> Remains {
        let why = match self.phase {
            Phase::Running => None,
            Phase::Stopping { why, .. } => {
                // The last signal, while the number of the leader still means its group.
                self.child.kill();
                Some(why)
            }
        };
        let (exit, used) = self.child.reap().unwrap_or((Exit::Code(0), Used::default()));
        let [stdout, stderr] = self.child.captures();
        let report = Report {
            outcome: outcome(why, exit),
            exit_code: if let Exit::Code(code) = exit { Some(code) } else { None },
            signal: if let Exit::Signal(signal) = exit { Some(signal) } else { None },
            error: error(why, exit, stderr.last_lines(1).pop()),
            started_at: self.started.now,
            ended_at: now,
            usage: Some(Usage { cpu: used.cpu, max_rss_bytes: used.max_rss_bytes }),
            stdout_bytes: stdout.total(),
            stderr_bytes: stderr.total(),
            is_truncated: stdout.is_truncated() || stderr.is_truncated(),
            worker: worker.to_string(),
        };
        let last_words = stderr.last_lines(LAST_WORDS).join(&b'\n');
        let output = chunks(stdout.finish(), stderr.finish());
        Remains { claimed: self.claimed, why, report, output, last_words }
    }
}

fn outcome(why: Option<Why>, exit: Exit) -> Outcome {
    match (why, exit) {
        (None, Exit::Code(0)) => Outcome::Succeeded,
        (None, Exit::Code(_) | Exit::Signal(_)) => Outcome::Failed,
        (Some(Why::Timeout), _) => Outcome::Timeout,
        (Some(Why::Cancelled), _) => Outcome::Cancelled,
        (Some(Why::Released), _) => Outcome::Released,
        (Some(Why::LeaseLost), _) => Outcome::Lost,
    }
}

/// The last line of stderr, else what happened.
fn error(why: Option<Why>, exit: Exit, last_line: Option<Vec<u8>>) -> Option<String> {
    let what_happened = match (why, exit) {
        (None, Exit::Code(0)) => return None,
        (Some(Why::Timeout), _) => "timed out".to_owned(),
        (Some(Why::Cancelled), _) => "cancelled".to_owned(),
        (Some(Why::Released), _) => "handed back".to_owned(),
        (Some(Why::LeaseLost), _) => "lease lost".to_owned(),
        (None, Exit::Code(code)) => format!("exit {code}"),
        (None, Exit::Signal(signal)) => format!("signal {signal}"),
    };
    let Some(mut line) = last_line else { return Some(what_happened) };
    line.truncate(MAX_ERROR);
    Some(String::from_utf8_lossy(&line).into_owned())
}

fn chunks(stdout: Vec<Piece>, stderr: Vec<Piece>) -> Vec<Chunk> {
    let chunk = |stream| {
        move |piece: Piece| Chunk { stream, offset: piece.offset, bytes: piece.bytes, drops_from: piece.voids_from }
    };
    stdout.into_iter().map(chunk(Stream::Stdout)).chain(stderr.into_iter().map(chunk(Stream::Stderr))).collect()
}
