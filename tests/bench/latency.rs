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

pub(crate) fn rows(table: &mut Table, options: &Options) {
    table.add_all(
        "push's end to the job's start",
        measured(options.times(300, 50)).map(|(samples, n_early)| {
            let millis = |share| samples.quantile(share).as_secs_f64() * 1e3;
            let early = format!("{}; {n_early} began before the pusher's end", samples.described());
            vec![
                Row::figure("push's end to the job's start, median", millis(0.5), Unit::Millis, Bar::AtMost(3.0))
                    .ours(early),
                Row::figure("push's end to the job's start, p99", millis(0.99), Unit::Millis, Bar::AtMost(15.0)),
            ]
        }),
    );
}

/// So many samples, and how many of them had begun before the pusher's end.
fn measured(n: usize) -> Outcome<(Samples, usize)> {
    let (stamp, place) = (program::compiled("stamp")?.display().to_string(), Place::with_queue()?);
    let worker = place.worker(&[])?;
    let (mut samples, mut n_early) = (Samples::default(), 0);
    for nth in 0..n {
        time(&mut place.qctl(&["push", "--", &stamp, "stamps"]))?;
        let ended = now();
        let began = wait_for("the job has begun", || began(&place, nth))?;
        n_early += usize::from(began < ended);
        samples.add(began.saturating_sub(ended));
        // Only then the worker is idle again. The first job of the queue was cancelled.
        succeed(&mut place.qctl(&["wait", "--quiet", &(nth + 2).to_string()]))?;
    }
    worker.stop()?;
    Ok((samples, n_early))
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
