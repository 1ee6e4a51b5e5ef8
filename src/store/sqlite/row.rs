//! The boundary: columns to values and back; SQLite's errors to the store's. A job has a file of its own, `job_row`.

use std::path::Path;
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Type, ValueRef};
use rusqlite::{ErrorCode, Row, RowIndex, ToSql, ffi};

use super::presence::FileId;
use super::{place, terms, wish};
use crate::clock::{self, Timestamp, Uptime};
use crate::job::{
    Attempt, Command, Context, DropId, EnvVars, EventId, GroupName, JobId, Labels, Outcome, Phase, QueueName,
    QueueSettings, Rate, Reason, Report, Skip, StateKind, Stream, Token, Topic, TopicPattern, Usage, Wish, WorkerId,
};
use crate::store::{Error, Result};

/// What the running attempt asked for, from the column `wish`.
pub(super) fn wish(row: &Row<'_>) -> rusqlite::Result<Option<Wish>> {
    let Some(column) = row.get_ref("wish")?.as_str_or_null()? else { return Ok(None) };
    wish::wish_in(column).map(Some).map_err(|error| bad_column(Box::new(error)))
}

/// An attempt from the columns of its table.
pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    let cpu: Option<u64> = row.get("cpu_us")?;
    let max_rss_bytes: Option<u64> = row.get("max_rss_bytes")?;
    let usage =
        cpu.zip(max_rss_bytes).map(|(cpu, max_rss_bytes)| Usage { cpu: Duration::from_micros(cpu), max_rss_bytes });
    let report = Report {
        outcome: row.get("outcome")?,
        exit_code: row.get("exit_code")?,
        signal: row.get("signal")?,
        error: row.get("error")?,
        started_at: row.get("started_at")?,
        ended_at: row.get("ended_at")?,
        usage,
        stdout_bytes: row.get("stdout_bytes")?,
        stderr_bytes: row.get("stderr_bytes")?,
        is_truncated: row.get("is_truncated")?,
        worker: row.get("worker")?,
    };
    Ok(Attempt {
        token: row.get("token")?,
        started_at: report.started_at,
        worker: report.worker.clone(),
        report: Some(report),
    })
}

/// A command from the columns `is_shell` and `command`.
pub(super) fn command(row: &Row<'_>) -> rusqlite::Result<Option<Command>> {
    command_at(row, "is_shell", "command")
}

/// A command from these two columns.
pub(super) fn command_at(
    row: &Row<'_>,
    is_shell: impl RowIndex,
    command: impl RowIndex,
) -> rusqlite::Result<Option<Command>> {
    let Some(bytes) = row.get::<_, Option<Vec<u8>>>(command)? else { return Ok(None) };
    let is_shell: bool = row.get(is_shell)?;
    Ok(Some(if is_shell {
        Command::Shell(bytes)
    } else {
        Command::Program(bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect())
    }))
}

/// A command as its two columns: `is_shell` and `command`, the arguments parted by NUL.
pub(super) fn command_columns(command: Option<&Command>) -> (Option<bool>, Option<Vec<u8>>) {
    match command {
        None => (None, None),
        Some(Command::Shell(line)) => (Some(true), Some(line.clone())),
        Some(Command::Program(words)) => (Some(false), Some(words.join(&0))),
    }
}

/// Labels from the column `labels`.
pub(super) fn labels(row: &Row<'_>) -> rusqlite::Result<Labels> {
    map(row, "labels").map(Option::unwrap_or_default)
}

/// Names and values from a column.
pub(super) fn map(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Option<Labels>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        text => serde_json::from_str(text.as_str()?).map(Some).map_err(|error| bad_column(Box::new(error))),
    }
}

/// A rate as it is kept: how many, and in how many milliseconds.
type StoredRate = (u32, u64);

/// The rate from the column `rate`.
pub(super) fn rate(row: &Row<'_>) -> rusqlite::Result<Option<Rate>> {
    rate_in(row, "rate")
}

/// The rate from a column.
pub(super) fn rate_in(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Rate>> {
    let Some(column) = row.get_ref(column)?.as_str_or_null()? else { return Ok(None) };
    let (n, per): StoredRate = serde_json::from_str(column).map_err(|error| bad_column(Box::new(error)))?;
    Ok(Some(Rate { n: n.max(1), per: Duration::from_millis(per.max(1)) }))
}

/// A rate as its column.
pub(super) fn rate_column(rate: Rate) -> String {
    let stored: StoredRate = (rate.n, clock::millis(rate.per).unsigned_abs());
    serde_json::to_string(&stored).expect("numbers are always JSON")
}

/// Labels as their column; none as NULL.
pub(super) fn labels_column(labels: &Labels) -> Option<String> {
    (!labels.is_empty()).then(|| serde_json::to_string(labels).expect("a map of strings is always JSON"))
}

/// Variables as their column: `NAME=value`, parted by NUL.
pub(super) fn env_column(env: &EnvVars) -> Vec<u8> {
    let pairs: Vec<Vec<u8>> = env.iter().map(|(name, value)| [name.as_slice(), b"=", value].concat()).collect();
    pairs.join(&0)
}

/// Variables from their column; NULL is none.
pub(super) fn env(column: Option<&[u8]>) -> EnvVars {
    let pairs = column.unwrap_or_default().split(|&byte| byte == 0);
    pairs
        .filter_map(|pair| {
            let at = pair.iter().position(|&byte| byte == b'=')?;
            Some((pair[..at].to_vec(), pair[at + 1..].to_vec()))
        })
        .collect()
}

/// A context from the columns `cwd`, `context_env` and `terms`.
pub(super) fn context(row: &Row<'_>) -> rusqlite::Result<Context> {
    let terms = terms::terms(row.get_ref("terms")?.as_str()?).map_err(|error| bad_column(Box::new(error)))?;
    Ok(Context { cwd: row.get("cwd")?, env: env(row.get_ref("context_env")?.as_blob_or_null()?), terms })
}

/// Settings from their column.
pub(super) fn settings(row: &Row<'_>) -> rusqlite::Result<QueueSettings> {
    terms::settings(row.get_ref("settings")?.as_str()?).map_err(|error| bad_column(Box::new(error)))
}

/// A column with something that it cannot hold.
pub(super) fn bad_column(error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error)
}

/// Columns that are one number.
macro_rules! number_column {
    ($type:ty, $from:expr, $to:expr) => {
        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let from: fn(i64) -> Option<Self> = $from;
                from(value.as_i64()?).ok_or(FromSqlError::InvalidType)
            }
        }

        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                let to: fn(&Self) -> i64 = $to;
                Ok(to(self).into())
            }
        }
    };
}

number_column!(Timestamp, |n| Some(Self::from_millis(n)), |t| t.as_millis());
number_column!(Uptime, |n| Some(Self::from_millis(n)), |t| t.as_millis());
number_column!(JobId, Self::new, |id| id.get());
number_column!(Token, |n| Some(Self::new(n)), |t| t.get());
number_column!(WorkerId, |n| Some(Self::new(n)), |id| id.get());

/// Columns that are one of a few words.
macro_rules! word_column {
    ($type:ty) => {
        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let word = value.as_str()?;
                Self::ALL.into_iter().find(|known| known.name() == word).ok_or(FromSqlError::InvalidType)
            }
        }

        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.name().into())
            }
        }
    };
}

number_column!(EventId, Self::new, |id| id.get());
number_column!(DropId, |n| Some(Self::new(n)), |id| id.get());

word_column!(Phase);
word_column!(Skip);
word_column!(StateKind);
word_column!(Reason);
word_column!(Outcome);
word_column!(Stream);

impl FromSql for FileId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(|()| FromSqlError::InvalidType)
    }
}

impl ToSql for FileId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl FromSql for QueueName {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).map_err(|_| FromSqlError::InvalidType)
    }
}

impl FromSql for GroupName {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).map_err(|_| FromSqlError::InvalidType)
    }
}

impl ToSql for GroupName {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for Topic {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).map_err(|_| FromSqlError::InvalidType)
    }
}

impl FromSql for TopicPattern {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).map_err(|_| FromSqlError::InvalidType)
    }
}

impl ToSql for QueueName {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

/// Says in the store's terms what SQLite answered.
pub(super) trait Explain<T> {
    /// `path` is the file it happened with.
    fn explain(self, path: &Path) -> Result<T>;
}

impl<T> Explain<T> for rusqlite::Result<T> {
    fn explain(self, path: &Path) -> Result<T> {
        self.map_err(|error| self::error(error, path))
    }
}

/// The store's error for one of SQLite's.
pub(super) fn error(error: rusqlite::Error, path: &Path) -> Error {
    use rusqlite::Error as E;
    let path = path.to_owned();
    let Some((code, extended)) = error.sqlite_error().map(|e| (e.code, e.extended_code)) else {
        return match error {
            E::QueryReturnedNoRows => Error::Corrupt { path, source: "a row that another names is not there".into() },
            // A table that is not there, or a value that qctl never writes.
            E::SqlInputError { .. }
            | E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..)
            | E::Utf8Error(..) => Error::Corrupt { path, source: Box::new(error) },
            _ => Error::Backend(Box::new(error)),
        };
    };
    match code {
        ErrorCode::NotADatabase => Error::NotAQueue { path, found: "it is not a SQLite file" },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::Busy { waited: super::PATIENCE },
        ErrorCode::DiskFull => Error::Full { path },
        // Only the index of the log, which holds nothing of its own, could not be given its size.
        _ if extended == ffi::SQLITE_IOERR_SHMSIZE && place::is_full(&path) => Error::Full { path },
        // The log could not be made: SQLite does not say why.
        ErrorCode::CannotOpen if place::is_full(&path) => Error::Full { path },
        ErrorCode::SystemIoFailure => Error::Failing { path, source: Box::new(error) },
        ErrorCode::DatabaseCorrupt => Error::Corrupt { path, source: Box::new(error) },
        // In a file that is as qctl made it, no value breaks the rules of the schema.
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => Error::Corrupt { path, source: Box::new(error) },
        _ if extended == ffi::SQLITE_ERROR => Error::Corrupt { path, source: Box::new(error) },
        ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            let source = match extended {
                ffi::SQLITE_READONLY_DBMOVED => return Error::Moved { path },
                _ if code == ErrorCode::ReadOnly => std::io::ErrorKind::ReadOnlyFilesystem.into(),
                // SQLite tells neither what it could not open nor why; without access it is that.
                _ => match access(&path, AccessFlags::R_OK | AccessFlags::W_OK) {
                    Err(errno) => errno.into(),
                    Ok(()) => std::io::Error::other("what lies beside it cannot be made or opened"),
                },
            };
            Error::Refused { path, source }
        }
        _ => Error::Backend(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_keep_bytes_and_equal_signs() {
        let vars =
            vec![(b"A".to_vec(), b"x=y".to_vec()), (b"B".to_vec(), b"\xff".to_vec()), (b"C".to_vec(), Vec::new())];
        assert_eq!(env(Some(&env_column(&vars))), vars);
        assert_eq!(env(Some(&env_column(&Vec::new()))), Vec::new());
        assert_eq!(env(None), Vec::new());
    }
}
