//! Signals as bytes on pipes, so that one `poll` waits for them along with everything else.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// How urgently this process was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Finish what runs.
    Once,
    /// Stop what runs.
    Twice,
    /// Kill what runs.
    Thrice,
}

/// A pipe that gets one byte for each delivery of some signals.
#[derive(Debug)]
pub struct SignalPipe(UnixStream);

impl SignalPipe {
    /// Gets a byte whenever a child ends or stops.
    ///
    /// # Errors
    ///
    /// Where the system gives no pipe or refuses the signal.
    pub fn of_children() -> io::Result<Self> {
        Self::of(&[SIGCHLD])
    }

    /// Gets a byte whenever this process is asked to end: INT, TERM, and HUP unless it is ignored,
    /// as under `nohup`.
    ///
    /// # Errors
    ///
    /// Where the system gives no pipe or refuses a signal.
    pub fn of_shutdown() -> io::Result<Self> {
        if is_ignored(SIGHUP) { Self::of(&[SIGINT, SIGTERM]) } else { Self::of(&[SIGINT, SIGTERM, SIGHUP]) }
    }

    fn of(signals: &[i32]) -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        for &signal in signals {
            pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self(reader))
    }

    /// How many signals have come since the last call.
    pub fn take(&mut self) -> usize {
        let mut buffer = [0; 64];
        let mut n_signals = 0;
        while let Ok(n @ 1..) = self.0.read(&mut buffer) {
            n_signals += n;
        }
        n_signals
    }
}

impl AsFd for SignalPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether this process was started with the signal ignored; `/proc/self/status` has a bit for it.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}
