//! Where a queue file may lie, and how it is made there.
//!
//! Whoever can write the file runs commands as its worker, so it is made for its owner alone. A
//! write-ahead log needs one kernel under it: on a network or pass-through file system it corrupts
//! silently, so those are refused before SQLite is let near.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, eaccess, geteuid};

use crate::store::{Access, Error, Part, Reach, Result};

/// File systems on which a write-ahead log is not safe, by their magic number in `statfs(2)`.
///
/// Numbers from `linux/magic.h` and the sources of the file systems. FUSE covers virtiofs, sshfs
/// and the shared folders of virtual machines.
const UNSAFE: [(i64, &str); 9] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "fuse"),
    (0x7461_636f, "ocfs2"),
    (0x0bd0_0bd0, "lustre"),
    (0x5346_414f, "afs"),
];

/// The least that a database takes: one page of the smallest size. SQLite takes anything shorter for
/// an empty database, and would write over somebody's short note.
const MIN_DATABASE: u64 = 512;

/// Names of common safe ones, for `where`.
const SAFE: [(i64, &str); 8] = [
    (0xef53, "ext4"),
    (0x9123_683e, "btrfs"),
    (0x5846_5342, "xfs"),
    (0x0102_1994, "tmpfs"),
    (0x794c_7630, "overlayfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0xca45_1a4e, "bcachefs"),
];

/// Readies the place for a queue and answers the file's full path, its folder free of links.
///
/// # Errors
///
/// [`Error::Missing`], [`Error::NotAQueue`], [`Error::UnsafePlace`] or [`Error::Refused`].
pub(super) fn ready(path: &Path, access: Access) -> Result<PathBuf> {
    let full = resolve(path, access)?;
    match full.symlink_metadata() {
        Ok(meta) if meta.is_dir() => Err(Error::NotAQueue { path: full, found: "it is a folder" }),
        Ok(meta) if meta.is_symlink() => {
            Err(Error::UnsafePlace { path: full, why: "it is a symbolic link, and those are not followed".to_owned() })
        }
        Ok(meta) if !meta.is_file() => Err(Error::NotAQueue { path: full, found: "it is not a regular file" }),
        Ok(meta) if (1..MIN_DATABASE).contains(&meta.len()) => {
            Err(Error::NotAQueue { path: full, found: "it is not a SQLite file" })
        }
        Ok(meta) if meta.uid() != geteuid().as_raw() => {
            let why = format!("it belongs to user {}, you are user {}", meta.uid(), geteuid());
            Err(Error::UnsafePlace { path: full, why })
        }
        // Someone is about to make it a queue; to look at it meanwhile would be in their way.
        Ok(meta) if meta.len() == 0 && access != Access::Create => Err(Error::Missing { path: full }),
        Ok(_) => {
            check_file_system(&full)?;
            Ok(full)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && access == Access::Create => {
            check_file_system(&full)?;
            create(&full)?;
            Ok(full)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Missing { path: full }),
        Err(source) => Err(Error::refused(&full, source)),
    }
}

/// Makes the folder if need be, and answers the path with the folder's links resolved.
fn resolve(path: &Path, access: Access) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Error::NotAQueue { path: path.to_owned(), found: "it is a folder" });
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if access == Access::Create {
        create_folder(folder)?;
    }
    match folder.canonicalize() {
        Ok(folder) => Ok(folder.join(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Missing { path: path.to_owned() }),
        Err(source) => Err(Error::refused(folder, source)),
    }
}

/// Makes the folder, and those above it that are missing. [`create`] makes their names safe.
fn create_folder(folder: &Path) -> Result<()> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    for &made in missing.iter().rev() {
        match DirBuilder::new().mode(0o700).create(made) {
            // The umask may have taken bits away that the owner needs.
            Ok(()) => std::fs::set_permissions(made, Permissions::from_mode(0o700)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && made.is_dir() => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|source| Error::refused(folder, source))?;
    }
    Ok(())
}

/// Makes the empty file, before any connection exists in this process: closing it later would
/// drop the locks of one.
fn create(path: &Path) -> Result<()> {
    let refused = |source| Error::refused(path, source);
    sync_folders_above(path)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            // The umask may have taken bits away that the owner needs.
            file.set_permissions(Permissions::from_mode(0o600)).map_err(refused)?;
            sync_folder(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(refused(source)),
    }
}

/// Makes the names of the file's folder and of those above it survive a power cut, whoever made them:
/// it may have been `mkdir` a moment ago, or another push that has not come so far yet. As this is done
/// before the file is made, a file that is there tells everyone that it has been done.
fn sync_folders_above(path: &Path) -> Result<()> {
    let device = |folder: &Path| folder.metadata().map(|meta| meta.dev()).ok();
    let Some(folder) = path.parent() else { return Ok(()) };
    let own_device = device(folder);
    // The name of what is mounted is not in what is mounted.
    for above in folder.ancestors().skip(1).take_while(|above| device(above) == own_device) {
        match File::open(above).and_then(|above| above.sync_all()) {
            // Others can neither read it nor sync it, so it is not one that was just made for this.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (),
            done => done.map_err(|source| Error::refused(above, source))?,
        }
    }
    Ok(())
}

/// Makes the names in the file's folder survive a power cut.
///
/// # Errors
///
/// [`Error::Refused`].
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        folder => folder.unwrap_or(Path::new("/")),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| Error::refused(folder, source))
}

/// The file and what belongs to it, as far as it is there, and the folder last.
///
/// It is not opened: closing it would drop the locks of a connection that this process may have.
pub(super) fn parts(path: &Path) -> Vec<Part> {
    let Ok(path) = resolve(path, Access::Existing) else { return Vec::new() };
    if path.symlink_metadata().is_err() {
        return Vec::new();
    }
    let beside = ["-wal", "-shm", "-lock", "-wake", "-steps"].map(|suffix| beside(&path, suffix));
    let folder = path.parent().map(Path::to_owned);
    std::iter::once(path).chain(beside).chain(folder).filter_map(part).collect()
}

fn part(path: PathBuf) -> Option<Part> {
    let meta = path.symlink_metadata().ok()?;
    Some(Part {
        bytes: meta.len(),
        owner: meta.uid(),
        group: meta.gid(),
        mode: meta.permissions().mode() & 0o7777,
        is_link: meta.is_symlink(),
        reach: reach(&path, meta.is_dir()),
        path,
    })
}

/// Whether the file may be written to, as far as its mode and its file system go.
pub(super) fn is_writable(path: &Path) -> bool {
    reach(path, false) == Reach::Full
}

fn reach(path: &Path, is_folder: bool) -> Reach {
    let read_and_write = AccessFlags::R_OK | AccessFlags::W_OK;
    match eaccess(path, if is_folder { read_and_write | AccessFlags::X_OK } else { read_and_write }) {
        Ok(()) => Reach::Full,
        Err(Errno::EROFS) => Reach::ReadOnly,
        Err(_) => Reach::Denied,
    }
}

fn check_file_system(path: &Path) -> Result<()> {
    judge(magic(path)?, path)
}

/// Whether a queue may lie on a file system of this kind.
fn judge(magic: i64, path: &Path) -> Result<()> {
    match UNSAFE.iter().find(|&&(unsafe_magic, _)| unsafe_magic == magic) {
        Some((_, name)) => {
            let why = format!("it is on {name}, where a write-ahead log is not safe");
            Err(Error::UnsafePlace { path: path.to_owned(), why })
        }
        None => Ok(()),
    }
}

/// The kind of file system under the file, by name, else by number.
///
/// # Errors
///
/// [`Error::Refused`].
pub(super) fn file_system(path: &Path) -> Result<String> {
    let magic = magic(path)?;
    let known = SAFE.iter().chain(&UNSAFE).find(|&&(known, _)| known == magic);
    Ok(known.map_or_else(|| format!("{magic:#x}"), |(_, name)| (*name).to_owned()))
}

/// Bytes that are left for its owner on the file system of the file.
///
/// # Errors
///
/// [`Error::Refused`].
pub(super) fn free_bytes(path: &Path) -> Result<u64> {
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        folder => folder.unwrap_or(Path::new("/")),
    };
    let stat = statvfs(folder).map_err(|errno| Error::Refused { path: folder.to_owned(), source: errno.into() })?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

/// As many bytes are written at once where the index of the log grows, and some file systems give up
/// before the last of them.
const LAST_BYTES: u64 = 64 << 10;

/// Whether as good as nothing more can be made or written on the file system of the file.
pub(super) fn is_full(path: &Path) -> bool {
    let stat = path.parent().and_then(|folder| statvfs(folder).ok());
    // Some file systems have no table of files and say 0 of 0.
    stat.is_some_and(|stat| {
        stat.blocks_available() * stat.fragment_size() < LAST_BYTES || (stat.files() > 0 && stat.files_available() == 0)
    })
}

/// Whether something is mounted on the file itself, as the kernel tells it in `/proc/self/mountinfo`,
/// where the fifth field of a line is the mount point, with blanks as `\040`.
pub(super) fn is_mount_point(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let path = path.to_string_lossy().replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011");
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(path.as_str()))
}

fn magic(path: &Path) -> Result<i64> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let stat =
        statfs::statfs(folder).map_err(|errno| Error::Refused { path: folder.to_owned(), source: errno.into() })?;
    Ok(stat.filesystem_type().0 & 0xffff_ffff)
}

/// The path of a file that lies beside the queue file: `queue.db` and `-wal` make `queue.db-wal`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_system_has_one_verdict() {
        for (magic, name) in SAFE {
            assert!(!UNSAFE.iter().any(|&(bad, _)| bad == magic), "{name}");
            assert!(judge(magic, Path::new("/q/queue.db")).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_unsafe_one_is_told_by_name() {
        for (magic, name) in UNSAFE {
            let error = judge(magic, Path::new("/mnt/queue.db")).expect_err("it is not safe").to_string();
            assert!(
                error.starts_with("/mnt/queue.db cannot hold a queue: it is on ") && error.contains(name),
                "{error}"
            );
        }
    }

    #[test]
    fn files_beside_the_queue_share_its_name() {
        assert_eq!(beside(Path::new("/q/queue.db"), "-wal"), Path::new("/q/queue.db-wal"));
    }
}
