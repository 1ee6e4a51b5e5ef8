//! One push: a process that starts, makes a job durable and ends.
//!
//! The floor is a static program that opens a file, appends 4 KiB, syncs and exits: no durable push can
//! cost less. Of the peers only sqlite3 syncs.

use std::time::Duration;

use crate::options::Options;
use crate::peers::{self, Nq, Peer, Pueue, Tsp};
use crate::place::{Place, succeed};
use crate::program;
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::{Run, Samples, duel, interleave, time};
use crate::trouble::Outcome;

/// Pushes made before any is timed, so that all find the caches and the log as later ones do.
const N_WARM: usize = 20;

pub(crate) fn rows(table: &mut Table, options: &Options) {
    table.add_all("push against the floor", against_the_floor(options));
    let n = options.times(300, 30);
    against(table, "push against nq", n, Nq::new().map(boxed));
    against(table, "push against tsp", n, Tsp::start(1).map(boxed));
    // Its client looks for the end of a job only every second or two.
    against(table, "push against pueue add", options.times(60, 5), Pueue::start(1).map(boxed));
    let insert = "push against sqlite3 FILE 'insert …'";
    table.add(insert, against_sqlite(n).map(|[ours, theirs]| Row::ratio(insert, &ours, &theirs, Bar::AtMost(1.0))));
}

fn boxed<'p>(peer: impl Peer + 'p) -> Box<dyn Peer + 'p> {
    Box::new(peer)
}

fn against_the_floor(options: &Options) -> Outcome<Vec<Row>> {
    let (alone, attended) = (warm()?, warm()?);
    let worker = attended.worker(&["--queue", "elsewhere"])?;
    let floor = program::compiled("floor")?;
    let contenders: Vec<Outcome<Run<'_>>> = vec![
        Ok(Box::new(|| time(alone.command(&floor).arg("file")))),
        Ok(Box::new(|| push(&alone))),
        Ok(Box::new(|| push(&attended))),
    ];
    let measured = interleave(options.times(500, 50), contenders).into_iter().collect::<Outcome<Vec<_>>>();
    worker.stop()?;
    let [floor, ours, attended] = &measured?[..] else { unreachable!("as many answers as contenders") };
    Ok(vec![
        Row::ratio("push against the floor: 4 KiB, fdatasync", ours, floor, Bar::AtMost(2.2)),
        Row::ratio("the same with a worker on another queue of the file", attended, floor, Bar::None),
        Row::figure("push against the floor, 99th percentiles", p99(ours) / p99(floor), Unit::Times, Bar::None),
    ])
}

fn p99(samples: &Samples) -> f64 {
    samples.quantile(0.99).as_secs_f64()
}

/// A queue that some jobs were pushed to.
fn warm() -> Outcome<Place> {
    let place = Place::new()?;
    for _ in 0..N_WARM {
        succeed(&mut place.qctl(&["push", "true"]))?;
    }
    Ok(place)
}

fn push(place: &Place) -> Outcome<Duration> {
    time(&mut place.qctl(&["push", "true"]))
}

/// Their job is run before the next contender's turn, so that it does not run at the same time.
fn against(table: &mut Table, what: &str, n_rounds: usize, peer: Outcome<Box<dyn Peer + '_>>) {
    let measured = peer.and_then(|peer| {
        let place = warm()?;
        duel(
            n_rounds,
            || push(&place),
            || {
                let took = time(&mut peer.push())?;
                succeed(&mut peer.wait())?;
                Ok(took)
            },
        )
    });
    table.add(what, measured.map(|[ours, theirs]| Row::ratio(what, &ours, &theirs, Bar::AtMost(1.0))));
}

fn against_sqlite(n_rounds: usize) -> Outcome<[Samples; 2]> {
    let (program, place) = (peers::find("sqlite3")?, warm()?);
    let make = "pragma journal_mode = wal; create table job (id integer primary key, queue integer, \
        priority integer, command text); create index job_ready on job (queue, priority desc, id)";
    succeed(place.command(&program).args(["insert.db", make]))?;
    let insert = "pragma synchronous = full; insert into job (queue, priority, command) values (1, 0, 'true')";
    duel(n_rounds, || push(&place), || time(place.command(&program).args(["insert.db", insert])))
}
