//! How many instructions a push, a publish, a replayed step and a worker's turn take, as callgrind counts them.
//!
//! Unlike times these are the same on a busy machine, so that they are a test: what `instructions.txt` expects
//! may be exceeded by [`TOLERANCE`], and no more. `--renew` writes what was counted as what is expected.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::events::{self, TOPIC};
use crate::options::Options;
use crate::peers;
use crate::place::{Place, QCTL, succeed};
use crate::progress;
use crate::steps::Attempt;
use crate::table::{Bar, Row, Table, Unit};
use crate::trouble::{Outcome, Trouble};
use crate::turns;

/// The share by which a count may differ from what is expected: compilers and C libraries differ by that.
const TOLERANCE: f64 = 0.05;

/// The share by which the three counts of one thing may differ, so that a count can be trusted.
const SPREAD: f64 = 0.01;

/// One count of something.
type Count = fn(&Callgrind) -> Outcome<f64>;

/// What is counted: the name in `instructions.txt`, what it is, and how it is counted.
const COUNTS: [(&str, &str, Count); 4] = [
    ("push", "instructions of qctl push true", push),
    ("publish", "instructions of qctl publish to one subscription", publish),
    ("step", "instructions of qctl step that is replayed", step),
    ("turn", "instructions of a worker's turn that settles one job and claims one", turn),
];

pub(crate) fn rows(table: &mut Table, options: &Options) {
    let mut renewed = Vec::new();
    for (name, what, count) in COUNTS {
        let row = repeatable(count).and_then(|counted| {
            renewed.push((name, counted));
            if options.is_renewing {
                Ok(Row::figure(what, counted, Unit::Count, Bar::None))
            } else {
                held(name, what, counted)
            }
        });
        table.add(what, row);
    }
    if options.is_renewing && renewed.len() == COUNTS.len() {
        table.add_all("instructions.txt", write(&renewed).map(|()| Vec::new()));
    }
}

/// The row of a count that is held against what is expected.
fn held(name: &str, what: &str, counted: f64) -> Outcome<Row> {
    let expected = expected(name)?;
    let change = (counted / expected - 1.0) * 100.0;
    if counted < expected * (1.0 - TOLERANCE) {
        progress::say(format_args!(
            "{what}: {:.1} % below what is expected; `cargo bench --bench bench -- instructions --renew` keeps that",
            -change
        ));
    }
    let limit = Bar::AtMost((expected * (1.0 + TOLERANCE)).floor());
    Ok(Row::figure(what, counted, Unit::Count, limit).theirs(format!("{change:+.1} % of {expected:.0}")).gate())
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/instructions.txt")
}

fn expected(name: &str) -> Outcome<f64> {
    let text = std::fs::read_to_string(file())?;
    let number = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    number.ok_or_else(|| Trouble::failed(format!("instructions.txt has no count for {name}; --renew writes it")))
}

fn write(counts: &[(&str, f64)]) -> Outcome<()> {
    let mut text =
        "# Instructions under callgrind, x86-64; `cargo bench --bench bench -- instructions --renew` writes this.\n"
            .to_owned();
    for (name, count) in counts {
        text.push_str(&format!("{name} {count:.0}\n"));
    }
    Ok(std::fs::write(file(), text)?)
}

/// The middle one of three counts, which must agree.
fn repeatable(count: Count) -> Outcome<f64> {
    let callgrind = Callgrind::new()?;
    let mut counts = [count(&callgrind)?, count(&callgrind)?, count(&callgrind)?];
    counts.sort_unstable_by(f64::total_cmp);
    let [least, middle, most] = counts;
    if (most - least) / middle > SPREAD {
        return Err(Trouble::failed(format!("the counts do not agree: {counts:?}")));
    }
    Ok(middle)
}

/// One push to a queue that has seen some, with no worker.
fn push(callgrind: &Callgrind) -> Outcome<f64> {
    let place = Place::of_fixed_length()?;
    for _ in 0..20 {
        succeed(place.qctl(&["push", "true"]).env("PATH", PATH))?;
    }
    callgrind.count(&place, &[QCTL, "push", "true"])
}

/// One publish to a topic that has seen some, with a subscription and no worker.
fn publish(callgrind: &Callgrind) -> Outcome<f64> {
    let place = Place::of_fixed_length()?;
    events::subscribe(&place, 1, &[])?;
    for _ in 0..20 {
        succeed(&mut place.qctl(&["publish", TOPIC]))?;
    }
    callgrind.count(&place, &[QCTL, "publish", TOPIC])
}

/// One step that the attempt before has recorded.
fn step(callgrind: &Callgrind) -> Outcome<f64> {
    let place = Place::of_fixed_length()?;
    let attempt = Attempt::first(&place)?;
    let step = [QCTL, "step", "greet", "--", "true"];
    succeed(&mut attempt.command(&place, &step))?;
    let attempt = attempt.next(&place)?;
    let mut counted = place.command(&callgrind.program);
    counted.envs(attempt.environ());
    let n_instructions = callgrind.count_in(&place, &mut counted, &step)?;
    attempt.leave(&place)?;
    Ok(n_instructions)
}

/// One turn of 200, what comes before and after them taken away.
fn turn(callgrind: &Callgrind) -> Outcome<f64> {
    let itself = std::env::current_exe()?.display().to_string();
    let counted = |n: &str| callgrind.count(&Place::of_fixed_length()?, &[&itself, turns::ARGUMENT, n, "queue.db"]);
    Ok((counted("300")? - counted("100")?) / 200.0)
}

/// What is kept of the environment of a push; always the same, because its length counts.
const PATH: &str = "/usr/bin:/bin";

/// The program that counts.
struct Callgrind {
    program: PathBuf,
}

impl Callgrind {
    fn new() -> Outcome<Self> {
        let missing = |_| Trouble::failed("valgrind is not installed, and nothing else counts: apt install valgrind");
        Ok(Self { program: peers::find("valgrind").map_err(missing)? })
    }

    /// How many instructions a command takes in this place.
    fn count(&self, place: &Place, command: &[&str]) -> Outcome<f64> {
        self.count_in(place, &mut place.command(&self.program), command)
    }

    /// The same where there are other variables besides.
    fn count_in(&self, place: &Place, counted: &mut Command, command: &[&str]) -> Outcome<f64> {
        counted.env("PATH", PATH).args(["--tool=callgrind", "--callgrind-out-file=count"]).args(command);
        succeed(counted)?;
        let text = std::fs::read_to_string(place.path("count"))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
        total.ok_or_else(|| Trouble::failed("callgrind wrote no total"))
    }
}
