//! Measures qctl against its bars and its peers, side by side in one run, and writes a table.
//!
//! `cargo bench` measures everything; `cargo bench -- push drain` only these groups of rows; `--list` names
//! the groups; `--quick` repeats less. Every figure that is compared with another comes from rounds in
//! which each of the contenders runs once, so that what else the machine does meets all of them alike.
//! What each row means stands in docs/benchmarks.md.
//!
//! Nothing here knows a result: bars are given, figures are measured, and a program that fails makes its row
//! fail with what it said.

mod backlog;
mod crowd;
mod drain;
mod events;
mod history;
mod idle;
mod import;
mod instructions;
mod latency;
mod letters;
mod listen;
mod log;
mod machine;
mod memory;
mod options;
mod output;
mod peers;
mod place;
mod program;
mod progress;
mod publish;
mod push;
mod replay;
mod steps;
mod stream;
mod syncs;
mod table;
mod timing;
mod trouble;
mod turns;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use options::Options;
use table::Table;
use trouble::Trouble;

/// A group of rows: its name, what it measures, and how it does so.
type Group = (&'static str, &'static str, fn(&mut Table, &Options));

/// All there are, in the order of the table.
const GROUPS: &[Group] = &[
    ("push", "one push against the floor and against peers", push::rows),
    ("syncs", "syncs in one push", syncs::rows),
    ("drain", "a full queue, against xargs and parallel", drain::rows),
    ("stream", "pushing while a worker runs, against peers", stream::rows),
    ("import", "a million lines, against sqlite3", import::rows),
    ("latency", "from the end of a push to the start of its job", latency::rows),
    ("idle", "processor time of an idle worker", idle::rows),
    ("memory", "peak memory of a worker", memory::rows),
    ("crowd", "many who push at once", crowd::rows),
    ("log", "the size of the write-ahead log", log::rows),
    ("backlog", "a long history and a long backlog", backlog::rows),
    ("output", "the cost of keeping output", output::rows),
    ("publish", "one publish against a push, replays and listening", publish::rows),
    ("steps", "the cost of a recorded step", steps::rows),
    ("letters", "a hundred thousand dead jobs", letters::rows),
    ("instructions", "instructions of a push, a publish and a turn", instructions::rows),
];

/// Where the table and the programs compiled here go.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../bench");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(done) = turns::run(&arguments) {
        return done;
    }
    match bench(&arguments) {
        Ok(code) => code,
        Err(trouble) => {
            progress::say(format_args!("bench: {trouble}"));
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &[String]) -> Result<ExitCode, Trouble> {
    let options = Options::read(arguments, GROUPS.iter().map(|(name, _, _)| *name))?;
    if options.is_listing {
        let list: String = GROUPS.iter().map(|(name, what, _)| format!("{name}\t{what}\n")).collect();
        return put(&list).map(|()| ExitCode::SUCCESS);
    }
    if cfg!(debug_assertions) {
        progress::say(format_args!("bench: not optimised, so nothing is measured; `cargo bench` is the way"));
        return Ok(ExitCode::SUCCESS);
    }
    std::fs::create_dir_all(FOLDER)?;
    let mut table = Table::default();
    for (name, what, rows) in GROUPS {
        if options.wants(name) {
            progress::say(format_args!("{name}: {what}"));
            table.begin(name);
            rows(&mut table, &options);
        }
    }
    let text = format!("{}\n{}\n{}", machine::described(&options), table.markdown(), peers::versions());
    std::fs::write(Path::new(FOLDER).join("table.md"), &text)?;
    put(&text)?;
    Ok(if table.is_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn put(text: &str) -> Result<(), Trouble> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}
