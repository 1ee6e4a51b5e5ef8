//! `--lock`: at most one such worker on a queue file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc::O_NOFOLLOW;

use crate::wake;

/// The right to be the only worker under a name; given back when dropped or when the process ends,
/// however it ends.
#[derive(Debug)]
pub struct Sole(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

impl Sole {
    /// Takes the name, or answers `None` where another process has it.
    ///
    /// # Errors
    ///
    /// Where the lock cannot be made.
    pub fn claim(folder: &Path, name: &str) -> io::Result<Option<Self>> {
        wake::make_folder(folder)?;
        // The dot tells it from a bell.
        let path = folder.join(format!("{name}.lock"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(O_NOFOLLOW)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
