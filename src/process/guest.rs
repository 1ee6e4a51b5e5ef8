//! A command inside of ours: it stays in our process group and our folder and has our stderr; only what it
//! writes to stdout passes through here.
//!
//! Whoever signals our group signals it too, so it is sent nothing from here.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::Pid;

use super::child::Exit;
use super::reap;
use super::spawn::{SpawnError, blame, bytes_to_read};

/// How much is read at a time.
const GULP: usize = 64 * 1024;

/// A command that was started.
#[derive(Debug)]
pub struct Guest {
    pid: Pid,
    stdout: Option<ChildStdout>,
    buffer: Vec<u8>,
}

impl Guest {
    /// Starts the command; the variables are set over ours. `stdin` are bytes for its standard input, which
    /// else is ours.
    ///
    /// # Errors
    ///
    /// [`SpawnError`]; nothing runs then.
    pub fn spawn(argv: &[Vec<u8>], env: &[(&str, String)], stdin: Option<&[u8]>) -> Result<Self, SpawnError> {
        let words: Vec<&OsStr> = argv.iter().map(|word| OsStr::from_bytes(word)).collect();
        let stdin = stdin.map_or_else(|| Ok(Stdio::inherit()), bytes_to_read).map_err(SpawnError::NoRoom)?;
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| blame(error, PathBuf::from(words[0])))?;
        let stdout = child.stdout.take().expect("it was asked for");
        fcntl(&stdout, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| SpawnError::NoRoom(errno.into()))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("process numbers are small"));
        Ok(Self { pid, stdout: Some(stdout), buffer: vec![0; GULP] })
    }

    /// Where its stdout comes out, until that ends.
    pub fn stdout(&self) -> Option<BorrowedFd<'_>> {
        self.stdout.as_ref().map(|stdout| stdout.as_fd())
    }

    /// What has come out since the last call, up to a gulp; nothing where nothing has.
    pub fn read(&mut self) -> &[u8] {
        let Some(stdout) = &mut self.stdout else { return &[] };
        let n = match stdout.read(&mut self.buffer) {
            Ok(n @ 1..) => n,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            Ok(_) | Err(_) => {
                self.stdout = None;
                0
            }
        };
        &self.buffer[..n]
    }

    /// Whether it has ended; it is not reaped yet.
    pub fn has_ended(&self) -> bool {
        reap::has_ended(self.pid)
    }

    /// Takes its remains, waiting until there are any.
    ///
    /// # Errors
    ///
    /// Where the system says that there is no such child.
    pub fn reap(self) -> io::Result<Exit> {
        reap::reap(self.pid).map(|(exit, _)| exit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_found_and_what_is_no_program_cannot_be_executed() {
        let spawn = |word: &str| Guest::spawn(&[word.into()], &[], None).expect_err("no program").exit_code();
        assert_eq!(spawn("no-such-program-anywhere"), 127);
        assert_eq!(spawn("/etc/passwd"), 126);
    }
}
