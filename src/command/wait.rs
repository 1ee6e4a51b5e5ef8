//! `qctl wait`

use std::path::PathBuf;
use std::time::Duration;

use super::awaited::Awaited;
use super::chosen::Chosen;
use super::report::Report;
use super::unserved::Complaints;
use super::waiter::Waiter;
use super::whole_file::WholeFile;
use super::{Answer, Ctx, selection, value};
use crate::clock::{Clock as _, Uptime};
use crate::exit::{Exit, Failure};
use crate::job::{Command, Filter, JobId, StateKind};
use crate::render::{progress, text};

/// How many times as long as a look took it does nothing. A hundred thousand jobs would otherwise
/// keep a processor busy, because each that ends is a reason to look at all of them.
const REST: u32 = 9;

/// How long that is at the most.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Wait until jobs are done with
///
/// Exits 0 when all succeeded, 1 when any died, was cancelled or deleted, 124 when the time was up.
/// With -l, every job that has the labels is waited for; with -Q alone, those of the queue that are
/// unfinished now. Where GITHUB_ACTIONS is true, what did not succeed is annotated, and told of in
/// the file that GITHUB_STEP_SUMMARY names.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl wait 42 50-60
  qctl wait -l build=481 --timeout 20m --junit report.xml
  qctl wait --any 7 8")]
pub(crate) struct Wait {
    #[command(flatten)]
    chosen: Chosen,
    /// No longer than this
    #[arg(long, value_name = "D", value_parser = value::duration)]
    timeout: Option<Duration>,
    /// Return when the first is done with
    #[arg(long)]
    any: bool,
    /// Return when the first did not succeed
    #[arg(long)]
    fail_fast: bool,
    /// Write a JUnit report there, also when the time is up
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    junit: Option<PathBuf>,
}

impl Wait {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        // Before anything is waited for: hours later is too late to learn of it.
        let junit = self.junit.as_deref().map(WholeFile::at).transpose()?;
        let began = ctx.config.clock.moment();
        let mut jobs = Awaited::new(self.meant(ctx)?);
        let ended = self.watch(ctx, &mut jobs, began.uptime);
        ctx.ui.hide_progress();
        let exit = ended?;
        let is_time_up = exit == Exit::TimedOut;
        let report = Report { jobs: &jobs, began: began.now, is_time_up, junit: junit.as_ref(), more: self.more() };
        match report.tell(ctx) {
            Ok(()) => Ok(exit),
            Err(failure) if exit == Exit::Done => Err(failure),
            // That the jobs failed is the worse news.
            Err(failure) => {
                ctx.ui.fail(&failure);
                Ok(exit)
            }
        }
    }

    fn watch(&self, ctx: &mut Ctx, jobs: &mut Awaited, began: Uptime) -> Answer {
        let mut waiter = Waiter::new(ctx);
        let mut complaints = Complaints::new(began);
        loop {
            waiter.hush();
            let started = ctx.config.clock.uptime();
            jobs.look(ctx)?;
            let now = ctx.config.clock.uptime();
            let waited = now.since(began);
            if self.has_seen_enough(jobs) {
                return Ok(if jobs.failed.is_empty() { Exit::Done } else { Exit::BadAnswer });
            }
            if self.timeout.is_some_and(|timeout| waited >= timeout) {
                ctx.ui.say(format_args!("still waiting for {} when the time was up", list(&jobs.pending)));
                return Ok(Exit::TimedOut);
            }
            complaints.voice(ctx, &jobs.pending)?;
            ctx.ui.show_progress(&progress::line(&jobs.progress(waited)));
            let rest = (now.since(started) * REST).min(LONGEST_REST);
            ctx.config.clock.pause(rest.min(self.remaining(ctx, began)));
            let remaining = self.remaining(ctx, began);
            waiter.wait(ctx, remaining)?;
        }
    }

    fn remaining(&self, ctx: &Ctx, began: Uptime) -> Duration {
        let end = self.timeout.map(|timeout| began.plus(timeout));
        end.map_or(Duration::MAX, |end| end.since(ctx.config.clock.uptime()))
    }

    fn has_seen_enough(&self, jobs: &Awaited) -> bool {
        let has_any = !jobs.succeeded.is_empty() || !jobs.failed.is_empty();
        jobs.pending.is_empty() || (self.any && has_any) || (self.fail_fast && !jobs.failed.is_empty())
    }

    /// The jobs to wait for: those of these numbers, and those that are like this.
    fn meant(&self, ctx: &mut Ctx) -> Result<Vec<JobId>, Failure> {
        let chosen = &self.chosen;
        if chosen.ids.is_empty() && !chosen.is_by_traits() {
            return Err(
                Failure::usage("nothing is named to wait for").hint("give job numbers, -l LABEL=VALUE or -Q QUEUE")
            );
        }
        let named = selection::named(ctx.store()?, &chosen.ids)?;
        let mut pending: Vec<JobId> = named.into_iter().map(|(id, _)| id).collect();
        if chosen.is_by_traits() {
            let filter = self.filter(ctx)?;
            let alike = ctx.store()?.matching(&filter)?;
            if alike.is_empty() && !self.is_by_queue_alone() {
                let message = if chosen.labels.is_empty() { "no job is like that" } else { "no job has these labels" };
                return Err(Failure::not_found(message).hint("qctl list -l LABEL=VALUE"));
            }
            pending.extend(alike.into_iter().map(|(id, _)| id));
        }
        Ok(pending)
    }

    /// Whether it is for what a queue has still to do.
    fn is_by_queue_alone(&self) -> bool {
        let Chosen { ids: _, queue: _, states, labels, since, until, ending } = &self.chosen;
        states.is_empty() && labels.is_empty() && since.is_none() && until.is_none() && !ending.is_any()
    }

    fn filter(&self, ctx: &mut Ctx) -> Result<Filter, Failure> {
        let unfinished: Vec<StateKind> = StateKind::ALL.into_iter().filter(|state| !state.is_final()).collect();
        let states = if self.is_by_queue_alone() { unfinished } else { Vec::new() };
        Ok(Filter { ids: Vec::new(), ..self.chosen.filter(ctx, &states)? })
    }

    /// The command that lists what did not succeed, as far as it can be narrowed down.
    fn more(&self) -> String {
        let mut line = "qctl list -s dead,cancelled".to_owned();
        if self.chosen.ids.is_empty() {
            let queue = self.chosen.queue.iter().flat_map(|queue| ["-Q".to_owned(), queue.to_string()]);
            let labels =
                self.chosen.labels.iter().flat_map(|(name, value)| ["-l".to_owned(), format!("{name}={value}")]);
            let words: Vec<Vec<u8>> = queue.chain(labels).map(String::into_bytes).collect();
            line.push_str(&format!(" {}", text::command(Some(&Command::Program(words)))));
        }
        line
    }
}

fn list(ids: &[JobId]) -> String {
    match ids {
        [one] => format!("job {one}"),
        many => format!("{} jobs", many.len()),
    }
}
