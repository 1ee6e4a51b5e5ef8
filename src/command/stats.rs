//! `qctl stats`

use clap_complete::ArgValueCandidates;

use super::{Answer, Ctx, complete, excess, value};
use crate::clock::Timestamp;
use crate::exit::Exit;
use crate::job::{Pace, Queue, QueueName};
use crate::render::{json, plain, table, words};
use crate::ui::Format;

/// Count jobs by queue, and tell how fast they go
///
/// How many wait, run and are dead now; and of the attempts that ended lately how many succeeded
/// (DONE), which share failed, how long they ran and had waited (half of them no longer than P50, and
/// so on), and their course, the newest at the right. Lengths are told to three parts in a hundred.
///
/// In a pipe, parted by tabs: queue, `paused`, `tripped` (by its breaker) or `-`; the numbers of ready, scheduled, retrying, running,
/// blocked, succeeded, dead and cancelled jobs; the age of the oldest ready one in milliseconds; the
/// number of workers; the attempts that succeeded and that failed; p50, p95 and p99 of how long they
/// ran and of how long they had waited, in milliseconds.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl stats
  qctl stats mail --since 1h
  qctl stats --json | jq '.queues[] | {name, failed, p99: .run_ms.p99}'")]
pub(crate) struct Stats {
    /// Only this queue
    #[arg(value_name = "QUEUE", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: Option<QueueName>,
    /// What ended since then: an instant, or a duration ago; 31 days are remembered
    ///
    /// It is told to five minutes, and to the hour (of UTC) where that lies more than two hours back: an hour
    /// in which T lies counts whole.
    #[arg(long, value_name = "T", default_value = "24h")]
    since: String,
}

/// How many columns a course has.
const COURSE: usize = 12;

const SLOTS_PER_HOUR: u64 = Pace::HOUR.as_secs() / Pace::SLOT.as_secs();

impl Stats {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let since = ctx.past("--since", &self.since)?;
        if let Some(name) = &self.queue {
            ctx.known_queue(name)?;
        }
        let now = ctx.now();
        let store = ctx.store()?;
        let queues =
            store.queues()?.into_iter().filter(|queue| self.queue.as_ref().is_none_or(|one| queue.name == *one));
        let since = Pace::counted_from(since, now);
        let mut paces = store.pace(since)?;
        let mut pace_of = |queue: &Queue| {
            let found = paces.iter_mut().find(|(name, _)| *name == queue.name);
            found.map(|(_, pace)| std::mem::take(pace))
        };
        let told: Vec<(Queue, Option<Pace>, Vec<u64>)> = queues
            .map(|queue| {
                let pace = pace_of(&queue);
                let ended = pace.as_ref().map_or(&[][..], |pace| &pace.ended);
                let course = course(ended, since, now);
                (queue, pace, course)
            })
            .collect();
        self.tell(ctx, &told, since)?;
        excess::hint(ctx, self.queue.as_slice())?;
        Ok(Exit::Done)
    }

    fn tell(
        &self,
        ctx: &Ctx,
        told: &[(Queue, Option<Pace>, Vec<u64>)],
        since: Timestamp,
    ) -> Result<(), crate::exit::Failure> {
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => {
                let queues = told.iter().map(|(queue, pace, _)| json::stats(queue, pace.as_ref(), look.now));
                let queues: serde_json::Value = queues.collect();
                ctx.ui.print(&serde_json::json!({ "v": 1, "since": words::utc(since), "queues": queues }).to_string())
            }
            Format::Plain => {
                let queues: Vec<_> = told.iter().map(|(queue, pace, _)| (queue.clone(), pace.clone())).collect();
                ctx.ui.print(&plain::stats(&queues, look))
            }
            Format::Table if told.is_empty() => {
                ctx.ui.hint("no queues");
                Ok(())
            }
            Format::Table => {
                ctx.ui.print(&table::stats(told, look))?;
                let span = words::length(look.now.since(since));
                ctx.ui.hint(format_args!("DONE to COURSE: what ended in the last {span}"));
                Ok(())
            }
        }
    }
}

/// How many attempts ended in each of [`COURSE`] equal parts of the time from `since` to `now`.
fn course(ended: &[(Timestamp, u64)], since: Timestamp, now: Timestamp) -> Vec<u64> {
    // Of whole slots, or attempts of one slot would look like a peak between two gaps.
    let n_slots = now.since(since).as_millis().div_ceil(Pace::SLOT.as_millis()).max(1);
    let n_columns = COURSE.min(usize::try_from(n_slots).unwrap_or(COURSE));
    let per_column = Pace::SLOT.saturating_mul(u32::try_from(n_slots.div_ceil(n_columns as u128)).unwrap_or(u32::MAX));
    let mut course = vec![0; n_columns];
    let newest = Pace::slot_of(now);
    let counted_from = |slot| Pace::counted_from(slot, now);
    // Whether or not the slots of an hour were folded already, it looks the same.
    for together in ended.chunk_by(|(one, _), (next, _)| counted_from(*one) == counted_from(*next)) {
        let from = counted_from(together[0].0);
        let n_ended = together.iter().fold(0, |sum: u64, (_, n)| sum.saturating_add(*n));
        // An hour may lie in several columns. As nothing is known of when in it something ended, each of its
        // slots gets an equal share.
        let n_shares = if from < Pace::folded_before(now) { SLOTS_PER_HOUR } else { 1 };
        for (slot, n) in (0..).zip(shares(n_ended, n_shares)) {
            // Counted from the end: the newest stands at the right and has a whole column.
            let from_end = newest.since(from.plus(Pace::SLOT * slot)).as_millis() / per_column.as_millis();
            if let Some(column) = usize::try_from(from_end).ok().and_then(|n| n_columns.checked_sub(n + 1)) {
                course[column] = u64::saturating_add(course[column], n);
            }
        }
    }
    course
}

/// Parts `n` into whole numbers that are as equal as can be.
fn shares(n: u64, n_shares: u64) -> impl Iterator<Item = u64> {
    let up_to = move |share| u64::try_from(u128::from(n) * u128::from(share) / u128::from(n_shares)).unwrap_or(n);
    (0..n_shares).map(move |share| up_to(share + 1) - up_to(share))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn slot(at: u32, n: u64) -> (Timestamp, u64) {
        (Timestamp::default().plus(Pace::SLOT * at), n)
    }

    #[test]
    fn a_course_ends_at_the_right_with_what_is_newest() {
        let now = Timestamp::default().plus(Pace::SLOT * 24);
        let slots = [slot(1, 1), slot(2, 10), slot(22, 5), slot(23, 6), slot(24, 7)];
        let course = course(&slots, Timestamp::default(), now);
        assert_eq!(course.len(), 12);
        assert_eq!((course[0], course[11], course.iter().sum::<u64>()), (11, 13, 29), "{course:?}");
    }

    #[test]
    fn a_short_time_has_a_column_for_each_slot() {
        let now = Timestamp::default().plus(Duration::from_secs(610));
        assert_eq!(course(&[slot(0, 1), slot(2, 4)], Timestamp::default(), now), [1, 0, 4]);
    }

    #[test]
    fn an_hour_lies_in_each_column_that_it_covers_whether_or_not_it_was_folded() {
        // Six hours in twelve columns: the first hours are of two each, and the last two as they were.
        let now = Timestamp::default().plus(Pace::SLOT * 71);
        let unfolded = [slot(13, 7), slot(20, 33), slot(35, 3), slot(50, 5), slot(71, 6)];
        let folded = [slot(12, 40), slot(24, 3), slot(50, 5), slot(71, 6)];
        let course = |ended| course(ended, Timestamp::default(), now);
        assert_eq!(course(&unfolded), [0, 0, 20, 20, 1, 2, 0, 0, 5, 0, 0, 6]);
        assert_eq!(course(&folded), course(&unfolded));
    }
}
