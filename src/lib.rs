//! qctl: a durable job queue in one SQLite file, worked from the command line.
//!
//! # The house
//!
//! A room is a top-level module; arrows point only downward, and a test holds them. In reading
//! order, from the ground up: what time it is, what a job is, what follows from a failure, where
//! jobs are kept, how a command is run, and from there on up to the command line.
//!
//! | room | what for |
//! |---|---|
//! | [`clock`] | the only place that asks what time it is |
//! | [`job`] | the vocabulary |
//! | [`policy`] | what follows from what happened; pure |
//! | [`store`] | the contract of the queue, and SQLite |
//! | [`process`] | starting, capturing and ending commands; knows nothing of jobs |
//! | [`signal`] | signals as bytes on a pipe |
//! | [`wake`] | the doorbell between processes |
//! | [`worker`] | claim, run, settle |
//! | [`render`] | values to text |
//! | [`exit`] | exit statuses and failures |
//! | [`ui`] | the two streams |
//! | [`config`] | flags, environment and directories; the only reader of the environment |
//! | `command` | one file for each verb |
//! | [`cli`] | the tree of verbs |
//!
//! # Invariants
//!
//! - Every store verb is one transaction and is told what time it is.
//! - A lease (job, token, running) is the only permission to report on a job.
//! - Killing any process at any moment loses no acknowledged job and never lets two copies of one
//!   job run at once on a host.
//! - Nothing below `ui` writes to a stream.

#[cfg(not(target_os = "linux"))]
compile_error!("qctl needs Linux: it tells the living from the dead by open-file-description locks and /proc");

pub mod cli;
pub mod clock;
mod command;
pub mod config;
pub mod exit;
pub mod job;
pub mod policy;
pub mod process;
pub mod render;
pub mod signal;
pub mod store;
pub mod ui;
pub mod wake;
pub mod worker;

// For the tests that feed it garbage, and for nobody else; see there.
#[doc(hidden)]
pub use command::outside;
