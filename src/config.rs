//! Where this run stands: which queue file, which terminal, which environment.
//!
//! The only reader of the environment. What is read here once is handed on as values.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use jiff::tz::TimeZone;
use nix::unistd::{Uid, User, geteuid};
use terminal_size::{Width, terminal_size_of};

use crate::clock::{Clock as _, SystemClock};
use crate::job::{EnvVars, JobId, Lease, Token};
use crate::render::Look;
use crate::store::Target;
use crate::ui::{Format, ProgressLine, Ui};

/// Whether to paint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless the environment says otherwise
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Which rule chose the queue file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// `--db`.
    Flag,
    /// `QCTL_DB`.
    Variable,
    /// The user's data directory.
    Default,
}

impl ChosenBy {
    /// The words for it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Flag => "--db",
            Self::Variable => "QCTL_DB",
            Self::Default => "the default place",
        }
    }
}

/// What the command line says for every verb.
#[derive(Clone, Debug, Default)]
pub struct Global {
    /// `--db`
    pub db: Option<PathBuf>,
    /// `--json`
    pub is_json: bool,
    /// `--quiet`
    pub is_quiet: bool,
    /// `--color`
    pub color: ColorChoice,
}

/// Where this run stands.
#[derive(Clone, Debug)]
pub struct Config {
    /// The queue; `None` where no rule gives one.
    pub target: Option<(Target, ChosenBy)>,
    /// The clock.
    pub clock: SystemClock,
    /// The name of this machine.
    pub host: String,
    /// The GitHub Actions step that this is, if it is one.
    pub actions: Option<Actions>,
}

/// A step of a GitHub Actions workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// The file whose Markdown is shown on the page of the run.
    pub summary: Option<PathBuf>,
}

impl Config {
    /// Reads flags, environment and directories.
    pub fn read(global: &Global) -> Self {
        Self { target: target(global.db.as_deref()), clock: clock(), host: host(), actions: actions() }
    }
}

fn target(flag: Option<&std::path::Path>) -> Option<(Target, ChosenBy)> {
    let (path, chosen_by) = match (flag, var("QCTL_DB")) {
        (Some(path), _) => (path.to_owned(), ChosenBy::Flag),
        (None, Some(path)) => (PathBuf::from(path), ChosenBy::Variable),
        (None, None) => (dirs::data_dir()?.join("qctl").join("queue.db"), ChosenBy::Default),
    };
    Some((Target::Sqlite(path), chosen_by))
}

/// The machine's clock, displaced by `QCTL_TEST_CLOCK_OFFSET` milliseconds, and by those that the file
/// `QCTL_TEST_CLOCK_FILE` holds at the time: tests live tomorrow.
fn clock() -> SystemClock {
    let offset = var("QCTL_TEST_CLOCK_OFFSET").and_then(|offset| offset.to_str()?.parse().ok());
    let offset_file = var("QCTL_TEST_CLOCK_FILE").map(|path| &*Box::leak(PathBuf::from(path).into_boxed_path()));
    SystemClock { offset_millis: offset.unwrap_or(0), offset_file }
}

fn host() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn actions() -> Option<Actions> {
    let is_step = var("GITHUB_ACTIONS").is_some_and(|value| value == "true");
    is_step.then(|| Actions { summary: var("GITHUB_STEP_SUMMARY").map(PathBuf::from) })
}

/// The two streams as this terminal and environment want them.
pub fn ui(global: &Global) -> Ui {
    let stdout_is_terminal = io::stdout().is_terminal();
    let look = Look {
        width: terminal_size_of(io::stdout()).map_or(usize::MAX, |(Width(width), _)| width.into()),
        has_color: has_color(global.color, stdout_is_terminal),
        has_unicode: has_unicode(),
        now: clock().now(),
        zone: TimeZone::system,
    };
    let format = match (global.is_json, stdout_is_terminal) {
        (true, _) => Format::Json,
        (false, true) => Format::Table,
        (false, false) => Format::Plain,
    };
    let stderr_is_terminal = io::stderr().is_terminal();
    // A dumb terminal cannot erase what it has written.
    let has_progress = stderr_is_terminal && !global.is_quiet && !global.is_json && !is_dumb();
    Ui {
        format,
        look,
        stdout_is_terminal,
        stderr_is_terminal,
        stdin_is_terminal: io::stdin().is_terminal(),
        is_quiet: global.is_quiet,
        progress: has_progress.then(ProgressLine::default),
    }
}

/// The flag decides, then the variables that people set for all their tools (no-color.org,
/// bixense.com/clicolors, and `FORCE_COLOR` as the CI services set it), then the terminal.
fn has_color(choice: ColorChoice, is_terminal: bool) -> bool {
    let is_set = |name| var(name).is_some_and(|value| value != "0");
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if is_set("FORCE_COLOR") || is_set("CLICOLOR_FORCE") => true,
        ColorChoice::Auto if var("NO_COLOR").is_some() => false,
        ColorChoice::Auto => is_terminal && !is_dumb(),
    }
}

fn is_dumb() -> bool {
    var("TERM").is_some_and(|term| term == "dumb")
}

/// Whether the locale is UTF-8; cron's is not.
fn has_unicode() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(var).unwrap_or_default();
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The variables that a push keeps: those that change how the same command runs.
pub fn kept_variables() -> EnvVars {
    let is_kept = |name: &OsStr| {
        let name = name.as_bytes();
        matches!(name, b"PATH" | b"LANG" | b"TZ") || name.starts_with(b"LC_")
    };
    let mut kept: EnvVars = all_variables()
        .filter(|(name, _)| is_kept(name))
        .map(|(name, value)| (name.into_vec(), value.into_vec()))
        .collect();
    kept.sort();
    kept
}

#[expect(clippy::disallowed_methods, reason = "the only reader of the environment")]
fn all_variables() -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os()
}

/// A variable, if it is set and not empty.
#[expect(clippy::disallowed_methods, reason = "the only reader of the environment")]
pub fn var(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable, even an empty one.
#[expect(clippy::disallowed_methods, reason = "the only reader of the environment")]
pub fn var_or_empty(name: &OsStr) -> Option<OsString> {
    env::var_os(name)
}

/// The attempt that this runs in: its queue file and its lease; `None` outside a job.
pub fn attempt() -> Option<(PathBuf, Lease)> {
    let number = |name| var(name)?.to_str()?.parse().ok();
    let lease = Lease { job: JobId::new(number("QCTL_JOB_ID")?)?, token: Token::new(number("QCTL_TOKEN")?) };
    Some((PathBuf::from(var("QCTL_DB")?), lease))
}

/// The step that this runs in, as it is written; `None` outside of one.
pub fn step() -> Option<String> {
    var("QCTL_STEP")?.into_string().ok()
}

/// What the step that this runs in shows to services; `None` outside of one.
pub fn step_key() -> Option<String> {
    Some(var("QCTL_STEP_KEY")?.to_string_lossy().into_owned())
}

/// The user's editor, as a shell line; `None` where none is set.
pub fn editor() -> Option<OsString> {
    var("VISUAL").or_else(|| var("EDITOR"))
}

/// Where files lie that nobody needs for long: the user's own place for them, else everybody's.
pub fn temporary_folder() -> PathBuf {
    var("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir()).unwrap_or_else(env::temp_dir)
}

/// The working directory.
///
/// # Errors
///
/// Where it has been deleted, or may not be read.
pub fn working_directory() -> io::Result<PathBuf> {
    env::current_dir()
}

/// The path of this program.
///
/// # Errors
///
/// Where the system does not tell.
pub fn program() -> io::Result<PathBuf> {
    env::current_exe()
}

/// The number of the user whose rights this run has.
pub fn user() -> u32 {
    geteuid().as_raw()
}

/// The name of a user; the number, where it has none.
pub fn user_name(number: u32) -> String {
    let user = User::from_uid(Uid::from_raw(number)).ok().flatten();
    user.map_or_else(|| number.to_string(), |user| user.name)
}
