//! Waiting for a process to end, and taking its remains.
//!
//! There is `unsafe` in it: neither std nor nix has `wait4`, and only `wait4` tells what one process used
//! rather than all of them together.
#![expect(unsafe_code, reason = "wait4 is in no safe library")]

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use nix::libc;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::child::Exit;

/// What a process used, with those of its children that it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// The largest memory of any one of them, in bytes.
    pub max_rss_bytes: u64,
}

/// Whether a child has ended. It stays a zombie, so its number stays its own.
pub(super) fn has_ended(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::Pid(pid), flags) {
        Ok(WaitStatus::StillAlive) => false,
        // An error means that it is no child of ours any more: as ended as can be.
        Ok(_) | Err(_) => true,
    }
}

/// Takes the remains of a child that has ended: how, and what it used.
pub(super) fn reap(pid: Pid) -> io::Result<(Exit, Used)> {
    let mut status: libc::c_int = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to live, writable memory of the right type for the whole call.
    let got = unsafe { libc::wait4(pid.as_raw(), &raw mut status, 0, usage.as_mut_ptr()) };
    if got == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all-zero bytes are a valid `rusage`, and wait4 succeeded and has filled it in.
    let usage = unsafe { usage.assume_init() };
    let exit = if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    };
    let kib = u64::try_from(usage.ru_maxrss).unwrap_or(0);
    let used = Used { cpu: duration(usage.ru_utime) + duration(usage.ru_stime), max_rss_bytes: kib * 1024 };
    Ok((exit, used))
}

fn duration(time: libc::timeval) -> Duration {
    let micros = time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_usec);
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// Reaps what was re-parented to this process, as process 1 of a container must; `own` are the
/// children that someone here waits for.
pub fn adopted(own: impl Fn(i32) -> bool) {
    let path = format!("/proc/self/task/{}/children", nix::unistd::getpid());
    let Ok(children) = std::fs::read_to_string(path) else { return };
    let strangers = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).filter(|&pid| !own(pid));
    for pid in strangers {
        // Those that still run answer that they do.
        let _ = waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
    }
}
