//! The options that describe a job, shared by `push` and `run`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::OsStringValueParser;
use clap_complete::ArgValueCandidates;

use super::Ctx;
use super::complete;
use super::draft::Draft;
use super::key::Key;
use super::payload_options::PayloadOptions;
use super::term_options::TermOptions;
use super::value::{self, Limit};
use crate::config;
use crate::exit::Failure;
use crate::job::{Command, Defaults, Due, EnvVars, OnDuplicate, QueueName};
use crate::render::words;

/// The options of `push` and `run`.
#[derive(clap::Args, Debug)]
pub(crate) struct JobOptions {
    /// Queue, made on first use
    #[arg(short = 'Q', long, value_name = "NAME", default_value_t, value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: QueueName,
    /// Idempotency key, unique in its queue; auto: made from command, payload and working directory
    #[arg(long, value_name = "KEY", value_parser = value::key)]
    key: Option<Key>,
    /// How long after the push a finished job still holds its key [default: 24h]
    #[arg(long, value_name = "D|none", value_parser = value::duration_or_none)]
    key_ttl: Option<Limit>,
    /// What a push does whose key is held [default: return]
    #[arg(long, value_name = "WHAT")]
    on_duplicate: Option<OnDuplicateArg>,
    /// Not before this much time has passed
    #[arg(long, value_name = "D", value_parser = value::duration, conflicts_with = "at")]
    delay: Option<Duration>,
    /// Not before this instant: RFC 3339, local date and time, HH:MM, @EPOCH
    #[arg(long, value_name = "T")]
    at: Option<String>,
    /// Dead, reason expired, if not started within this time
    #[arg(long, value_name = "D", value_parser = value::positive_duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    pub(super) terms: TermOptions,
    /// Copy a variable from here, or set it
    #[arg(long, value_name = "K|K=V")]
    env: Vec<OsString>,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    #[command(flatten)]
    payload: PayloadOptions,
    /// Label, for filters and reports
    #[arg(short = 'l', long = "label", value_name = "K=V", value_parser = value::label)]
    labels: Vec<(String, String)>,
    /// One argument is a shell command line; two or more are a program and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, value_parser = OsStringValueParser::new())]
    command: Vec<OsString>,
}

/// The words of `--on-duplicate`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OnDuplicateArg {
    /// Print the first job's id and exit 0
    Return,
    /// Exit 4
    Error,
    /// Replace a job that has not started
    Replace,
}

impl JobOptions {
    /// The job that the options describe.
    pub(super) fn draft(self, ctx: &Ctx) -> Result<Draft, Failure> {
        let now = ctx.now();
        let key = self.key()?;
        let due = match (&self.at, self.delay) {
            (Some(at), _) => {
                let zone = (ctx.ui.look.zone)();
                Due::At(value::instant(at, now, &zone).map_err(|error| Failure::usage(format!("--at: {error}")))?)
            }
            (None, Some(delay)) => Due::At(now.plus(delay)),
            (None, None) => Due::Now,
        };
        let payload = self.payload.read()?;
        let command = command(self.command)?;
        if command.is_none() && payload.is_none() {
            return Err(
                Failure::usage("there is nothing to run").hint("give a command, or a --payload for a worker's handler")
            );
        }
        let mut draft = Draft::new(self.queue, command, cwd(self.cwd.as_deref())?);
        draft.payload = payload;
        draft.key = key;
        draft.key_ttl = self.key_ttl.map_or(Some(Defaults::KEY_TTL), |Limit(ttl)| ttl);
        draft.on_duplicate = match self.on_duplicate {
            None | Some(OnDuplicateArg::Return) => OnDuplicate::Return,
            Some(OnDuplicateArg::Error) => OnDuplicate::Error,
            Some(OnDuplicateArg::Replace) => OnDuplicate::Replace,
        };
        draft.due = due;
        draft.expires = self.expires;
        draft.env = self.env.iter().map(named_variable).collect::<Result<_, _>>()?;
        draft.labels = self.labels.into_iter().collect();
        draft.own = self.terms.settings();
        // What was understood is said once nothing more can be wrong with it.
        if let (Some(_), Due::At(at)) = (&self.at, draft.due) {
            ctx.ui.say(format_args!("not before {}", words::both(at, &ctx.ui.look)));
        }
        Ok(draft)
    }

    /// The key that was given, or the one that this place gives.
    fn key(&self) -> Result<Option<Key>, Failure> {
        let key = self.key.clone().or_else(Key::of_surroundings);
        let of_key = match (self.key_ttl.is_some(), self.on_duplicate.is_some()) {
            _ if key.is_some() => return Ok(key),
            (false, false) => return Ok(None),
            (true, _) => "--key-ttl",
            (false, true) => "--on-duplicate",
        };
        Err(Failure::usage(format!("{of_key} says how a key is held, and there is none"))
            .hint("give one with --key; only inside of a step a push has a key without"))
    }
}

/// One word is a line for the shell; more are a program and its arguments.
pub(super) fn command(mut words: Vec<OsString>) -> Result<Option<Command>, Failure> {
    let is_blank = |word: &OsString| word.as_bytes().trim_ascii().is_empty();
    match words.len() {
        0 => Ok(None),
        _ if is_blank(&words[0]) => Err(Failure::usage("the command is empty")),
        1 => Ok(Some(Command::Shell(words.remove(0).into_vec()))),
        _ => Ok(Some(Command::Program(words.into_iter().map(OsString::into_vec).collect()))),
    }
}

/// The working directory as an absolute path; it must be there, because a job that cannot enter it
/// fails every time.
pub(super) fn cwd(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let here = || {
        config::working_directory().map_err(|error| Failure::usage(format!("the working directory is gone: {error}")))
    };
    let Some(given) = given else { return here() };
    let path = if given.is_absolute() { given.to_owned() } else { here()?.join(given) };
    if path.is_dir() { Ok(path) } else { Err(Failure::usage(format!("--cwd: {} is no folder", path.display()))) }
}

/// A variable to set, or the copy of one of ours.
pub(super) fn named_variable(text: &OsString) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let bytes = text.as_bytes();
    let (name, value) = match bytes.iter().position(|&byte| byte == b'=') {
        Some(at) => (&bytes[..at], Some(bytes[at + 1..].to_vec())),
        None => (bytes, None),
    };
    if name.is_empty() {
        return Err(Failure::usage(format!("--env: {} has no name", text.display())));
    }
    let value = value.or_else(|| config::var_or_empty(text).map(OsString::into_vec));
    let unset = || {
        Failure::usage(format!("--env: {} is not set here", text.display())).hint("give its value: --env NAME=VALUE")
    };
    Ok((name.to_vec(), value.ok_or_else(unset)?))
}

/// The same for text, as `import` has it.
pub(super) fn set_variables(env: Vec<(String, String)>) -> Result<EnvVars, String> {
    env.into_iter()
        .map(|(name, value)| {
            let is_bad = name.is_empty() || name.contains('=') || name.contains('\0') || value.contains('\0');
            if is_bad {
                Err(format!("env: {name:?} is no variable"))
            } else {
                Ok((name.into_bytes(), value.into_bytes()))
            }
        })
        .collect()
}
