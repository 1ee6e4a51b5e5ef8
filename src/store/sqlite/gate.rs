//! The queue before the write lock.
//!
//! SQLite lets whoever comes first have its write lock, and those who wait poll for it with ever
//! longer sleeps: of 16 writers in a loop one made 3050 commits and the median writer one. A
//! `flock` taken before `BEGIN` makes the kernel keep the queue: 749 to 802 each, and three times
//! as many in all. Nothing's correctness rests on it, so it is waited for only so long and passed
//! by where it cannot be had.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::libc::O_NOFOLLOW;

/// The gate of one queue file.
#[derive(Debug)]
pub(super) struct Gate {
    path: PathBuf,
    /// The file that keeps it, once it was needed.
    file: Option<File>,
}

/// The right to go first; given back when dropped.
#[derive(Debug)]
pub(super) enum Pass<'g> {
    /// It was to be had at once.
    Free(&'g File),
    /// It was waited for.
    Waited(#[expect(dead_code, reason = "closing the file gives the lock back")] File),
    /// It was passed by.
    None,
}

impl Gate {
    /// The gate that this file keeps.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Waits for its turn, at most `patience`; where that is nothing, looks whether nobody is before it.
    pub(super) fn pass(&mut self, patience: Duration) -> Pass<'_> {
        if self.file.is_none() {
            self.file = open(&self.path).ok();
        }
        let Some(file) = &self.file else { return Pass::None };
        match file.try_lock() {
            Ok(()) => Pass::Free(file),
            Err(TryLockError::Error(_)) => Pass::None,
            Err(TryLockError::WouldBlock) if patience.is_zero() => Pass::None,
            // Opened once more: should it be given up, a lock that comes too late goes with that file.
            Err(TryLockError::WouldBlock) => {
                open(&self.path).ok().and_then(|file| wait(file, patience)).map_or(Pass::None, Pass::Waited)
            }
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Self::Free(file) = self {
            // Closing the file would do so, too.
            let _ = file.unlock();
        }
    }
}

/// Blocks for the lock in a thread of its own, because a blocking `flock` has no time limit: should
/// the holder be stopped, the thread stays behind and the caller goes on.
fn wait(file: File, patience: Duration) -> Option<File> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("gate".to_owned())
        .spawn(move || {
            if file.lock().is_ok() {
                // Where nobody waits any more, the file is dropped here and the lock with it.
                let _ = sender.send(file);
            }
        })
        .ok()?;
    receiver.recv_timeout(patience).ok()
}

/// Opens the lock file, making it if need be; a link in its place is not followed.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(O_NOFOLLOW);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    match options.create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.create_new(false).open(path),
        Err(error) => Err(error),
        Ok(file) => {
            // The umask may have taken bits away that the owner needs.
            file.set_permissions(Permissions::from_mode(0o600))?;
            Ok(file)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_is_held_is_passed_by_after_a_while() {
        let folder = tempfile::tempdir().expect("a folder");
        let [mut one, mut other] = [(); 2].map(|()| Gate::new(folder.path().join("lock")));
        let held = one.pass(Duration::ZERO);
        assert!(matches!(held, Pass::Free(_)));
        assert!(matches!(other.pass(Duration::from_millis(20)), Pass::None));
        drop(held);
        // Whoever was given up may be given the lock before it is given back.
        assert!(matches!(other.pass(Duration::from_secs(5)), Pass::Free(_) | Pass::Waited(_)));
    }
}
