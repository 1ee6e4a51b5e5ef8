//! A process that is meant whatever its number comes to mean.
//!
//! A number is reused once its process is gone, so a signal to a number may reach a stranger, however
//! lately it was looked at. A pidfd (Linux 5.3) stands for one process: a signal through it reaches that
//! one or none.
#![expect(unsafe_code, reason = "neither std nor nix has pidfd_open and pidfd_send_signal")]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// A process, living or not.
#[derive(Debug)]
pub(super) struct Handle {
    pid: Pid,
    fd: OwnedFd,
}

impl Handle {
    /// The process that has this number now.
    ///
    /// What is seen of the number from now on is seen of this process if it is still alive afterwards.
    pub(super) fn open(pid: Pid) -> io::Result<Self> {
        // SAFETY: the call takes two numbers and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        let fd = RawFd::try_from(fd).expect("what the kernel gives for a file is an int");
        // SAFETY: the file was just opened, is open, and nobody else has its number.
        Ok(Self { pid, fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Its number, which is its own only while it lives.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has not ended.
    pub(super) fn is_alive(&self) -> bool {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n == 0)
    }

    /// Sends it a signal. One that has ended is past signalling.
    pub(super) fn send(&self, signal: Signal) {
        let no_info: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: the file is open as long as `self` lives, and a null pointer means no further information.
        let _ = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), signal as i32, no_info, 0) };
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> Child {
        Command::new("/bin/sleep").arg("60").spawn().expect("it starts")
    }

    fn pid(child: &Child) -> Pid {
        Pid::from_raw(i32::try_from(child.id()).expect("process numbers are small"))
    }

    fn end(child: &mut Child) {
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    #[test]
    fn a_signal_reaches_the_process_that_was_meant_and_none_that_has_its_number_later() {
        let mut meant = sleeper();
        let handle = Handle::open(pid(&meant)).expect("a handle");
        assert!(handle.is_alive());
        handle.send(Signal::SIGKILL);
        meant.wait().expect("it ends");
        assert!(!handle.is_alive());

        // Others start processes too, so the number is not always to be had at once; and only root may ask for it.
        let last_pid = "/proc/sys/kernel/ns_last_pid";
        for _ in 0..100 {
            if std::fs::write(last_pid, (handle.pid().as_raw() - 1).to_string()).is_err() {
                return;
            }
            let mut later = sleeper();
            if pid(&later) == handle.pid() {
                handle.send(Signal::SIGKILL);
                assert!(!handle.is_alive());
                assert!(later.try_wait().expect("a look").is_none(), "a stranger was hit");
            }
            end(&mut later);
        }
    }
}
