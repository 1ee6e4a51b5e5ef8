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
//!
//! Somebody may delete the lock file, or put another in its place, while workers live. Their locks
//! go with it, out of sight of whoever opens the path. So a worker says on the books which file it
//! locked, all its marks are in that very file, and where the path leads elsewhere, a byte counts as
//! free only if the kernel's list of all locks (`/proc/locks`) does not have it either.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, O_NOFOLLOW, flock};

use super::gate;
use crate::job::{Lease, WorkerId};
use crate::store::{Error, Mark, Result};

/// Where the bytes of workers begin. Byte 0 is left to whoever needs the whole file.
const WORKERS: i64 = 1 << 40;

/// Where the bytes of attempts begin.
const ATTEMPTS: i64 = 1 << 61;

/// How many bytes a job has for its attempts; a power of two. A job that is tried more often
/// starts over: by then its earlier attempts are long gone.
const ATTEMPTS_PER_JOB: i64 = 1 << 12;

/// How often the list of all locks is read before a lock that it lacks is believed to be gone: it
/// comes in portions, and what is at the seam of two can be left out while others unlock.
const READINGS: usize = 3;

/// The lock file as a register of who is there.
#[derive(Debug)]
pub(super) struct Presence {
    queue: PathBuf,
    path: PathBuf,
    /// The bytes of this store's own workers.
    own: Vec<(WorkerId, HeldByte)>,
}

/// A byte of the lock file, given back when dropped.
#[derive(Debug)]
pub(super) struct HeldByte(File);

/// Which file a file is, whatever its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// Where a worker is to be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whereabouts {
    /// The queue file that this was said in.
    pub(super) queue_file: FileId,
    /// The file in which it holds its byte and its attempts have their marks.
    pub(super) lock_file: FileId,
}

impl Presence {
    /// The register in the file `lock` of the queue file `queue`.
    pub(super) fn new(queue: PathBuf, lock: PathBuf) -> Self {
        Self { queue, path: lock, own: Vec::new() }
    }

    /// The queue file and the lock file.
    pub(super) fn paths(&self) -> (PathBuf, PathBuf) {
        (self.queue.clone(), self.path.clone())
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
    pub(super) fn is_alive(&self, worker: WorkerId, whereabouts: Option<Whereabouts>) -> Result<bool> {
        Ok(self.holding(worker_byte(worker), whereabouts)?.is_some())
    }

    /// Opens a file that holds the attempt's byte: in the file of its worker, if that is here.
    ///
    /// Read-only, because processes of the job inherit it.
    pub(super) fn mark(&self, lease: Lease) -> Result<OwnedFd> {
        let file = match self.own.first() {
            Some((_, HeldByte(own))) => {
                File::open(format!("/proc/self/fd/{}", own.as_raw_fd())).map_err(|source| self.refused(source))?
            }
            None => self.open()?,
        };
        let lock = byte_lock(libc::F_RDLCK, attempt_byte(lease));
        fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).map_err(|errno| self.refused(errno.into()))?;
        Ok(file.into())
    }

    /// The attempt's mark, if anyone holds it.
    pub(super) fn marked(&self, lease: Lease, whereabouts: Option<Whereabouts>) -> Result<Option<Mark>> {
        let byte = attempt_byte(lease);
        let file = self.holding(byte, whereabouts)?;
        Ok(file.map(|FileId { device, inode }| Mark { device, inode, byte }))
    }

    /// The file in which this byte is held, if it is.
    fn holding(&self, byte: i64, whereabouts: Option<Whereabouts>) -> Result<Option<FileId>> {
        let here = match self.open() {
            Err(Error::Refused { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        if let Some(here) = here {
            let id = here.metadata().map(|meta| FileId::of(&meta)).map_err(|source| self.refused(source))?;
            if self.is_locked(&here, byte)? {
                return Ok(Some(id));
            }
            if whereabouts.is_some_and(|known| known.lock_file == id) {
                return Ok(None);
            }
        }
        let Some(Whereabouts { queue_file, lock_file }) = whereabouts else { return Ok(None) };
        let queue = self.queue.metadata().map_err(|source| self.refused(source))?;
        // In a copy of the queue it is the original's worker that is spoken of.
        let is_of_this_queue = queue_file == FileId::of(&queue);
        Ok((is_of_this_queue && is_listed(lock_file, byte)?).then_some(lock_file))
    }

    fn is_locked(&self, file: &File, byte: i64) -> Result<bool> {
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

impl FileId {
    fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

impl std::fmt::Display for FileId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.device, self.inode)
    }
}

impl FromStr for FileId {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (device, inode) = text.split_once(':').ok_or(())?;
        Ok(Self { device: device.parse().map_err(drop)?, inode: inode.parse().map_err(drop)? })
    }
}

/// Takes the byte of a worker in the register of the queue; answers where it is to be looked for.
pub(super) fn hold((queue, lock): (&Path, &Path), worker: WorkerId) -> Result<(HeldByte, Whereabouts)> {
    let refused = |source| Error::refused(lock, source);
    let file = gate::open(lock).map_err(refused)?;
    let byte = byte_lock(libc::F_WRLCK, worker_byte(worker));
    fcntl(&file, FcntlArg::F_OFD_SETLK(&byte)).map_err(|errno| refused(errno.into()))?;
    let queue_file = FileId::of(&queue.metadata().map_err(refused)?);
    let lock_file = FileId::of(&file.metadata().map_err(refused)?);
    Ok((HeldByte(file), Whereabouts { queue_file, lock_file }))
}

/// Whether the kernel's list of locks has one on this byte of this file, by whomever it is held.
///
/// A line reads `1: OFDLCK  ADVISORY  WRITE -1 fe:01:1234 FIRST LAST`, see proc(5); in every container
/// it tells of all locks of this kind. Its device is not always the one that `stat` gives (on btrfs
/// and overlayfs), so the inode has to do: should another queue have the same one elsewhere, a worker
/// is believed to live a little longer, until its lease ends.
fn is_listed(file: FileId, byte: i64) -> Result<bool> {
    let path = Path::new("/proc/locks");
    let (inode, byte) = (file.inode.to_string(), byte.to_string());
    let is_it = |line: &str| {
        let mut fields = line.split_ascii_whitespace().rev().skip(1);
        let (first, place) = (fields.next(), fields.next());
        let found = place.and_then(|place| place.rsplit(':').next());
        line.contains(" OFDLCK ") && first == Some(&byte) && found == Some(&inode)
    };
    for _ in 0..READINGS {
        let list = std::fs::read_to_string(path).map_err(|source| Error::refused(path, source))?;
        if list.lines().any(is_it) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn worker_byte(worker: WorkerId) -> i64 {
    WORKERS + worker.get().rem_euclid(ATTEMPTS - WORKERS)
}

/// In a damaged file the numbers may be any; then the byte is one that nobody holds, or another's.
fn attempt_byte(lease: Lease) -> i64 {
    let job = lease.job.get().rem_euclid(ATTEMPTS / ATTEMPTS_PER_JOB);
    ATTEMPTS + job * ATTEMPTS_PER_JOB + lease.token.get().rem_euclid(ATTEMPTS_PER_JOB)
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

    /// The register of a queue in this folder.
    fn presence(folder: &tempfile::TempDir) -> Presence {
        let queue = folder.path().join("queue");
        std::fs::write(&queue, "").expect("a queue file");
        Presence::new(queue, folder.path().join("lock"))
    }

    fn enroll(presence: &mut Presence, id: WorkerId) -> Whereabouts {
        let (byte, whereabouts) = hold((&presence.queue, &presence.path), id).expect("a byte");
        presence.keep(id, byte);
        whereabouts
    }

    fn lease(token: i64) -> Lease {
        Lease { job: JobId::new(7).expect("positive"), token: Token::new(token) }
    }

    #[test]
    fn a_worker_is_there_as_long_as_it_is_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut worker, observer) = (presence(&folder), presence(&folder));
        let id = WorkerId::new(3);
        assert!(!observer.is_alive(id, None).expect("a look"));
        let whereabouts = Some(enroll(&mut worker, id));
        for known in [None, whereabouts] {
            assert!(observer.is_alive(id, known).expect("a look"));
            assert!(worker.is_alive(id, known).expect("a look at itself"));
            assert!(!observer.is_alive(WorkerId::new(4), known).expect("a look"));
        }
        drop(worker);
        assert!(!observer.is_alive(id, whereabouts).expect("a look"));
    }

    #[test]
    fn a_mark_is_held_until_its_last_holder_closes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let presence = presence(&folder);
        gate::open(&presence.path).expect("a lock file");
        let mark = presence.mark(lease(1)).expect("a mark");
        let copy = mark.try_clone().expect("a second holder");
        drop(mark);
        assert!(presence.marked(lease(1), None).expect("a look").is_some());
        assert!(presence.marked(lease(2), None).expect("a look").is_none());
        drop(copy);
        assert!(presence.marked(lease(1), None).expect("a look").is_none());
    }

    #[test]
    fn neither_worker_nor_mark_is_lost_with_the_name_of_the_lock_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut worker, observer) = (presence(&folder), presence(&folder));
        let id = WorkerId::new(3);
        let at = enroll(&mut worker, id);
        let whereabouts = Some(at);
        let early = worker.mark(lease(1)).expect("a mark");
        std::fs::remove_file(&worker.path).expect("it is there");
        let late = worker.mark(lease(2)).expect("a mark in the same file");
        for _ in ["there is none", "there is another"] {
            assert!(observer.is_alive(id, whereabouts).expect("a look"));
            assert!(!observer.is_alive(WorkerId::new(4), whereabouts).expect("a look"));
            let found = [1, 2, 3].map(|token| observer.marked(lease(token), whereabouts).expect("a look"));
            assert!(
                found.iter().flatten().all(|mark| FileId { device: mark.device, inode: mark.inode } == at.lock_file)
            );
            assert_eq!(found.map(|mark| mark.is_some()), [true, true, false]);
            gate::open(&worker.path).expect("another lock file");
        }
        drop((early, late, worker));
        assert!(!observer.is_alive(id, whereabouts).expect("a look"));
        assert_eq!(observer.marked(lease(1), whereabouts).expect("a look"), None);
    }

    #[test]
    fn a_copy_of_the_queue_does_not_take_the_originals_worker_for_its_own() {
        let (folder, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (mut worker, of_copy) = (presence(&folder), presence(&elsewhere));
        let whereabouts = enroll(&mut worker, WorkerId::new(3));
        assert!(!of_copy.is_alive(WorkerId::new(3), Some(whereabouts)).expect("a look"));
    }
}
