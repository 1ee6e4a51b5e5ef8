//! The programs that qctl is measured against and with: where they are, which versions, and how the
//! queues among them are pushed to and waited for.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::options;
use crate::place::{Place, Running, succeed};
use crate::timing;
use crate::trouble::{Outcome, Trouble};

/// Each program, and the Debian package whose version is told where the program does not tell its own.
const PROGRAMS: &[(&str, Option<&str>)] = &[
    ("nq", Some("nq")),
    ("tsp", Some("task-spooler")),
    ("pueue", None),
    ("parallel", None),
    ("xargs", None),
    ("sqlite3", None),
    ("strace", None),
    ("valgrind", None),
    ("cc", None),
];

/// Where a program is.
pub(crate) fn find(name: &'static str) -> Outcome<PathBuf> {
    let path = options::path();
    let mut places = path.split(':').map(|folder| Path::new(folder).join(name));
    places.find(|place| place.is_file()).ok_or(Trouble::NotInstalled(name))
}

/// A Markdown list of what took part, with versions.
pub(crate) fn versions() -> String {
    let mut text = format!("- qctl: {}\n", env!("CARGO_PKG_VERSION"));
    for (name, package) in PROGRAMS {
        let version = find(name).map(|program| version(&program, *package));
        text.push_str(&format!("- {name}: {}\n", version.unwrap_or_else(|_| "not installed".to_owned())));
    }
    text
}

fn version(program: &Path, package: Option<&str>) -> String {
    let mut command = match package {
        Some(package) => {
            let mut command = Command::new("dpkg-query");
            command.args(["-W", "-f", "${Version}", package]);
            command
        }
        None => {
            let mut command = Command::new(program);
            command.arg("--version");
            command
        }
    };
    let told = succeed(&mut command).ok().and_then(|text| text.lines().next().map(str::to_owned));
    told.unwrap_or_else(|| "of unknown version".to_owned())
}

/// A queue that runs what it is given in the background.
pub(crate) trait Peer {
    /// The command that queues `true`.
    fn push(&self) -> Command;

    /// The command that ends when all that was queued is done.
    fn wait(&self) -> Command;
}

/// nq: a folder, and a process for each job, one after the other.
pub(crate) struct Nq {
    program: PathBuf,
    place: Place,
}

impl Nq {
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self { program: find("nq")?, place: Place::new()? })
    }

    fn command(&self) -> Command {
        let mut command = self.place.command(&self.program);
        command.env("NQDIR", self.place.path("nq"));
        command
    }
}

impl Peer for Nq {
    fn push(&self) -> Command {
        let mut command = self.command();
        command.arg("true");
        command
    }

    fn wait(&self) -> Command {
        let mut command = self.command();
        command.arg("-w");
        command
    }
}

/// task-spooler: a server that is ended when this is dropped.
pub(crate) struct Tsp {
    program: PathBuf,
    place: Place,
}

impl Tsp {
    /// Starts a server that runs so many jobs at the same time.
    pub(crate) fn start(n_slots: usize) -> Outcome<Self> {
        let tsp = Self { program: find("tsp")?, place: Place::new()? };
        succeed(tsp.command().args(["-S", &n_slots.to_string()]))?;
        Ok(tsp)
    }

    fn command(&self) -> Command {
        let mut command = self.place.command(&self.program);
        command.env("TS_SOCKET", self.place.path("s"));
        command
    }
}

impl Peer for Tsp {
    fn push(&self) -> Command {
        let mut command = self.command();
        command.arg("true");
        command
    }

    /// It waits for the last job; one in another slot may take a little longer, which is to its favour.
    fn wait(&self) -> Command {
        let mut command = self.command();
        command.arg("-w");
        command
    }
}

impl Drop for Tsp {
    fn drop(&mut self) {
        let _ = self.command().arg("-K").output();
    }
}

/// pueue: a daemon that is ended when this is dropped.
pub(crate) struct Pueue {
    program: PathBuf,
    daemon: Option<Running>,
    place: Place,
}

impl Pueue {
    /// Starts a daemon that runs so many jobs at the same time.
    pub(crate) fn start(n_slots: usize) -> Outcome<Self> {
        let (program, daemon) = (find("pueue")?, find("pueued")?);
        let mut pueue = Self { program, daemon: None, place: Place::new()? };
        let mut daemon = Running::start(&mut pueue.command(&daemon))?;
        timing::wait_for("pueued answers", || {
            daemon.check()?;
            Ok(pueue.client(&["status"]).output()?.status.success().then_some(()))
        })?;
        pueue.daemon = Some(daemon);
        succeed(&mut pueue.client(&["parallel", &n_slots.to_string()]))?;
        Ok(pueue)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = self.place.command(program);
        command.env("XDG_RUNTIME_DIR", self.place.path(""));
        command
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.program);
        command.args(arguments);
        command
    }
}

impl Peer for Pueue {
    fn push(&self) -> Command {
        self.client(&["add", "true"])
    }

    fn wait(&self) -> Command {
        self.client(&["wait", "--quiet"])
    }
}
