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
//!
//! # Invariants
//!
//! - Every store verb is one transaction and is told what time it is.
//! - A lease (job, token, running) is the only permission to report on a job.
//! - Killing any process at any moment loses no acknowledged job and never lets two copies of one
//!   job run at once on a host.
//! - Nothing below `ui` writes to a stream.

pub mod clock;
pub mod job;
pub mod policy;
pub mod process;
pub mod signal;
pub mod store;
pub mod wake;
pub mod worker;
