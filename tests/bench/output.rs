//! What it costs to keep output: jobs that print 1 KiB, against the same jobs that send it to `/dev/null`.

use std::time::Duration;

use crate::options::Options;
use crate::place::Place;
use crate::program;
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::{Samples, duel, time};
use crate::trouble::Outcome;

pub(crate) fn rows(table: &mut Table, options: &Options) {
    let n_jobs = options.times(2000, 400);
    let what = format!("{n_jobs} jobs that print 1 KiB: cost of keeping it");
    let both = measured(n_jobs, options.times(9, 3));
    let row = both.map(|[kept, dropped]| {
        let cost = (kept.ratio(&dropped) - 1.0) * 100.0;
        let row = Row::figure(&what, cost, Unit::Percent, Bar::AtMost(10.0));
        row.ours(format!("kept: {}", kept.described())).theirs(format!("not: {}", dropped.described()))
    });
    table.add(&what, row);
}

fn measured(n_jobs: usize, n_rounds: usize) -> Outcome<[Samples; 2]> {
    let print = program::compiled("print")?.display().to_string();
    duel(n_rounds, || drained(n_jobs, &print, "out"), || drained(n_jobs, &print, "null"))
}

fn drained(n_jobs: usize, print: &str, whither: &str) -> Outcome<Duration> {
    let place = Place::filled(n_jobs, &format!(r#"{{"command":["{print}","1024","1","{whither}"]}}"#))?;
    time(&mut place.qctl(&["work", "-j", "2", "--drain", "--quiet"]))
}
