//! How often one push waits for the disk, as strace counts it.

use std::process::Command;

use crate::options::Options;
use crate::peers;
use crate::place::{Place, QCTL, Running, succeed};
use crate::table::{Bar, Row, Table, Unit};
use crate::trouble::Outcome;

/// The calls that wait for the disk.
const CALLS: &str = "fsync,fdatasync,sync_file_range,msync,syncfs,sync";

pub(crate) fn rows(table: &mut Table, options: &Options) {
    for (what, is_attended) in [("syncs in a push, no worker", false), ("syncs in a push, with a worker", true)] {
        let counted = counts(options.times(30, 10), is_attended);
        let row = counted.map(|counts| {
            let (middle, most) = (counts[counts.len() / 2], counts[counts.len() - 1]);
            let figure = Row::figure(what, f64::from(middle), Unit::Count, Bar::AtMost(1.0));
            figure.ours(format!("median of {}; at most {most}", counts.len()))
        });
        table.add(what, row);
    }
}

/// The syncs of each of `n` pushes, sorted; never empty.
fn counts(n: usize, is_attended: bool) -> Outcome<Vec<u32>> {
    let (strace, place) = (peers::find("strace")?, Place::with_queue()?);
    let worker = if is_attended { Some(place.worker(&[])?) } else { None };
    for _ in 0..10 {
        succeed(&mut place.qctl(&["push", "true"]))?;
    }
    let mut counts = Vec::new();
    for _ in 0..n {
        counts.push(counted(&place, place.command(&strace), &[QCTL, "push", "true"])?);
    }
    worker.map_or(Ok(()), Running::stop)?;
    counts.sort_unstable();
    Ok(counts)
}

/// How often what strace runs waits for the disk.
pub(crate) fn counted(place: &Place, mut strace: Command, words: &[&str]) -> Outcome<u32> {
    let trace = place.path("trace");
    strace.args(["-f", "-e", &format!("trace={CALLS}"), "-o"]).arg(&trace).args(words);
    succeed(&mut strace)?;
    Ok(count(&std::fs::read_to_string(&trace)?))
}

/// How many of its lines begin a call: `4711 fdatasync(3) = 0`; a call that is resumed was counted.
fn count(trace: &str) -> u32 {
    let is_call = |line: &&str| {
        let name = line.split_whitespace().nth(1).and_then(|call| call.split('(').next());
        name.is_some_and(|name| CALLS.split(',').any(|call| call == name))
    };
    trace.lines().filter(is_call).map(|_| 1).sum()
}
