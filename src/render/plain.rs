//! For scripts: one record a line, fields parted by tabs, no header, nothing cut, nothing relative.
//! The columns and their order are a promise.

use super::{Look, text, words};
use crate::job::{Job, Queue, StateKind};

/// `id queue state attempt max_attempts created_at command`.
pub fn jobs(jobs: &[Job], look: &Look) -> String {
    lines(jobs.iter().map(|job| {
        [
            job.id.to_string(),
            job.queue.to_string(),
            job.state.kind().name().to_owned(),
            job.attempt.to_string(),
            job.max_attempts.to_string(),
            words::local(job.created_at, look),
            text::command(job.command.as_ref()),
        ]
    }))
}

/// `id queue reason attempt died_at error command`.
pub fn dead(jobs: &[Job], look: &Look) -> String {
    lines(jobs.iter().map(|job| {
        [
            job.id.to_string(),
            job.queue.to_string(),
            super::json::reason(job).unwrap_or_default().to_owned(),
            job.attempt.to_string(),
            job.state.finished_at().map(|at| words::local(at, look)).unwrap_or_default(),
            super::table::error(job),
            text::command(job.command.as_ref()),
        ]
    }))
}

/// `name paused ready scheduled retrying running blocked succeeded dead cancelled oldest_ready_ms workers`.
pub fn queues(queues: &[Queue], look: &Look) -> String {
    use StateKind::{Blocked, Cancelled, Dead, Ready, Retrying, Running, Scheduled, Succeeded};
    lines(queues.iter().map(|queue| {
        let counts = [Ready, Scheduled, Retrying, Running, Blocked, Succeeded, Dead, Cancelled];
        let counts = counts.map(|state| queue.tally.get(state).to_string());
        let is_paused = if queue.paused_at.is_some() { "paused" } else { "-" };
        let oldest = queue.oldest_ready.map(|since| look.now.since(since).as_millis().to_string());
        let mut fields = vec![queue.name.to_string(), is_paused.to_owned()];
        fields.extend(counts);
        fields.push(oldest.unwrap_or_else(|| "-".to_owned()));
        fields.push(queue.n_workers.to_string());
        fields
    }))
}

/// A name and a value on each line.
pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    lines(pairs.into_iter().map(|(name, value)| [name.to_owned(), value]))
}

fn lines<F: AsRef<[String]>>(records: impl Iterator<Item = F>) -> String {
    let lines: Vec<String> = records.map(|fields| fields.as_ref().join("\t")).collect();
    lines.join("\n")
}
