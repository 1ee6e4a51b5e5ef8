//! The options that give bytes for a command's standard input, shared by what queues jobs and what publishes.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::exit::Failure;

/// Where the bytes come from.
#[derive(clap::Args, Debug)]
pub(super) struct PayloadOptions {
    /// Bytes for the command's standard input
    #[arg(long, value_name = "S", group = "input")]
    payload: Option<OsString>,
    /// A file whose bytes go to the command's standard input
    #[arg(long, value_name = "F", group = "input")]
    payload_file: Option<PathBuf>,
    /// Pass this standard input on to the command's
    #[arg(long, group = "input")]
    stdin: bool,
}

impl PayloadOptions {
    /// The bytes; `None` where none are given.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(text) = &self.payload {
            return Ok(Some(text.as_bytes().to_vec()));
        }
        if let Some(path) = &self.payload_file {
            let unreadable = |error| Failure::usage(format!("{} could not be read: {error}", path.display()));
            return std::fs::read(path).map(Some).map_err(unreadable);
        }
        if !self.stdin {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let unreadable = |error| Failure::usage(format!("standard input could not be read: {error}"));
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(unreadable)?;
        Ok(Some(bytes))
    }
}
