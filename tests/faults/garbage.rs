//! Bad input: an error or an answer, never a panic, a hang or a wrong answer.
//!
//! What must hold of each kind of input stands in `checks`, which the fuzz targets in `tests/fuzz` run too. Here it is
//! run on the seeds, on whatever broke something once, and on so many inputs made of them by chance; and
//! the binary is let loose on queue files of which something was lost or turned.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::checks::{self, Base};
use crate::dose::Dose;
use crate::support::{Output, Sandbox};

/// What is fed, with what, and how many inputs are made by chance.
type Target = (&'static str, fn(&[u8]), usize);

/// Text.
const TARGETS: [Target; 5] = [
    ("import_line", checks::import_line, 4000),
    ("duration", checks::duration, 8000),
    ("instant", checks::instant, 4000),
    ("pattern", checks::pattern, 8000),
    ("safe_text", checks::safe_text, 4000),
];

/// Queue files, which take longer.
const FILE_TARGETS: [Target; 2] = [("queue_file", checks::queue_file, 120), ("columns", checks::columns, 120)];

/// How many mutated files the binary gets.
const N_FOR_BINARY: usize = 25;

/// How long one input may take; far longer than any does.
const PATIENCE: Duration = Duration::from_secs(60);

/// The files of a folder below `tests/fuzz`, in order.
fn inputs(folder: &str, target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(folder).join(target);
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("an input")).collect()
}

/// Feeds all of these, and fails with the first that is not met calmly or not in time.
#[track_caller]
fn feed(target: &str, check: fn(&[u8]), all: Vec<Vec<u8>>) -> usize {
    let n = all.len();
    let (sender, done) = mpsc::channel();
    thread::spawn(move || {
        for bytes in all {
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| check(&bytes)));
            if sender.send((bytes, outcome.is_ok())).is_err() {
                return;
            }
        }
    });
    for nth in 0..n {
        let (bytes, is_met) = done.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{target} hangs at input {nth}"));
        assert!(is_met, "{target} does not hold for b\"{}\"", bytes.escape_ascii());
    }
    n
}

/// An input made of some by chance: bits turned, bytes put in, taken away and said twice, two made one.
fn mutated(some: &[Vec<u8>], chance: &mut Rng) -> Vec<u8> {
    let mut bytes = chance.choice(some).cloned().unwrap_or_default();
    for _ in 0..chance.usize(1..6) {
        let at = chance.usize(..=bytes.len());
        let end = chance.usize(at..=bytes.len().min(at + 8));
        match chance.u8(..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.u8(..8),
            1 if at < bytes.len() => bytes[at] = chance.u8(..),
            2 => bytes.insert(at, *chance.choice(b"\0\n\r\t \"\\{}[]:,;-+.*@09aM\x1b\x7f\xc3\xe2\xff").expect("some")),
            3 => drop(bytes.drain(at..end)),
            4 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            5 => {
                let other = chance.choice(some).cloned().unwrap_or_default();
                bytes.truncate(at);
                bytes.extend_from_slice(&other[chance.usize(..=other.len())..]);
            }
            _ => bytes.extend((0..chance.usize(..16)).map(|_| chance.u8(..))),
        }
    }
    bytes
}

/// Seeds, what broke something once, and what chance makes of them.
fn feed_all(targets: &[Target]) -> usize {
    let dose = Dose::read();
    let mut chance = dose.chance();
    let mut n = 0;
    for &(target, check, n_made) in targets {
        let mut all = inputs("seeds", target);
        all.extend(inputs("regressions", target));
        // Those who have only the package have no seeds.
        let made: Vec<_> = (0..n_made * dose.factor).map(|_| mutated(&all, &mut chance)).collect();
        n += feed(target, check, all.into_iter().chain(made).collect());
    }
    n
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was tried is told")]
fn text_from_outside_is_read_as_it_was_written_or_refused() {
    println!("faults: garbage: {} inputs", feed_all(&TARGETS));
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was tried is told")]
fn the_store_answers_rightly_or_refuses_whatever_became_of_its_file() {
    println!("faults: garbage: {} mutated files through the store", feed_all(&FILE_TARGETS));
}

/// A queue in which something was changed, at the time at which it was made.
fn queue_of(edits: &[u8]) -> Sandbox {
    let mut queue = Sandbox::new();
    queue.set_clock("2026-11-18T11:06:50Z");
    let mut files = Base::get().files.clone();
    checks::apply(edits, &mut files);
    files.write(&queue.db());
    queue
}

/// Runs qctl and kills it if it does not end; claims that it ended with a status of the table, and that it
/// said why in one line, and what would help in another.
#[track_caller]
fn ends_well(queue: &Sandbox, line: &str) -> Output {
    let output = queue.sh(&format!("timeout -s KILL {} qctl {line}", PATIENCE.as_secs()));
    let is_in_table = qctl::exit::STATUSES.iter().any(|&(status, _)| i32::from(status) == output.status());
    assert!(is_in_table, "{}", output.story());
    let err = output.err();
    assert!(!err.contains("panicked at"), "{}", output.story());
    if ![0, 1].contains(&output.status()) {
        let failures: Vec<&str> = err.lines().filter(|line| line.starts_with("qctl: ")).collect();
        let hints = err.lines().filter(|line| line.starts_with("hint: ")).count();
        assert!(failures.len() == 1 && hints <= 1 && output.out().is_empty(), "{}", output.story());
    }
    output
}

/// Where each job stands, as `list` has it.
fn listed(list: &Output) -> Vec<(i64, String, String)> {
    let job = |line: &str| {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or_default().to_owned();
        (next().parse().unwrap_or(0), next(), next())
    };
    list.out().lines().map(job).collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was tried is told")]
fn the_binary_answers_rightly_or_refuses_whatever_became_of_its_file() {
    let dose = Dose::read();
    let mut chance = dose.chance();
    let mut all = inputs("seeds", "queue_file");
    all.extend(inputs("regressions", "queue_file"));
    let made = (0..N_FOR_BINARY * dose.factor).map(|_| {
        let n_edits = chance.usize(1..4);
        (0..7 * n_edits).map(|_| chance.u8(..)).collect::<Vec<u8>>()
    });
    let all: Vec<Vec<u8>> = all.into_iter().chain(made).collect();
    let (mut n_commands, mut n_sound) = (0, 0);
    for edits in &all {
        let queue = queue_of(edits);
        let doctor = ends_well(&queue, "doctor");
        let is_ill =
            doctor.status() > 1 || ["damage\t", "schema\t", "journal\t"].iter().any(|code| doctor.out().contains(code));
        let looks = ["list --limit 1000 --reverse", "show 1", "show 7", "logs 2", "stats", "queue list", "workers"];
        for look in looks {
            let output = ends_well(&queue, look);
            assert!(output.status() != 78 || is_ill, "doctor finds nothing\n{}", output.story());
            if look == looks[0] && output.status() == 0 && !is_ill {
                let stands = listed(&output);
                let is_known = |snapshot: &checks::Snapshot| {
                    let known = snapshot.iter().map(|(&id, (queue, state))| (id, queue.clone(), (*state).to_owned()));
                    stands.iter().cloned().eq(known)
                };
                assert!(Base::get().history.iter().any(is_known), "never was so\n{}", output.story());
                n_sound += 1;
            }
        }
        let changes = ["push -Q mail true", "work --drain -- true", "cancel 10", "retry 2", "prune", "doctor"];
        for change in changes {
            let output = ends_well(&queue, change);
            assert!(output.status() != 78 || is_ill, "doctor finds nothing\n{}", output.story());
        }
        n_commands += 1 + looks.len() + changes.len();
    }
    assert!(n_sound > 0, "what doctor does not find to be ill is what there was");
    println!("faults: garbage: {} mutated files through the binary, {n_commands} commands", all.len());
}
