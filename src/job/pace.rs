//! How fast a queue's attempts go: how many ended when, how long they ran and had waited.
//!
//! Kept as counts by slot of time and by length, so that asking costs the same however many jobs
//! there were. A slot is of five minutes; those of an hour that is long over are folded into one, that of
//! its beginning. From then on what ended in that hour counts whole or not at all.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::{self, Timestamp};

/// How many leading bits of a length are kept: the value told is off by a thirty-second part at most.
const SIGNIFICANT_BITS: u32 = 5;

/// Lengths of time with how often each occurred, rounded to five significant bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(BTreeMap<u64, u64>);

impl Histogram {
    /// The rounded length, in milliseconds, under which a length is counted.
    pub fn rounded(length: Duration) -> u64 {
        let millis = clock::millis(length).unsigned_abs();
        let n_bits = u64::BITS - millis.leading_zeros();
        let dropped = n_bits.saturating_sub(SIGNIFICANT_BITS);
        millis >> dropped << dropped
    }

    /// Counts `n` more lengths that round to `rounded` milliseconds.
    pub fn add(&mut self, rounded: u64, n: u64) {
        let count = self.0.entry(rounded).or_default();
        *count = count.saturating_add(n);
    }

    /// Counts all that `other` has.
    pub fn merge(&mut self, other: &Self) {
        for (&rounded, &n) in &other.0 {
            self.add(rounded, n);
        }
    }

    /// How many lengths are counted.
    pub fn count(&self) -> u64 {
        self.0.values().fold(0, |sum: u64, &n| sum.saturating_add(n))
    }

    /// The length that `percent` (0 to 100) of all do not exceed, by the nearest-rank rule; `None`
    /// where nothing is counted.
    ///
    /// It is the middle of what was rounded to the same value: within 3.2 % of the true one.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let rank = (u128::from(self.count()) * u128::from(percent)).div_ceil(100).max(1);
        let mut n_below = 0;
        self.0.iter().find_map(|(&rounded, &n)| {
            n_below += u128::from(n);
            (n_below >= rank).then(|| Duration::from_millis(middle(rounded)))
        })
    }
}

/// The middle of the lengths that round to this one.
fn middle(rounded: u64) -> u64 {
    let n_bits = u64::BITS - rounded.leading_zeros();
    let step = 1_u64 << n_bits.saturating_sub(SIGNIFICANT_BITS);
    rounded + (step - 1) / 2
}

/// What went on in a queue from a slot of time on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// How many attempts succeeded or failed in each slot in which any did, in order; under the beginning of
    /// the hour where the slots of an hour were folded into one.
    pub ended: Vec<(Timestamp, u64)>,
    /// How long the attempts that succeeded ran.
    pub succeeded: Histogram,
    /// How long the attempts that failed ran.
    pub failed: Histogram,
    /// How long the attempts had been due when they started.
    pub wait: Histogram,
}

impl Pace {
    /// How long a slot is.
    pub const SLOT: Duration = Duration::from_secs(300);

    /// How long a slot is into which others were folded: a whole number of theirs.
    pub const HOUR: Duration = Duration::from_secs(3600);

    /// For how long slots are left as they are, at the least.
    ///
    /// Who asks for the last hour or two looks at what is going on and wants it exact; and nobody still
    /// writes to a slot that has been over for so long. Less would read fewer slots (a day is 24 to 36 of
    /// these and some 22 hours), but what ended within the last hour would be told to the hour.
    const UNFOLDED: Duration = Duration::from_secs(2 * 3600);

    /// The beginning of the slot in which `instant` lies.
    pub fn slot_of(instant: Timestamp) -> Timestamp {
        beginning(instant, Self::SLOT)
    }

    /// The beginning of the hour in which `instant` lies.
    pub fn hour_of(instant: Timestamp) -> Timestamp {
        beginning(instant, Self::HOUR)
    }

    /// The hours before this one may have been folded: where an hour begins, two to three hours before `now`.
    pub fn folded_before(now: Timestamp) -> Timestamp {
        Self::hour_of(now.minus(Self::UNFOLDED))
    }

    /// From when on things are counted for someone who asks for what ended since `instant`: the beginning of
    /// its slot, or that of its hour where slots may have been folded, whether or not they were.
    pub fn counted_from(instant: Timestamp, now: Timestamp) -> Timestamp {
        if instant < Self::folded_before(now) { Self::hour_of(instant) } else { Self::slot_of(instant) }
    }

    /// How long attempts ran, however they ended.
    pub fn run(&self) -> Histogram {
        let mut run = self.succeeded.clone();
        run.merge(&self.failed);
        run
    }
}

/// Where the stretch of time of that `length` begins in which `instant` lies.
fn beginning(instant: Timestamp, length: Duration) -> Timestamp {
    let length = clock::millis(length);
    Timestamp::from_millis(instant.as_millis().div_euclid(length).saturating_mul(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(lengths: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for &length in lengths {
            histogram.add(Histogram::rounded(Duration::from_millis(length)), 1);
        }
        histogram
    }

    #[test]
    fn percentiles_of_short_lengths_are_exact() {
        let lengths: Vec<u64> = (1..=30).collect();
        let percentile = |percent| of(&lengths).percentile(percent).map(|length| length.as_millis());
        assert_eq!(
            [percentile(0), percentile(50), percentile(95), percentile(100)],
            [Some(1), Some(15), Some(29), Some(30)]
        );
        assert_eq!(of(&[]).percentile(50), None);
    }

    #[test]
    fn slots_begin_every_five_minutes() {
        let at = |millis| Pace::slot_of(Timestamp::from_millis(millis)).as_millis();
        assert_eq!([at(0), at(299_999), at(300_000), at(-1)], [0, 0, 300_000, -300_000]);
    }

    #[test]
    fn what_ended_is_counted_to_the_hour_where_slots_may_have_been_folded() {
        let at = |minutes: i64| Timestamp::from_millis(minutes * 60_000);
        let now = at(10 * 60 + 59);
        assert_eq!(Pace::folded_before(now), at(8 * 60));
        let counted_from =
            [4 * 60 + 59, 7 * 60 + 59, 8 * 60 + 59, 10 * 60 + 59].map(|m| Pace::counted_from(at(m), now));
        assert_eq!(counted_from, [at(4 * 60), at(7 * 60), at(8 * 60 + 55), at(10 * 60 + 55)]);
    }

    proptest! {
        #[test]
        fn a_length_is_told_within_a_thirty_second_part(millis in 0_u64..(1 << 50)) {
            let told = of(&[millis]).percentile(50).expect("one is counted").as_millis();
            let off = told.abs_diff(u128::from(millis));
            prop_assert!(off * 32 <= u128::from(millis), "{millis} is told as {told}");
        }
    }
}
