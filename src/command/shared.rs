//! Whether others could put commands into a queue, which whoever works it would then run.

use crate::config;
use crate::exit::{Failure, Kind};
use crate::job::Command;
use crate::render::text;
use crate::store::{self, Part, Target};

/// What is open to others of a queue: what it is, and what closes it. `None` where nothing is.
pub(super) fn found(target: &Target) -> Option<Failure> {
    let parts = store::parts(target);
    let (folder, files) = parts.split_last()?;
    let me = config::user();
    if files.first()?.owner != me {
        // That is refused in any case.
        return None;
    }
    let open: Vec<&Part> = files.iter().chain([folder].into_iter().filter(|folder| !keeps(folder))).collect();
    let open: Vec<&Part> = open.into_iter().filter(|part| part.is_writable_by_others()).collect();
    if !open.is_empty() {
        let what = open.iter().map(|part| format!("{} (mode {:04o})", part.path.display(), part.mode));
        let message = format!("others may write {}, and so run commands as you", list(what));
        let cure = format!("chmod go-w {}; or else accept that with --allow-shared", typed(&open));
        return Some(Failure::new(Kind::BadFile, message).hint(cure));
    }
    // Root may write everything anyhow, and what a sudo left here is told of when it is in the way.
    let foreign: Vec<&Part> = files.iter().filter(|part| ![me, 0].contains(&part.owner)).collect();
    if foreign.is_empty() {
        return None;
    }
    let what = foreign.iter().map(|part| format!("{} belongs to user {}", part.path.display(), part.owner));
    let message = format!("{}, who may so run commands as you", list(what));
    let cure = format!("sudo chown {me} {}; or else accept that with --allow-shared", typed(&foreign));
    Some(Failure::new(Kind::BadFile, message).hint(cure))
}

/// Whether a folder keeps others from moving and removing what is not theirs, as `/tmp` does.
fn keeps(folder: &Part) -> bool {
    folder.mode & 0o1000 != 0
}

fn list(what: impl Iterator<Item = String>) -> String {
    what.collect::<Vec<_>>().join(", ")
}

fn typed(parts: &[&Part]) -> String {
    let words = parts.iter().map(|part| part.path.as_os_str().as_encoded_bytes().to_vec()).collect();
    text::command(Some(&Command::Program(words)))
}
