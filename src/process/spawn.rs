//! Starting a command.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{AccessFlags, access};

use super::child::Child;

/// A command to be started.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The program, found along `PATH` if it has no slash, and its arguments. Not empty.
    pub argv: Vec<Vec<u8>>,
    /// Variables set over those of this process; a later one wins.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// The working directory, absolute.
    pub cwd: &'a Path,
    /// Bytes for its standard input; `None`: `/dev/null`, because a command that read the terminal
    /// from a group of its own would be stopped.
    pub stdin: Option<&'a [u8]>,
    /// A file that it and all it starts keep open; closed here once it runs.
    pub keepsake: Option<OwnedFd>,
}

/// Why a command was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No such program.
    #[error("{}: command not found", .0.display())]
    NotFound(PathBuf),
    /// It is there and cannot be executed.
    #[error("{}: cannot be executed: {}", .0.display(), .1.kind())]
    NotExecutable(PathBuf, #[source] io::Error),
    /// The working directory is not there, or may not be entered.
    #[error("{}: not a folder to work in: {}", .0.display(), .1.kind())]
    NoFolder(PathBuf, #[source] io::Error),
    /// The machine has no room for another process, or no file to give it.
    #[error("the system could not start a process: {0}")]
    NoRoom(#[source] io::Error),
}

impl SpawnError {
    /// The exit status that a shell would give.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable(..) | Self::NoFolder(..) | Self::NoRoom(_) => 126,
        }
    }

    /// Whether the command itself is to blame, not the state of the machine.
    pub fn is_the_commands_fault(&self) -> bool {
        !matches!(self, Self::NoRoom(_))
    }
}

impl Launch<'_> {
    /// Starts the command.
    ///
    /// # Errors
    ///
    /// [`SpawnError`]; nothing runs then.
    pub fn spawn(self) -> Result<Child, SpawnError> {
        let folder = self.cwd;
        // A folder that is not there is looked for only once something went wrong.
        self.try_spawn().map_err(|error| match check_folder(folder) {
            Err(no_folder) if error.is_the_commands_fault() => no_folder,
            Err(_) | Ok(()) => error,
        })
    }

    fn try_spawn(self) -> Result<Child, SpawnError> {
        let program = self.program()?;
        let stdin = self.stdin.map_or_else(|| Ok(Stdio::null()), bytes_to_read).map_err(SpawnError::NoRoom)?;
        let mut command = Command::new(&program);
        command
            .arg0(OsStr::from_bytes(&self.argv[0]))
            .args(self.argv[1..].iter().map(|word| OsStr::from_bytes(word)))
            .envs(self.env.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))))
            .current_dir(self.cwd)
            .process_group(0)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(keepsake) = &self.keepsake {
            // Only this command inherits it: no other thread starts any.
            fcntl(keepsake, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| SpawnError::NoRoom(errno.into()))?;
        }
        let child = command.spawn().map_err(|error| blame(error, program))?;
        Child::new(child).map_err(SpawnError::NoRoom)
    }

    /// The path of the program. A bare name is looked up here, along the `PATH` that the command
    /// will have: left to the system, a changed `PATH` costs the quick way of starting.
    fn program(&self) -> Result<PathBuf, SpawnError> {
        let name = Path::new(OsStr::from_bytes(&self.argv[0]));
        if self.argv[0].contains(&b'/') {
            return Ok(self.cwd.join(name));
        }
        let path = self.env.iter().rev().find(|(variable, _)| variable == b"PATH").map(|(_, value)| value.as_slice());
        let mut found_unusable = None;
        for folder in path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin").split(|&byte| byte == b':') {
            let candidate = self.cwd.join(OsStr::from_bytes(folder)).join(name);
            match access(&candidate, AccessFlags::X_OK) {
                Ok(()) if candidate.is_file() => return Ok(candidate),
                Err(nix::errno::Errno::EACCES) => found_unusable = Some(candidate),
                Ok(()) | Err(_) => {}
            }
        }
        Err(match found_unusable {
            Some(path) => SpawnError::NotExecutable(path, io::ErrorKind::PermissionDenied.into()),
            None => SpawnError::NotFound(PathBuf::from(OsString::from_vec(self.argv[0].clone()))),
        })
    }
}

fn check_folder(folder: &Path) -> Result<(), SpawnError> {
    let refused = |error| Err(SpawnError::NoFolder(folder.to_owned(), error));
    match folder.metadata() {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => refused(io::ErrorKind::NotADirectory.into()),
        Err(error) => refused(error),
    }
}

pub(super) fn blame(error: io::Error, program: PathBuf) -> SpawnError {
    match error.kind() {
        io::ErrorKind::NotFound => SpawnError::NotFound(program),
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => SpawnError::NoRoom(error),
        _ if error.raw_os_error() == Some(nix::libc::EMFILE) || error.raw_os_error() == Some(nix::libc::ENFILE) => {
            SpawnError::NoRoom(error)
        }
        _ => SpawnError::NotExecutable(program, error),
    }
}

/// A file in memory that holds `bytes`, to be read from its beginning. Unlike a pipe it takes any
/// number of them at once, and nobody has to stand by to feed it.
pub(super) fn bytes_to_read(bytes: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("qctl-payload", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}
