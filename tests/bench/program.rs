//! The small C programs of the bench, compiled when they are needed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::FOLDER;
use crate::place::succeed;
use crate::trouble::{Outcome, Trouble};

/// Those that were compiled in this run.
static COMPILED: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// The program that `tests/bench/NAME.c` says, static and optimised.
pub(crate) fn compiled(name: &'static str) -> Outcome<PathBuf> {
    let program = Path::new(FOLDER).canonicalize()?.join(name);
    let mut compiled = COMPILED.lock().map_err(|_| Trouble::failed("a thread of the bench panicked"))?;
    if !compiled.contains(&name) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench").join(format!("{name}.c"));
        succeed(Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(source))?;
        compiled.push(name);
    }
    Ok(program)
}
