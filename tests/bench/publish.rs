//! One publish: a process that puts an event on record, with what is delivered of it, in one durable
//! transaction, as a push is one.
//!
//! The files are in a steady state: the log, the caches and the topic are there, and where workers make the
//! deliveries the subscriptions are behind already. No worker lives, so what is delivered waits.

use std::cell::Cell;
use std::process::Command;
use std::time::Duration;

use crate::events::{self, Publisher, TOPIC};
use crate::options::Options;
use crate::place::{Place, succeed};
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::{Run, Samples, interleave, now, time};
use crate::trouble::{Outcome, Trouble};
use crate::{listen, replay};

/// How many subscriptions get the event; whoever publishes makes the deliveries for all but the last of these.
const N_SUBSCRIPTIONS: [usize; 3] = [1, 10, 100];

/// What a publish may cost against a push.
const BARS: [Bar; 3] = [Bar::None, Bar::AtMost(2.5), Bar::AtMost(1.5)];

/// Processes run before any is timed.
const N_WARM: usize = 20;

/// How many are published in one process before it is the next file's turn.
const BLOCK: usize = 100;

pub(crate) fn rows(table: &mut Table, options: &Options) {
    table.add_all("publish against a push", against_a_push(options));
    table.add_all("publishes a second", rates(options));
    replay::rows(table, options);
    listen::rows(table, options);
}

/// One command again and again in one file, and the bytes that it has written.
struct Contender {
    place: Place,
    arguments: Vec<String>,
    bytes: Cell<u64>,
}

impl Contender {
    fn new(place: Place, arguments: &[&str]) -> Outcome<Self> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let contender = Self { place, arguments, bytes: Cell::new(0) };
        for _ in 0..N_WARM {
            succeed(&mut contender.command())?;
        }
        Ok(contender)
    }

    fn command(&self) -> Command {
        self.place.qctl(&self.arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn run(&self) -> Outcome<Duration> {
        let before = written()?;
        let took = time(&mut self.command())?;
        self.bytes.set(self.bytes.get() + written()? - before);
        Ok(took)
    }

    fn bytes_each(&self, n: usize) -> f64 {
        self.bytes.get() as f64 / n as f64
    }
}

/// How many bytes the bench and all that it waited for have given to calls that write: to the log, and to the file
/// when the log is folded back, which only they do. (`write_bytes` counts the index of the log too, whose
/// pages each process writes to memory and takes back.)
fn written() -> Outcome<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok());
    bytes.ok_or_else(|| Trouble::failed("/proc/self/io has no wchar"))
}

fn against_a_push(options: &Options) -> Outcome<Vec<Row>> {
    let (n, payload) = (options.times(300, 30), events::payload());
    let push = Contender::new(Place::new()?, &["push", "--payload", &payload, "--", "true"])?;
    let publish = ["publish", TOPIC, "--payload", &payload];
    let publishes = N_SUBSCRIPTIONS
        .map(|n| events::subscribed(n).and_then(|place| Contender::new(place, &publish)))
        .into_iter()
        .collect::<Outcome<Vec<_>>>()?;
    let all = || std::iter::once(&push).chain(&publishes);
    let contenders = all().map(|one| -> Outcome<Run<'_>> { Ok(Box::new(|| one.run())) }).collect();
    let mut measured = interleave(n, contenders).into_iter().collect::<Outcome<Vec<_>>>()?;
    let pushed = measured.remove(0);
    let mut rows = Vec::new();
    for ((n, bar), samples) in N_SUBSCRIPTIONS.into_iter().zip(BARS).zip(&measured) {
        rows.push(Row::ratio(format!("publish to {}, against a push", subscriptions(n)), samples, &pushed, bar));
    }
    for (n_subscriptions, publish) in N_SUBSCRIPTIONS.into_iter().zip(&publishes) {
        let what = format!("bytes written by a publish of 1 KiB to {}", subscriptions(n_subscriptions));
        let theirs = format!("a push of 1 KiB: {:.0}", push.bytes_each(n));
        rows.push(Row::figure(what, publish.bytes_each(n), Unit::Count, Bar::None).theirs(theirs));
    }
    Ok(rows)
}

fn subscriptions(n: usize) -> String {
    let left = if n == 100 { ", left to workers" } else { "" };
    format!("{n} subscription{}{left}", if n == 1 { "" } else { "s" })
}

/// One process for each file, which publishes through the store, in blocks by turns.
fn rates(options: &Options) -> Outcome<Vec<Row>> {
    let mut lanes = Vec::new();
    for n in N_SUBSCRIPTIONS {
        let place = events::subscribed(n)?;
        let publisher = Publisher::new(&place.path("queue.db"))?;
        lanes.push((n, place, publisher, Samples::default()));
    }
    // The first block meets an empty cache.
    for nth in 0..=options.times(20, 3) {
        for (_, _, publisher, samples) in &mut lanes {
            let took = block(publisher)?;
            if nth > 0 {
                samples.add(took);
            }
        }
    }
    let row = |(n, _, _, samples): (usize, Place, Publisher, Samples)| {
        let what = format!("publishes a second in one process to {}", subscriptions(n));
        let rate = BLOCK as f64 / samples.median().as_secs_f64();
        Row::figure(what, rate, Unit::Count, Bar::None).ours(format!("{BLOCK} in {}", samples.described()))
    };
    Ok(lanes.into_iter().map(row).collect())
}

fn block(publisher: &mut Publisher) -> Outcome<Duration> {
    let started = now();
    for _ in 0..BLOCK {
        publisher.publish()?;
    }
    publisher.tidy()?;
    Ok(now() - started)
}
