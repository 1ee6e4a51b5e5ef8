//! A file for what a step prints beyond what is kept in the queue itself.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::job::Printed;

/// A file that is being written; gone again unless it is sealed.
#[derive(Debug)]
pub struct StepFile {
    file: File,
    path: PathBuf,
    bytes: u64,
    is_sealed: bool,
}

impl StepFile {
    /// Makes a file for its owner alone, in the place of one that somebody left unfinished.
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        // The umask may have taken bits away that the owner needs.
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(Self { file, path, bytes: 0, is_sealed: false })
    }

    /// Adds to it.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes it survive a power cut; answers how it is put on record.
    ///
    /// # Errors
    ///
    /// Those of the system; the file is gone then.
    pub fn seal(mut self) -> io::Result<Printed> {
        self.file.sync_all()?;
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
        self.is_sealed = true;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Printed::File { name, bytes: self.bytes })
    }
}

impl Drop for StepFile {
    fn drop(&mut self) {
        if !self.is_sealed {
            // What is left is swept up later.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
