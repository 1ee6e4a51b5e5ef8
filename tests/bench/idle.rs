//! What a worker with nothing to do takes of a processor, as the scheduler counts it for all its threads.

use std::time::Duration;

use crate::options::Options;
use crate::place::Place;
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::{now, pause};
use crate::trouble::{Outcome, Trouble};

/// A worker that has just started still has things to do.
const TO_SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn rows(table: &mut Table, options: &Options) {
    let time = options.seconds(60, 10);
    let what = format!("processor time of an idle worker over {} s, share of a core", time.as_secs());
    table.add(&what, share(time).map(|share| Row::figure(&what, share * 100.0, Unit::Percent, Bar::AtMost(0.1))));
}

fn share(time: Duration) -> Outcome<f64> {
    let place = Place::with_queue()?;
    let worker = place.worker(&[])?;
    pause(TO_SETTLE);
    let share = share_of(worker.pid(), time)?;
    worker.stop()?;
    Ok(share)
}

/// The share of a core that a process takes in this time.
pub(crate) fn share_of(pid: u32, time: Duration) -> Outcome<f64> {
    let (before, started) = (ran(pid)?, now());
    pause(time);
    Ok((ran(pid)? - before).as_secs_f64() / (now() - started).as_secs_f64())
}

/// How long the threads of a process have run.
fn ran(pid: u32) -> Outcome<Duration> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let ran = text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
        nanos += ran.ok_or_else(|| Trouble::failed(format!("schedstat says {text:?}")))?;
    }
    Ok(Duration::from_nanos(nanos))
}
