//! The log beside the queue file as what it is synced by.
//!
//! The log is the one file beside the queue that may be opened and closed freely: SQLite keeps no
//! locks on it. One sync covers the frames of every process that committed before.
//!
//! A sync that fails is told once to whoever has the file open, and the kernel then takes what was
//! not written for written. So the log is opened *before* the first commit that it is to vouch for:
//! the failure of another process's sync is then heard of here too. And who has heard of one vouches
//! for nothing any more.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc::O_NOFOLLOW;

use crate::store::{Error, Result};

/// The log of one connection.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// `None` until something is to be written, and where the file is not kept with a log.
    file: Option<File>,
    has_failed: bool,
}

impl Log {
    /// The log at this path; nothing is opened yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, has_failed: false }
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has still to be opened before something is written.
    pub(super) fn is_closed(&self) -> bool {
        self.file.is_none()
    }

    /// Opens it; answers whether it is there.
    pub(super) fn open(&mut self) -> Result<bool> {
        match OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(&self.path) {
            Ok(file) => self.file = Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(Error::refused(&self.path, source)),
        }
        Ok(true)
    }

    /// Makes every commit in it survive a power cut.
    pub(super) fn sync(&mut self) -> Result<()> {
        let unknown = |source: io::Error| Error::Unknown { path: self.path.clone(), source: Box::new(source) };
        if self.has_failed {
            return Err(unknown(io::Error::other("an earlier write to it failed")));
        }
        // Without a log SQLite has synced the file itself.
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_data().map_err(|error| {
            self.has_failed = true;
            unknown(error)
        })
    }

    /// Whether another file, or none, has come to be in its place.
    pub(super) fn has_moved(&self) -> bool {
        self.file.as_ref().is_some_and(|file| !is_at(file, &self.path))
    }
}

/// Whether this open file is the one at the path.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), path.symlink_metadata()) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_whose_place_another_file_came_has_moved() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("q-wal");
        let mut log = Log::new(path.clone());
        assert!(!log.open().expect("a look") && log.is_closed() && !log.has_moved());
        std::fs::write(&path, "frames").expect("a file");
        assert!(log.open().expect("a look") && !log.has_moved());
        log.sync().expect("a disk that works");
        std::fs::rename(&path, folder.path().join("elsewhere")).expect("a move");
        assert!(log.has_moved());
        std::fs::write(&path, "others").expect("a file");
        assert!(log.has_moved());
    }
}
