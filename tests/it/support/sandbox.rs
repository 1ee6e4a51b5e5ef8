//! A folder with a queue in it, and commands run as if typed there.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qctl::clock::{Clock as _, SystemClock, Uptime, millis};

use super::{Output, Terminal};

/// The binary under test.
const QCTL: &str = env!("CARGO_BIN_EXE_qctl");

/// How long a fact is waited for. Far more than it takes: only a failure waits so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that goes away, a queue file in it (made by the first push), and the time.
#[derive(Debug)]
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
    /// Milliseconds by which its wall clock is ahead of the machine's.
    offset: i64,
}

impl Sandbox {
    /// A new folder.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), offset: 0 }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The queue file.
    pub(crate) fn db(&self) -> PathBuf {
        self.path("queue.db")
    }

    /// Lets the wall clock of commands started from now on be so much later: `30s`, `2h`.
    pub(crate) fn advance(&mut self, duration: &str) {
        self.offset += millis(humantime::parse_duration(duration).expect("a duration"));
    }

    /// Lets the wall clock of commands started from now on show this instant, and go on from there.
    pub(crate) fn set_clock(&mut self, instant: &str) {
        let instant: jiff::Timestamp = instant.parse().expect("an instant");
        self.offset = instant.as_millisecond() - SystemClock::default().now().as_millis();
    }

    /// Runs qctl with this line of arguments, split as a shell would.
    pub(crate) fn qctl(&self, line: &str) -> Output {
        let words = shlex::split(line).expect("quotes that match");
        self.qctl_with(&words)
    }

    /// Runs qctl with these arguments.
    pub(crate) fn qctl_with<W: AsRef<std::ffi::OsStr> + std::fmt::Debug>(&self, words: &[W]) -> Output {
        let mut command = self.command(QCTL);
        command.args(words);
        let what = format!("qctl {words:?}");
        Output::new(what, command.output().expect("qctl starts"))
    }

    /// Runs qctl with these bytes on its standard input.
    pub(crate) fn qctl_fed(&self, line: &str, input: &[u8]) -> Output {
        use std::io::Write as _;
        let mut child = self.spawn(QCTL, &shlex::split(line).expect("quotes that match"), Stdio::piped());
        child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
        Output::new(format!("qctl {line}"), child.wait_with_output().expect("it ends"))
    }

    /// Runs a script with `sh`; `qctl` is on its PATH.
    pub(crate) fn sh(&self, script: &str) -> Output {
        let mut command = self.command("/bin/sh");
        command.args(["-c", script]);
        Output::new(script.to_owned(), command.output().expect("sh starts"))
    }

    /// Starts qctl and goes on while it runs.
    pub(crate) fn start(&self, line: &str) -> Running {
        let words = shlex::split(line).expect("quotes that match");
        Running { what: format!("qctl {line}"), child: Some(self.spawn(QCTL, &words, Stdio::null())) }
    }

    /// Starts a script with `sh` and goes on while it runs. Where the script is `exec qctl … 2>file`,
    /// what it says can be read meanwhile.
    pub(crate) fn start_sh(&self, script: &str) -> Running {
        let words = ["-c".to_owned(), script.to_owned()];
        Running { what: script.to_owned(), child: Some(self.spawn("/bin/sh", &words, Stdio::null())) }
    }

    /// Starts a script with `sh` on a terminal of so many columns and rows, and goes on while it runs.
    /// Where the script is `exec qctl …`, qctl itself leads the session.
    pub(crate) fn terminal(&self, size: (u16, u16), script: &str) -> Terminal {
        let mut command = self.command("/bin/sh");
        command.env("TERM", "xterm-256color").args(["-c", script]);
        Terminal::open(command, size, script)
    }

    fn spawn(&self, program: &str, words: &[String], stdin: Stdio) -> Child {
        let mut command = self.command(program);
        command.args(words).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("it starts")
    }

    /// A command in the folder, with nothing in its environment that was not put there here.
    pub(crate) fn command(&self, program: &str) -> Command {
        let bin = Path::new(QCTL).parent().expect("the binary is in a folder").display();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"))
            .env("HOME", self.folder.path())
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("QCTL_DB", self.db())
            .env("QCTL_TEST_CLOCK_OFFSET", self.offset.to_string())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Pushes with this line of arguments; answers the id.
    #[track_caller]
    pub(crate) fn push(&self, line: &str) -> i64 {
        let output = self.qctl(&format!("push {line}")).succeeds();
        output.out().trim().parse().unwrap_or_else(|_| panic!("no id\n{}", output.story()))
    }

    /// The job as `show --json` has it.
    #[track_caller]
    pub(crate) fn job(&self, id: i64) -> serde_json::Value {
        self.qctl(&format!("show {id} --json")).succeeds().json()["job"].clone()
    }

    /// Where the job stands.
    #[track_caller]
    pub(crate) fn state(&self, id: i64) -> String {
        self.job(id)["state"].as_str().expect("a state").to_owned()
    }

    /// The jobs that stand there, in order of arrival.
    #[track_caller]
    pub(crate) fn ids(&self, state: &str) -> Vec<i64> {
        let list = self.qctl(&format!("list -s {state} --limit 100000")).succeeds().out();
        let id = |line: &str| line.split('\t').next().and_then(|id| id.parse().ok()).expect("an id");
        let mut ids: Vec<i64> = list.lines().map(id).collect();
        ids.sort_unstable();
        ids
    }

    /// Writes a file in the folder.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).expect("a file in the folder");
    }

    /// What a file in the folder holds; nothing, if it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Waits until a file of the folder has so many lines.
    #[track_caller]
    pub(crate) fn wait_for_lines(&self, name: &str, n: usize) {
        self.wait_until(&format!("{name} has {n} lines"), || self.read(name).lines().count() >= n);
    }

    /// Waits until this stands somewhere in a file of the folder.
    #[track_caller]
    pub(crate) fn wait_for_text(&self, name: &str, text: &str) {
        self.wait_until(&format!("{name} says {text:?}"), || self.read(name).contains(text));
    }

    /// The process numbers that a job wrote to a file of the folder.
    #[track_caller]
    pub(crate) fn pids(&self, name: &str) -> Vec<i32> {
        self.read(name).split_whitespace().map(|pid| pid.parse().expect("a process number")).collect()
    }

    /// Waits until a job stands there.
    #[track_caller]
    pub(crate) fn wait_for_state(&self, id: i64, state: &str) {
        self.wait_until(&format!("job {id} is {state}"), || self.state(id) == state);
    }

    /// Waits until something is so.
    #[track_caller]
    pub(crate) fn wait_until(&self, fact: &str, mut is_so: impl FnMut() -> bool) {
        let clock = SystemClock::default();
        let started = clock.uptime();
        while !is_so() {
            assert!(clock.uptime().since(started) < PATIENCE, "it never came to be that {fact}");
            clock.pause(Duration::from_millis(5));
        }
    }

    /// The uptime, to measure how long something took.
    pub(crate) fn uptime(&self) -> Uptime {
        SystemClock::default().uptime()
    }
}

/// Whether a process runs. One that has ended and was not reaped does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// A command that runs. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    what: String,
    child: Option<Child>,
}

impl Running {
    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        let child = self.child.as_ref().expect("it is taken only when it is waited for");
        Pid::from_raw(i32::try_from(child.id()).expect("process numbers are small"))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    /// Waits until it ends by itself.
    pub(crate) fn ends(mut self) -> Output {
        let child = self.child.take().expect("it is taken only here");
        Output::new(self.what.clone(), child.wait_with_output().expect("it ends"))
    }

    /// Kills it on the spot.
    pub(crate) fn dies(self) -> Output {
        self.signal(Signal::SIGKILL);
        self.ends()
    }

    /// Asks it to end, and waits until it does.
    pub(crate) fn stops(self) -> Output {
        self.signal(Signal::SIGTERM);
        self.ends()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether this can be run here. What a test cannot do without is passed over where it is not.
#[expect(clippy::print_stderr, reason = "what was passed over is said")]
pub(crate) fn is_possible(script: &str) -> bool {
    let is_possible =
        Sandbox::new().command("/bin/sh").args(["-c", script]).output().expect("sh starts").status.success();
    if !is_possible {
        eprintln!("passed over: this cannot be run here: {script}");
    }
    is_possible
}
