//! How long things take: the clock, samples of it, and rounds in which contenders take turns.
//!
//! The clock is `CLOCK_MONOTONIC`, which the small C programs of the bench read too, so that instants
//! of different processes can be subtracted.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use qctl::clock::{Clock as _, SystemClock};

use crate::trouble::{Outcome, Trouble};

/// How long a fact is waited for. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nanoseconds on the clock that all processes share.
pub(crate) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).expect("Linux has this clock")
}

/// Lets time pass: between two looks for a fact, or while something is measured.
pub(crate) fn pause(time: Duration) {
    SystemClock::default().pause(time);
}

/// Looks again and again until the fact is there.
pub(crate) fn wait_for<T>(fact: &str, mut look: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    let started = now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if now() - started > PATIENCE {
            return Err(Trouble::failed(format!("it never came to be that {fact}")));
        }
        pause(Duration::from_micros(200));
    }
}

/// How long a command takes, from before it is started until it was waited for. It gets no input, its
/// output goes nowhere, and it must succeed.
pub(crate) fn time(command: &mut Command) -> Outcome<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = now();
    let status = command.status()?;
    let took = now() - started;
    if status.success() {
        return Ok(took);
    }
    // Once more, to hear what it has to say: a pipe would have been part of what was timed.
    let again = command.stderr(Stdio::piped()).output()?;
    Err(Trouble::ended(command, status, &again.stderr))
}

/// Measurements of one thing; never empty once they are asked about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// One more.
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
        self.0.sort_unstable();
    }

    /// The value below which this share (0 to 1) of the samples lies.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let nth = (share * self.0.len().saturating_sub(1) as f64).round() as usize;
        self.0.get(nth).copied().unwrap_or_default()
    }

    /// The one in the middle.
    pub(crate) fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// The median of these for each of the others.
    pub(crate) fn ratio(&self, others: &Self) -> f64 {
        self.median().as_secs_f64() / others.median().as_secs_f64()
    }

    /// `1.24 ms (1.02 to p99 3.10)`; of few samples the last is the longest.
    pub(crate) fn described(&self) -> String {
        let (name, high) = if self.0.len() < 100 { ("", 1.0) } else { ("p99 ", 0.99) };
        let [middle, low, high] =
            [self.median(), self.quantile(0.0), self.quantile(high)].map(|time| time.as_secs_f64());
        let (factor, unit) = if middle < 0.5 { (1e3, "ms") } else { (1.0, "s") };
        format!("{:.2} {unit} ({:.2} to {name}{:.2})", middle * factor, low * factor, high * factor)
    }
}

/// What one contender does in a round; answers how long that took, leaving out what it does before and
/// after.
pub(crate) type Run<'r> = Box<dyn FnMut() -> Outcome<Duration> + 'r>;

/// Lets the contenders run one after the other, `n_rounds` times; answers for each, in their order. One
/// that fails takes no further part.
pub(crate) fn interleave(n_rounds: usize, contenders: Vec<Outcome<Run<'_>>>) -> Vec<Outcome<Samples>> {
    let mut lanes: Vec<_> = contenders.into_iter().map(|run| run.map(|run| (run, Samples::default()))).collect();
    for _ in 0..n_rounds {
        for lane in &mut lanes {
            let Ok((run, samples)) = lane else { continue };
            match run() {
                Ok(took) => samples.add(took),
                Err(trouble) => *lane = Err(trouble),
            }
        }
    }
    lanes.into_iter().map(|lane| lane.map(|(_, samples)| samples)).collect()
}

/// Two contenders, ours and theirs, as [`interleave`] has them.
pub(crate) fn duel<'r>(
    n_rounds: usize,
    ours: impl FnMut() -> Outcome<Duration> + 'r,
    theirs: impl FnMut() -> Outcome<Duration> + 'r,
) -> Outcome<[Samples; 2]> {
    let measured = interleave(n_rounds, vec![Ok(Box::new(ours)), Ok(Box::new(theirs))]);
    let [ours, theirs] = <[_; 2]>::try_from(measured).expect("as many answers as contenders");
    Ok([ours?, theirs?])
}
