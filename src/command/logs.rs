//! `qctl logs`

use std::time::Duration;

use clap_complete::ArgValueCandidates;

use super::follow::{self, Following};
use super::waiter::Waiter;
use super::{Answer, Ctx, complete, value};
use crate::exit::{Exit, Failure};
use crate::job::{Attempt, JobId, Stream, Token};
use crate::render::json;
use crate::ui::Format;

/// Give the output of a job's last attempt
///
/// Its stdout goes to stdout and its stderr to stderr, byte for byte; a terminal gets colours and
/// nothing else. Of each stream the first and the last 64 KiB are kept.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl logs 42
  qctl logs -f 42                   while it runs
  qctl logs 42 --attempt 1 --stream stderr")]
pub(crate) struct Logs {
    /// The job
    #[arg(value_name = "ID", value_parser = value::id, add = ArgValueCandidates::new(complete::jobs))]
    id: JobId,
    /// Go on until the attempt ends; wait for a job that has not started
    #[arg(short, long)]
    follow: bool,
    /// Which attempt, as `show` numbers them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    attempt: Option<i64>,
    /// Only this stream
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamArg>,
}

/// The words of `--stream`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StreamArg {
    Stdout,
    Stderr,
}

impl Logs {
    /// As `tail` has it.
    pub(crate) fn following(self) -> Self {
        Self { follow: true, ..self }
    }

    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let streams = match self.stream {
            None => Stream::ALL.to_vec(),
            Some(StreamArg::Stdout) => vec![Stream::Stdout],
            Some(StreamArg::Stderr) => vec![Stream::Stderr],
        };
        // First of all, so that where there is no queue nothing is made beside it.
        ctx.store()?;
        let mut waiter = self.follow.then(|| self.waiter(ctx));
        let Some(token) = self.token(ctx, waiter.as_mut())? else {
            ctx.ui.say(format_args!("job {} has not started", self.id));
            return if self.follow { Ok(Exit::Done) } else { self.document(ctx, None, &streams) };
        };
        if ctx.ui.format == Format::Json && !self.follow {
            return self.document(ctx, Some(token), &streams);
        }
        let mut following = Following::new(self.id, token, &streams);
        loop {
            let state = ctx.store()?.job(self.id)?.map(|job| job.state);
            // Looked at before the output, so that what came last is not missed.
            let is_running = state.is_some_and(|state| following.is_running(&state));
            following.catch_up(ctx)?;
            match &mut waiter {
                Some(waiter) if is_running => {
                    waiter.wait(ctx, follow::LOOK)?;
                    waiter.hush();
                }
                Some(_) | None => {
                    following.finish(ctx)?;
                    return Ok(Exit::Done);
                }
            }
        }
    }

    /// Who waits for more of it. What goes to stderr alone is not done with when nobody reads stdout.
    fn waiter(&self, ctx: &Ctx) -> Waiter {
        let is_stderr_alone = matches!(self.stream, Some(StreamArg::Stderr)) && ctx.ui.format != Format::Json;
        if is_stderr_alone { Waiter::new(ctx) } else { Waiter::for_reader(ctx) }
    }

    /// The attempt that is meant, once there is one.
    fn token(&self, ctx: &mut Ctx, mut waiter: Option<&mut Waiter>) -> Result<Option<Token>, Failure> {
        loop {
            let store = ctx.store()?;
            let Some(job) = store.job(self.id)? else { return Err(super::selection::unknown(self.id.into())) };
            let attempts = store.attempts(self.id)?;
            let wanted = match self.attempt {
                Some(n) => attempts.iter().find(|attempt| attempt.token.get() == n),
                None => attempts.last(),
            };
            match (wanted, &mut waiter) {
                (Some(Attempt { token, .. }), _) => return Ok(Some(*token)),
                (None, Some(waiter)) if !job.state.kind().is_final() => {
                    waiter.wait(ctx, Duration::MAX)?;
                    waiter.hush();
                }
                (None, _) => {
                    return match self.attempt {
                        Some(n) => Err(Failure::not_found(format!("job {} has no attempt {n}", self.id))
                            .hint(format!("qctl show {}", self.id))),
                        None => Ok(None),
                    };
                }
            }
        }
    }

    /// The output of an attempt as JSON; of none, if there was none.
    fn document(&self, ctx: &mut Ctx, token: Option<Token>, streams: &[Stream]) -> Answer {
        if ctx.ui.format != Format::Json {
            return Ok(Exit::Done);
        }
        let mut output = Vec::new();
        for &stream in streams {
            let chunks = match token {
                Some(token) => ctx.store()?.output(self.id, token, stream, 0)?,
                None => Vec::new(),
            };
            output.push((stream, chunks));
        }
        ctx.ui.print(&json::document("output", json::output(self.id, token, &output)))?;
        Ok(Exit::Done)
    }
}
