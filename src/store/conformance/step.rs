//! What may be asked of a store and of its model, drawn at random.

use proptest::prelude::*;

/// Something that is asked of both. Numbers say which of those there are is meant; times are seconds from now.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Push(Vec<Order>),
    Turn {
        by_other: bool,
        ends: Vec<End>,
        serves: u8,
        n_wanted: usize,
    },
    /// From inside an attempt: a snooze of so many seconds, a burial or progress.
    Say {
        nth: usize,
        what: u8,
    },
    Cancel(usize),
    Retry {
        nth: usize,
        any_waiting: bool,
    },
    Update {
        nth: usize,
        queue: Option<u8>,
        due: Option<i8>,
        priority: Option<i8>,
        timeout: Option<u8>,
    },
    /// Drops the dead jobs among two.
    Drop(usize, usize),
    /// Brings back the last drop.
    Restore,
    Forget(usize),
    Prune {
        queue: u8,
        age: Option<u8>,
        rows: Option<u8>,
    },
    RemoveQueue(u8),
    Pause {
        queue: u8,
        is_paused: bool,
    },
    Configure {
        queue: u8,
        max_attempts: u8,
    },
    Renew,
    Rescue {
        verdict: u8,
    },
    Die,
    Retire,
    Advance(u8),
}

/// A job that is pushed.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) queue: u8,
    pub(super) line: u8,
    pub(super) payload: bool,
    pub(super) key: Option<(u8, u8, Option<u8>)>,
    pub(super) due: Option<i8>,
    pub(super) expires: Option<u8>,
    pub(super) priority: i8,
}

/// A lease, and what is said of it: an outcome, or that nothing was started.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) nth: usize,
    pub(super) is_stale: bool,
    pub(super) outcome: Option<u8>,
    pub(super) verdict: u8,
    pub(super) due: i8,
}

/// Few queues, few keys and short times, so that things often meet and fall on the same second.
fn order() -> impl Strategy<Value = Order> {
    use proptest::option::{of, weighted};
    let key = of((0_u8..2, 0_u8..3, of(0_u8..6)));
    (0_u8..2, 0_u8..2, any::<bool>(), key, weighted(0.3, -2_i8..6), weighted(0.2, 0_u8..6), -1_i8..2).prop_map(
        |(queue, line, payload, key, due, expires, priority)| Order {
            queue,
            line,
            payload,
            key,
            due,
            expires,
            priority,
        },
    )
}

/// Any step.
pub(super) fn step() -> impl Strategy<Value = Step> {
    use proptest::bool::weighted as chance;
    use proptest::collection::vec;
    use proptest::option::{of, weighted};
    let nth = || 0_usize..16;
    let end = (nth(), chance(0.1), weighted(0.8, 0_u8..8), 0_u8..10, -2_i8..4)
        .prop_map(|(nth, is_stale, outcome, verdict, due)| End { nth, is_stale, outcome, verdict, due });
    let turn = (any::<bool>(), vec(end, 0..3), 0_u8..8, 0_usize..4)
        .prop_map(|(by_other, ends, serves, n_wanted)| Step::Turn { by_other, ends, serves, n_wanted });
    let update = (nth(), of(0_u8..3), of(-2_i8..6), of(-1_i8..2), of(0_u8..9))
        .prop_map(|(nth, queue, due, priority, timeout)| Step::Update { nth, queue, due, priority, timeout });
    prop_oneof![
        4 => vec(order(), 0..3).prop_map(Step::Push),
        12 => turn,
        3 => (nth(), 0_u8..6).prop_map(|(nth, what)| Step::Say { nth, what }),
        2 => nth().prop_map(Step::Cancel),
        3 => (nth(), any::<bool>()).prop_map(|(nth, any_waiting)| Step::Retry { nth, any_waiting }),
        2 => update,
        1 => nth().prop_map(Step::Forget),
        2 => (nth(), nth()).prop_map(|(nth, other)| Step::Drop(nth, other)),
        2 => Just(Step::Restore),
        2 => (0_u8..2, weighted(0.2, 0_u8..9), of(0_u8..3)).prop_map(|(queue, age, rows)| Step::Prune { queue, age, rows }),
        1 => (0_u8..3).prop_map(Step::RemoveQueue),
        1 => (0_u8..3, chance(0.3)).prop_map(|(queue, is_paused)| Step::Pause { queue, is_paused }),
        1 => (0_u8..3, 1_u8..9).prop_map(|(queue, max_attempts)| Step::Configure { queue, max_attempts }),
        1 => Just(Step::Renew),
        2 => (0_u8..10).prop_map(|verdict| Step::Rescue { verdict }),
        1 => Just(Step::Die),
        1 => Just(Step::Retire),
        5 => (0_u8..4).prop_map(Step::Advance),
        // To the end of a lease, and beyond.
        1 => (29_u8..32).prop_map(Step::Advance),
    ]
}
