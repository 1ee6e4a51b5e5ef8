//! The file as a whole: looking it through, and copying it while others work on it.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::agree;
use super::place;
use super::recorded;
use super::row::Explain as _;
use super::step_file::Folder;
use crate::store::{Error, Result};

/// How many findings are told. A damaged file may have one for each page.
const MAX_FINDINGS: usize = 20;

/// What SQLite finds wrong with the file, and else what cannot be read of it, a line each.
pub(super) fn examine(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut query = conn.prepare(&format!("pragma integrity_check({MAX_FINDINGS})"))?;
    let mut findings: Vec<String> = Vec::new();
    for finding in query.query_map([], |row| row.get(0))? {
        match finding {
            Ok(finding) => findings.push(finding),
            // A page that cannot be read ends the whole check; what came before says which.
            Err(_) if !findings.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    findings.retain(|finding| finding != "ok");
    // Not because of its mode or its file system, but because its head asks for that.
    if conn.is_readonly("main")? && conn.path().is_some_and(|path| place::is_writable(Path::new(path))) {
        findings.push("its head says that only a newer SQLite may write to it".to_owned());
    }
    // Where SQLite is not content, rows are not worth asking for.
    if findings.is_empty() { agree::unreadable(conn, MAX_FINDINGS) } else { Ok(findings) }
}

/// Copies the queue as it is now to a new file.
///
/// It gets its name last: what bears it is whole, and the files of its steps are where it looks for them.
pub(super) fn back_up(conn: &Connection, from: &Folder, to: &Path) -> Result<()> {
    let refused = |source| Error::refused(to, source);
    if to.symlink_metadata().is_ok() {
        return Err(refused(std::io::Error::other("it is there already")));
    }
    let unfinished = place::beside(to, &format!(".{}.unfinished", std::process::id()));
    // For its owner alone, before anything is in it.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        // The umask may have taken bits away that the owner needs.
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o600)))
        .map_err(refused)?;
    let done = fill(conn, from.queue(), &unfinished)
        .and_then(|files| from.copy_to(&Folder::of(to), &files))
        .and_then(|()| give_name(&unfinished, to).map_err(refused));
    if done.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    done
}

/// All pages in one step: one instant's state, and an end however fast others write. SQLite reads
/// from the log meanwhile, which therefore grows for as long. Answers which files its steps have.
fn fill(conn: &Connection, from: &Path, to: &Path) -> Result<Vec<String>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(to, flags).explain(to)?;
    // It is synced once, as a whole, when it is complete.
    copy.execute_batch("pragma journal_mode = off; pragma synchronous = off;").explain(to)?;
    let backup = Backup::new(conn, &mut copy).explain(from)?;
    let copied = backup.step(-1).explain(to)?;
    drop(backup);
    match copied {
        StepResult::Done => recorded::files(&copy).explain(to),
        _ => Err(Error::Busy { waited: super::PATIENCE }),
    }
}

/// Syncs the copy and moves it to where it should be, where nothing may have come to be meanwhile.
fn give_name(unfinished: &Path, to: &Path) -> std::io::Result<()> {
    File::open(unfinished)?.sync_all()?;
    match std::fs::hard_link(unfinished, to) {
        Ok(()) => std::fs::remove_file(unfinished)?,
        // A file system without links, such as that of a memory stick.
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => std::fs::rename(unfinished, to)?,
        Err(error) => return Err(error),
    }
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
