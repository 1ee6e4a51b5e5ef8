//! Dead jobs beyond what their queue may have. Nobody drops them: that they are too many is said.

use std::time::Duration;

use super::filter::QueueSettings;
use crate::clock::Timestamp;

/// What of the dead jobs of a queue is beyond its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// How many are dead.
    pub n: u64,
    /// The most that there may be, if they are more.
    pub max: Option<u64>,
    /// For how long the first of them has been dead.
    pub age: Duration,
    /// For how long one may be, if that is longer.
    pub max_age: Option<Duration>,
}

impl QueueSettings {
    /// Whether it says anything of how many jobs may be dead, and for how long; also that there is no limit.
    pub fn limits_dead(&self) -> bool {
        self.keep_dead.is_some() || self.keep_dead_rows.is_some()
    }

    /// What is beyond these limits where so many are dead, the first of them since `oldest`; `None` where nothing is.
    pub fn excess(&self, n: u64, oldest: Option<Timestamp>, now: Timestamp) -> Option<Excess> {
        let age = oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
        let max = self.keep_dead_rows.flatten().filter(|&max| n > max);
        let max_age = self.keep_dead.flatten().filter(|&max| age > max);
        (max.is_some() || max_age.is_some()).then_some(Excess { n, max, age, max_age })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_limit_is_told_with_that_limit_alone() {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        let (now, died) = (Timestamp::default().plus(hours(50)), Some(Timestamp::default()));
        let limited = QueueSettings {
            keep_dead: Some(Some(hours(40))),
            keep_dead_rows: Some(Some(3)),
            ..QueueSettings::default()
        };
        let excess = |max, max_age| Some(Excess { n: 4, max, age: hours(50), max_age });
        assert_eq!(limited.excess(4, died, now), excess(Some(3), Some(hours(40))));
        let aged = QueueSettings { keep_dead_rows: Some(None), ..limited.clone() };
        assert_eq!(aged.excess(4, died, now), excess(None, Some(hours(40))));
        assert_eq!(limited.excess(3, died, Timestamp::default().plus(hours(40))), None);
        assert_eq!(limited.excess(0, None, now), None);
        assert!(limited.limits_dead() && aged.limits_dead() && !QueueSettings::default().limits_dead());
        assert_eq!(QueueSettings::default().excess(1_000_000, died, now), None);
    }
}
