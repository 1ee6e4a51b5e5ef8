//! `qctl queue purge` and `qctl queue delete`: what cannot be undone asks first.

use clap_complete::ArgValueCandidates;

use super::found;
use crate::command::{Answer, Ctx, complete, selection, value};
use crate::exit::{Exit, Failure};
use crate::job::{Filter, JobId, Page, QueueName, StateKind, Tally};
use crate::render::words;
use crate::store::Removed;
use crate::ui::Format;
use crate::wake;

/// Forget the jobs of a queue that wait; what runs goes on
///
/// Dead letters and the history stay, unless -s names their states. A key that a job still holds is free
/// then; pruning, in contrast, keeps such a job.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl queue purge mail --dry-run
  qctl queue purge mail -s succeeded,cancelled --yes")]
pub(super) struct Purge {
    /// The queue
    #[arg(value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: QueueName,
    /// The states of the jobs to forget, instead of blocked, scheduled, ready and retrying
    #[arg(short = 's', long = "state", value_name = "STATE", value_delimiter = ',', value_parser = value::state)]
    states: Vec<StateKind>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Say what would happen, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Purge {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        if self.states.contains(&StateKind::Running) {
            return Err(Failure::usage("what runs is not purged").hint("stop it first: qctl cancel ID"));
        }
        let waiting = [StateKind::Blocked, StateKind::Scheduled, StateKind::Ready, StateKind::Retrying];
        let states = if self.states.is_empty() { waiting.to_vec() } else { self.states.clone() };
        let tally = found(ctx, &self.queue)?.tally;
        let n = states.iter().map(|&state| tally.get(state)).sum::<i64>();
        let jobs = words::count(usize::try_from(n).unwrap_or(0), "job");
        if self.dry_run {
            ctx.ui.say(format_args!("would purge {jobs} of {}", self.queue));
            return answer(ctx, "would_purge", n);
        }
        if !self.yes {
            ctx.ui.confirm(&format!("forget {jobs} of {} for good?", self.queue))?;
        }
        let n = forget_all(ctx, &self.queue, &states)?;
        ctx.ring()?;
        ctx.ui.hint(format_args!("purged {} of {}", words::count(usize::try_from(n).unwrap_or(0), "job"), self.queue));
        answer(ctx, "purged", n)
    }
}

/// Remove a queue with its settings, its jobs, their keys and its history
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl queue delete old --dry-run
  qctl queue delete old --yes")]
pub(super) struct Delete {
    /// The queue
    #[arg(value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: QueueName,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Say what would happen, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Delete {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let tally = found(ctx, &self.queue)?.tally;
        let n = tally.iter().map(|(_, n)| n).sum::<i64>();
        let (jobs, dead) = (words::count(usize::try_from(n).unwrap_or(0), "job"), tally.get(StateKind::Dead));
        if let Some(one) = ctx.store()?.subscriptions()?.into_iter().find(|one| one.queue == self.queue) {
            return Err(subscribed(&self.queue, &one.name));
        }
        if self.dry_run {
            ctx.ui.say(format_args!("would delete queue {} with {jobs}, {dead} of them dead letters", self.queue));
            return answer(ctx, "would_delete", n);
        }
        if n > 0 && !self.yes {
            ctx.ui.confirm(&format!("delete queue {} with {jobs}, {dead} of them dead letters?", self.queue))?;
        }
        refuse_running(&self.queue, &tally)?;
        let idle: Vec<_> = StateKind::ALL.into_iter().filter(|&state| state != StateKind::Running).collect();
        // Paused, so that no worker takes a job of it meanwhile.
        let now = ctx.now();
        let was_open = ctx.store()?.pause(&self.queue, true, now)? == Some(true);
        let n = forget_all(ctx, &self.queue, &idle)?;
        match ctx.store()?.remove_queue(&self.queue)? {
            Removed::Gone => {}
            Removed::NotEmpty(tally) => {
                if was_open {
                    ctx.store()?.pause(&self.queue, false, now)?;
                }
                refuse_running(&self.queue, &tally)?;
                return Err(Failure::refused(format!("jobs were pushed to {} meanwhile; it stays", self.queue)));
            }
            Removed::Subscribed(subscription) => {
                if was_open {
                    ctx.store()?.pause(&self.queue, false, now)?;
                }
                return Err(Failure::refused(format!(
                    "subscription {subscription} delivers to {}; it stays",
                    self.queue
                ))
                .hint(format!("qctl subscription remove {subscription}")));
            }
            Removed::Unknown => return Err(selection::unknown_queue(&self.queue)),
        }
        wake::lower(&ctx.bells()?, |name| name == self.queue.as_str());
        ctx.ring()?;
        ctx.ui.hint(format_args!(
            "deleted queue {} with {}",
            self.queue,
            words::count(usize::try_from(n).unwrap_or(0), "job")
        ));
        answer(ctx, "deleted", n)
    }
}

fn refuse_running(queue: &QueueName, tally: &Tally) -> Result<(), Failure> {
    match tally.get(StateKind::Running) {
        0 => Ok(()),
        n => Err(Failure::refused(format!("{n} of the jobs of {queue} run"))
            .hint(format!("wait for them, or stop them: qctl list -Q {queue} -s running"))),
    }
}

/// How many jobs are looked up at a time.
const PORTION: usize = 500;

/// Forgets the jobs of a queue that stand in one of `states`; answers how many there were.
fn forget_all(ctx: &mut Ctx, queue: &QueueName, states: &[StateKind]) -> Result<i64, Failure> {
    let filter = Filter { queues: vec![queue.clone()], states: states.to_vec(), ..Filter::default() };
    let (mut n_forgotten, mut after) = (0, None);
    loop {
        let page = Page { after, limit: PORTION, oldest_first: true };
        let ids: Vec<JobId> = ctx.store()?.jobs(&filter, page)?.iter().map(|job| job.id).collect();
        let Some(&last) = ids.last() else { return Ok(n_forgotten) };
        after = Some(last);
        n_forgotten += i64::try_from(ctx.forget(&ids, states)?.len()).unwrap_or(0);
    }
}

fn answer(ctx: &Ctx, what: &str, n: i64) -> Answer {
    if ctx.ui.format == Format::Json {
        ctx.ui.print(&serde_json::json!({ "v": 1, what: n }).to_string())?;
    }
    Ok(Exit::Done)
}

fn subscribed(queue: &QueueName, subscription: &QueueName) -> Failure {
    Failure::refused(format!("subscription {subscription} delivers to {queue}; it stays"))
        .hint(format!("qctl subscription remove {subscription}"))
}
