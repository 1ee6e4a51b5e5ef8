//! The most memory that a worker ever has: with many jobs that print, after many jobs, and while one prints
//! a lot.

use crate::options::Options;
use crate::place::{Place, succeed};
use crate::program;
use crate::table::{Bar, Row, Table, Unit};
use crate::trouble::Outcome;

/// Bytes that each job of a crowd prints at once, more than is kept of a stream.
const N_BYTES: usize = 200_000;

pub(crate) fn rows(table: &mut Table, options: &Options) {
    let what = "memory of work -j 64, all 64 filling both streams".to_owned();
    add(table, what, crowded(options.times(5, 2)));
    let n_jobs = options.times(100_000, 5_000);
    add(table, format!("memory of work -j 2 after {n_jobs} jobs"), after_many(n_jobs));
    let n_megabytes = options.times(1000, 100);
    add(table, format!("memory of work while a job prints {n_megabytes} MB"), torrent(n_megabytes));
}

fn add(table: &mut Table, what: String, megabytes: Outcome<f64>) {
    table.add(&what, megabytes.map(|value| Row::figure(&what, value, Unit::Megabytes, Bar::AtMost(25.0))));
}

/// The jobs wait for each other, so that all 64 run and print at the same time.
fn crowded(n_times: usize) -> Outcome<f64> {
    let (print, place) = (program::compiled("print")?, Place::new()?);
    std::fs::create_dir(place.path("crowd"))?;
    let job = format!(
        r#"{{"command":["{}","{N_BYTES}","{n_times}","both","{}","64"]}}"#,
        print.display(),
        place.path("crowd").display()
    );
    std::fs::write(place.path("jobs"), format!("{job}\n").repeat(64))?;
    succeed(&mut place.qctl(&["import", "jobs"]))?;
    place.peak_megabytes(&place.qctl(&["work", "-j", "64", "--drain", "--quiet"]))
}

fn after_many(n_jobs: usize) -> Outcome<f64> {
    let place = Place::filled(n_jobs, r#"{"command":["true"]}"#)?;
    place.peak_megabytes(&place.qctl(&["work", "-j", "2", "--drain", "--quiet"]))
}

fn torrent(n_megabytes: usize) -> Outcome<f64> {
    let (print, place) = (program::compiled("print")?.display().to_string(), Place::new()?);
    succeed(&mut place.qctl(&["push", "--", &print, "1000000", &n_megabytes.to_string(), "out"]))?;
    place.peak_megabytes(&place.qctl(&["work", "--drain", "--quiet"]))
}
