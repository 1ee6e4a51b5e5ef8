//! How fast the jobs of a requeue are released: which one when, since the start.
//!
//! At an even rate of `r` the job before which `n` others are is released after `n / r`. On a ramp from `a` to `b`
//! over the time `d` the rate after `t` is `a + (b - a) t / d`, so that `a t + k t²` jobs are released by then, with
//! `k = (b - a) / 2d`; solved for `t`, the `n`th is released after `2n / (a + √(a² + 4kn))`. From `d` on the rate is
//! an even `b`. Whole milliseconds, rounded up: nothing comes early.

use std::time::Duration;

use super::topic::Rate;
use crate::clock::Timestamp;

/// How fast jobs are released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tempo {
    /// As fast as can be.
    #[default]
    AtOnce,
    /// So many in a time.
    Even(Rate),
    /// At a rate that rises, or falls, evenly.
    Ramp {
        /// The first rate.
        from: Rate,
        /// The last one, which then stays.
        to: Rate,
        /// How long it takes from the one to the other.
        over: Duration,
    },
}

/// The longest that a release can be put off: some hundred years.
const NEVER: Duration = Duration::from_millis(1 << 42);

impl Tempo {
    /// How far a schedule may be behind and still catch up, all at once. What is more than that it is late for good:
    /// workers that come back after a night are not to release what a night's rate would have been.
    pub const MAX_LAG: Duration = Duration::from_secs(1);

    /// The shortest time between two portions of releases.
    pub const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

    /// How long after the start the job is released before which `n` others are.
    pub fn after(self, n: u64) -> Duration {
        match self {
            Self::AtOnce => Duration::ZERO,
            Self::Even(rate) => {
                let millis = (u128::from(n) * rate.per.as_millis()).div_ceil(u128::from(rate.n.max(1)));
                Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).min(NEVER)
            }
            Self::Ramp { from, to, over } => whole_millis(Ramp::new(from, to, over).after(float(n))),
        }
    }

    /// How many jobs are released until so long after the start.
    pub fn until(self, elapsed: Duration) -> u64 {
        let elapsed = elapsed.min(NEVER);
        match self {
            Self::AtOnce => u64::MAX,
            Self::Even(rate) => {
                let n = elapsed.as_millis() * u128::from(rate.n) / rate.per.as_millis().max(1);
                u64::try_from(n).unwrap_or(u64::MAX).saturating_add(1)
            }
            Self::Ramp { from, to, over } => {
                let mut n = whole(Ramp::new(from, to, over).released(elapsed.as_secs_f64())).saturating_add(1);
                // The two round differently, by less than a millisecond.
                while n > 0 && self.after(n - 1) > elapsed {
                    n -= 1;
                }
                while self.after(n) <= elapsed {
                    n += 1;
                }
                n
            }
        }
    }

    /// When a schedule that began at `start` and has released `n` jobs is to have begun, so that it is not behind by
    /// more than [`Self::MAX_LAG`].
    #[must_use]
    pub fn caught_up(self, start: Timestamp, n: u64, now: Timestamp) -> Timestamp {
        let lag = now.since(start.plus(self.after(n)));
        start.plus(lag.saturating_sub(Self::MAX_LAG))
    }
}

/// A ramp in jobs and seconds.
struct Ramp {
    from: f64,
    to: f64,
    over: f64,
    /// Half of how much the rate grows in a second.
    k: f64,
}

impl Ramp {
    fn new(from: Rate, to: Rate, over: Duration) -> Self {
        let per_second = |rate: Rate| f64::from(rate.n.max(1)) / rate.per.as_secs_f64().max(0.001);
        let (from, to, over) = (per_second(from), per_second(to), over.as_secs_f64().max(0.001));
        Self { from, to, over, k: (to - from) / (2.0 * over) }
    }

    /// How many are released on the ramp.
    fn rising(&self, secs: f64) -> f64 {
        (self.from + self.k * secs) * secs
    }

    fn released(&self, secs: f64) -> f64 {
        self.rising(secs.min(self.over)) + self.to * (secs - self.over).max(0.0)
    }

    fn after(&self, n: f64) -> f64 {
        let on_ramp = self.rising(self.over);
        if n > on_ramp {
            return self.over + (n - on_ramp) / self.to;
        }
        // This way of writing it divides by nothing small, also where the rate does not change.
        2.0 * n / (self.from + (self.from * self.from + 4.0 * self.k * n).max(0.0).sqrt())
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody requeues as many jobs as a float cannot tell apart")]
fn float(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates, and none is below 0")]
fn whole(n: f64) -> u64 {
    n as u64
}

fn whole_millis(secs: f64) -> Duration {
    Duration::from_millis(whole((secs * 1000.0).ceil())).min(NEVER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(n: u32, secs: u64) -> Rate {
        Rate { n, per: Duration::from_secs(secs) }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn at_an_even_rate_one_follows_another_in_the_same_time() {
        let tempo = Tempo::Even(rate(10, 1));
        assert_eq!([0, 1, 10, 25].map(|n| tempo.after(n).as_millis()), [0, 100, 1000, 2500]);
        assert_eq!([0, 99, 100, 1000].map(|millis| tempo.until(Duration::from_millis(millis))), [1, 1, 2, 11]);
        assert_eq!(Tempo::Even(rate(1, 3600)).after(24), secs(86_400));
    }

    #[test]
    fn a_ramp_begins_and_ends_at_its_rates_and_its_mean_is_half_of_both() {
        let tempo = Tempo::Ramp { from: rate(1, 1), to: rate(50, 1), over: secs(300) };
        assert_eq!(tempo.after(0), Duration::ZERO);
        assert!(tempo.after(1) > Duration::from_millis(900), "about one in the first second");
        assert_eq!(tempo.until(secs(300)), 300 * 51 / 2 + 1);
        assert_eq!(tempo.until(secs(301)) - tempo.until(secs(300)), 50);
    }

    #[test]
    fn without_a_tempo_all_are_released_at_once() {
        assert_eq!((Tempo::AtOnce.after(1_000_000), Tempo::AtOnce.until(Duration::ZERO)), (Duration::ZERO, u64::MAX));
    }

    #[test]
    fn who_is_late_by_a_night_catches_up_on_a_second() {
        let (tempo, start) = (Tempo::Even(rate(10, 1)), Timestamp::from_millis(0));
        let now = start.plus(secs(8 * 3600));
        let begun = tempo.caught_up(start, 100, now);
        assert_eq!(tempo.until(now.since(begun)), 100 + 1 + 10);
        let soon = start.plus(secs(10));
        assert_eq!(tempo.caught_up(start, 100, soon), start, "it is not late");
    }

    fn tempos() -> impl Strategy<Value = Tempo> {
        let rates = || (1_u32..2000, prop_oneof![Just(1_u64), Just(60), Just(3600)]).prop_map(|(n, per)| rate(n, per));
        let ramp = (rates(), rates(), 1_u64..3600);
        prop_oneof![
            rates().prop_map(Tempo::Even),
            ramp.prop_map(|(from, to, over)| Tempo::Ramp { from, to, over: secs(over) })
        ]
    }

    /// The highest rate, in jobs a second.
    fn highest(tempo: Tempo) -> f64 {
        let per_second = |rate: Rate| f64::from(rate.n) / rate.per.as_secs_f64();
        match tempo {
            Tempo::AtOnce => f64::INFINITY,
            Tempo::Even(rate) => per_second(rate),
            Tempo::Ramp { from, to, .. } => per_second(from).max(per_second(to)),
        }
    }

    proptest! {
        #[test]
        fn a_later_job_is_released_no_earlier(tempo in tempos(), n in 0_u64..100_000, more in 0_u64..1000) {
            prop_assert!(tempo.after(n) <= tempo.after(n + more));
        }

        #[test]
        fn when_and_how_many_agree(tempo in tempos(), n in 0_u64..100_000, millis in 0_u64..10_000_000) {
            prop_assert!(tempo.until(tempo.after(n)) > n, "it is released by then");
            let elapsed = Duration::from_millis(millis);
            let released = tempo.until(elapsed);
            prop_assert!(tempo.after(released - 1) <= elapsed && tempo.after(released) > elapsed);
        }

        #[test]
        fn no_stretch_of_time_has_more_than_its_rate(tempo in tempos(), from in 0_u64..5_000_000, long in 0_u64..600_000) {
            let until = |millis| float(tempo.until(Duration::from_millis(millis)));
            let allowed = highest(tempo) * float(long) / 1000.0;
            prop_assert!(until(from + long) - until(from) <= allowed * (1.0 + 1e-9) + 1.0 + highest(tempo) / 1000.0);
        }
    }
}
