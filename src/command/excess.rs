//! Which queues have more dead jobs than they may, for whoever has to say so.

use super::Ctx;
use crate::clock::Timestamp;
use crate::exit::Failure;
use crate::job::{Excess, Queue, QueueName, StateKind};
use crate::render::excess;
use crate::store::{self, Store};
use crate::ui::Format;

/// What is beyond the limits of a queue. It costs as much as there are causes, and nothing where no limit is set.
pub(super) fn of(store: &mut dyn Store, queue: &Queue, now: Timestamp) -> store::Result<Option<Excess>> {
    let n = u64::try_from(queue.tally.get(StateKind::Dead)).unwrap_or(0);
    if n == 0 || !queue.settings.limits_dead() {
        return Ok(None);
    }
    let has_max_age = queue.settings.keep_dead.flatten().is_some();
    let oldest = if has_max_age { store.oldest_death(std::slice::from_ref(&queue.name))? } else { None };
    Ok(queue.settings.excess(n, oldest, now))
}

/// The queues with dead jobs beyond their limits.
pub(super) fn of_all(
    store: &mut dyn Store,
    queues: &[Queue],
    now: Timestamp,
) -> store::Result<Vec<(QueueName, Excess)>> {
    let mut found = Vec::new();
    for queue in queues {
        found.extend(of(store, queue, now)?.map(|excess| (queue.name.clone(), excess)));
    }
    Ok(found)
}

/// Says on a terminal which of these queues have more dead jobs than they may; of all, if none is named.
pub(super) fn hint(ctx: &mut Ctx, names: &[QueueName]) -> Result<(), Failure> {
    if ctx.ui.format != Format::Table || !ctx.ui.stderr_is_terminal {
        return Ok(());
    }
    let now = ctx.now();
    let store = ctx.store()?;
    let mut queues = store.queues()?;
    queues.retain(|queue| names.is_empty() || names.contains(&queue.name));
    for (queue, found) in of_all(store, &queues, now)? {
        let (sentence, cure) = (excess::sentence(&queue, &found), excess::cure("qctl", &queue, &found));
        ctx.ui.hint(format_args!("{sentence}: {cure}"));
    }
    Ok(())
}
