//! What can go wrong with a queue file, told apart by what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::answer::Met;
use crate::job::{JobId, QueueName};

/// What a store verb answers where it could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no queue file at this path. Only verbs that read say so; those that write make it.
    #[error("there is no queue at {}", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a qctl queue: {found}", .path.display())]
    NotAQueue {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: &'static str,
    },
    /// A newer qctl has been at work on the file.
    #[error("{} has schema {found}; this qctl knows up to {known}", .path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema that this qctl knows.
        known: u32,
    },
    /// The file cannot be kept safe where it is.
    #[error("{} cannot hold a queue: {why}", .path.display())]
    UnsafePlace {
        /// The file.
        path: PathBuf,
        /// What is wrong with the place.
        why: String,
    },
    /// The operating system refused the file or its folder.
    #[error("{} could not be opened", .path.display())]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process kept the write lock. Nothing was written.
    #[error("the queue stayed locked for {} s; nothing was written", .waited.as_secs())]
    Busy {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The disk is full. Nothing was written.
    #[error("the disk under {} is full; nothing was written", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The system failed in the middle of a commit: it may or may not have taken effect.
    #[error("what was written to {} could not be confirmed; it may or may not have taken effect", .path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The device failed. If that was in a write, nothing of it took effect.
    #[error("{} could not be read or written", .path.display())]
    Failing {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file, or one that belongs to it, is no longer where it was when it was opened.
    #[error("{} was moved, deleted or replaced while it was in use", .path.display())]
    Moved {
        /// Where it was.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("{} is damaged", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key is held and the push asked to be refused then. Nothing was written.
    #[error("key {key:?} is held by job {holder} in queue {queue}")]
    KeyTaken {
        /// The key.
        key: String,
        /// Its queue.
        queue: QueueName,
        /// The job that holds it.
        holder: JobId,
        /// What is to be known of that job.
        met: Box<Met>,
    },
    /// Anything else that the engine reported.
    #[error("the queue could not be read or written")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Whether the same call may well succeed a little later, nothing having been written.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Full { .. })
    }

    /// What it means that the operating system refused a file or its folder.
    pub(super) fn refused(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ if source.raw_os_error() == Some(nix::libc::EIO) => Self::Failing { path, source: Box::new(source) },
            _ => Self::Refused { path, source },
        }
    }
}

/// The result of a store verb.
pub type Result<T> = std::result::Result<T, Error>;
