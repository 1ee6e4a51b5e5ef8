//! How large the write-ahead log grows while jobs are pushed and worked and a reader pages through the list.
//!
//! `QCTL_BENCH_LOG_SECONDS` says for how long; a minute by default, an hour is what the bar is about.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::options::Options;
use crate::place::{Place, succeed};
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::{now, pause};
use crate::trouble::{Outcome, Trouble};

/// Between two looks at the size. The file is cut only when it is folded, long after.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) fn rows(table: &mut Table, options: &Options) {
    let time = options.log_time.min(options.seconds(u64::MAX, 10));
    let what = format!("the log after {} s of pushing, working and paging", time.as_secs());
    let row = high_water(time).map(|(bytes, n_jobs)| {
        let mebibytes = bytes as f64 / f64::from(1 << 20);
        Row::figure(&what, mebibytes, Unit::Mebibytes, Bar::AtMost(64.0)).ours(format!("{n_jobs} jobs"))
    });
    table.add(&what, row);
}

/// The largest size of the log, in bytes, and how many jobs were pushed meanwhile.
fn high_water(time: Duration) -> Outcome<(u64, u64)> {
    let place = Place::with_queue()?;
    let mut worker = place.worker(&["-j", "2"])?;
    let is_over = AtomicBool::new(false);
    let (pushed, read, highest) = thread::scope(|scope| {
        let pusher = scope.spawn(|| push(&place, &is_over));
        let reader = scope.spawn(|| page(&place, &is_over));
        let end = now() + time;
        let mut highest = 0;
        while now() < end && !pusher.is_finished() && !reader.is_finished() {
            highest = highest.max(std::fs::metadata(place.path("queue.db-wal")).map_or(0, |meta| meta.len()));
            pause(LOOK);
        }
        is_over.store(true, Ordering::Relaxed);
        (pusher.join(), reader.join(), highest)
    });
    let panicked = |_| Trouble::failed("a thread of the bench panicked");
    read.map_err(panicked)??;
    let n_jobs = pushed.map_err(panicked)??;
    worker.check()?;
    worker.stop()?;
    Ok((highest, n_jobs))
}

fn push(place: &Place, is_over: &AtomicBool) -> Outcome<u64> {
    let mut n = 0;
    while !is_over.load(Ordering::Relaxed) {
        succeed(&mut place.qctl(&["push", "true"]))?;
        n += 1;
    }
    Ok(n)
}

/// Reads the list from the newest job to the oldest, page by page, and begins again.
fn page(place: &Place, is_over: &AtomicBool) -> Outcome<()> {
    let mut after: Option<String> = None;
    while !is_over.load(Ordering::Relaxed) {
        let mut list = place.qctl(&["list", "--limit", "500"]);
        if let Some(after) = &after {
            list.args(["--after", after]);
        }
        let page = succeed(&mut list)?;
        after = page.lines().last().and_then(|line| line.split('\t').next()).map(str::to_owned);
    }
    Ok(())
}
