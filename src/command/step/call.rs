//! Coming to a step, and doing what is to be done about it.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileTypeExt as _;

use clap::builder::OsStringValueParser;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::kept::Kept;
use super::{path, refused};
use crate::clock::Clock as _;
use crate::command::job_options::command;
use crate::command::{Answer, Ctx, key, lease};
use crate::exit::{Exit, Failure, Kind};
use crate::job::{Begun, Command, Lease, OnUncertain, StepCall, StepEnd, StepOutput, StepPath, StepRun};
use crate::process::{self, Guest, SpawnError};
use crate::signal::SignalPipe;
use crate::store::Standing;

/// A step of a command.
#[derive(clap::Args, Debug)]
pub(super) struct Call {
    /// What it is called, once in each attempt
    #[arg(required = true, value_name = "NAME")]
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
    #[arg(required = true, value_name = "COMMAND", trailing_var_arg = true, value_parser = OsStringValueParser::new())]
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
        let name = self.name.take().ok_or_else(|| Failure::usage("the step has no name"))?;
        let command = command(std::mem::take(&mut self.command))?
            .ok_or_else(|| Failure::usage(format!("step {name} has no command")))?;
        let lease = lease::own(ctx)?;
        let path = path(&name)?;
        let input = self.input(&path)?;
        let call = StepCall {
            is_repeated: self.repeat,
            on_uncertain: match doubt {
                Doubt::Rerun => OnUncertain::Rerun,
                Doubt::Fail => OnUncertain::Fail,
                Doubt::Verify(_) => OnUncertain::Ask,
            },
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
        if let Some(name) = next {
            self.command.splice(0..0, self.name.take().map(OsString::from));
            self.name = Some(name.into_string().map_err(|_| Failure::usage("a step's name is UTF-8"))?);
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
                let Doubt::Verify(line) = &self.doubt else { return Err(self.uncertain(&run.path)) };
                let line = line.clone();
                match self.verify(ctx, &run, line)? {
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
        Failure::refused(message).hint(format!("find out; if it did not happen: qctl step reset {job} {path}"))
    }

    /// Asks whether the step has happened; answers how this ends, `None` where the step is to be run.
    fn verify(&self, ctx: &mut Ctx, run: &StepRun, line: Vec<u8>) -> Result<Option<Exit>, Failure> {
        let ran = relay(ctx, self.lease, (run, &Command::Shell(line), None), false);
        let is_cut_short = ran.is_cut_short();
        match ran.exit {
            Ok(process::Exit::Code(0)) => {
                let printed = ran.kept.printed(run)?;
                self.record(ctx, run, StepEnd::Recorded(printed))?;
                let output = ctx.store()?.step_output(self.lease.job, &run.path)?;
                output.map(|output| print(ctx, output)).transpose()?;
                Ok(Some(Exit::Done))
            }
            Ok(process::Exit::Code(1)) if !is_cut_short => Ok(None),
            exit => {
                let exit = status(exit, ctx);
                let what = format!("step {} may have happened, and the line that finds out failed", run.path);
                ctx.ui.fail(&Failure::new(Kind::TryAgain, what).hint("the next attempt asks again"));
                Ok(Some(exit))
            }
        }
    }

    fn run(&self, ctx: &mut Ctx, run: &StepRun) -> Answer {
        let ran = relay(ctx, self.lease, (run, &self.command, self.input.as_deref()), true);
        let is_cut_short = ran.is_cut_short();
        match ran.exit {
            Ok(process::Exit::Code(0)) => {
                let printed = ran.kept.printed(run)?;
                self.record(ctx, run, StepEnd::Recorded(printed))?;
                Ok(Exit::Done)
            }
            // That it failed is not to be said of what may have happened: then the next attempt would not ask.
            exit if is_cut_short && !matches!(self.doubt, Doubt::Rerun) => Ok(status(exit, ctx)),
            exit => {
                let code = match &exit {
                    Ok(process::Exit::Code(code)) => Some(*code),
                    Ok(process::Exit::Signal(_)) => None,
                    Err(error) => Some(error.exit_code()),
                };
                let exit = status(exit, ctx);
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

/// The status with which this ends as the command did; why it could not be started is told.
fn status(exit: Result<process::Exit, SpawnError>, ctx: &Ctx) -> Exit {
    let code = match exit {
        Ok(process::Exit::Code(code)) => code,
        Ok(process::Exit::Signal(signal)) => 128 + signal,
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

/// How a command ended, and what it printed.
struct Ran {
    exit: Result<process::Exit, SpawnError>,
    /// Whether this process, and with it the command, was asked to end meanwhile.
    was_asked_to_end: bool,
    kept: Kept,
}

impl Ran {
    /// Whether it failed because something stopped it, at a place that nobody knows: a signal, of which a shell
    /// tells by a status above 128, or having been asked to end, as at a timeout.
    fn is_cut_short(&self) -> bool {
        match self.exit {
            Ok(process::Exit::Code(0)) | Err(_) => false,
            Ok(process::Exit::Code(code)) => self.was_asked_to_end || (129..=192).contains(&code),
            Ok(process::Exit::Signal(_)) => true,
        }
    }
}

/// Runs a command of a step to its end; what it prints is passed on if asked.
///
/// What asks this process to end meanwhile has been said to its whole group, or to the wrong one: as long as
/// the command goes on, its end is to be put on record.
fn relay(
    ctx: &mut Ctx,
    lease: Lease,
    (run, command, input): (&StepRun, &Command, Option<&[u8]>),
    is_passed_on: bool,
) -> Ran {
    let (mut kept, mut was_asked_to_end) = (Kept::Bytes(Vec::new()), false);
    let exit = follow(ctx, (run, command, input), &mut |ctx, bytes, is_heard| {
        if is_passed_on && *is_heard {
            // Whoever read it may have heard enough; what is recorded is whole.
            *is_heard = ctx.ui.raw(bytes).is_ok();
        }
        match ctx.store() {
            Ok(store) => kept.add(bytes, store, (lease, run)),
            Err(failure) => kept = Kept::Lost(failure.message),
        }
    });
    let exit = exit.map(|(exit, was_asked)| {
        was_asked_to_end = was_asked;
        exit
    });
    Ran { exit, was_asked_to_end, kept }
}

/// Takes bytes that a command printed, and whether anyone still hears of them.
type Sink<'a> = dyn FnMut(&mut Ctx, &[u8], &mut bool) + 'a;

/// Answers how it ended, and whether it was asked to.
fn follow(
    ctx: &mut Ctx,
    (run, command, input): (&StepRun, &Command, Option<&[u8]>),
    sink: &mut Sink<'_>,
) -> Result<(process::Exit, bool), SpawnError> {
    let signals = || -> io::Result<_> { Ok((SignalPipe::of_children()?, SignalPipe::of_shutdown()?)) };
    let (mut children, mut held_off) = signals().map_err(SpawnError::NoRoom)?;
    let env = [("QCTL_STEP", run.path.to_string()), ("QCTL_STEP_KEY", run.key.clone())];
    let mut guest = Guest::spawn(&command.argv(), &env, input)?;
    let mut is_heard = true;
    loop {
        let has_ended = guest.has_ended();
        let bytes = guest.read();
        if !bytes.is_empty() {
            sink(ctx, bytes, &mut is_heard);
        } else if has_ended {
            // What it left in the background may print on for ever.
            let exit = guest.reap().map_err(SpawnError::NoRoom)?;
            return Ok((exit, held_off.take() > 0));
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
