//! For scripts: one record a line, fields parted by tabs, no header, nothing cut, nothing relative.
//! The columns and their order are a promise.

use std::time::Duration;

use super::field::Field;
use super::{Finding, Look, Worker, text, words};
use crate::job::{Job, Pace, Queue, StateKind, Step, StepState, Subscription, TopicTally};

/// These fields of each job; for `list`, [`Field::PLAIN`].
pub fn jobs(jobs: &[Job], fields: &[Field], look: &Look) -> String {
    lines(jobs.iter().map(|job| fields.iter().map(|field| field.text(job, look)).collect::<Vec<_>>()))
}

/// `id queue reason attempt died_at error command group`.
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
            job.group.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]
    }))
}

/// `name paused ready scheduled retrying running blocked succeeded dead cancelled oldest_ready_ms workers`;
/// the second is `paused`, `tripped` or `-`.
pub fn queues(queues: &[Queue], look: &Look) -> String {
    lines(queues.iter().map(|queue| counts(queue, look)))
}

/// The columns of [`queues`], then `done failed run_p50 run_p95 run_p99 wait_p50 wait_p95 wait_p99`, the
/// last six in milliseconds.
pub fn stats(queues: &[(Queue, Option<Pace>)], look: &Look) -> String {
    lines(queues.iter().map(|(queue, pace)| {
        let mut fields = counts(queue, look);
        let (succeeded, failed) = super::ended(pace.as_ref());
        fields.extend([succeeded.to_string(), failed.to_string()]);
        let lengths = super::percentiles(pace.as_ref());
        let millis = |length: Option<Duration>| length.map(|length| length.as_millis().to_string());
        fields.extend(lengths.into_iter().flatten().map(|length| millis(length).unwrap_or_else(|| "-".to_owned())));
        fields
    }))
}

fn counts(queue: &Queue, look: &Look) -> Vec<String> {
    use StateKind::{Blocked, Cancelled, Dead, Ready, Retrying, Running, Scheduled, Succeeded};
    let counts = [Ready, Scheduled, Retrying, Running, Blocked, Succeeded, Dead, Cancelled];
    let oldest = queue.oldest_ready.map(|since| look.now.since(since).as_millis().to_string());
    let mut fields = vec![queue.name.to_string(), words::stop(queue).unwrap_or("-").to_owned()];
    fields.extend(counts.map(|state| queue.tally.get(state).to_string()));
    fields.push(oldest.unwrap_or_else(|| "-".to_owned()));
    fields.push(queue.n_workers.to_string());
    fields
}

/// `id host pid queues jobs running since heartbeat_at`; queues and running jobs parted by commas.
pub fn workers(workers: &[Worker], look: &Look) -> String {
    lines(workers.iter().map(|worker| {
        [
            worker.id.to_string(),
            text::safe(worker.host.as_bytes()),
            worker.pid.to_string(),
            worker.queues.clone(),
            worker.n_slots.to_string(),
            words::ids(&worker.running),
            words::local(worker.since, look),
            words::local(worker.heartbeat_at, look),
        ]
    }))
}

/// `name state attempt started_at ended_at exit_code bytes key` of each step.
pub fn steps(steps: &[Step], look: &Look) -> String {
    lines(steps.iter().map(|step| {
        let exit_code = if let StepState::Failed { exit_code } = step.state { exit_code } else { None };
        let bytes = if let StepState::Recorded { bytes } = step.state { Some(bytes) } else { None };
        [
            text::safe(step.path.to_string().as_bytes()),
            step.state.name().to_owned(),
            step.token.to_string(),
            words::local(step.started_at, look),
            step.ended_at.map(|at| words::local(at, look)).unwrap_or_default(),
            exit_code.map(|code| code.to_string()).unwrap_or_default(),
            bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
            step.key.clone(),
        ]
    }))
}

/// `name pattern queue paused lag command` of each subscription.
pub fn subscriptions(subscriptions: &[Subscription]) -> String {
    lines(subscriptions.iter().map(|one| {
        [
            one.name.to_string(),
            text::safe(one.pattern.as_str().as_bytes()),
            one.queue.to_string(),
            if one.paused_at.is_some() { "paused" } else { "" }.to_owned(),
            one.lag.to_string(),
            text::command(one.command.as_ref()),
        ]
    }))
}

/// `name events bytes last_at` of each topic.
pub fn topics(topics: &[TopicTally], look: &Look) -> String {
    lines(topics.iter().map(|topic| {
        [
            text::safe(topic.name.as_bytes()),
            topic.events.to_string(),
            topic.bytes.to_string(),
            topic.last_at.map(|at| words::local(at, look)).unwrap_or_default(),
        ]
    }))
}

/// `code message hint` of what was found.
pub fn findings(findings: &[Finding]) -> String {
    lines(findings.iter().map(|finding| {
        [finding.code.to_owned(), text::safe(finding.message.as_bytes()), text::safe(finding.hint.as_bytes())]
    }))
}

/// A name and a value on each line.
pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    lines(pairs.into_iter().map(|(name, value)| [name.to_owned(), value]))
}

pub(super) fn lines<F: AsRef<[String]>>(records: impl Iterator<Item = F>) -> String {
    let lines: Vec<String> = records.map(|fields| fields.as_ref().join("\t")).collect();
    lines.join("\n")
}
