//! A job from its columns.
//!
//! They are read by their places, which one list gives along with the statement's text: each look for a column by
//! its name goes through all names before it, and those of a job were a twelfth of a worker's turn.

use rusqlite::Row;

use super::row::{self, bad_column};
use super::wish;
use crate::job::{Delivery, Ending, Job, Lease, Progress, State, StateKind, WorkerId};

/// Names the columns, and writes the text that selects them, in one order.
macro_rules! columns {
    ($first:ident = $first_text:literal, $($name:ident = $text:literal,)*) => {
        #[derive(Clone, Copy)]
        enum Column { $first, $($name,)* }

        /// The columns that [`job`] reads, of `job` joined with `queue`; to be the first that are selected.
        pub(super) const JOB_COLUMNS: &str = concat!($first_text, $(", ", $text,)*);
    };
}

columns! {
    Id = "job.id",
    Queue = "queue.name as queue",
    State = "job.state",
    Priority = "job.priority",
    RunAt = "job.run_at",
    Attempt = "job.attempt",
    MaxAttempts = "job.max_attempts",
    Crashes = "job.crashes",
    Snoozes = "job.snoozes",
    Progress = "job.progress",
    EventId = "job.event_id",
    Topic = "job.topic",
    Subscription = "job.subscription",
    Token = "job.token",
    WorkerId = "job.worker_id",
    CancelRequested = "job.cancel_requested",
    CreatedAt = "job.created_at",
    StartedAt = "job.started_at",
    FinishedAt = "job.finished_at",
    ExpiresAt = "job.expires_at",
    Reason = "job.reason",
    Outcome = "job.outcome",
    ExitCode = "job.exit_code",
    Signal = "job.signal",
    Error = "job.error",
    IsShell = "job.is_shell",
    Command = "job.command",
    Labels = "job.labels",
    Key = "job.key",
    Cause = "job.cause",
    PayloadBytes = "(select length(body) from payload where payload.id = job.payload_id) as payload_bytes",
}

/// Where a column stands.
const fn at(column: Column) -> usize {
    column as usize
}

/// A job from the columns of [`JOB_COLUMNS`].
pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        id: row.get(at(Column::Id))?,
        queue: row.get(at(Column::Queue))?,
        command: row::command_at(row, at(Column::IsShell), at(Column::Command))?,
        state: state(row)?,
        priority: row.get(at(Column::Priority))?,
        attempt: row.get(at(Column::Attempt))?,
        max_attempts: row.get(at(Column::MaxAttempts))?,
        crashes: row.get(at(Column::Crashes))?,
        snoozes: row.get(at(Column::Snoozes))?,
        key: row.get(at(Column::Key))?,
        labels: row::map(row, at(Column::Labels))?.unwrap_or_default(),
        payload_bytes: row.get::<_, Option<u64>>(at(Column::PayloadBytes))?.unwrap_or(0),
        created_at: row.get(at(Column::CreatedAt))?,
        run_at: row.get(at(Column::RunAt))?,
        started_at: row.get(at(Column::StartedAt))?,
        expires_at: row.get(at(Column::ExpiresAt))?,
        last: ending(row)?,
        progress: progress(row)?,
        delivery: delivery(row)?,
        group: row.get(at(Column::Cause))?,
    })
}

/// The lease under which the job runs.
pub(super) fn lease(row: &Row<'_>) -> rusqlite::Result<Lease> {
    Ok(Lease { job: row.get(at(Column::Id))?, token: row.get(at(Column::Token))? })
}

fn state(row: &Row<'_>) -> rusqlite::Result<State> {
    Ok(match row.get(at(Column::State))? {
        StateKind::Blocked => State::Blocked,
        StateKind::Scheduled => State::Scheduled { due: row.get(at(Column::RunAt))? },
        StateKind::Ready => State::Ready { since: row.get(at(Column::RunAt))? },
        StateKind::Running => State::Running {
            token: row.get(at(Column::Token))?,
            worker: row.get::<_, WorkerId>(at(Column::WorkerId))?.to_string(),
            since: row.get(at(Column::StartedAt))?,
            cancel_requested: row.get(at(Column::CancelRequested))?,
        },
        StateKind::Retrying => State::Retrying { due: row.get(at(Column::RunAt))? },
        StateKind::Succeeded => State::Succeeded { at: row.get(at(Column::FinishedAt))? },
        StateKind::Dead => State::Dead { at: row.get(at(Column::FinishedAt))?, reason: row.get(at(Column::Reason))? },
        StateKind::Cancelled => State::Cancelled { at: row.get(at(Column::FinishedAt))? },
    })
}

fn ending(row: &Row<'_>) -> rusqlite::Result<Option<Ending>> {
    let Some(outcome) = row.get(at(Column::Outcome))? else { return Ok(None) };
    Ok(Some(Ending {
        outcome,
        exit_code: row.get(at(Column::ExitCode))?,
        signal: row.get(at(Column::Signal))?,
        error: row.get(at(Column::Error))?,
    }))
}

fn progress(row: &Row<'_>) -> rusqlite::Result<Option<Progress>> {
    let Some(column) = row.get_ref(at(Column::Progress))?.as_str_or_null()? else { return Ok(None) };
    wish::progress_in(column).map(Some).map_err(|error| bad_column(Box::new(error)))
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Option<Box<Delivery>>> {
    let Some(event) = row.get(at(Column::EventId))? else { return Ok(None) };
    let (topic, subscription) = (row.get(at(Column::Topic))?, row.get(at(Column::Subscription))?);
    Ok(Some(Box::new(Delivery { event, topic, subscription })))
}
