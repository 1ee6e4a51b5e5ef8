//! `qctl run`

use serde_json::json;

use super::draft;
use super::follow::{self, Following};
use super::job_options::JobOptions;
use super::pushed::outcome_name;
use super::unserved::Complaints;
use super::waiter::Waiter;
use super::{Answer, Ctx};
use crate::clock::Clock as _;
use crate::exit::{Exit, Failure};
use crate::job::{Job, JobId, Outcome, State, Stream};
use crate::render::json;
use crate::signal::SignalPipe;
use crate::ui::Format;

/// Queue a command, wait for it, and end as it did
///
/// A worker runs it; this passes its output on and exits with its status: 124 if it timed out, 126
/// if it could not be executed, 127 if it was not found, 128+N if it died of signal N. It is tried
/// once unless --max-attempts says more. Ctrl-C cancels the job.
///
/// Inside of a step (qctl step) it has a key as a push has there: run again, it waits for the job that it
/// queued before and ends as that did, and the same twice in one step is one job unless each is given a --key.
/// With --key-ttl none one that has ended is not met, and the command is run anew.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl run -- make -j2 test
  qctl run -Q gpu --timeout 1h 'python train.py > log'")]
pub(crate) struct Run {
    #[command(flatten)]
    options: JobOptions,
}

impl Run {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let mut options = self.options;
        options.terms.max_attempts.get_or_insert(1);
        let mut interrupts = SignalPipe::of_shutdown().map_err(|error| Failure::usage(error.to_string()))?;
        let draft = options.draft(ctx)?;
        let answered = draft::push(ctx, draft)?;
        ctx.announce(answered.pushed.ready_queue())?;
        answered.explain_wait(ctx);
        let id = answered.pushed.id;
        let waiter = Waiter::new(ctx);
        let complaints = Complaints::new(ctx.config.clock.uptime());
        let mut watch = Watch { id, waiter, following: None, is_interrupted: false, complaints };
        let job = loop {
            if interrupts.take() > 0 {
                watch.interrupt(ctx)?;
            }
            if let Some(job) = watch.look(ctx)? {
                break job;
            }
        };
        if ctx.ui.format == Format::Json {
            let attempts = ctx.store()?.attempts(id)?;
            let mut document = json!({ "v": 1, "job": json::job_with_attempts(&job, &attempts) });
            document["outcome"] = outcome_name(answered.pushed.outcome).into();
            document["differs"] = answered.differs().into();
            ctx.ui.print(&document.to_string())?;
        }
        Ok(if watch.is_interrupted && matches!(job.state, State::Cancelled { .. }) {
            Exit::As(130)
        } else {
            exit(&job)
        })
    }
}

/// The job that is waited for.
struct Watch {
    id: JobId,
    waiter: Waiter,
    following: Option<Following>,
    is_interrupted: bool,
    complaints: Complaints,
}

impl Watch {
    /// Passes on what is new; answers the job once it is done with.
    fn look(&mut self, ctx: &mut Ctx) -> Result<Option<Job>, Failure> {
        self.waiter.hush();
        let store = ctx.store()?;
        // Looked at before its attempts, so that the output of the last is not missed.
        let Some(job) = store.job(self.id)? else {
            return Err(Failure::not_found(format!("job {} was deleted while it was waited for", self.id)));
        };
        let attempts = store.attempts(self.id)?;
        // Every attempt from the one that is followed on, so that none is passed over.
        for attempt in attempts {
            let is_next = self.following.as_ref().is_none_or(|following| following.token < attempt.token);
            // Where one document is asked for, it is all that is printed.
            if is_next && ctx.ui.format != Format::Json {
                self.finish(ctx)?;
                self.following = Some(Following::new(self.id, attempt.token, &Stream::ALL));
            }
        }
        self.catch_up(ctx)?;
        if job.state.kind().is_final() {
            self.finish(ctx)?;
            return Ok(Some(job));
        }
        self.complaints.voice(ctx, &[self.id])?;
        self.waiter.wait(ctx, follow::LOOK)?;
        Ok(None)
    }

    fn catch_up(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        self.following.as_mut().map_or(Ok(()), |following| following.catch_up(ctx))
    }

    fn finish(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        self.following.as_mut().map_or(Ok(()), |following| following.finish(ctx))
    }

    fn interrupt(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        self.is_interrupted = true;
        let now = ctx.now();
        // However it stands: the loop sees how it ends.
        let _ = ctx.store()?.cancel(self.id, now)?;
        ctx.ring()
    }
}

/// As the command ended.
fn exit(job: &Job) -> Exit {
    let byte = |code: i32| Exit::As(u8::try_from(code).unwrap_or(1));
    match (&job.state, &job.last) {
        (State::Succeeded { .. }, _) => Exit::Done,
        (State::Dead { .. }, Some(last)) => match (last.outcome, last.exit_code, last.signal) {
            (Outcome::Timeout, ..) => Exit::TimedOut,
            (_, Some(code), _) if code != 0 => byte(code),
            (_, _, Some(signal)) => byte(128 + signal),
            (_, Some(_) | None, None) => Exit::BadAnswer,
        },
        (_, _) => Exit::BadAnswer,
    }
}
