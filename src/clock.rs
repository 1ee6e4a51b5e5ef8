//! Time as the rest of the house sees it.
//!
//! The one place that asks the machine what time it is. Two clocks, because they answer different
//! questions: the wall clock says when a job is due, and may be set back or forward at any moment;
//! the uptime says how long a worker has been silent, and never jumps. Everything above takes a
//! time as an argument.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// An instant in UTC, in whole milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant that lies this many milliseconds after 1970 (before, if negative).
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The instant `duration` later; the end of time where that would overflow.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// The instant `duration` earlier; the beginning of time where that would overflow.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// How long after `earlier` this is; zero where it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Milliseconds since this machine started, not counting sleep; comparable between the processes
/// of one boot and of no use beyond it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(i64);

impl Uptime {
    /// The uptime of this many milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the start of the machine.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The uptime `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// How long after `earlier` this is; zero where it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Both clocks, read together: what a store verb that deals in leases is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// What the wall clock says.
    pub now: Timestamp,
    /// How long the machine has been up.
    pub uptime: Uptime,
}

/// Whole milliseconds of a duration, at most what an `i64` holds.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Tells the time and lets it pass.
pub trait Clock: fmt::Debug + Send + Sync {
    /// What the wall clock says now.
    fn now(&self) -> Timestamp;

    /// How long the machine has been up, sleep not counted.
    fn uptime(&self) -> Uptime;

    /// Does nothing for `duration`.
    fn pause(&self, duration: Duration);

    /// Both clocks at once.
    fn moment(&self) -> Moment {
        Moment { now: self.now(), uptime: self.uptime() }
    }
}

/// The machine's clocks; the wall clock may be displaced, so that a test can live tomorrow.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock {
    /// Milliseconds added to the wall clock.
    pub offset_millis: i64,
    /// A file that holds more of them, read at every look, so that a test can set the clock of what
    /// runs already.
    pub offset_file: Option<&'static Path>,
}

impl SystemClock {
    fn offset(&self) -> i64 {
        let in_file = |path| std::fs::read_to_string(path).ok()?.trim().parse().ok();
        self.offset_millis.saturating_add(self.offset_file.and_then(in_file).unwrap_or(0))
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the only now()")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(millis(since_epoch).saturating_add(self.offset()))
    }

    fn uptime(&self) -> Uptime {
        // A failure is impossible for this clock on the systems qctl runs on; zero would only make
        // a lease look young, and the lock byte still tells whether its worker lives.
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        Uptime(millis(time))
    }

    #[expect(clippy::disallowed_methods, reason = "the only sleep")]
    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_never_overflows() {
        let end = Timestamp::from_millis(i64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(Timestamp::from_millis(i64::MIN).minus(Duration::MAX).as_millis(), i64::MIN);
        assert_eq!(Timestamp::from_millis(5).since(Timestamp::from_millis(9)), Duration::ZERO);
    }

    #[test]
    fn uptime_does_not_go_back() {
        let clock = SystemClock::default();
        let first = clock.uptime();
        assert!(clock.uptime() >= first);
    }
}
