//! `qctl prune`

use std::time::Duration;

use clap_complete::ArgValueCandidates;

use super::{Answer, Ctx, complete, value};
use crate::exit::{Exit, Failure};
use crate::job::{QueueName, Retention};
use crate::policy;
use crate::render::words;
use crate::ui::Format;

/// Forget finished jobs and events that need not be kept
///
/// Workers do so by themselves, by what the queues say (queue set --keep, --keep-rows; a week and
/// 100,000 jobs unless they do). Only succeeded and cancelled jobs are forgotten, with their output;
/// dead ones wait for your decision, and a job that still holds its key is kept until it does not. The
/// file does not shrink, its room is used again. Events are forgotten by what their topics say (topic set
/// --keep; a week unless they do), and dead jobs that were dropped a day ago for good, unless a queue or an age is
/// given.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl prune                       what the queues do not keep, now
  qctl prune --older-than 1d -Q ci
  qctl prune --older-than 1d --dry-run")]
pub(crate) struct Prune {
    /// What ended longer ago than this, whatever the queues say
    #[arg(long, value_name = "D", value_parser = value::duration)]
    older_than: Option<Duration>,
    /// Only this queue
    #[arg(short = 'Q', long, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: Vec<QueueName>,
    /// Say what would happen, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Prune {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        for queue in &self.queue {
            ctx.known_queue(queue)?;
        }
        let queues: Vec<_> = ctx.store()?.queues()?.into_iter().filter(|one| self.includes(&one.name)).collect();
        let now = ctx.now();
        let mut n_forgotten = 0;
        for queue in queues {
            let keep = match self.older_than {
                Some(age) => Retention { before: Some(now.minus(age)), max_rows: None },
                None => policy::retention(&queue.settings, now),
            };
            if self.dry_run {
                n_forgotten += ctx.store()?.prunable(&queue.name, &keep, usize::MAX >> 1, now)?;
            } else {
                loop {
                    let n = ctx.store()?.prune(&queue.name, &keep, now)?;
                    n_forgotten += n;
                    if n == 0 {
                        break;
                    }
                }
            }
        }
        let (n_events, n_dropped) = (self.prune_events(ctx)?, self.forget_dropped(ctx)?);
        if !self.dry_run && n_forgotten + n_events + n_dropped > 0 {
            // Once for all portions, and before anyone is told: what is gone stays gone.
            ctx.store()?.make_durable()?;
        }
        if ctx.ui.format == Format::Json {
            let key = if self.dry_run { "would_prune" } else { "pruned" };
            ctx.ui.print(
                &serde_json::json!({ "v": 1, key: n_forgotten, "events": n_events, "dropped": n_dropped }).to_string(),
            )?;
        }
        let mut what = vec![words::count(n_forgotten, "job")];
        if n_events > 0 {
            what.push(words::count(n_events, "event"));
        }
        if n_dropped > 0 {
            what.push(format!("{} that were dropped", words::count(n_dropped, "job")));
        }
        let what = what.join(" and ");
        if self.dry_run {
            ctx.ui.say(format_args!("would forget {what}"));
        } else {
            ctx.ring()?;
            ctx.ui.hint(format_args!("forgot {what}"));
        }
        Ok(Exit::Done)
    }

    /// What was dropped is kept for a day, whatever its queue says.
    fn forget_dropped(&self, ctx: &mut Ctx) -> Result<usize, Failure> {
        if !self.queue.is_empty() || self.older_than.is_some() {
            return Ok(0);
        }
        let before = ctx.now().minus(policy::UNDO);
        if self.dry_run {
            return Ok(ctx.store()?.drops()?.iter().filter(|drop| drop.at < before).map(|drop| drop.n_jobs).sum());
        }
        let mut n_forgotten = 0;
        loop {
            match ctx.store()?.forget_dropped(before)? {
                0 => return Ok(n_forgotten),
                n => n_forgotten += n,
            }
        }
    }

    /// Events are of no queue, and kept by what their topics say.
    fn prune_events(&self, ctx: &mut Ctx) -> Result<usize, Failure> {
        let now = ctx.now();
        if !self.queue.is_empty() || self.older_than.is_some() {
            return Ok(0);
        }
        if self.dry_run {
            return Ok(ctx.store()?.prunable_events(usize::MAX >> 1, now)?);
        }
        let mut n_forgotten = 0;
        loop {
            match ctx.store()?.prune_events(now)? {
                0 => return Ok(n_forgotten),
                n => n_forgotten += n,
            }
        }
    }

    fn includes(&self, queue: &QueueName) -> bool {
        self.queue.is_empty() || self.queue.contains(queue)
    }
}
