//! A folder with a queue file in it, the commands run there, and the workers started there.
//!
//! It lies below `target`, where the file system is the one that people build on: in memory, where `/tmp` may
//! lie, a sync costs nothing and every figure would flatter.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::options;
use crate::timing;
use crate::trouble::{Outcome, Trouble};

/// The binary that is measured.
pub(crate) const QCTL: &str = env!("CARGO_BIN_EXE_qctl");

/// A folder that goes away, and a queue file in it, made by the first push.
#[derive(Debug)]
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A new folder.
    pub(crate) fn new() -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("q").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        Ok(Self { folder })
    }

    /// A new folder whose path is as long wherever the source lies: where instructions are counted. Those that
    /// wait for the disk are not, so it may lie in memory.
    pub(crate) fn of_fixed_length() -> Outcome<Self> {
        Ok(Self { folder: tempfile::Builder::new().prefix("q").tempdir_in("/tmp")? })
    }

    /// A new folder with an empty queue in it.
    pub(crate) fn with_queue() -> Outcome<Self> {
        let place = Self::new()?;
        let pushed = succeed(&mut place.qctl(&["push", "true"]))?;
        succeed(&mut place.qctl(&["cancel", pushed.trim()]))?;
        Ok(place)
    }

    /// A new folder with a queue of `n` jobs, each this line of a file for `import`.
    pub(crate) fn filled(n: usize, line: &str) -> Outcome<Self> {
        let place = Self::new()?;
        std::fs::write(place.path("jobs"), format!("{line}\n").repeat(n))?;
        succeed(place.qctl(&["import", "jobs"]).stdout(Stdio::null()))?;
        Ok(place)
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command that runs in the folder, with nothing of the bench's environment but its PATH.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("PATH", options::path())
            .env("HOME", folder)
            .env("LANG", "C.UTF-8")
            .env("TMPDIR", folder)
            .env("QCTL_DB", folder.join("queue.db"))
            .current_dir(folder)
            .stdin(Stdio::null());
        command
    }

    /// qctl with these arguments.
    pub(crate) fn qctl(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(QCTL);
        command.args(arguments);
        command
    }

    /// Starts a worker that says nothing, and waits until it is on the books.
    pub(crate) fn worker(&self, arguments: &[&str]) -> Outcome<Running> {
        let mut command = self.qctl(&["work", "--quiet"]);
        let mut running = Running::start(command.args(arguments))?;
        timing::wait_for("the worker is on the books", || {
            running.check()?;
            let workers = succeed(&mut self.qctl(&["workers"]))?;
            Ok((!workers.is_empty()).then_some(()))
        })?;
        Ok(running)
    }

    /// Runs a command and answers with the most memory, in MB, that it had or that any process that it waited
    /// for had.
    pub(crate) fn peak_megabytes(&self, command: &Command) -> Outcome<f64> {
        let peak = self.path("peak");
        let mut measured = self.command(crate::program::compiled("peak")?);
        measured.arg(&peak).arg(command.get_program()).args(command.get_args());
        succeed(measured.stdout(Stdio::null()))?;
        let text = std::fs::read_to_string(peak)?;
        let kibibytes: f64 = text.trim().parse().map_err(|_| Trouble::failed("peak.c wrote no number"))?;
        Ok(kibibytes * 1024.0 / 1e6)
    }
}

/// Runs a command that must succeed; answers what it wrote to stdout, unless that was sent elsewhere.
pub(crate) fn succeed(command: &mut Command) -> Outcome<String> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(Trouble::ended(command, output.status, &output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A process that runs; it is killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    what: String,
}

impl Running {
    /// Starts a command whose output goes nowhere.
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { child, what: format!("{command:?}") })
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(Trouble::failed(format!("{} ended early, with {status}", self.what))),
        }
    }

    /// Waits until it ends by itself, which must be with success.
    pub(crate) fn wait(mut self) -> Outcome<()> {
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(Trouble::failed(format!("{} ended with {status}", self.what))) }
    }

    /// Tells it to end and waits until it has.
    pub(crate) fn stop(self) -> Outcome<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("process numbers are small"));
        kill(pid, Signal::SIGTERM).map_err(std::io::Error::from)?;
        self.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended and been waited for: then both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
