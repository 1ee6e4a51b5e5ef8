//! `qctl step`: a part of a job that is done once, however often the job is run.
//!
//! `call` comes to a step and does what is to be done about it, `kept` keeps what it prints; the rest are the
//! verbs around it.

mod call;
mod kept;
mod list;
mod reset;
mod value;

use std::time::Duration;

use super::{Answer, Ctx, lease};
use crate::command::value as word;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::job::{BadStep, JobId, Lease, OnUncertain, StepCall, StepPath, StepRefusal};
use crate::render::{json, words};
use crate::store::Slept;
use crate::ui::Format;

/// Run a part of a job once, however often the job is run
///
/// The first time, COMMAND is run, what it writes to stdout is passed on, and when it has succeeded that is
/// recorded. In a later attempt of the same job what it wrote is written again and nothing is run. If it
/// fails, step exits as it did, and it is run again in the next attempt. Only stdout is recorded: not what it
/// wrote to stderr, where it went or which variables it set. What it leaves running in the background may go
/// on, and is not waited for.
///
/// If the machine, the worker or the step dies after COMMAND began and before its end is on record, nobody
/// knows whether it happened; nor if COMMAND died of a signal, or failed once it was asked to end, as at a timeout.
/// --on-uncertain says what the next attempt does then: rerun runs it again; fail
/// refuses, and the job is dead, reason uncertain, when its command has ended; verify 'LINE' asks a shell line,
/// which exits with 0 if it happened (its stdout is recorded as that of the step), with 1 if it did not (the
/// step is run), and else fails the step, to be asked again by the next attempt.
///
/// QCTL_STEP_KEY is the same each time that COMMAND is run, and no other step's: services that take an
/// idempotency key do a thing once for it.
///
/// A name may be used once in an attempt, unless --repeat numbers each. Steps may be inside of each other, and
/// run side by side. A pipe on standard input is refused, as nobody could read it again: --stdin-hash reads it
/// first and holds it against what was recorded.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  qctl step build -- make -j2
  id=$(qctl step reserve -- ./reserve.sh \"$order\")
  qctl step charge -- sh -c 'curl -fsS -H \"Idempotency-Key: $QCTL_STEP_KEY\" -d amount=5 https://pay.example'
  qctl step mail --on-uncertain verify './was-sent.sh 17' -- ./send.sh 17
  for host in $hosts; do qctl step \"deploy:$host\" -- ./deploy.sh \"$host\"; done")]
pub(crate) struct Step {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    call: call::Call,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    List(list::List),
    Get(value::Get),
    Set(value::Set),
    Sleep(Sleep),
    Reset(reset::Reset),
}

impl Step {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        match self.verb {
            None => self.call.run(ctx),
            Some(Verb::List(verb)) => verb.run(ctx),
            Some(Verb::Get(verb)) => verb.run(ctx),
            Some(Verb::Set(verb)) => verb.run(ctx),
            Some(Verb::Sleep(verb)) => verb.run(ctx),
            Some(Verb::Reset(verb)) => verb.run(ctx),
        }
    }
}

/// End the attempt, and go on from here when the time has come
///
/// Exits with 75, and the command is to end then, as a shell does after `set -e`; until it has, every further
/// step is refused. The attempt is not one of the job's attempts. The next one comes when D has passed since
/// this was first come to; in it this does nothing and exits with 0. What wakes the job sooner, such as
/// qctl update --delay 0s, only lets it go back to sleep; qctl step set --job ID sleep '' ends the pause.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl step sleep 3d || exit
  set -e; qctl step order -- ./order.sh; qctl step sleep 3d; qctl step remind -- ./remind.sh")]
struct Sleep {
    /// How long
    #[arg(value_name = "D", value_parser = word::duration)]
    pause: Duration,
}

/// What every pause is called, and no other step: this is a verb, and `step set` only ends one.
const SLEEP: &str = "sleep";

/// The exit status of an attempt that is to go on later, of `sysexits.h`.
const LATER: Exit = Exit::As(75);

impl Sleep {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let lease = lease::own(ctx)?;
        let call = new_call(path(SLEEP)?);
        let now = ctx.now();
        let (exit, wakes_at) = match ctx.store()?.sleep_step(lease, &call, now.plus(self.pause), now)? {
            Slept::Passed => (Exit::Done, None),
            Slept::Until(until) => (LATER, Some(words::utc(until))),
            Slept::Refused(refusal) => return Err(refused(lease, &call.path, refusal)),
        };
        if ctx.ui.format == Format::Json {
            ctx.ui.print(&json::document("wakes_at", wakes_at.into()))?;
        }
        Ok(exit)
    }
}

/// The step of this name inside of the one that this is called in.
fn path(name: &str) -> Result<StepPath, Failure> {
    StepPath::new(outer()?.as_ref(), name).map_err(|error| bad_name(&error))
}

/// The step that this is called in.
fn outer() -> Result<Option<StepPath>, Failure> {
    config::step().map(|step| StepPath::parse(&step)).transpose().map_err(|error| bad_name(&error))
}

fn bad_name(error: &BadStep) -> Failure {
    Failure::usage(error.to_string())
}

/// The first call of a step that runs no command.
fn new_call(path: StepPath) -> StepCall {
    StepCall {
        path,
        is_repeated: false,
        on_uncertain: OnUncertain::Rerun,
        key: uuid::Uuid::new_v4().to_string(),
        command: String::new(),
        input: None,
    }
}

/// The steps of a job that runs are its own affair.
fn running(job: JobId) -> Failure {
    Failure::refused(format!("job {job} is running; its steps are left alone"))
        .hint(format!("qctl wait {job}, or qctl cancel {job}"))
}

/// Why the attempt may not come to the step, and what would help.
fn refused(lease: Lease, path: &StepPath, refusal: StepRefusal) -> Failure {
    let job = lease.job;
    match refusal {
        StepRefusal::Lost => lease::lost(lease),
        StepRefusal::Cancelled => Failure::refused(format!("job {job} is being cancelled; step {path} is not begun")),
        StepRefusal::Asleep => Failure::new(
            crate::exit::Kind::TryAgain,
            format!("job {job} is asleep; step {path} is not begun before it wakes"),
        )
        .hint("end the command where `qctl step sleep` fails: set -e, or || exit"),
        StepRefusal::Twice => Failure::usage(format!("this attempt has come to step {path} before"))
            .hint("give each step a name of its own, such as mail:17, or number them with --repeat"),
        StepRefusal::Underway => {
            Failure::refused(format!("this attempt has begun step {path} before, and that has not ended"))
                .hint("give each step a name of its own; one that was killed is come to again by the next attempt")
        }
        StepRefusal::OtherInput => Failure::refused(format!("step {path} is recorded with another standard input"))
            .hint(format!("name the step after its input, or forget what is recorded: qctl step reset {job} {path}")),
    }
}
