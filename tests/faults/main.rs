//! What is promised holds when things break: power, processes, disks, clocks and files.
//!
//! The tests of each kind of fault stand in a file of their own. All of them are part of `cargo test`, in
//! the dose of [`dose::Dose::read`]'s default; `QCTL_FAULTS_SEED` and `QCTL_FAULTS_DOSE` give other seeds and
//! larger doses:
//!
//! ```sh
//! QCTL_FAULTS_DOSE=20 QCTL_FAULTS_SEED=7 cargo test --release --test faults -- --nocapture
//! ```
//!
//! Each test says at its end, in a line that begins with `faults:`, what it did: states replayed, points at
//! which something was killed, jobs run.

mod annex;
mod breaker;
mod checks;
mod dose;
mod events;
mod garbage;
mod killing;
mod machine;
mod orphans;
mod powercut;
mod steps;
mod storm;
mod strike;
#[expect(dead_code, reason = "made for the tests of the command line; only a part is needed here")]
#[path = "../it/support/mod.rs"]
mod support;
mod tasks;
