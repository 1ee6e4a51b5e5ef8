//! Why a row has no figure.

use std::process::{Command, ExitStatus};

/// What came in the way of a measurement.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A peer, or a tool that measures, that this machine does not have.
    #[error("{0} is not installed")]
    NotInstalled(&'static str),
    /// Something failed; what, and what it said.
    #[error("{0}")]
    Failed(String),
}

/// What a measurement comes to.
pub(crate) type Outcome<T> = Result<T, Trouble>;

impl Trouble {
    /// A failure, in words.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::Failed(what.into())
    }

    /// The failure of a command that ended so, having said this on stderr.
    pub(crate) fn ended(command: &Command, status: ExitStatus, stderr: &[u8]) -> Self {
        Self::Failed(format!("{command:?} ended with {status}: {}", String::from_utf8_lossy(stderr).trim()))
    }
}

impl From<qctl::store::Error> for Trouble {
    fn from(error: qctl::store::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
