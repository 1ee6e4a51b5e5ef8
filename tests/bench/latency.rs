//! From the end of a push to the first instruction of its job, with a worker that has nothing else to do.
//!
//! The job is a static program that reads the clock before anything else. The pusher's end is when the
//! bench, which waits for it, is told. A job that began before that counts as no delay.

use std::time::Duration;

use crate::options::Options;
use crate::place::{Place, succeed};
use crate::program;
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::{Samples, now, time, wait_for};
use crate::trouble::{Outcome, Trouble};

/// What was seen of pushes and their jobs.
#[derive(Default)]
struct Seen {
    /// From the pusher's end to the job's start.
    from_end: Samples,
    /// From before the pusher was started to the job's start.
    from_start: Samples,
    /// How many jobs began before the pusher's end.
    n_early: usize,
}

pub(crate) fn rows(table: &mut Table, options: &Options) {
    table.add_all("push's end to the job's start", measured(options.times(300, 50)).map(|seen| described(&seen)));
}

fn described(seen: &Seen) -> Vec<Row> {
    let millis = |samples: &Samples, share| samples.quantile(share).as_secs_f64() * 1e3;
    let row = |what: &str, value, bar| Row::figure(what, value, Unit::Millis, bar);
    let early = format!("{}; {} began before the pusher's end", seen.from_end.described(), seen.n_early);
    vec![
        row("push's end to the job's start, median", millis(&seen.from_end, 0.5), Bar::AtMost(3.0)).ours(early),
        row("push's end to the job's start, p99", millis(&seen.from_end, 0.99), Bar::AtMost(15.0)),
        row("push's start to the job's start, median", millis(&seen.from_start, 0.5), Bar::None)
            .ours(seen.from_start.described()),
    ]
}

fn measured(n: usize) -> Outcome<Seen> {
    let (stamp, place) = (program::compiled("stamp")?.display().to_string(), Place::with_queue()?);
    let worker = place.worker(&[])?;
    let mut seen = Seen::default();
    for nth in 0..n {
        let started = now();
        time(&mut place.qctl(&["push", "--", &stamp, "stamps"]))?;
        let ended = now();
        let began = wait_for("the job has begun", || began(&place, nth))?;
        seen.n_early += usize::from(began < ended);
        seen.from_end.add(began.saturating_sub(ended));
        seen.from_start.add(began.saturating_sub(started));
        // Only then the worker is idle again. The first job of the queue was cancelled.
        succeed(&mut place.qctl(&["wait", "--quiet", &(nth + 2).to_string()]))?;
    }
    worker.stop()?;
    Ok(seen)
}

/// The instant on its line `nth`, once that is there.
fn began(place: &Place, nth: usize) -> Outcome<Option<Duration>> {
    let stamps = match std::fs::read_to_string(place.path("stamps")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let Some(line) = stamps.split_inclusive('\n').nth(nth).and_then(|line| line.strip_suffix('\n')) else {
        return Ok(None);
    };
    let nanos = line.parse().map_err(|_| Trouble::failed("stamp.c wrote no number"))?;
    Ok(Some(Duration::from_nanos(nanos)))
}
