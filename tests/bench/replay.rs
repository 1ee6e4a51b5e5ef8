//! How fast a subscription that begins with the oldest event gets all there are.
//!
//! A queue gets no more while 10,000 deliveries wait in it. So the deliveries alone are measured with as many
//! subscriptions as it takes for none to come to that, in a worker's turns that claim nothing; and with jobs that
//! do nothing, all of them, by a worker that runs them.

use std::time::Duration;

use qctl::store::Access;
use rusqlite::{Connection, OpenFlags};

use crate::events::{published, subscribe};
use crate::options::Options;
use crate::place::{Place, succeed};
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::{now, time};
use crate::trouble::{Outcome, Trouble};
use crate::turns::Runner;

/// How many subscriptions share the deliveries that nobody runs.
const N_SUBSCRIPTIONS: usize = 10;

/// Of so many events a subscription that picks some wants one.
const N_PARTS: usize = 100;

pub(crate) fn rows(table: &mut Table, options: &Options) {
    let n = options.times(100_000, 5000);
    let what = format!("deliveries a second, {} events to {N_SUBSCRIPTIONS} subscriptions", n / N_SUBSCRIPTIONS);
    table.add(&what, alone(n).map(|took| rate(&what, n, took)));
    // One log for both: it takes longest to make.
    let log = published(n, N_PARTS);
    let what = format!("events looked at a second, of {n}, for a subscription that wants 1 in {N_PARTS}");
    table.add(&what, log.as_ref().map_err(Clone::clone).and_then(picked(n)).map(|took| rate(&what, n, took)));
    let what = format!("{n} events delivered and run a second, by work -j 2");
    table.add(&what, log.as_ref().map_err(Clone::clone).and_then(run(n)).map(|took| rate(&what, n, took)));
}

fn rate(what: &str, n: usize, took: Duration) -> Row {
    let figure = Row::figure(what, n as f64 / took.as_secs_f64(), Unit::Count, Bar::None);
    figure.ours(format!("{n} in {:.2} s", took.as_secs_f64()))
}

/// `n` deliveries in all.
fn alone(n: usize) -> Outcome<Duration> {
    let place = published(n / N_SUBSCRIPTIONS, 1)?;
    subscribe(&place, N_SUBSCRIPTIONS, &["--from", "all"])?;
    delivered(&place, n)
}

fn picked(n: usize) -> impl FnOnce(&Place) -> Outcome<Duration> {
    move |place| {
        subscribe(place, 1, &["--from", "all", "--where", "part=0"])?;
        let took = delivered(place, n / N_PARTS)?;
        succeed(&mut place.qctl(&["subscription", "remove", "s1"]))?;
        succeed(&mut place.qctl(&["cancel", "--quiet", &format!("1-{}", n / N_PARTS)]))?;
        Ok(took)
    }
}

fn run(n: usize) -> impl FnOnce(&Place) -> Outcome<Duration> {
    move |place| {
        subscribe(place, 1, &["--from", "all"])?;
        let took = time(&mut place.qctl(&["work", "-j", "2", "--drain", "--quiet"]))?;
        expect(place, "state = 'succeeded'", n)?;
        Ok(took)
    }
}

/// Takes durable turns that claim nothing until there is nothing to deliver; there must be `n` deliveries then.
fn delivered(place: &Place, n: usize) -> Outcome<Duration> {
    let mut worker = Runner::new(&place.path("queue.db"), Access::Existing)?;
    let started = now();
    while worker.deliver()? {
        worker.sync()?;
        worker.tidy()?;
    }
    worker.sync()?;
    let took = now() - started;
    worker.leave()?;
    expect(place, "state = 'ready'", n)?;
    Ok(took)
}

/// Fails unless there are `n` deliveries in that state.
fn expect(place: &Place, state: &str, n: usize) -> Outcome<()> {
    let count = || -> rusqlite::Result<usize> {
        let conn = Connection::open_with_flags(place.path("queue.db"), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let sql = format!("select count(*) from job where event_id is not null and {state}");
        conn.query_row(&sql, [], |row| row.get(0))
    };
    let found = count().map_err(|error| Trouble::failed(error.to_string()))?;
    if found == n {
        Ok(())
    } else {
        Err(Trouble::failed(format!("there are {found} deliveries with {state}, not {n}")))
    }
}
