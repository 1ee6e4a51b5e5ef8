//! Many who push at once: whether any is refused, whether any starves, and what they do together.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::options::Options;
use crate::place::{Place, succeed};
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::now;
use crate::trouble::{Outcome, Trouble};

/// How many push at the same time.
const N_PUSHERS: usize = 32;

/// What came of pushing.
struct Count {
    /// How many pushes each of the pushers made, sorted.
    pushes: Vec<u32>,
    /// What those that failed said.
    errors: Vec<String>,
}

pub(crate) fn rows(table: &mut Table, options: &Options) {
    let (time, n_rounds) = (options.seconds(10, 3), options.times(3, 1));
    let what = format!("{N_PUSHERS} pushers for {} s", time.as_secs());
    table.add_all(&what, measured(&what, time, n_rounds));
}

fn measured(what: &str, time: Duration, n_rounds: usize) -> Outcome<Vec<Row>> {
    let (mut alone, mut together, mut shares, mut errors) = (0, 0, Vec::new(), Vec::new());
    for _ in 0..n_rounds {
        alone += pushed(1, time)?.pushes.iter().sum::<u32>();
        let count = pushed(N_PUSHERS, time)?;
        together += count.pushes.iter().sum::<u32>();
        shares.push(f64::from(count.pushes[0]) / f64::from(count.pushes[N_PUSHERS / 2]));
        errors.extend(count.errors);
    }
    let share = shares.iter().copied().fold(f64::INFINITY, f64::min);
    let n_errors = u32::try_from(errors.len()).expect("not that many");
    let failed = Row::figure(format!("{what}: errors"), f64::from(n_errors), Unit::Count, Bar::AtMost(0.0));
    let total = f64::from(together) / f64::from(alone);
    Ok(vec![
        failed.ours(errors.first().cloned().unwrap_or_default()),
        Row::figure(format!("{what}: the slowest's share of the median"), share, Unit::Times, Bar::AtLeast(0.5)),
        Row::figure(format!("{what}: all, against one pusher"), total, Unit::Times, Bar::AtLeast(1.2))
            .ours(format!("{together} pushes"))
            .theirs(format!("{alone} pushes")),
    ])
}

/// Each pusher starts one push after the other until the time is over.
fn pushed(n_pushers: usize, time: Duration) -> Outcome<Count> {
    let place = Place::with_queue()?;
    let end = now() + time;
    let each: Vec<Outcome<(u32, Vec<String>)>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..n_pushers).map(|_| scope.spawn(|| push_until(&place, end))).collect();
        let panicked = |_| Err(Trouble::failed("a pusher panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let mut count = Count { pushes: Vec::new(), errors: Vec::new() };
    for pushed in each {
        let (n, errors) = pushed?;
        count.pushes.push(n);
        count.errors.extend(errors);
    }
    count.pushes.sort_unstable();
    Ok(count)
}

fn push_until(place: &Place, end: Duration) -> Outcome<(u32, Vec<String>)> {
    let (mut n, mut errors) = (0, Vec::new());
    while now() < end {
        match succeed(place.qctl(&["push", "true"]).stdout(Stdio::null())) {
            Ok(_) => n += 1,
            Err(trouble) => errors.push(trouble.to_string()),
        }
    }
    Ok((n, errors))
}
