//! The folder beside the queue file for what steps printed beyond what is kept in a row.
//!
//! A file is on the disk before its row says so, and goes after it is on the disk that the row has gone. What a
//! crash leaves between the two is swept up by the next worker.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc::O_NOFOLLOW;
use rusqlite::Connection;

use super::row::Explain as _;
use super::{place, recorded, upkeep};
use crate::job::{JobId, Lease, Printed, StepOutput, Token};
use crate::store::step_file::StepFile;
use crate::store::{Error, Result, Standing};

/// The folder of one queue, which is there once a file is.
#[derive(Debug)]
pub(super) struct Folder {
    queue: PathBuf,
    path: PathBuf,
}

impl Folder {
    /// The one of this queue file.
    pub(super) fn of(queue: &Path) -> Self {
        Self { queue: queue.to_owned(), path: place::beside(queue, "-steps") }
    }

    /// The queue file.
    pub(super) fn queue(&self) -> &Path {
        &self.queue
    }

    /// Makes a file for the step of this attempt that has this key.
    pub(super) fn create(&self, lease: Lease, key: &str) -> Result<StepFile> {
        self.make()?;
        StepFile::create(self.path.join(format!("{}-{}-{key}", lease.job, lease.token)))
            .map_err(|source| Error::refused(&self.path, source))
    }

    fn make(&self) -> Result<()> {
        let refused = |source| Error::refused(&self.path, source);
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Ok(()) => {
                // The umask may have taken bits away that the owner needs.
                std::fs::set_permissions(&self.path, Permissions::from_mode(0o700)).map_err(refused)?;
                place::sync_folder(&self.path)
            }
            // It is where commands find what they go on with: nobody else's folder will do.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.is_folder() => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }

    /// Whether it is there; a link in its place is not followed.
    fn is_folder(&self) -> bool {
        self.path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
    }

    /// Where the file of this name is; `None` where that is no name, or would lead out of here.
    fn place_of(&self, name: &str) -> Option<PathBuf> {
        lease_in(name).filter(|_| !name.contains('/') && self.is_folder()).map(|_| self.path.join(name))
    }

    /// What was printed, to be read.
    pub(super) fn read(&self, printed: Printed) -> Result<StepOutput> {
        match printed {
            Printed::Bytes(bytes) => Ok(StepOutput::Bytes(bytes)),
            Printed::File { name, bytes } => self.open(&name, bytes).map(StepOutput::File),
        }
    }

    /// Opens a file, which must have all of these bytes.
    fn open(&self, name: &str, bytes: u64) -> Result<File> {
        let Some(path) = self.place_of(name) else {
            let source = io::Error::other(format!("it has no file {}", name.escape_debug()));
            return Err(Error::refused(&self.path, source));
        };
        let whole = |file: File| match file.metadata()?.len() {
            n if n == bytes => Ok(file),
            n => Err(io::Error::other(format!("it has {n} bytes and not {bytes}"))),
        };
        OpenOptions::new()
            .read(true)
            .custom_flags(O_NOFOLLOW)
            .open(&path)
            .and_then(whole)
            .map_err(|source| Error::refused(&path, source))
    }

    /// Removes files whose rows are gone. One that stays is swept up later.
    pub(super) fn remove(&self, names: &[String]) {
        for path in names.iter().filter_map(|name| self.place_of(name)) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// What belongs to no row and to no attempt that runs.
    ///
    /// An attempt that has ended never runs again under its token, so nothing can come to need such a file.
    pub(super) fn orphans(&self, conn: &Connection) -> Result<Vec<String>> {
        // Most queues have no such folder.
        if !self.is_folder() {
            return Ok(Vec::new());
        }
        let Ok(entries) = self.path.read_dir() else { return Ok(Vec::new()) };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut over = Vec::new();
        for name in names {
            let Some(lease) = lease_in(&name) else { continue };
            if upkeep::standings(conn, &[lease]).explain(&self.queue)?[0].1 == Standing::Lost {
                over.push(name);
            }
        }
        // In this order: an attempt that ended before this look has put on record what it ever will.
        let kept: BTreeSet<String> = recorded::files(conn).explain(&self.queue)?.into_iter().collect();
        over.retain(|name| !kept.contains(name));
        Ok(over)
    }

    /// Copies those files to the folder of another queue file, as far as they are there: the job of one that is
    /// not was forgotten meanwhile.
    pub(super) fn copy_to(&self, other: &Self, names: &[String]) -> Result<()> {
        let refused = |source| Error::refused(&other.path, source);
        if names.is_empty() {
            return Ok(());
        }
        other.make()?;
        for (from, to) in names.iter().filter_map(|name| Some((self.place_of(name)?, other.place_of(name)?))) {
            match std::fs::copy(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                copied => {
                    copied.and_then(|_| File::open(&to)?.sync_all()).map_err(refused)?;
                }
            }
        }
        File::open(&other.path).and_then(|folder| folder.sync_all()).map_err(refused)
    }
}

/// The attempt that made the file of this name.
fn lease_in(name: &str) -> Option<Lease> {
    let (job, rest) = name.split_once('-')?;
    let (token, _) = rest.split_once('-')?;
    Some(Lease { job: JobId::new(job.parse().ok()?)?, token: Token::new(token.parse().ok()?) })
}
