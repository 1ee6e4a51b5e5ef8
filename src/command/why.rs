//! `qctl why`
//!
//! What must be known is gathered here; what follows from it is told by [`crate::render::why`].

use clap_complete::ArgValueCandidates;

use super::{Answer, Ctx, complete, selection, value};
use crate::clock::Timestamp;
use crate::exit::{Exit, Failure};
use crate::job::{Job, JobId, Queue, StateKind, Step, StepState, Subscription};
use crate::render::why::{self, Server, Surroundings};
use crate::render::{json, plain, table};
use crate::store::{Serving, Worker};
use crate::ui::Format;

/// Say why a job does not run, and when it will
///
/// With the command that would change it. In a pipe: a code, what is so and what would change it, parted
/// by tabs, a line for each reason, the one that weighs most first.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl why 42")]
pub(crate) struct Why {
    /// The job
    #[arg(value_name = "ID", value_parser = value::id, add = ArgValueCandidates::new(complete::jobs))]
    id: JobId,
}

/// How many jobs ahead of one are counted.
const MAX_AHEAD: usize = 10_000;

impl Why {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let store = ctx.store()?;
        let Some(job) = store.job(self.id)? else { return Err(selection::unknown(self.id.into())) };
        let findings = why::findings(&job, &surroundings(ctx, &job)?, &ctx.ui.look);
        match ctx.ui.format {
            Format::Json => {
                let document = serde_json::json!({
                    "v": 1,
                    "id": job.id.get(),
                    "state": job.state.kind().name(),
                    "reasons": json::findings(&findings),
                });
                ctx.ui.print(&document.to_string())?;
            }
            Format::Plain => ctx.ui.print(&plain::findings(&findings))?,
            Format::Table => ctx.ui.print(&table::findings(&findings))?,
        }
        Ok(Exit::Done)
    }
}

fn surroundings(ctx: &mut Ctx, job: &Job) -> Result<Surroundings, Failure> {
    let now = ctx.now();
    let store = ctx.store()?;
    let queue = store.queues()?.into_iter().find(|queue| queue.name == job.queue);
    let workers = store.workers()?;
    let ahead = if job.state.kind() == StateKind::Ready { store.ahead(job, MAX_AHEAD)? } else { Default::default() };
    let servers = workers.iter().filter(|worker| serves(worker, job)).map(server).collect();
    let lost = workers.iter().find(|worker| !worker.is_alive && worker.running.contains(&job.id));
    let steps = if job.state.kind() == StateKind::Retrying { store.steps(job.id)? } else { Vec::new() };
    let is_own = |one: &Subscription| one.queue == job.queue && one.name == job.queue;
    let is_paused = store.subscriptions()?.iter().any(|one| is_own(one) && one.paused_at.is_some());
    Ok(Surroundings {
        is_paused_since: queue.as_ref().and_then(|queue: &Queue| queue.paused_at),
        tripped: queue.as_ref().and_then(|queue| queue.tripped.clone()),
        is_paused_with_subscription: is_paused,
        served_until: queue.as_ref().and_then(|queue| queue.served_until),
        servers,
        has_lost_its_worker: lost.is_some(),
        sleeps_in: steps.into_iter().find(|step| sleeps(step, now)).map(|step| step.path),
        n_ahead: ahead.n,
        has_more_ahead: ahead.is_more,
    })
}

fn sleeps(step: &Step, now: Timestamp) -> bool {
    matches!(step.state, StepState::Sleeping { until } if until > now)
}

fn serves(worker: &Worker, job: &Job) -> bool {
    let serving = Serving { patterns: worker.about.queues.clone(), except: Vec::new() };
    worker.is_alive && serving.includes(&job.queue)
}

fn server(worker: &Worker) -> Server {
    Server {
        id: worker.id.to_string(),
        has_handler: worker.about.has_handler,
        n_slots: worker.about.n_slots,
        n_running: worker.running.len(),
    }
}
