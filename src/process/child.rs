//! A command that runs: its streams, its group, its end.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::capture::Capture;
use super::kin;
use super::reap::{self, Used};

/// How much is read from a stream at a time, before others get their turn.
const GULP: usize = 256 * 1024;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this status, 0 to 255.
    Code(i32),
    /// Of this signal.
    Signal(i32),
}

/// A command that was started, the leader of a process group.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    taps: [Tap; 2],
}

/// One of its streams: where it comes out, until it ends, and what is kept of it.
#[derive(Debug)]
struct Tap {
    pipe: Option<std::fs::File>,
    capture: Capture,
}

impl Child {
    pub(super) fn new(child: process::Child) -> io::Result<Self> {
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("process numbers are small"));
        let taps = [Tap::new(child.stdout.map(OwnedFd::from))?, Tap::new(child.stderr.map(OwnedFd::from))?];
        Ok(Self { pid, taps })
    }

    /// The number of its process and of its group.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Where its streams come out, with their places (0 stdout, 1 stderr); those that ended are
    /// left out.
    pub fn pipes(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.taps.iter().enumerate().filter_map(|(place, tap)| Some((place, tap.pipe.as_ref()?.as_fd())))
    }

    /// What is kept of stdout (0) and stderr (1).
    pub fn captures(&mut self) -> [&mut Capture; 2] {
        let [stdout, stderr] = &mut self.taps;
        [&mut stdout.capture, &mut stderr.capture]
    }

    /// Whether something was captured that has not been handed out.
    pub fn has_news(&self) -> bool {
        self.taps.iter().any(|tap| tap.capture.has_news())
    }

    /// Whether so much was captured that it had better be handed out at once.
    pub fn holds_much(&self) -> bool {
        self.taps.iter().any(|tap| tap.capture.holds_head())
    }

    /// Reads what a stream has, up to a gulp; answers whether it brought anything.
    pub fn read(&mut self, place: usize, buffer: &mut Vec<u8>) -> bool {
        self.taps[place].read(buffer)
    }

    /// Reads what both streams have right now, up to a few gulps: whoever writes without end does
    /// not keep us.
    pub fn drain(&mut self, buffer: &mut Vec<u8>) {
        for tap in &mut self.taps {
            let mut n_gulps = 0;
            while n_gulps < 4 && tap.read(buffer) {
                n_gulps += 1;
            }
        }
    }

    /// Whether both streams have ended, so that nothing more can come.
    pub fn is_silent(&self) -> bool {
        self.taps.iter().all(|tap| tap.pipe.is_none())
    }

    /// Whether its leader has ended; it is not reaped yet.
    pub fn has_ended(&self) -> bool {
        reap::has_ended(self.pid)
    }

    /// Whether anyone but its leader is left of its group.
    pub fn has_kin(&self) -> bool {
        kin::has_members(self.pid, self.pid)
    }

    /// Asks its group to end. Who has ended already is past asking.
    pub fn terminate(&self) {
        let _ = killpg(self.pid, Signal::SIGTERM);
        // A stopped process does not hear it before it goes on.
        let _ = killpg(self.pid, Signal::SIGCONT);
    }

    /// Ends its group. Who has ended already is past ending.
    pub fn kill(&self) {
        let _ = killpg(self.pid, Signal::SIGKILL);
    }

    /// Takes the remains of the leader, which has ended. Its number may mean another from now on,
    /// so its group can no longer be signalled.
    ///
    /// # Errors
    ///
    /// Where the system says that there is no such child.
    pub fn reap(&mut self) -> io::Result<(Exit, Used)> {
        reap::reap(self.pid)
    }
}

impl Tap {
    fn new(pipe: Option<OwnedFd>) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self { pipe: pipe.map(std::fs::File::from), capture: Capture::default() })
    }

    fn read(&mut self, buffer: &mut Vec<u8>) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        buffer.resize(GULP, 0);
        match pipe.read(buffer) {
            Ok(0) => {
                self.pipe = None;
                false
            }
            Ok(n) => {
                self.capture.take_in(&buffer[..n]);
                true
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => false,
            Err(_) => {
                self.pipe = None;
                false
            }
        }
    }
}
