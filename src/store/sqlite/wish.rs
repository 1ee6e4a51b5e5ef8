//! What running attempts say of themselves, noted under their lease.
//!
//! Kept as JSON of shapes of its own, so that a renamed word of the vocabulary cannot change what is in a
//! file. Durations are whole milliseconds.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, named_params};
use serde::{Deserialize, Serialize};

use super::row::Explain as _;
use super::transaction::Txn;
use crate::clock::{self, Timestamp};
use crate::job::{GroupName, Lease, Progress, StepPath, Wish};
use crate::store::{Result, Standing};

/// A wish as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredWish {
    Snooze(u64),
    Bury(Option<String>),
    BuryIn(Option<String>, String),
    RetryAfter(u64),
    Sleep(i64),
    Doubt(String),
}

/// Progress as it is kept.
#[derive(Serialize, Deserialize)]
struct StoredProgress {
    percent: u8,
    message: Option<String>,
}

/// Notes what an attempt asks for.
pub(super) fn wish(tx: &Txn<'_>, lease: Lease, wish: &Wish) -> Result<Standing> {
    note(tx, "update job set wish = :said", lease, &column(wish))
}

/// A wish as its column.
fn column(wish: &Wish) -> String {
    let stored = match wish {
        Wish::Snooze(pause) => StoredWish::Snooze(whole_millis(*pause)),
        Wish::Bury { message, group: None } => StoredWish::Bury(message.clone()),
        Wish::Bury { message, group: Some(group) } => StoredWish::BuryIn(message.clone(), group.to_string()),
        Wish::RetryAfter(pause) => StoredWish::RetryAfter(whole_millis(*pause)),
        Wish::Sleep(until) => StoredWish::Sleep(until.as_millis()),
        Wish::Doubt(step) => StoredWish::Doubt(step.to_string()),
    };
    serde_json::to_string(&stored).expect("numbers and text are always JSON")
}

/// Notes how far along an attempt is.
pub(super) fn note_progress(tx: &Txn<'_>, lease: Lease, progress: &Progress) -> Result<Standing> {
    note(tx, "update job set progress = :said", lease, &progress_column(progress))
}

/// Progress as its column.
pub(super) fn progress_column(progress: &Progress) -> String {
    let stored = StoredProgress { percent: progress.percent, message: progress.message.clone() };
    serde_json::to_string(&stored).expect("numbers and text are always JSON")
}

/// Writes what was said, if the lease holds.
fn note(tx: &Txn<'_>, change: &str, lease: Lease, said: &str) -> Result<Standing> {
    let sql = format!(
        "{change} where id = :id and state = 'running' and token = :token and is_taken = 0 returning cancel_requested"
    );
    let mut update = tx.prepare_cached(&sql).explain(tx.path())?;
    let params = named_params! { ":id": lease.job, ":token": lease.token, ":said": said };
    let is_cancelled: Option<bool> = update.query_row(params, |row| row.get(0)).optional().explain(tx.path())?;
    Ok(match is_cancelled {
        Some(false) => Standing::Held,
        Some(true) => Standing::CancelRequested,
        None => Standing::Lost,
    })
}

/// A wish from its column.
pub(super) fn wish_in(column: &str) -> serde_json::Result<Wish> {
    Ok(match serde_json::from_str(column)? {
        StoredWish::Snooze(millis) => Wish::Snooze(Duration::from_millis(millis)),
        StoredWish::Bury(message) => Wish::Bury { message, group: None },
        StoredWish::BuryIn(message, group) => {
            Wish::Bury { message, group: Some(GroupName::new(group).map_err(serde::de::Error::custom)?) }
        }
        StoredWish::RetryAfter(millis) => Wish::RetryAfter(Duration::from_millis(millis)),
        StoredWish::Sleep(millis) => Wish::Sleep(Timestamp::from_millis(millis)),
        StoredWish::Doubt(step) => Wish::Doubt(StepPath::parse(&step).map_err(serde::de::Error::custom)?),
    })
}

/// Progress from its column.
pub(super) fn progress_in(column: &str) -> serde_json::Result<Progress> {
    let StoredProgress { percent, message } = serde_json::from_str(column)?;
    Ok(Progress { percent, message })
}

/// No number is too large for the column: what is longer is as good as for ever.
fn whole_millis(pause: Duration) -> u64 {
    clock::millis(pause).unsigned_abs()
}
