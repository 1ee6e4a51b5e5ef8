//! The doorbell: whoever put something in tells those who wait, so that they need not ask.
//!
//! A listener hangs a FIFO into the folder beside the queue file; a ringer writes one byte into each
//! that it finds, *after* what it has to tell is committed. (Watching the log file instead fires
//! before the commit can be seen: 60 times of 60.) 99 µs from one process to the other, and 3 µs to
//! learn that nobody listens. A lost ring costs a little time and nothing else: every listener also
//! looks by itself now and then.
//!
//! For workers that are not even running there is a *flag* for each queue: a file in the same folder
//! that a service manager can watch (`PathExists=` of systemd). Whoever makes a job ready raises it
//! after the commit; a worker that finds nothing lowers it *before* it looks once more, and raises it
//! again if it does not get to look. So a flag may stand with nothing to do, but never is there
//! something to do, no worker, and no flag; unless someone is killed between the two, for which there
//! is a timer behind the flag, as there is for what falls due.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use nix::libc::{ENXIO, O_NOFOLLOW, O_NONBLOCK};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// What the names of those begin with who wait for a job to end.
pub const WAITER: &str = "wait";

/// What the names of workers begin with.
pub const WORKER: &str = "work";

/// A bell that hangs until it is dropped.
#[derive(Debug)]
pub struct Bell {
    path: PathBuf,
    fifo: File,
}

impl Bell {
    /// Hangs a bell of this name, which nobody else may use at the same time and which has no dot:
    /// what has one is no bell.
    ///
    /// # Errors
    ///
    /// Where the folder or the FIFO cannot be made: the caller does without.
    pub fn hang(folder: &Path, name: &str) -> io::Result<Self> {
        make_folder(folder)?;
        // Made under another name and renamed once it is open: a bell that can be seen and has no
        // listener is then known to be a dead one's.
        let unfinished = folder.join(format!(".{name}"));
        let _ = fs::remove_file(&unfinished);
        mkfifo(&unfinished, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // Open for writing too, so that it never reports an end when the last ringer leaves.
        let fifo = OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK | O_NOFOLLOW).open(&unfinished)?;
        let path = folder.join(name);
        fs::rename(&unfinished, &path)?;
        Ok(Self { path, fifo })
    }

    /// Forgets the rings so far. To be called *before* looking for news, so that none is missed.
    pub fn hush(&mut self) {
        let mut buffer = [0; 256];
        while matches!(self.fifo.read(&mut buffer), Ok(1..)) {}
    }
}

/// Makes the folder if need be.
///
/// # Errors
///
/// Where it cannot be made, or something else is in its place: a link is not followed.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if is_folder(folder) {
                Ok(())
            } else {
                Err(io::ErrorKind::NotADirectory.into())
            }
        }
        // The umask may have taken bits away that the owner needs.
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o700)),
        refused => refused,
    }
}

/// Whether it is a folder, and not a link to one: what is made or taken away here would be made or
/// taken away wherever that points.
fn is_folder(folder: &Path) -> bool {
    folder.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

/// The names in the folder.
fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = is_folder(folder).then(|| fs::read_dir(folder).ok()).flatten();
    entries.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok())
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // Another queue at the same place may have hung its own there meanwhile.
        let own = self.fifo.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
        if own == self.path.symlink_metadata().ok().map(|meta| (meta.dev(), meta.ino())) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Rings the bells in the folder whose names are `meant`; answers the names of those that were heard.
///
/// Bells without a listener are taken down. Whatever else goes wrong is passed over: the listeners
/// look by themselves.
pub fn ring(folder: &Path, meant: impl Fn(&str) -> bool) -> Vec<String> {
    names(folder).filter(|name| !name.contains('.') && meant(name) && ring_one(&folder.join(name))).collect()
}

fn ring_one(path: &Path) -> bool {
    match OpenOptions::new().write(true).custom_flags(O_NONBLOCK | O_NOFOLLOW).open(path) {
        Ok(mut fifo) => {
            let is_bell = fifo.metadata().is_ok_and(|meta| meta.file_type().is_fifo());
            if is_bell {
                // A full FIFO has rings enough.
                let _ = fifo.write(&[1]);
            }
            is_bell
        }
        Err(error) if error.raw_os_error() == Some(ENXIO) => {
            let _ = fs::remove_file(path);
            false
        }
        Err(_) => false,
    }
}

/// What the names of flags end with; a name with a dot is no bell.
const FLAG: &str = ".ready";

/// The flag of a queue.
pub fn flag(folder: &Path, queue: &str) -> PathBuf {
    folder.join(format!("{queue}{FLAG}"))
}

/// Raises the flag of a queue.
///
/// Where that fails it is passed over: whoever relies on flags has a timer behind them.
pub fn raise(folder: &Path, queue: &str) {
    raise_all(folder, [queue]);
}

/// Raises the flags of some queues.
pub fn raise_all<'q>(folder: &Path, queues: impl IntoIterator<Item = &'q str>) {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(O_NOFOLLOW);
    let mut queues = queues.into_iter().peekable();
    if queues.peek().is_some() && (is_folder(folder) || make_folder(folder).is_ok()) {
        for queue in queues {
            let _ = options.open(flag(folder, queue));
        }
    }
}

/// Lowers the flags of the queues that are `meant`; answers which were up.
pub fn lower(folder: &Path, meant: impl Fn(&str) -> bool) -> Vec<String> {
    let queues = names(folder).filter_map(|name| name.strip_suffix(FLAG).map(str::to_owned));
    queues.filter(|queue| meant(queue) && fs::remove_file(flag(folder, queue)).is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_reaches_who_listens_and_clears_away_who_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wake");
        assert!(ring(&path, |_| true).is_empty());
        let mut bell = Bell::hang(&path, "w1").expect("a bell");
        mkfifo(&path.join("w2"), Mode::S_IRWXU).expect("a dead worker's bell");
        assert!(ring(&path, |name| name == "w3").is_empty());
        assert_eq!(ring(&path, |_| true), ["w1"]);
        assert!(!path.join("w2").exists());
        bell.hush();
        drop(bell);
        assert!(ring(&path, |_| true).is_empty() && !path.join("w1").exists());
    }

    #[test]
    fn a_flag_stands_until_it_is_lowered_and_is_no_bell() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wake");
        assert!(lower(&path, |_| true).is_empty());
        for queue in ["mail.eu", "mail.us", "mail.us"] {
            raise(&path, queue);
        }
        assert!(ring(&path, |_| true).is_empty());
        assert_eq!(lower(&path, |queue| queue == "mail.eu"), ["mail.eu"]);
        assert!(!flag(&path, "mail.eu").exists() && flag(&path, "mail.us").exists());
    }

    #[test]
    fn a_file_in_the_place_of_a_bell_is_not_written_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("w1");
        fs::write(&file, "precious").expect("a file");
        assert!(ring(folder.path(), |_| true).is_empty());
        assert_eq!(fs::read(&file).expect("the file"), b"precious");
    }
}
