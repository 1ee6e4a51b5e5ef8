//! `qctl wait`

use std::time::Duration;

use clap_complete::ArgValueCandidates;

use super::waiter::Waiter;
use super::{Answer, Ctx, complete, selection, value};
use crate::clock::{Clock as _, Uptime};
use crate::exit::{Exit, Failure};
use crate::job::{Filter, IdRange, Job, JobId, Page, QueueName, StateKind};
use crate::render::{json, table, text};
use crate::ui::Format;

/// How long it waits before it says that nobody serves a queue.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many jobs are read at a time.
const PAGE: usize = 1000;

/// Wait until jobs are done with
///
/// Exits 0 when all succeeded, 1 when any died or was cancelled, 124 when the time was up. With -l,
/// every job that has the labels is waited for; with -Q alone, those of the queue that are
/// unfinished now.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl wait 42 50-60
  qctl wait -l build=481 --timeout 20m
  qctl wait --any 7 8")]
pub(crate) struct Wait {
    /// The jobs; 3-7 is a range
    #[arg(value_name = "ID", value_parser = value::ids, add = ArgValueCandidates::new(complete::jobs))]
    ids: Vec<IdRange>,
    /// Jobs with this label
    #[arg(short = 'l', long = "label", value_name = "K=V", value_parser = value::label)]
    labels: Vec<(String, String)>,
    /// Jobs of this queue
    #[arg(short = 'Q', long, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: Option<QueueName>,
    /// No longer than this
    #[arg(long, value_name = "D", value_parser = value::duration)]
    timeout: Option<Duration>,
    /// Return when the first is done with
    #[arg(long)]
    any: bool,
    /// Return when the first did not succeed
    #[arg(long)]
    fail_fast: bool,
}

/// What is known of the jobs by now.
#[derive(Default)]
struct Known {
    pending: Vec<JobId>,
    n_succeeded: usize,
    failed: Vec<JobId>,
}

impl Wait {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let started = ctx.config.clock.uptime();
        let mut known = self.meant(ctx)?;
        let mut waiter = Waiter::new(ctx);
        let mut has_complained = false;
        loop {
            waiter.hush();
            known.look(ctx)?;
            let waited = ctx.config.clock.uptime().since(started);
            if self.has_seen_enough(&known) {
                report(ctx, &known)?;
                return Ok(if known.failed.is_empty() { Exit::Done } else { Exit::BadAnswer });
            }
            if self.timeout.is_some_and(|timeout| waited >= timeout) {
                ctx.ui.say(format_args!("still waiting for {} when the time was up", list(&known.pending)));
                report(ctx, &known)?;
                return Ok(Exit::TimedOut);
            }
            has_complained = has_complained || (waited >= PATIENCE && complain(ctx, &known)?);
            waiter.wait(ctx, self.remaining(ctx, started));
        }
    }

    fn remaining(&self, ctx: &Ctx, started: Uptime) -> Duration {
        let end = self.timeout.map(|timeout| started.plus(timeout));
        end.map_or(Duration::MAX, |end| end.since(ctx.config.clock.uptime()))
    }

    fn has_seen_enough(&self, known: &Known) -> bool {
        let has_any = known.n_succeeded > 0 || !known.failed.is_empty();
        known.pending.is_empty() || (self.any && has_any) || (self.fail_fast && !known.failed.is_empty())
    }

    /// The jobs to wait for.
    fn meant(&self, ctx: &mut Ctx) -> Result<Known, Failure> {
        if self.ids.is_empty() && self.labels.is_empty() && self.queue.is_none() {
            return Err(
                Failure::usage("nothing is named to wait for").hint("give job numbers, -l LABEL=VALUE or -Q QUEUE")
            );
        }
        let store = ctx.store()?;
        let mut pending: Vec<JobId> = selection::named(store, &self.ids)?.into_iter().map(|(id, _)| id).collect();
        if !self.labels.is_empty() || self.queue.is_some() {
            if let Some(queue) = &self.queue
                && store.settings(queue)?.is_none()
            {
                return Err(Failure::not_found(format!("there is no queue {queue}")).hint("qctl queue list"));
            }
            let labelled = all_that_match(ctx, &self.filter())?;
            if labelled.is_empty() && !self.labels.is_empty() {
                return Err(Failure::not_found("no job has these labels").hint("qctl list -l LABEL=VALUE"));
            }
            pending.extend(labelled);
        }
        pending.sort_unstable();
        pending.dedup();
        Ok(Known { pending, ..Known::default() })
    }

    fn filter(&self) -> Filter {
        let unfinished = StateKind::ALL.into_iter().filter(|state| !state.is_final());
        Filter {
            queues: self.queue.iter().cloned().collect(),
            labels: self.labels.clone(),
            states: if self.labels.is_empty() { unfinished.collect() } else { Vec::new() },
            ..Filter::default()
        }
    }
}

fn all_that_match(ctx: &mut Ctx, filter: &Filter) -> Result<Vec<JobId>, Failure> {
    let mut ids: Vec<JobId> = Vec::new();
    loop {
        let page = Page { after: ids.last().copied(), limit: PAGE, oldest_first: true };
        let jobs = ctx.store()?.jobs(filter, page)?;
        ids.extend(jobs.iter().map(|job| job.id));
        if jobs.len() < PAGE {
            return Ok(ids);
        }
    }
}

impl Known {
    /// Looks how those stand that were not done with.
    fn look(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        let pending = std::mem::take(&mut self.pending);
        let ranges: Vec<IdRange> = pending.iter().map(|&id| id.into()).collect();
        let standings = ctx.store()?.standing_of(&ranges)?;
        // What was deleted meanwhile did not succeed, as far as anyone can tell.
        self.failed.extend(pending.iter().filter(|id| standings.binary_search_by_key(id, |(known, _)| known).is_err()));
        for (id, state) in standings {
            match state {
                StateKind::Succeeded => self.n_succeeded += 1,
                StateKind::Dead | StateKind::Cancelled => self.failed.push(id),
                StateKind::Blocked
                | StateKind::Scheduled
                | StateKind::Ready
                | StateKind::Running
                | StateKind::Retrying => self.pending.push(id),
            }
        }
        Ok(())
    }
}

/// Says that nobody serves a queue that is waited for; answers whether there was one.
fn complain(ctx: &mut Ctx, known: &Known) -> Result<bool, Failure> {
    let Some(&first) = known.pending.first() else { return Ok(false) };
    let store = ctx.store()?;
    let (Some(job), queues) = (store.job(first)?, store.queues()?) else { return Ok(false) };
    let is_unserved = queues.iter().any(|queue| queue.name == job.queue && queue.n_workers == 0);
    if is_unserved {
        ctx.ui.say(format_args!("no worker serves {}; start one: qctl work -Q {}", job.queue, job.queue));
    }
    Ok(is_unserved)
}

/// Names those that did not succeed.
fn report(ctx: &mut Ctx, known: &Known) -> Result<(), Failure> {
    let mut failed: Vec<Job> = Vec::new();
    for &id in &known.failed {
        failed.extend(ctx.store()?.job(id)?);
    }
    match ctx.ui.format {
        Format::Json => {
            let failed: Vec<_> = failed.iter().map(json::job).collect();
            let pending: Vec<_> = known.pending.iter().map(|id| id.get()).collect();
            let document =
                serde_json::json!({ "v": 1, "succeeded": known.n_succeeded, "failed": failed, "pending": pending });
            ctx.ui.print(&document.to_string())
        }
        Format::Table | Format::Plain => {
            for job in &failed {
                let command = text::cut(&text::command(job.command.as_ref()), 60, ctx.ui.look.has_unicode);
                ctx.ui.say(format_args!(
                    "job {} {}: {} ({command})",
                    job.id,
                    job.state.kind().name(),
                    table::error(job)
                ));
            }
            Ok(())
        }
    }
}

fn list(ids: &[JobId]) -> String {
    match ids {
        [one] => format!("job {one}"),
        many => format!("{} jobs", many.len()),
    }
}
