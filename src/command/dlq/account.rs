//! What is told of a task.

use crate::command::Ctx;
use crate::exit::Failure;
use crate::job::{Job, TaskId, TaskReport};

/// How many causes of death are told, the most frequent ones.
const MAX_CAUSES: usize = 5;

/// How far a task is, with a job for each of the causes of which jobs died again.
pub(super) fn account(ctx: &mut Ctx, id: TaskId) -> Result<(TaskReport, Vec<Job>), Failure> {
    let mut report = ctx.store()?.task_report(id, MAX_CAUSES)?.ok_or_else(|| unknown(id))?;
    let mut relapsed = Vec::new();
    for relapse in std::mem::take(&mut report.relapses) {
        // One may have been deleted since.
        if let Some(job) = ctx.store()?.job(relapse.sample)? {
            relapsed.push(job);
            report.relapses.push(relapse);
        }
    }
    Ok((report, relapsed))
}

/// There is no such task.
pub(super) fn unknown(id: TaskId) -> Failure {
    Failure::not_found(format!("there is no task {id}")).hint("see which there are: qctl dlq tasks")
}
