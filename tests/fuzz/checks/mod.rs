//! What must hold whatever comes in: a function for each fuzz target, which takes any bytes and panics
//! where something does not hold.
//!
//! `tests/faults/garbage.rs` runs the same functions in `cargo test`, on the seeds, on everything that was
//! ever found, and on so many mutations.

mod base;
mod file;
mod text;

pub(crate) use base::{Base, Snapshot};
pub(crate) use file::{apply, columns, queue_file};
pub(crate) use text::{duration, import_line, instant, pattern, safe_text};
