//! The part of the contract that is about recorded steps.

use crate::clock::{Moment, Timestamp};
use crate::job::{Begun, JobId, Lease, Step, StepCall, StepEnd, StepOutput, StepPath};
use crate::store::{Forgotten, Result, SettledStep, Slept, Standing, StepFile};

/// What is on record of the steps of jobs.
///
/// A lease is the only permission to come to a step, as [`super::Store`] says of reports; and nobody else changes
/// anything about the steps of a job that runs.
pub trait Steps {
    /// Has a running attempt come to a step. Where the answer is that it is to be run, that it began is on
    /// record and survives a power cut.
    ///
    /// # Errors
    ///
    /// Those of any write, and [`super::Error::Refused`] where the file is gone that holds what it printed.
    fn begin_step(&mut self, lease: Lease, call: &StepCall, now: Timestamp) -> Result<Begun>;

    /// Puts on record how a step ended that the attempt was told to run, and prolongs the lease of its worker.
    /// Of an attempt whose lease is lost nothing is put on record.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn end_step(&mut self, lease: Lease, path: &StepPath, end: &StepEnd, at: Moment) -> Result<Standing>;

    /// A file for what a step prints beyond what is kept in a row; `key` is that of the step.
    ///
    /// # Errors
    ///
    /// [`super::Error::Refused`].
    fn step_file(&self, lease: Lease, key: &str) -> Result<StepFile>;

    /// Records a value as what a step printed, unless the step is recorded; answers what is recorded then.
    ///
    /// # Errors
    ///
    /// Those of [`Steps::begin_step`].
    fn set_step(&mut self, lease: Lease, call: &StepCall, value: &[u8], at: Moment) -> Result<Begun>;

    /// Records what a step of a job that does not run printed, or would have, unless it is recorded.
    /// A pause ends with it, whatever time it had left.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn settle_step(&mut self, id: JobId, call: &StepCall, value: &[u8], now: Timestamp) -> Result<SettledStep>;

    /// Has a running attempt come to a step that lets time pass until `until`; when it was first come to
    /// decides. As long as that is not over, the attempt is noted to sleep, as [`super::Store::wish`] does.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn sleep_step(&mut self, lease: Lease, call: &StepCall, until: Timestamp, now: Timestamp) -> Result<Slept>;

    /// The steps of a job, in the order in which they were first begun; none where there is no such job.
    ///
    /// # Errors
    ///
    /// Those of any read.
    fn steps(&mut self, id: JobId) -> Result<Vec<Step>>;

    /// What a recorded step printed; `None` where none is recorded.
    ///
    /// # Errors
    ///
    /// Those of any read, and [`super::Error::Refused`] where the file is gone that holds it.
    fn step_output(&mut self, id: JobId, path: &StepPath) -> Result<Option<StepOutput>>;

    /// Forgets steps of a job that does not run, all or none, so that they are run again. With a step goes
    /// what is inside of it and what it is inside of.
    ///
    /// # Errors
    ///
    /// Those of any write.
    fn reset_steps(&mut self, id: JobId, paths: &[StepPath]) -> Result<Forgotten>;
}
