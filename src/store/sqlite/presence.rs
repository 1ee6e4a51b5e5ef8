//! Who is there, told by locks that the kernel gives back.
//!
//! A process number proves nothing: it is reused, and means something else in another container.
//! A lock on a byte of the lock file is held exactly as long as its holder lives, however it dies.
//! Each worker holds the byte of its number. Each attempt's processes inherit an open file that
//! holds the byte of that attempt (its *mark*), so that a worker which finds the byte free knows
//! that none of them is left.
//!
//! These are open-file-description locks (`F_OFD_SETLK`): they belong to the open file, not to the
//! process, so they are inherited, and closing another file of the same name does not drop them.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, O_NOFOLLOW, flock};

use super::{gate, log};
use crate::job::{Lease, WorkerId};
use crate::store::{Error, Mark, Result};

/// Where the bytes of workers begin. Byte 0 is left to whoever needs the whole file.
const WORKERS: i64 = 1 << 40;

/// Where the bytes of attempts begin.
const ATTEMPTS: i64 = 1 << 61;

/// How many bytes a job has for its attempts; a power of two. A job that is tried more often
/// starts over: by then its earlier attempts are long gone.
const ATTEMPTS_PER_JOB: i64 = 1 << 12;

/// The lock file as a register of who is there.
#[derive(Debug)]
pub(super) struct Presence {
    path: PathBuf,
    /// The bytes of this store's own workers.
    own: Vec<(WorkerId, HeldByte)>,
    /// Kept open to look with: a worker that has as many files open as it may must still be able to
    /// tell who is there.
    lookout: RefCell<Option<File>>,
}

/// A byte of the lock file, given back when dropped.
#[derive(Debug)]
pub(super) struct HeldByte(File);

impl Presence {
    /// The register in this file.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, own: Vec::new(), lookout: RefCell::default() }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Holds a worker's byte for as long as this value lives.
    pub(super) fn keep(&mut self, worker: WorkerId, byte: HeldByte) {
        self.own.push((worker, byte));
    }

    /// Gives a worker's byte back, if it is one of its own.
    pub(super) fn give_back(&mut self, worker: WorkerId) {
        self.own.retain(|&(own, _)| own != worker);
    }

    /// Whether the worker's byte is held.
    pub(super) fn is_alive(&self, worker: WorkerId) -> Result<bool> {
        self.is_held(worker_byte(worker))
    }

    /// Opens a file that holds the attempt's byte.
    ///
    /// Read-only, because processes of the job inherit it.
    pub(super) fn mark(&self, lease: Lease) -> Result<OwnedFd> {
        let file = self.open()?;
        let lock = byte_lock(libc::F_RDLCK, attempt_byte(lease));
        fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).map_err(|errno| self.refused(errno.into()))?;
        Ok(file.into())
    }

    /// The attempt's mark, if anyone holds it.
    pub(super) fn marked(&self, lease: Lease) -> Result<Option<Mark>> {
        let byte = attempt_byte(lease);
        if !self.is_held(byte)? {
            return Ok(None);
        }
        let inode = self.path.metadata().map_err(|source| self.refused(source))?.ino();
        Ok(Some(Mark { inode, byte }))
    }

    /// Whether another file, or none, has come to be in the place of the one in which workers are
    /// registered: they look dead to everyone else then.
    pub(super) fn has_moved(&self) -> bool {
        let lookout = self.lookout.borrow();
        let mut files = self.own.iter().map(|(_, HeldByte(file))| file).chain(lookout.as_ref());
        files.any(|file| !log::is_at(file, &self.path))
    }

    fn is_held(&self, byte: i64) -> Result<bool> {
        let mut lookout = self.lookout.borrow_mut();
        let file = match lookout.take() {
            Some(file) => file,
            None => match self.open() {
                Err(Error::Refused { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(false),
                opened => opened?,
            },
        };
        let file = lookout.insert(file);
        let mut lock = byte_lock(libc::F_WRLCK, byte);
        fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut lock)).map_err(|errno| self.refused(errno.into()))?;
        Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
    }

    fn open(&self) -> Result<File> {
        OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(&self.path).map_err(|source| self.refused(source))
    }

    fn refused(&self, source: io::Error) -> Error {
        Error::refused(&self.path, source)
    }
}

/// Takes the byte of a worker in the register at `path`.
pub(super) fn hold(path: &Path, worker: WorkerId) -> Result<HeldByte> {
    let refused = |source| Error::refused(path, source);
    let file = gate::open(path).map_err(refused)?;
    let lock = byte_lock(libc::F_WRLCK, worker_byte(worker));
    fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).map_err(|errno| refused(errno.into()))?;
    Ok(HeldByte(file))
}

fn worker_byte(worker: WorkerId) -> i64 {
    WORKERS + worker.get()
}

fn attempt_byte(lease: Lease) -> i64 {
    ATTEMPTS + lease.job.get() * ATTEMPTS_PER_JOB + lease.token.get() % ATTEMPTS_PER_JOB
}

fn byte_lock(kind: libc::c_int, byte: i64) -> flock {
    flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        l_pid: 0, // must be 0 for open-file-description locks
    }
}

/// The name of this start of the machine; another one means that every process of then is gone.
pub(super) fn boot_id() -> String {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    std::fs::read_to_string(path).map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobId, Token};

    fn presence(folder: &tempfile::TempDir) -> Presence {
        Presence::new(folder.path().join("lock"))
    }

    #[test]
    fn a_worker_is_there_as_long_as_it_is_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut worker, observer) = (presence(&folder), presence(&folder));
        let id = WorkerId::new(3);
        assert!(!observer.is_alive(id).expect("a look"));
        let byte = hold(worker.path(), id).expect("a byte");
        worker.keep(id, byte);
        assert!(observer.is_alive(id).expect("a look"));
        assert!(worker.is_alive(id).expect("a look at itself"));
        assert!(!observer.is_alive(WorkerId::new(4)).expect("a look"));
        drop(worker);
        assert!(!observer.is_alive(id).expect("a look"));
    }

    #[test]
    fn a_mark_is_held_until_its_last_holder_closes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let presence = presence(&folder);
        gate::open(&presence.path).expect("a lock file");
        let lease = |token| Lease { job: JobId::new(7).expect("positive"), token: Token::new(token) };
        let mark = presence.mark(lease(1)).expect("a mark");
        let copy = mark.try_clone().expect("a second holder");
        drop(mark);
        assert!(presence.marked(lease(1)).expect("a look").is_some());
        assert!(presence.marked(lease(2)).expect("a look").is_none());
        drop(copy);
        assert!(presence.marked(lease(1)).expect("a look").is_none());
    }
}
