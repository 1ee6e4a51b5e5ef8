//! A full queue worked off by two at a time, against xargs and parallel that read the same commands from a
//! file.
//!
//! Every round of ours has a fresh queue, filled before the clock starts.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::options::Options;
use crate::peers;
use crate::place::Place;
use crate::table::{Bar, Row, Table};
use crate::timing::{Samples, duel, now, time};
use crate::trouble::{Outcome, Trouble};

/// A job that is a program and its arguments, as `import` reads it.
const PROGRAM: &str = r#"{"command":["true"]}"#;

/// A job that is a line for the shell.
const LINE: &str = "true";

/// How ours is compared.
struct Match {
    n_jobs: usize,
    n_rounds: usize,
    /// The job of ours, as `import` reads it.
    job: &'static str,
    /// The program of theirs and its arguments; it reads as many lines as there are jobs.
    theirs: &'static [&'static str],
}

pub(crate) fn rows(table: &mut Table, options: &Options) {
    let n_jobs = options.times(2000, 400);
    let n_rounds = options.times(9, 3);
    let xargs: &[&str] = &["xargs", "-P", "2", "-n", "1", "true"];
    let programs = Match { n_jobs, n_rounds, job: PROGRAM, theirs: xargs };
    let what = format!("{n_jobs} programs, against xargs -P 2 -n 1");
    table.add(&what, programs.ratio(&what));

    let xargs: &[&str] = &["xargs", "-P", "2", "-I{}", "sh", "-c", "true"];
    let lines = Match { n_jobs, n_rounds, job: LINE, theirs: xargs };
    let what = format!("{n_jobs} shell lines, against xargs -P 2 sh -c");
    table.add(&what, lines.ratio(&what));

    let parallel: &[&str] = &["parallel", "-j", "2", "true"];
    let slow = Match { n_jobs, n_rounds: options.times(3, 1), job: PROGRAM, theirs: parallel };
    let what = format!("{n_jobs} programs, faster than parallel -j 2");
    table.add(&what, slow.speed(&what));
}

impl Match {
    fn ratio(&self, what: &str) -> Outcome<Row> {
        let [ours, theirs] = self.measured()?;
        Ok(Row::ratio(what, &ours, &theirs, Bar::AtMost(1.25)))
    }

    fn speed(&self, what: &str) -> Outcome<Row> {
        let [ours, theirs] = self.measured()?;
        Ok(Row::speed(what, &ours, &theirs, Bar::AtLeast(8.0)))
    }

    fn measured(&self) -> Outcome<[Samples; 2]> {
        let (program, place) = (peers::find(self.theirs[0])?, Place::new()?);
        let lines = place.path("lines");
        std::fs::write(&lines, "x\n".repeat(self.n_jobs))?;
        duel(
            self.n_rounds,
            || {
                let place = Place::filled(self.n_jobs, self.job)?;
                time(&mut place.qctl(&["work", "-j", "2", "--drain", "--quiet"]))
            },
            || time_reading(place.command(&program).args(&self.theirs[1..]), &lines),
        )
    }
}

/// How long a command takes that reads this file.
fn time_reading(command: &mut Command, file: &Path) -> Outcome<Duration> {
    command.stdin(File::open(file)?);
    let started = now();
    let output = command.output()?;
    let took = now() - started;
    if output.status.success() { Ok(took) } else { Err(Trouble::ended(command, output.status, &output.stderr)) }
}
