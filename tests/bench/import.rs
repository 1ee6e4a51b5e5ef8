//! Many shell lines queued at once, against `sqlite3 .import` of the same lines into a table with an equal index.
//!
//! Equal means: a row has an integer key and the text; the index has, as that of the ready jobs, two small
//! integers and the key. They are expressions of the text, because `.import` fills columns from the file
//! only. Both are one transaction, with a write-ahead log, synced.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::time::Duration;

use crate::options::Options;
use crate::peers;
use crate::place::{Place, succeed};
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::{Samples, duel, now, time};
use crate::trouble::Outcome;

pub(crate) fn rows(table: &mut Table, options: &Options) {
    let n_lines = options.times(1_000_000, 100_000);
    let what = format!("import of {n_lines} lines, against sqlite3 .import");
    let both = compared(n_lines, options.times(5, 1));
    table.add(&what, both.map(|[ours, theirs]| Row::ratio(&what, &ours, &theirs, Bar::AtMost(2.5))));
    let what = format!("memory of import, {n_lines} lines");
    let peak = peak(n_lines, options.times(3, 1));
    table.add(&what, peak.map(|peak| Row::figure(&what, peak, Unit::Megabytes, Bar::AtMost(60.0))));
}

/// A folder with the file `lines`.
fn with_lines(n: usize) -> Outcome<Place> {
    let place = Place::new()?;
    let mut file = BufWriter::new(File::create(place.path("lines"))?);
    for n in 0..n {
        writeln!(file, "echo resize picture {n}")?;
    }
    file.flush()?;
    Ok(place)
}

fn compared(n_lines: usize, n_rounds: usize) -> Outcome<[Samples; 2]> {
    let place = with_lines(n_lines)?;
    let file = place.path("lines").display().to_string();
    let ours = || {
        let place = Place::new()?;
        time(&mut place.qctl(&["import", &file]))
    };
    duel(n_rounds, ours, || sqlite(&file))
}

/// The most memory in MB that any of `n_times` imports had.
fn peak(n_lines: usize, n_times: usize) -> Outcome<f64> {
    let place = with_lines(n_lines)?;
    let mut most: f64 = 0.0;
    for _ in 0..n_times {
        most = most.max(place.peak_megabytes(&place.qctl(&["import", "lines"]))?);
    }
    Ok(most)
}

fn sqlite(file: &str) -> Outcome<Duration> {
    let (program, place) = (peers::find("sqlite3")?, Place::new()?);
    let mut command = place.command(program);
    command.args([
        "import.db",
        "pragma journal_mode = wal; pragma synchronous = full",
        "create table job (command text)",
        "create index job_ready on job (command is null, command is not null desc)",
        &format!(".import {file} job"),
    ]);
    let started = now();
    succeed(&mut command)?;
    Ok(now() - started)
}
