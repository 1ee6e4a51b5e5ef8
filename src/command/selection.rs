//! Which jobs a verb is to deal with.

use crate::exit::Failure;
use crate::job::{IdRange, JobId, QueueName, StateKind};
use crate::store::Store;

/// The most jobs that one command names by number; more is a slip of a range.
const MAX_NAMED: u64 = 1_000_000;

/// The jobs of these numbers, with where they stand.
///
/// A number given by itself must be a job's; of a range, one must be.
///
/// # Errors
///
/// Not found, before anything is done to any of them.
pub(super) fn named(store: &mut dyn Store, ids: &[IdRange]) -> Result<Vec<(JobId, StateKind)>, Failure> {
    if ids.iter().map(|range| range.len()).fold(0, u64::saturating_add) > MAX_NAMED {
        return Err(Failure::usage(format!("more than {MAX_NAMED} jobs are named")));
    }
    let mut standings: Vec<(JobId, StateKind)> = Vec::new();
    for &range in ids {
        let found = store.standing_of(&[range])?;
        if found.is_empty() {
            return Err(unknown(range));
        }
        standings.extend(found);
    }
    standings.sort_unstable();
    standings.dedup();
    Ok(standings)
}

/// No job has a number in this range.
pub(super) fn unknown(range: IdRange) -> Failure {
    let message = if range.len() == 1 {
        format!("there is no job {}", range.first)
    } else {
        format!("there is no job from {} to {}", range.first, range.last)
    };
    Failure::not_found(message).hint("see which there are: qctl list")
}

/// There is no such queue.
pub(super) fn unknown_queue(queue: &QueueName) -> Failure {
    Failure::not_found(format!("there is no queue {queue}")).hint("see which there are: qctl queue list")
}
