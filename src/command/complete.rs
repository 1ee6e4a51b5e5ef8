//! Candidates for completion: real job numbers and queue names.
//!
//! They only glance: nothing is created, migrated or waited for, and whatever goes wrong, there are
//! simply no candidates.

use clap_complete::CompletionCandidate;

use crate::config::{self, Config, Global};
use crate::job::{Filter, Group, Job, Page, StateKind};
use crate::render::text;
use crate::store::{self, Access, Store};

/// How many jobs are offered: the newest.
const MAX_JOBS: usize = 50;

fn glance() -> Option<Box<dyn Store>> {
    let (target, _) = Config::read(&Global::default()).target?;
    store::open(&target, Access::Glance).ok()
}

/// Every queue.
pub(crate) fn queues() -> Vec<CompletionCandidate> {
    let queues = glance().and_then(|mut store| store.queues().ok()).unwrap_or_default();
    queues.into_iter().map(|queue| CompletionCandidate::new(queue.name.as_str())).collect()
}

/// Every subscription.
pub(crate) fn subscriptions() -> Vec<CompletionCandidate> {
    let all = glance().and_then(|mut store| store.subscriptions().ok()).unwrap_or_default();
    all.into_iter().map(|one| CompletionCandidate::new(one.name.as_str())).collect()
}

/// The tasks that are not over.
pub(crate) fn tasks() -> Vec<CompletionCandidate> {
    let all = glance().and_then(|mut store| store.tasks().ok()).unwrap_or_default();
    let open = all.into_iter().filter(|task| !task.phase.is_final());
    let help = |selection: &str| text::cut(&text::safe(selection.as_bytes()), 50, false);
    open.map(|task| {
        CompletionCandidate::new(task.id.to_string())
            .help(Some(format!("{} {}", task.phase.name(), help(&task.plan.selection)).into()))
    })
    .collect()
}

/// The newest jobs.
pub(crate) fn jobs() -> Vec<CompletionCandidate> {
    jobs_in(&[])
}

/// The newest jobs that can be cancelled.
pub(crate) fn open_jobs() -> Vec<CompletionCandidate> {
    jobs_in(&StateKind::ALL.into_iter().filter(|state| !state.is_final()).collect::<Vec<_>>())
}

/// The newest jobs that can be retried.
pub(crate) fn final_jobs() -> Vec<CompletionCandidate> {
    jobs_in(&StateKind::ALL.into_iter().filter(|state| state.is_final()).collect::<Vec<_>>())
}

/// The jobs that died last.
pub(crate) fn dead_jobs() -> Vec<CompletionCandidate> {
    let dead = |mut store: Box<dyn Store>| -> store::Result<Vec<Job>> {
        let ids = store.dead(&Filter::default(), MAX_JOBS)?;
        let jobs = ids.into_iter().map(|id| store.job(id)).collect::<store::Result<Vec<_>>>()?;
        Ok(jobs.into_iter().flatten().collect())
    };
    candidates(glance().and_then(|store| dead(store).ok()).unwrap_or_default())
}

/// The groups of dead jobs.
pub(crate) fn groups() -> Vec<CompletionCandidate> {
    let groups = glance().and_then(|mut store| store.groups(&Filter::default()).ok()).unwrap_or_default();
    let has_unicode = config::ui(&Global::default()).look.has_unicode;
    let candidate = |group: Group| {
        let help = format!("{} in {}: {}", group.n, group.queue, text::cut(&group.cause.text, 50, has_unicode));
        CompletionCandidate::new(group.name.to_string()).help(Some(help.into()))
    };
    groups.into_iter().map(candidate).collect()
}

fn jobs_in(states: &[StateKind]) -> Vec<CompletionCandidate> {
    let filter = Filter { states: states.to_vec(), ..Filter::default() };
    let page = Page { after: None, limit: MAX_JOBS, oldest_first: false };
    candidates(glance().and_then(|mut store| store.jobs(&filter, page).ok()).unwrap_or_default())
}

fn candidates(jobs: Vec<Job>) -> Vec<CompletionCandidate> {
    let has_unicode = config::ui(&Global::default()).look.has_unicode;
    let candidate = |job: Job| {
        let command = text::cut(&text::command(job.command.as_ref()), 50, has_unicode);
        let help = format!("{} {command}", job.state.kind().name());
        CompletionCandidate::new(job.id.to_string()).help(Some(help.into()))
    };
    jobs.into_iter().map(candidate).collect()
}
