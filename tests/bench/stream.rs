//! Jobs pushed one by one by a shell loop while they are already run, two at a time, until the last is done.

use std::process::Command;
use std::time::Duration;

use crate::options::Options;
use crate::peers::{Nq, Peer, Pueue, Tsp};
use crate::place::{Place, succeed};
use crate::table::{Bar, Row, Table};
use crate::timing::{Samples, duel, now, time};
use crate::trouble::Outcome;

/// Pushes again and again; the number and the command are its arguments.
const LOOP: &str = "n=$1; shift; while [ $n -gt 0 ]; do \"$@\" || exit 1; n=$((n - 1)); done";

pub(crate) fn rows(table: &mut Table, options: &Options) {
    let n_jobs = options.times(500, 100);
    let n_rounds = options.times(7, 2);
    let what = format!("{n_jobs} jobs streamed, against tsp -S 2");
    table.add(&what, against(n_jobs, n_rounds, || Tsp::start(2)).map(|both| ratio(&what, &both)));
    let what = format!("{n_jobs} jobs streamed, against nq (one at a time)");
    table.add(&what, against(n_jobs, n_rounds, Nq::new).map(|both| ratio(&what, &both)));
    let what = format!("{n_jobs} jobs streamed, faster than pueue, 2 in parallel");
    let both = against(n_jobs, options.times(3, 1), || Pueue::start(2));
    table.add(&what, both.map(|[ours, theirs]| Row::speed(&what, &ours, &theirs, Bar::AtLeast(20.0))));
}

fn ratio(what: &str, [ours, theirs]: &[Samples; 2]) -> Row {
    Row::ratio(what, ours, theirs, Bar::AtMost(1.0))
}

fn against<P: Peer>(n_jobs: usize, n_rounds: usize, start: impl Fn() -> Outcome<P>) -> Outcome<[Samples; 2]> {
    duel(
        n_rounds,
        || ours(n_jobs),
        || {
            let peer = start()?;
            let started = now();
            time(&mut repeated(&peer.push(), n_jobs))?;
            succeed(&mut peer.wait())?;
            Ok(now() - started)
        },
    )
}

/// The worker ends when it has run them all, so its end is the end.
fn ours(n_jobs: usize) -> Outcome<Duration> {
    let place = Place::with_queue()?;
    let worker = place.worker(&["-j", "2", "--max-jobs", &n_jobs.to_string()])?;
    let started = now();
    time(&mut repeated(&place.qctl(&["push", "true"]), n_jobs))?;
    worker.wait()?;
    Ok(now() - started)
}

/// A shell that runs this command `n` times.
fn repeated(command: &Command, n: usize) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", LOOP, "sh", &n.to_string()]).arg(command.get_program()).args(command.get_args()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}
