//! Who belongs to whom, as the kernel tells it in `/proc`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgrp, getpid};

use super::handle::Handle;

/// Whether the group has a living member besides `leader`.
pub(super) fn has_members(group: Pid, leader: Pid) -> bool {
    processes().any(|pid| pid != leader && group_of(pid) == Some(group))
}

/// The group of a process that has not ended.
fn group_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself hold spaces and parentheses: what counts is after the last.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let (state, group) = (fields.next()?, fields.nth(1)?);
    if matches!(state, "Z" | "X") { None } else { group.parse().ok().map(Pid::from_raw) }
}

/// A locked byte of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockedByte {
    /// The device of the file.
    pub device: u64,
    /// The inode of the file.
    pub inode: u64,
    /// The byte.
    pub byte: i64,
}

/// How often one look goes over all processes for those that were started meanwhile.
const MAX_ROUNDS: usize = 100;

/// What a command left running, told by a lock that its processes inherited, and ended by someone who
/// is not their parent.
///
/// Those that hold the lock belong to it, and so do those in their groups, even when none of the group
/// holds it any more: many a program closes the files that it inherited. Of other users' processes
/// nothing is known.
///
/// Each is signalled through a handle that was open when it was seen to belong, so that a number that
/// has come to mean another process is not hit.
#[derive(Debug, Default)]
pub struct Remnant {
    members: Vec<Handle>,
}

impl Remnant {
    /// Looks who is left, `spare` not counted; answers whether anyone is.
    pub fn look(&mut self, lock: Option<LockedByte>, spare: Option<i32>) -> bool {
        self.members.retain(Handle::is_alive);
        for _ in 0..MAX_ROUNDS {
            // Whoever belongs may lead or be in a group of which others are.
            if !self.take_in(lock, spare) {
                break;
            }
        }
        !self.members.is_empty()
    }

    /// Looks who is left of those that were started with this in their environment, `NAME=value`; answers whether
    /// anyone is. Who took it out of there is not known, nor are those in the groups of others.
    pub fn look_for(&mut self, variable: &str) -> bool {
        self.members.retain(Handle::is_alive);
        for _ in 0..MAX_ROUNDS {
            if !self.take(|pid| has_variable(pid, variable.as_bytes())) {
                break;
            }
        }
        !self.members.is_empty()
    }

    /// Ends those that are known.
    pub fn end(&self) {
        self.send(Signal::SIGKILL);
    }

    /// Asks all to end.
    pub fn ask(&self) {
        for member in &self.members {
            member.send(Signal::SIGTERM);
            // A stopped process does not hear it before it goes on.
            member.send(Signal::SIGCONT);
        }
    }

    /// Ends all, and whomever they start meanwhile: they are stopped until there is no newcomer.
    pub fn kill(&mut self, lock: Option<LockedByte>, spare: Option<i32>) {
        for _ in 0..MAX_ROUNDS {
            self.send(Signal::SIGSTOP);
            if !self.take_in(lock, spare) {
                break;
            }
        }
        self.send(Signal::SIGKILL);
    }

    fn send(&self, signal: Signal) {
        for member in &self.members {
            member.send(signal);
        }
    }

    /// Takes in who belongs and is not known yet; answers whether there was anyone.
    fn take_in(&mut self, lock: Option<LockedByte>, spare: Option<i32>) -> bool {
        let groups = self.groups();
        self.take(|pid| {
            let is_in_group = || group_of(pid).is_some_and(|group| groups.contains(&group));
            Some(pid.as_raw()) != spare && (is_in_group() || lock.is_some_and(|lock| holds(pid, lock)))
        })
    }

    fn take(&mut self, belongs: impl Fn(Pid) -> bool) -> bool {
        let (me, n_before) = (getpid(), self.members.len());
        for pid in processes() {
            let is_known = self.members.iter().any(|member| member.pid() == pid && member.is_alive());
            if pid == me || is_known || !belongs(pid) {
                continue;
            }
            // Once more, now that it cannot be taken for another.
            let newcomer = Handle::open(pid).ok().filter(|handle| belongs(pid) && handle.is_alive());
            self.members.extend(newcomer);
        }
        self.members.len() > n_before
    }

    /// The groups that consist of members: led by one, or by nobody any more. A command leads a group of
    /// its own, but one whose start was cut short is still in that of whoever started it.
    ///
    /// A group has its number for as long as a member lives.
    fn groups(&self) -> Vec<Pid> {
        let is_member = |pid| self.members.iter().any(|member| member.pid() == pid);
        let group = |member: &Handle| group_of(member.pid()).filter(|_| member.is_alive());
        let groups = self.members.iter().filter_map(group);
        groups.filter(|&group| group != getpgrp() && (is_member(group) || group_of(group).is_none())).collect()
    }
}

/// Whether any open file of the process has this lock.
fn holds(pid: Pid, lock: LockedByte) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| {
        let is_the_file =
            fs::metadata(file.path()).is_ok_and(|meta| (meta.dev(), meta.ino()) == (lock.device, lock.inode));
        is_the_file && has_lock(Path::new(&format!("/proc/{pid}/fdinfo")).join(file.file_name()).as_path(), lock.byte)
    })
}

/// Whether the process was started with this in its environment.
fn has_variable(pid: Pid, variable: &[u8]) -> bool {
    let is_it = |one: &[u8]| one == variable;
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| all.split(|&byte| byte == 0).any(is_it))
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

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    use super::*;

    /// A sleeper in the group of `leader`, or in its own, that holds this file.
    fn sleeper(leader: Option<&Child>, file: Option<&File>) -> Child {
        let group = leader.map_or(0, |leader| i32::try_from(leader.id()).expect("process numbers are small"));
        let stdin = file.map_or_else(Stdio::null, |file| file.try_clone().expect("a second one").into());
        Command::new("/bin/sleep").arg("60").process_group(group).stdin(stdin).spawn().expect("it starts")
    }

    /// Locks a byte of the file for whoever inherits it.
    fn lock(file: &File) -> LockedByte {
        let byte = libc::flock {
            l_type: libc::F_RDLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 1 << 61,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(file, FcntlArg::F_OFD_SETLK(&byte)).expect("a lock");
        let meta = file.metadata().expect("what it is");
        LockedByte { device: meta.dev(), inode: meta.ino(), byte: 1 << 61 }
    }

    fn is_running(child: &mut Child) -> bool {
        child.try_wait().expect("a look").is_none()
    }

    #[test]
    fn holders_and_their_groups_are_ended_but_no_group_whose_leader_is_a_stranger() {
        let file = tempfile::tempfile().expect("a file");
        let lock = lock(&file);
        let (mut stranger, mut leader) = (sleeper(None, None), sleeper(None, Some(&file)));
        let mut start_cut_short = sleeper(Some(&stranger), Some(&file));
        let mut has_closed_it = sleeper(Some(&leader), None);

        let mut remnant = Remnant::default();
        assert!(!remnant.look(Some(LockedByte { device: lock.device + 1, ..lock }), None));
        assert!(remnant.look(Some(lock), None));
        remnant.kill(Some(lock), None);
        for ended in [&mut leader, &mut start_cut_short, &mut has_closed_it] {
            ended.wait().expect("it ends");
        }
        assert!(!remnant.look(Some(lock), None));
        assert!(is_running(&mut stranger));
        stranger.kill().expect("it runs");
        stranger.wait().expect("it ends");
    }

    #[test]
    fn those_that_were_started_with_a_variable_are_ended_and_nobody_else() {
        let start = |value: &str| {
            Command::new("/bin/sh").args(["-c", "sleep 60; :"]).env("MARK", value).spawn().expect("it starts")
        };
        let (mut meant, mut stranger) = (start("kin-1"), start("kin-12"));
        let mut remnant = Remnant::default();
        assert!(remnant.look_for("MARK=kin-1"));
        while remnant.look_for("MARK=kin-1") {
            remnant.end();
        }
        meant.wait().expect("it ends");
        assert!(is_running(&mut stranger));
        while remnant.look_for("MARK=kin-12") {
            remnant.end();
        }
        stranger.wait().expect("it ends");
    }

    #[test]
    fn whom_is_to_be_spared_is_spared() {
        let file = tempfile::tempfile().expect("a file");
        let lock = lock(&file);
        let mut hung = sleeper(None, Some(&file));
        let mut remnant = Remnant::default();
        assert!(!remnant.look(Some(lock), i32::try_from(hung.id()).ok()));
        remnant.kill(None, None);
        assert!(is_running(&mut hung));
        hung.kill().expect("it runs");
        hung.wait().expect("it ends");
    }
}
