//! From a publish to the line that `listen` writes of it, and what `listen` takes of a processor meanwhile.
//!
//! A publish writes the event's id once the event is durable. When the bench has read that, the clock starts; it
//! stops when a thread of the bench has read the line from the other pipe.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::events::{self, TOPIC};
use crate::idle::share_of;
use crate::options::Options;
use crate::place::{Place, succeed};
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::{Samples, now, pause};
use crate::trouble::{Outcome, Trouble};

/// How long a line is waited for. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// One that has just printed still has things to do.
const TO_SETTLE: Duration = Duration::from_secs(1);

pub(crate) fn rows(table: &mut Table, options: &Options) {
    table.add_all("publish's commit to the line of listen", measured(options));
}

fn measured(options: &Options) -> Outcome<Vec<Row>> {
    let place = events::subscribed(1)?;
    let mut listener = Listener::start(&place)?;
    let (mut from_end, mut from_start, mut n_early) = (Samples::default(), Samples::default(), 0);
    for _ in 0..options.times(300, 50) {
        let started = now();
        let committed = publish(&place)?;
        let read = listener.line()?;
        n_early += usize::from(read < committed);
        from_end.add(read.saturating_sub(committed));
        from_start.add(read.saturating_sub(started));
    }
    let millis = |samples: &Samples, share| samples.quantile(share).as_secs_f64() * 1e3;
    let row = |what: &str, value, bar| Row::figure(what, value, Unit::Millis, bar);
    let early = format!("{}; {n_early} were read before the publish's id", from_end.described());
    pause(TO_SETTLE);
    let time = options.seconds(20, 5);
    let share = share_of(listener.child.id(), time)? * 100.0;
    let idle = format!("processor time of an idle listen over {} s, share of a core", time.as_secs());
    Ok(vec![
        row("publish's commit to the line of listen, median", millis(&from_end, 0.5), Bar::AtMost(2.0)).ours(early),
        row("publish's commit to the line of listen, p99", millis(&from_end, 0.99), Bar::None),
        row("publish's start to the line of listen, median", millis(&from_start, 0.5), Bar::None)
            .ours(from_start.described()),
        Row::figure(idle, share, Unit::Percent, Bar::AtMost(0.5)),
    ])
}

/// Publishes an event; answers when its id was there.
fn publish(place: &Place) -> Outcome<Duration> {
    let mut command = place.qctl(&["publish", TOPIC, "--payload", &events::payload()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut pipe = child.stdout.take().ok_or_else(|| Trouble::failed("a publish without a pipe"))?;
    let read = pipe.read(&mut [0; 32]);
    let committed = now();
    let status = child.wait()?;
    match read? {
        0 => Err(Trouble::ended(&command, status, b"")),
        _ => Ok(committed),
    }
}

/// A `listen`, and when its lines come; it is killed when dropped.
struct Listener {
    child: Child,
    lines: Receiver<Duration>,
}

impl Listener {
    /// One that has seen all that there is and waits.
    fn start(place: &Place) -> Outcome<Self> {
        succeed(&mut place.qctl(&["publish", TOPIC]))?;
        let mut command = place.qctl(&["listen", TOPIC, "--from", "all"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let pipe = child.stdout.take().ok_or_else(|| Trouble::failed("a listen without a pipe"))?;
        let (sender, lines) = channel();
        thread::spawn(move || read(pipe, &sender));
        let mut listener = Self { child, lines };
        listener.line()?;
        Ok(listener)
    }

    /// When the next line came.
    fn line(&mut self) -> Outcome<Duration> {
        self.lines.recv_timeout(PATIENCE).map_err(|_| Trouble::failed("listen wrote no line"))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended and been waited for: then both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells of each line until the last.
fn read(pipe: ChildStdout, lines: &Sender<Duration>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        // Nobody may want to know any more.
        let _ = lines.send(now());
        line.clear();
    }
}
