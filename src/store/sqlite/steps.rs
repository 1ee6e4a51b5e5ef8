//! The part of the contract that is about recorded steps, each verb in one transaction.

use super::row::Explain as _;
use super::step_file::Folder;
use super::{SqliteStore, query, recorded, step};
use crate::clock::{Moment, Timestamp};
use crate::job::{Begun, JobId, Lease, Step, StepCall, StepEnd, StepOutput, StepPath};
use crate::store::{Forgotten, Result, SettledStep, Slept, Standing, StepFile, Steps};

impl Steps for SqliteStore {
    fn begin_step(&mut self, lease: Lease, call: &StepCall, now: Timestamp) -> Result<Begun> {
        let folder = Folder::of(&self.path);
        self.write_on_record(|tx| step::begin(tx, &folder, lease, call, now))
    }

    fn end_step(&mut self, lease: Lease, path: &StepPath, end: &StepEnd, at: Moment) -> Result<Standing> {
        self.write_durably(|tx| step::end(tx, lease, path, end, at))
    }

    fn step_file(&self, lease: Lease, key: &str) -> Result<StepFile> {
        self.folder.create(lease, key)
    }

    fn set_step(&mut self, lease: Lease, call: &StepCall, value: &[u8], at: Moment) -> Result<Begun> {
        let folder = Folder::of(&self.path);
        self.write_on_record(|tx| step::set(tx, &folder, lease, (call, value), at))
    }

    fn settle_step(&mut self, id: JobId, call: &StepCall, value: &[u8], now: Timestamp) -> Result<SettledStep> {
        self.write_durably(|tx| step::settle(tx, id, (call, value), now))
    }

    fn sleep_step(&mut self, lease: Lease, call: &StepCall, until: Timestamp, now: Timestamp) -> Result<Slept> {
        self.write_on_record(|tx| step::sleep(tx, lease, (call, until), now))
    }

    fn steps(&mut self, id: JobId) -> Result<Vec<Step>> {
        recorded::steps(&self.conn, id).explain(&self.path)
    }

    fn step_output(&mut self, id: JobId, path: &StepPath) -> Result<Option<StepOutput>> {
        // The steps of a job that was dropped are still there.
        if query::standing_of(&self.conn, &[id.into()]).explain(&self.path)?.is_empty() {
            return Ok(None);
        }
        recorded::output(&self.conn, &self.folder, id, path)
    }

    fn reset_steps(&mut self, id: JobId, paths: &[StepPath]) -> Result<Forgotten> {
        self.write_durably(|tx| recorded::reset(tx, id, paths))
    }
}
