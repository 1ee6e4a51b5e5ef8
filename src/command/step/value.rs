//! `qctl step get`, `qctl step set`: what a step printed, and values that are kept like that.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;

use clap::builder::OsStringValueParser;
use clap_complete::ArgValueCandidates;

use super::{SLEEP, bad_name, new_call, outer, path, refused, running};
use crate::clock::Clock as _;
use crate::command::{Answer, Ctx, complete, lease, selection, value};
use crate::exit::{Exit, Failure};
use crate::job::{Begun, JobId, Step, StepOutput, StepPath, StepState};
use crate::render::json;
use crate::store::SettledStep;
use crate::ui::Format;

/// Print what a step printed, or the value that was set
///
/// Exits with 3 where nothing is recorded. Inside of a step it is looked for there first, then in what that is
/// inside of.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl step get reserve
  qctl step get --job 42 order/charge | jq .")]
pub(super) struct Get {
    /// The job [default: the one that this is inside of]
    #[arg(long, value_name = "ID", value_parser = value::id, add = ArgValueCandidates::new(complete::jobs))]
    job: Option<JobId>,
    /// The step, as `step list` writes it
    #[arg(value_name = "NAME")]
    name: String,
}

impl Get {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let (job, mut around) = match self.job {
            Some(job) => (job, None),
            None => (lease::own(ctx)?.job, outer()?),
        };
        loop {
            let text = around.as_ref().map_or_else(|| self.name.clone(), |outer| format!("{outer}/{}", self.name));
            let path = StepPath::parse(&text).map_err(|error| bad_name(&error))?;
            if let Some(output) = ctx.store()?.step_output(job, &path)? {
                match ctx.ui.format {
                    Format::Json => ctx.ui.print(&document(job, &path, output)?)?,
                    Format::Table | Format::Plain => print(ctx, output)?,
                }
                return Ok(Exit::Done);
            }
            match around {
                Some(outer) => around = outer.outer(),
                None => break,
            }
        }
        Err(Failure::not_found(format!("job {job} has no step {} on record", self.name))
            .hint(format!("qctl step list {job}")))
    }
}

/// Record a value, unless one is recorded
///
/// The first one stays: a later attempt that sets another is left with it. `step get` prints which.
///
/// --job, from outside, is how a person says that a step which may or may not have happened has, and what it
/// printed; the job must not be running. It also ends a pause of `step sleep` before its time.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl step set run \"$(uuidgen)\"; run=$(qctl step get run)
  date | qctl step set started
  qctl step set --job 42 charge ch-1017 && qctl dlq requeue 42
  qctl step set --job 42 sleep '' && qctl update 42 --delay 0s")]
pub(super) struct Set {
    /// The job, which does not run [default: the one that this is inside of]
    #[arg(long, value_name = "ID", value_parser = value::id, add = ArgValueCandidates::new(complete::jobs))]
    job: Option<JobId>,
    /// Its name; a step of a command has it in the same place
    #[arg(value_name = "NAME")]
    name: String,
    /// The value [default: standard input to its end]
    #[arg(value_name = "VALUE", value_parser = OsStringValueParser::new(), allow_hyphen_values = true)]
    value: Option<OsString>,
}

/// The largest value, in bytes: it is kept in the queue itself.
const MAX_VALUE: usize = 1024 * 1024;

impl Set {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        if self.job.is_none() && self.name == SLEEP {
            return Err(called_sleep());
        }
        let value = match self.value {
            Some(value) if value != "-" => value.into_vec(),
            _ => read_value()?,
        };
        if value.len() > MAX_VALUE {
            return Err(Failure::usage(format!("the value of {} is larger than 1 MiB", self.name))
                .hint(format!("qctl step {} -- cat FILE keeps any size", self.name)));
        }
        match self.job {
            Some(job) => settle(ctx, job, (&self.name, &value)),
            None => set(ctx, path(&self.name)?, &value),
        }
    }
}

fn set(ctx: &mut Ctx, path: StepPath, value: &[u8]) -> Answer {
    let lease = lease::own(ctx)?;
    let call = new_call(path);
    let at = ctx.config.clock.moment();
    match ctx.store()?.set_step(lease, &call, value, at)? {
        Begun::Refused(refusal) => Err(refused(lease, &call.path, refusal)),
        Begun::Recorded { path, output, .. } if ctx.ui.format == Format::Json => {
            ctx.ui.print(&document(lease.job, &path, output)?)?;
            Ok(Exit::Done)
        }
        Begun::Recorded { .. } | Begun::Run(_) | Begun::Uncertain(_) => Ok(Exit::Done),
    }
}

/// Records a value from outside of the job.
fn settle(ctx: &mut Ctx, job: JobId, (name, value): (&str, &[u8])) -> Answer {
    let call = new_call(StepPath::parse(name).map_err(|error| bad_name(&error))?);
    let now = ctx.now();
    // One that is on record is ended by it, and one that is still to come would not heed it.
    let is_sleeping = |step: &Step| step.path == call.path && matches!(step.state, StepState::Sleeping { .. });
    if call.path.name().rsplit('/').next() == Some(SLEEP) && !ctx.store()?.steps(job)?.iter().any(is_sleeping) {
        return Err(called_sleep());
    }
    match ctx.store()?.settle_step(job, &call, value, now)? {
        SettledStep::Recorded => {
            if ctx.ui.format == Format::Json {
                ctx.ui.print(&document(job, &call.path, StepOutput::Bytes(value.to_vec()))?)?;
            }
            Ok(Exit::Done)
        }
        SettledStep::Before => Err(Failure::refused(format!("step {} of job {job} is recorded already", call.path))
            .hint(format!(
                "qctl step get --job {job} {}; to forget it: qctl step reset {job} {}",
                call.path, call.path
            ))),
        SettledStep::Running => Err(running(job)),
        SettledStep::NoJob => Err(selection::unknown(job.into())),
    }
}

fn called_sleep() -> Failure {
    Failure::usage(format!("a value is not called {SLEEP}: each pause of `qctl step sleep` is"))
}

/// One byte more than is taken tells that there is more.
fn read_value() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    let read = io::stdin().lock().take(MAX_VALUE as u64 + 1).read_to_end(&mut value);
    read.map(|_| value).map_err(|error| Failure::usage(format!("standard input: {error}")))
}

/// What a step printed, as a document.
fn document(job: JobId, path: &StepPath, output: StepOutput) -> Result<String, Failure> {
    let bytes = match output {
        StepOutput::Bytes(bytes) => bytes,
        StepOutput::File(mut file) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            bytes
        }
    };
    Ok(json::step_output(job, path, bytes))
}

/// Writes what a step printed, as it is.
pub(super) fn print(ctx: &Ctx, output: StepOutput) -> Result<(), Failure> {
    match output {
        StepOutput::Bytes(bytes) => ctx.ui.raw(&bytes),
        StepOutput::File(mut file) => {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(()),
                    n => ctx.ui.raw(&buffer[..n])?,
                }
            }
        }
    }
}
