//! What a recorded step of a job costs: the first time, when its command is run, and when it is replayed.
//!
//! A real job has its worker, its lease and its variables; with those the bench calls the steps, in turns
//! with the bare command. What is to be replayed was recorded in the attempt before.

use std::io::Write as _;
use std::process::Command;

use crate::options::Options;
use crate::peers;
use crate::place::{Place, QCTL, Running, succeed};
use crate::syncs;
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::{Run, interleave, time, wait_for};
use crate::trouble::Outcome;

/// What the job runs: it tells its variables, and ends as it is told.
const JOB: &str = r#"mkfifo "go.$QCTL_ATTEMPT" && env -0 > part && mv part "environ.$QCTL_ATTEMPT" &&
    read -r status < "go.$QCTL_ATTEMPT" && exit "$status""#;

/// What the steps run.
const BARE: &str = "true";

/// A job that runs as long as the bench needs its lease.
pub(crate) struct Attempt {
    nth: usize,
    environ: Vec<(String, String)>,
    worker: Running,
}

impl Attempt {
    /// The first of a job.
    pub(crate) fn first(place: &Place) -> Outcome<Self> {
        succeed(&mut place.qctl(&["push", "--max-attempts", "2", "--backoff", "fixed:0s", "--", JOB]))?;
        let worker = place.worker(&[])?;
        Ok(Self { nth: 1, environ: environ(place, 1)?, worker })
    }

    /// The one after this, which fails.
    pub(crate) fn next(self, place: &Place) -> Outcome<Self> {
        self.end(place, 1)?;
        let nth = self.nth + 1;
        Ok(Self { nth, environ: environ(place, nth)?, ..self })
    }

    /// Lets it succeed, and its worker leave.
    pub(crate) fn leave(self, place: &Place) -> Outcome<()> {
        self.end(place, 0)?;
        self.worker.stop()
    }

    fn end(&self, place: &Place, status: u8) -> Outcome<()> {
        let mut fifo = std::fs::File::options().write(true).open(place.path(&format!("go.{}", self.nth)))?;
        Ok(writeln!(fifo, "{status}")?)
    }

    /// A command with the variables of the job.
    pub(crate) fn command(&self, place: &Place, words: &[&str]) -> Command {
        let mut command = place.command(words[0]);
        command.envs(self.environ()).args(&words[1..]);
        command
    }

    /// The variables of the job.
    pub(crate) fn environ(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environ.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The variables of an attempt, once it has begun.
fn environ(place: &Place, nth: usize) -> Outcome<Vec<(String, String)>> {
    let text = wait_for("the job has told its variables", || {
        match std::fs::read_to_string(place.path(&format!("environ.{nth}"))) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => Ok(Some(read?)),
        }
    })?;
    let pairs = text.split('\0').filter_map(|entry| entry.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

pub(crate) fn rows(table: &mut Table, options: &Options) {
    table.add_all("syncs in a step", syncs_of(options.times(30, 10)));
    table.add_all("a step, against the bare command", times(options.times(300, 30)));
}

/// The words of a step.
pub(crate) fn step(name: &str) -> [&str; 5] {
    [QCTL, "step", name, "--", BARE]
}

/// Syncs of the first time, of the replay, and of the command alone.
fn syncs_of(n: usize) -> Outcome<Vec<Row>> {
    let (strace, place) = (peers::find("strace")?, Place::with_queue()?);
    let attempt = Attempt::first(&place)?;
    let count = |attempt: &Attempt, is_step: bool| {
        let mut counts = Vec::new();
        for nth in 0..n {
            let name = format!("step-{nth}");
            let whole = step(&name);
            let words = if is_step { &whole[..] } else { &[BARE] };
            let mut traced = place.command(&strace);
            traced.envs(attempt.environ());
            counts.push(syncs::counted(&place, traced, words)?);
        }
        counts.sort_unstable();
        Outcome::Ok(counts)
    };
    let bare = count(&attempt, false)?;
    let first = count(&attempt, true)?;
    let attempt = attempt.next(&place)?;
    let replayed = count(&attempt, true)?;
    attempt.leave(&place)?;
    let row = |what: &str, counts: &[u32], limit| {
        let (middle, alone) = (counts[n / 2], bare[n / 2]);
        let over = f64::from(middle) - f64::from(alone);
        let figure = Row::figure(what, over, Unit::Count, Bar::AtMost(limit));
        figure.ours(format!("median of {n}; at most {}", counts[n - 1])).theirs(format!("the bare command: {alone}"))
    };
    Ok(vec![
        row("syncs in a step, the first time", &first, 2.0),
        row("syncs in a step that is replayed", &replayed, 0.0),
    ])
}

/// How long a step takes against the command that it runs.
fn times(n: usize) -> Outcome<Vec<Row>> {
    let place = Place::with_queue()?;
    let attempt = Attempt::first(&place)?;
    for nth in 0..n {
        succeed(&mut attempt.command(&place, &step(&format!("old-{nth}"))))?;
    }
    let attempt = attempt.next(&place)?;
    let named = |kind: &'static str| {
        let (place, attempt, mut nth) = (&place, &attempt, 0);
        move || {
            nth += 1;
            time(&mut attempt.command(place, &step(&format!("{kind}-{}", nth - 1))))
        }
    };
    let contenders: Vec<Outcome<Run<'_>>> = vec![
        Ok(Box::new(|| time(&mut attempt.command(&place, &[BARE])))),
        Ok(Box::new(named("new"))),
        Ok(Box::new(named("old"))),
    ];
    let measured = interleave(n, contenders).into_iter().collect::<Outcome<Vec<_>>>()?;
    attempt.leave(&place)?;
    let [bare, first, replayed] = &measured[..] else { unreachable!("as many answers as contenders") };
    Ok(vec![
        Row::ratio("a step, the first time, against the bare command", first, bare, Bar::None),
        Row::ratio("a step that is replayed, against the bare command", replayed, bare, Bar::None),
    ])
}
