//! Who belongs to whom, as the kernel tells it in `/proc`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid, getpgrp, getpid};

/// Whether the group has a living member besides `leader`.
pub(super) fn has_members(group: Pid, leader: Pid) -> bool {
    processes().any(|pid| pid != leader && is_living_member(pid, group))
}

fn is_living_member(pid: Pid, group: Pid) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name in parentheses may itself hold spaces and parentheses: what counts is after the last.
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let mut fields = fields.split_ascii_whitespace();
    let (state, group_field) = (fields.next(), fields.nth(1));
    !matches!(state, Some("Z" | "X")) && group_field.and_then(|field| field.parse().ok()) == Some(group.as_raw())
}

/// The processes that hold a lock on this byte of the file with this inode, by any of their open
/// files. Of other users' processes nothing is known.
pub fn holders(inode: u64, byte: i64) -> Vec<i32> {
    let me = getpid();
    processes().filter(|&pid| pid != me && is_holder(pid, inode, byte)).map(Pid::as_raw).collect()
}

fn is_holder(pid: Pid, inode: u64, byte: i64) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| {
        let is_the_file = fs::metadata(file.path()).is_ok_and(|meta| meta.ino() == inode);
        is_the_file && has_lock(Path::new(&format!("/proc/{pid}/fdinfo")).join(file.file_name()).as_path(), byte)
    })
}

/// Whether an `fdinfo` file tells of a lock that begins at this byte.
///
/// Such a line reads `lock: 1: OFDLCK ADVISORY READ -1 fe:01:1234 FIRST LAST`, see proc(5).
fn has_lock(fdinfo: &Path, byte: i64) -> bool {
    let Ok(text) = fs::read_to_string(fdinfo) else { return false };
    let byte = byte.to_string();
    text.lines()
        .filter(|line| line.starts_with("lock:"))
        .any(|line| line.split_ascii_whitespace().rev().nth(1) == Some(&byte))
}

/// Signals the groups of all holders of the lock, except `spare`; answers whether there were any.
///
/// Whoever is signalled was just seen to hold the lock, so a number that has come to mean another
/// process is not hit. `is_final` kills, otherwise they are asked.
pub fn stop_holders(inode: u64, byte: i64, spare: Option<i32>, is_final: bool) -> bool {
    let signal = if is_final { Signal::SIGKILL } else { Signal::SIGTERM };
    let mut has_any = false;
    for pid in holders(inode, byte).into_iter().filter(|&pid| Some(pid) != spare) {
        has_any = true;
        let pid = Pid::from_raw(pid);
        // Whoever has gone meanwhile needs no signal.
        let _ = match getpgid(Some(pid)) {
            Ok(group) if group != getpgrp() => killpg(group, signal).and_then(|()| killpg(group, Signal::SIGCONT)),
            Ok(_) | Err(_) => kill(pid, signal),
        };
    }
    has_any
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw)
}
