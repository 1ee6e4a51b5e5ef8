//! Coming to a step, and doing what is to be done about it.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::time::Duration;

use clap::builder::OsStringValueParser;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::kept::Kept;
use super::{path, refused};
use crate::clock::Clock as _;
use crate::command::job_options::command;
use crate::command::{Answer, Ctx, key, lease};
use crate::exit::{Exit, Failure, Kind};
use crate::job::{Begun, Command, Lease, OnUncertain, StepCall, StepEnd, StepOutput, StepPath, StepRun};
use crate::process::{self, Guest, Remnant, SpawnError};
use crate::signal::SignalPipe;
use crate::store::Standing;

/// A step of a command.
#[derive(clap::Args, Debug)]
pub(super) struct Call {
    /// What it is called, once in each attempt
    // An option that takes one or two words may have taken it for its second.
    #[arg(value_name = "NAME", required_unless_present = "on_uncertain")]
    name: Option<String>,
    /// If it may have happened in an earlier attempt: rerun, fail, or verify and a shell line [default: rerun]
    #[arg(long, value_name = "HOW", num_args = 1..=2, value_parser = OsStringValueParser::new())]
    on_uncertain: Vec<OsString>,
    /// Number the steps of this name in the order in which the attempt comes to them: NAME, NAME#2, …
    #[arg(long)]
    repeat: bool,
    /// Read standard input to its end and pass it on; what is recorded is for that input alone
    #[arg(long)]
    stdin_hash: bool,
    /// One argument is a shell command line; two or more are a program and its arguments
    // After `--` alone, or a name that is missing would be taken from it.
    #[arg(required = true, last = true, value_name = "COMMAND", value_parser = OsStringValueParser::new())]
    command: Vec<OsString>,
}

/// What is done about a step that may have happened.
enum Doubt {
    Rerun,
    Fail,
    /// This line is asked.
    Verify(Vec<u8>),
}

/// A step with all that it takes to run it.
struct Due {
    lease: Lease,
    call: StepCall,
    command: Command,
    input: Option<Vec<u8>>,
    doubt: Doubt,
}

impl Call {
    pub(super) fn run(mut self, ctx: &mut Ctx) -> Answer {
        let doubt = self.doubt()?;
        let name =
            self.name.take().ok_or_else(|| Failure::usage("the step has no name").hint("it stands before the `--`"))?;
        let command = command(std::mem::take(&mut self.command))?
            .ok_or_else(|| Failure::usage(format!("step {name} has no command")))?;
        let lease = lease::own(ctx)?;
        let path = path(&name)?;
        let input = self.input(&path)?;
        let call = StepCall {
            is_repeated: self.repeat,
            // Also where it is run again: not before what an earlier attempt left of it is gone.
            on_uncertain: if matches!(doubt, Doubt::Fail) { OnUncertain::Fail } else { OnUncertain::Ask },
            command: key::digest(Some(&command), None, b""),
            input: input.as_ref().map(|bytes| key::digest(None, Some(bytes), b"")),
            ..super::new_call(path)
        };
        Due { lease, call, command, input, doubt }.settle(ctx)
    }

    /// How to meet a doubt. An option that takes one or two words may have taken the name for its second.
    fn doubt(&mut self) -> Result<Doubt, Failure> {
        let mut words = std::mem::take(&mut self.on_uncertain).into_iter();
        let (how, line) = (words.next(), words.next());
        let (doubt, next) = match (how.as_ref().map(|how| how.as_encoded_bytes()), line) {
            (None, _) => (Doubt::Rerun, None),
            (Some(b"rerun"), next) => (Doubt::Rerun, next),
            (Some(b"fail"), next) => (Doubt::Fail, next),
            (Some(b"verify"), Some(line)) => (Doubt::Verify(line.into_vec()), None),
            (Some(b"verify"), None) => {
                return Err(Failure::usage("--on-uncertain verify lacks the shell line that finds out")
                    .hint("--on-uncertain verify './has-it-happened.sh'"));
            }
            (Some(_), _) => {
                let how = how.unwrap_or_default();
                return Err(Failure::usage(format!("--on-uncertain is not {}", how.to_string_lossy()))
                    .hint("it is rerun, fail, or verify and a shell line"));
            }
        };
        match (next, &self.name) {
            (None, _) => {}
            (Some(name), None) => {
                self.name = Some(name.into_string().map_err(|_| Failure::usage("a step's name is UTF-8"))?);
            }
            (Some(one), Some(other)) => {
                let one = one.to_string_lossy();
                return Err(Failure::usage(format!("the step has two names, {one} and {other}")));
            }
        }
        Ok(doubt)
    }

    /// Standard input, where that belongs to what the step is.
    fn input(&self, path: &StepPath) -> Result<Option<Vec<u8>>, Failure> {
        let stdin = io::stdin();
        if self.stdin_hash {
            let mut bytes = Vec::new();
            stdin.lock().read_to_end(&mut bytes).map_err(|error| Failure::usage(format!("standard input: {error}")))?;
            return Ok(Some(bytes));
        }
        let kind = stdin.as_fd().try_clone_to_owned().and_then(|fd| std::fs::File::from(fd).metadata());
        let is_stream = kind.is_ok_and(|meta| meta.file_type().is_fifo() || meta.file_type().is_socket());
        if !is_stream {
            return Ok(None);
        }
        let message =
            format!("the standard input of step {path} is a pipe, which a later attempt could not read again");
        Err(Failure::usage(message).hint("if it does not read it: < /dev/null; if it does: --stdin-hash"))
    }
}

impl Due {
    fn settle(mut self, ctx: &mut Ctx) -> Answer {
        let now = ctx.now();
        match ctx.store()?.begin_step(self.lease, &self.call, now)? {
            Begun::Run(run) => self.run(ctx, &run),
            Begun::Recorded { path, output, is_other_command } => {
                if is_other_command {
                    let again = format!("qctl step reset {} {path}", self.lease.job);
                    ctx.ui.say(format_args!("qctl: step {path} is recorded of another command; to run it: {again}"));
                }
                print(ctx, output)?;
                Ok(Exit::Done)
            }
            Begun::Uncertain(run) => {
                end_remnant(ctx, &run);
                let found = match &self.doubt {
                    Doubt::Rerun => None,
                    Doubt::Fail => return Err(self.uncertain(&run.path)),
                    Doubt::Verify(line) => self.verify(ctx, &run, line.clone())?,
                };
                match found {
                    Some(exit) => Ok(exit),
                    None => {
                        self.call.on_uncertain = OnUncertain::Rerun;
                        // Another one has not begun it meanwhile: it would have to be of this attempt.
                        self.settle(ctx)
                    }
                }
            }
            Begun::Refused(refusal) => Err(refused(self.lease, &self.call.path, refusal)),
        }
    }

    fn uncertain(&self, path: &StepPath) -> Failure {
        let job = self.lease.job;
        let message = format!("step {path} was begun in an earlier attempt; it may or may not have happened");
        let hint =
            format!("if it has not: qctl step reset {job} {path}; if it has: qctl step set --job {job} {path} OUTPUT");
        Failure::refused(message).hint(hint)
    }

    /// Asks whether the step has happened; answers how this ends, `None` where the step is to be run.
    fn verify(&self, ctx: &mut Ctx, run: &StepRun, line: Vec<u8>) -> Result<Option<Exit>, Failure> {
        let (end, kept) = relay(ctx, self.lease, (run, &Command::Shell(line), None), false);
        match end {
            Ok(End::With(0)) => {
                let printed = kept.printed(run)?;
                self.record(ctx, run, StepEnd::Recorded(printed))?;
                let output = ctx.store()?.step_output(self.lease.job, &run.path)?;
                output.map(|output| print(ctx, output)).transpose()?;
                Ok(Some(Exit::Done))
            }
            Ok(End::With(1)) => Ok(None),
            end => {
                let exit = status(end, ctx);
                let what = format!("step {} may have happened, and the line that finds out failed", run.path);
                ctx.ui.fail(&Failure::new(Kind::TryAgain, what).hint("the next attempt asks again"));
                Ok(Some(exit))
            }
        }
    }

    fn run(&self, ctx: &mut Ctx, run: &StepRun) -> Answer {
        let (end, kept) = relay(ctx, self.lease, (run, &self.command, self.input.as_deref()), true);
        match end {
            Ok(End::With(0)) => {
                let printed = kept.printed(run)?;
                self.record(ctx, run, StepEnd::Recorded(printed))?;
                Ok(Exit::Done)
            }
            // How far it had come nobody knows: it stays one that may have happened.
            Ok(End::CutShort(_)) => Ok(status(end, ctx)),
            Ok(End::With(_)) | Err(_) => {
                let exit = status(end, ctx);
                let code = Some(i32::from(exit.code()));
                // That it failed counts, not whether that could be noted: unnoted it is one that may have happened.
                let _ = self.record(ctx, run, StepEnd::Failed(code));
                Ok(exit)
            }
        }
    }

    fn record(&self, ctx: &mut Ctx, run: &StepRun, end: StepEnd) -> Result<(), Failure> {
        let at = ctx.config.clock.moment();
        match ctx.store()?.end_step(self.lease, &run.path, &end, at)? {
            Standing::Held | Standing::CancelRequested => Ok(()),
            Standing::Lost => {
                let lost = lease::lost(self.lease);
                let message = format!("{}; that step {} is done is not recorded", lost.message, run.path);
                Err(Failure { message, ..lost })
            }
        }
    }
}

/// How a command ended.
enum End {
    /// With this status.
    With(i32),
    /// By a signal, or badly after all here were told to end: what it says then is how it took that.
    CutShort(process::Exit),
}

impl End {
    /// `is_told` is whether this process, and its group with it, was told to end meanwhile. A shell tells of the
    /// signal by which what it ran died by a status above 128.
    fn of(exit: process::Exit, is_told: bool) -> Self {
        match exit {
            process::Exit::Code(0) => Self::With(0),
            process::Exit::Code(129..=192) | process::Exit::Signal(_) => Self::CutShort(exit),
            process::Exit::Code(_) if is_told => Self::CutShort(exit),
            process::Exit::Code(code) => Self::With(code),
        }
    }
}

/// How long the command of an earlier attempt gets between being asked to end and being killed.
const PATIENCE: Duration = Duration::from_millis(500);

/// Between two looks whether it is gone.
const LOOK: Duration = Duration::from_millis(10);

/// Ends what is left of the step's command of an earlier attempt, which goes on where only `qctl step` or the
/// job's own command was killed: it might yet do what is taken for undone.
fn end_remnant(ctx: &Ctx, run: &StepRun) {
    let clock = &ctx.config.clock;
    let since = clock.uptime();
    let mark = format!("QCTL_STEP_KEY={}", run.key);
    let mut remnant = Remnant::default();
    let mut is_asked = false;
    while remnant.look_for(&mark) {
        if clock.uptime().since(since) >= PATIENCE {
            remnant.end();
        } else if !is_asked {
            remnant.ask();
            is_asked = true;
        }
        clock.pause(LOOK);
    }
}

/// The status with which this ends as the command did; why it could not be started is told.
fn status(end: Result<End, SpawnError>, ctx: &Ctx) -> Exit {
    let code = match end {
        Ok(End::With(code) | End::CutShort(process::Exit::Code(code))) => code,
        Ok(End::CutShort(process::Exit::Signal(signal))) => 128 + signal,
        Err(error) => {
            ctx.ui.fail(&Failure::not_found(error.to_string()));
            error.exit_code()
        }
    };
    Exit::As(u8::try_from(code).unwrap_or(u8::MAX))
}

fn print(ctx: &Ctx, output: StepOutput) -> Result<(), Failure> {
    super::value::print(ctx, output)
}

/// Runs a command of a step to its end; answers how that was, and what it printed, which is passed on if asked.
///
/// What asks this process to end meanwhile has been said to its whole group, or to the wrong one: as long as
/// the command goes on, its end is to be put on record.
fn relay(
    ctx: &mut Ctx,
    lease: Lease,
    (run, command, input): (&StepRun, &Command, Option<&[u8]>),
    is_passed_on: bool,
) -> (Result<End, SpawnError>, Kept) {
    let mut kept = Kept::Bytes(Vec::new());
    let end = follow(ctx, (run, command, input), &mut |ctx, bytes, is_heard| {
        if is_passed_on && *is_heard {
            // Whoever read it may have heard enough; what is recorded is whole.
            *is_heard = ctx.ui.raw(bytes).is_ok();
        }
        match ctx.store() {
            Ok(store) => kept.add(bytes, store, (lease, run)),
            Err(failure) => kept = Kept::Lost(failure.message),
        }
    });
    (end, kept)
}

/// How much is read once a command has ended: more than a pipe can hold that it had printed by then. What it
/// left in the background may print on for ever.
const GULPS_AFTER_END: usize = 32;

/// Takes bytes that a command printed, and whether anyone still hears of them.
type Sink<'a> = dyn FnMut(&mut Ctx, &[u8], &mut bool) + 'a;

fn follow(
    ctx: &mut Ctx,
    (run, command, input): (&StepRun, &Command, Option<&[u8]>),
    sink: &mut Sink<'_>,
) -> Result<End, SpawnError> {
    let signals = || -> io::Result<_> { Ok((SignalPipe::of_children()?, SignalPipe::of_shutdown()?)) };
    let (mut children, mut told) = signals().map_err(SpawnError::NoRoom)?;
    let env = [("QCTL_STEP", run.path.to_string()), ("QCTL_STEP_KEY", run.key.clone())];
    let mut guest = Guest::spawn(&command.argv(), &env, input)?;
    let mut is_heard = true;
    let mut n_gulps_left = GULPS_AFTER_END;
    loop {
        let has_ended = guest.has_ended();
        let bytes = guest.read();
        if has_ended && (bytes.is_empty() || n_gulps_left == 0) {
            let exit = guest.reap().map_err(SpawnError::NoRoom)?;
            return Ok(End::of(exit, told.take() > 0));
        }
        if !bytes.is_empty() {
            sink(ctx, bytes, &mut is_heard);
            n_gulps_left -= usize::from(has_ended);
        } else {
            children.take();
            let mut polled = vec![PollFd::new(children.as_fd(), PollFlags::POLLIN)];
            polled.extend(guest.stdout().map(|stdout| PollFd::new(stdout, PollFlags::POLLIN)));
            // Looked at again between the last look and the wait, or an end in between would go unheard.
            if !guest.has_ended() {
                let _ = poll(&mut polled, PollTimeout::NONE);
            }
        }
    }
}
