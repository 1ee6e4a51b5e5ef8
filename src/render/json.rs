//! For programs: the public JSON, one document with `"v":1`. Keys, their order and their types are a
//! promise, which `docs/schema` spells out; a test holds every verb against it.
//!
//! Nothing is lost: bytes that are no text stand there in base64 too, under a name that ends in it.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::field::Field;
use super::{Finding, Worker, text, words};
use crate::clock::Timestamp;
use crate::job::{
    Attempt, Chunk, Command, Event, GroupName, Job, JobId, Lease, Pace, Queue, Report, State, StateKind, Step,
    StepPath, StepState, Stream, Token, Tripped,
};

/// A document with one key.
pub fn document(key: &str, value: Value) -> String {
    json!({ "v": 1, key: value }).to_string()
}

/// The answer to an import; written by hand, because a million numbers as values would be half of
/// the memory. `ids` are numbers, parted by commas; so are the lines that differ from the job that holds
/// their key, of which there are `n_existing`.
pub fn imported(ids: &str, n_existing: usize, differing: &str) -> String {
    format!("{{\"v\":1,\"ids\":[{ids}],\"existing\":{n_existing},\"differing_lines\":[{differing}]}}")
}

/// A job. Where its command is not UTF-8, what cannot be written is replaced in `command` and `argv`,
/// which are for reading then, and `command_base64` and `argv_base64` follow, which are exact.
pub fn job(job: &Job) -> Value {
    let (command, argv, is_shell) = command(job.command.as_ref());
    let last = job.last.as_ref();
    let worker = if let State::Running { worker, .. } = &job.state { Some(worker) } else { None };
    let mut value = json!({
        "id": job.id.get(),
        "queue": job.queue.as_str(),
        "state": job.state.kind().name(),
        "reason": reason(job),
        "group": job.group.as_ref().map(GroupName::as_str),
        "command": command,
        "argv": argv,
        "shell": is_shell,
        "payload_bytes": job.payload_bytes,
        "key": job.key,
        "priority": job.priority,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "crashes": job.crashes,
        "snoozes": job.snoozes,
        "labels": job.labels,
        "created_at": words::utc(job.created_at),
        "run_at": words::utc(job.run_at),
        "started_at": job.started_at.map(words::utc),
        "finished_at": job.state.finished_at().map(words::utc),
        "exit_code": last.and_then(|last| last.exit_code),
        "signal": last.and_then(|last| last.signal),
        "error": last.and_then(|last| last.error.as_deref()),
        "progress": job.progress.as_ref().map(|at| json!({ "percent": at.percent, "message": at.message })),
        "worker": worker,
        "topic": job.delivery.as_ref().map(|of| of.topic.as_str()),
        "event_id": job.delivery.as_ref().map(|of| of.event.get()),
        "subscription": job.delivery.as_ref().map(|of| of.subscription.as_str()),
    });
    for (name, exact) in exact_command(job.command.as_ref()) {
        value[name] = exact;
    }
    value
}

/// A step of a job.
pub fn step(step: &Step) -> Value {
    let (mut bytes, mut exit_code, mut wakes_at) = (None, None, None);
    match step.state {
        StepState::Recorded { bytes: n } => bytes = Some(n),
        StepState::Failed { exit_code: code } => exit_code = code,
        StepState::Sleeping { until } => wakes_at = Some(words::utc(until)),
        StepState::Running | StepState::Uncertain => {}
    }
    json!({
        "name": step.path.to_string(),
        "state": step.state.name(),
        "attempt": step.token.get(),
        "started_at": words::utc(step.started_at),
        "ended_at": step.ended_at.map(words::utc),
        "exit_code": exit_code,
        "bytes": bytes,
        "wakes_at": wakes_at,
        "key": step.key,
    })
}

/// What a step printed, or a value that was set.
pub fn step_output(id: JobId, path: &StepPath, output: Vec<u8>) -> String {
    let mut value = json!({ "id": id.get(), "name": path.to_string() });
    match String::from_utf8(output) {
        Ok(text) => value["output"] = text.into(),
        Err(error) => value["output_base64"] = STANDARD.encode(error.as_bytes()).into(),
    }
    document("step", value)
}

/// These fields of a job; all that the public JSON has, where none is named.
pub fn fields(of: &Job, fields: &[Field]) -> Value {
    if fields.is_empty() {
        return job(of);
    }
    let mut value: Value = fields.iter().map(|field| (field.name(), field.json(of))).collect();
    for (name, exact) in exact_command(of.command.as_ref()) {
        if fields.iter().any(|field| name.strip_suffix("_base64") == Some(field.name())) {
            value[name] = exact;
        }
    }
    value
}

/// Why a dead job is dead.
pub fn reason(job: &Job) -> Option<&'static str> {
    if let State::Dead { reason, .. } = job.state { Some(reason.name()) } else { None }
}

/// `command`, `argv` and `shell`. Bytes that are not UTF-8 are replaced.
pub(super) fn command(command: Option<&Command>) -> (Option<String>, Option<Vec<String>>, bool) {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let line = command.map(|command| lossy(&text::command_line(command)));
    match command {
        None => (None, None, false),
        Some(Command::Shell(_)) => (line, None, true),
        Some(Command::Program(words)) => (line, Some(words.iter().map(|word| lossy(word)).collect()), false),
    }
}

/// The command byte for byte, where that is more than [`command`] says: `command_base64` and, of a
/// vector, `argv_base64`.
pub(super) fn exact_command(command: Option<&Command>) -> Vec<(&'static str, Value)> {
    let Some(command) = command else { return Vec::new() };
    let line = text::command_line(command);
    if std::str::from_utf8(&line).is_ok() {
        return Vec::new();
    }
    let mut exact = vec![("command_base64", Value::from(STANDARD.encode(&line)))];
    if let Command::Program(words) = command {
        exact.push(("argv_base64", words.iter().map(|word| STANDARD.encode(word)).collect()));
    }
    exact
}

/// Adds a path: as `path`, and where that is not UTF-8 and so not exact, as `path_base64` too.
pub fn set_path(value: &mut Value, path: &Path) {
    value["path"] = path.to_string_lossy().into();
    if path.to_str().is_none() {
        value["path_base64"] = STANDARD.encode(path.as_os_str().as_encoded_bytes()).into();
    }
}

/// A job with its attempts, as `show` gives it.
pub fn job_with_attempts(of: &Job, attempts: &[Attempt]) -> Value {
    let mut value = job(of);
    value["attempts"] = attempts.iter().map(attempt).collect();
    value
}

fn attempt(attempt: &Attempt) -> Value {
    let report = attempt.report.as_ref();
    let usage = report.and_then(|report| report.usage);
    json!({
        "attempt": attempt.token.get(),
        "outcome": report.map(|report| report.outcome.name()),
        "exit_code": report.and_then(|report| report.exit_code),
        "signal": report.and_then(|report| report.signal),
        "error": report.and_then(|report| report.error.as_deref()),
        "started_at": words::utc(attempt.started_at),
        "ended_at": report.map(|report| words::utc(report.ended_at)),
        "duration_ms": report.map(|report| millis(report.ended_at.since(report.started_at))),
        "cpu_ms": usage.map(|usage| millis(usage.cpu)),
        "max_rss_bytes": usage.map(|usage| usage.max_rss_bytes),
        "stdout_bytes": report.map(|report| report.stdout_bytes),
        "stderr_bytes": report.map(|report| report.stderr_bytes),
        "truncated": report.map(|report| report.is_truncated),
        "worker": attempt.worker,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A queue.
pub fn queue(queue: &Queue, now: Timestamp) -> Value {
    let n = |state| queue.tally.get(state);
    json!({
        "name": queue.name.as_str(),
        "paused": queue.paused_at.is_some(),
        "ready": n(StateKind::Ready),
        "scheduled": n(StateKind::Scheduled),
        "retrying": n(StateKind::Retrying),
        "running": n(StateKind::Running),
        "blocked": n(StateKind::Blocked),
        "succeeded": n(StateKind::Succeeded),
        "dead": n(StateKind::Dead),
        "cancelled": n(StateKind::Cancelled),
        "oldest_ready_ms": queue.oldest_ready.map(|since| millis(now.since(since))),
        "workers": queue.n_workers,
        "breaker": breaker(queue.tripped.as_ref()),
    })
}

/// How a queue is stopped by its breaker.
fn breaker(tripped: Option<&Tripped>) -> Value {
    tripped.map_or(Value::Null, |tripped| {
        json!({
            "since": words::utc(tripped.since),
            "exit_code": tripped.cause.exit_code,
            "signal": tripped.cause.signal,
            "cause": tripped.cause.text,
            "failed": tripped.n_failures,
            "of": tripped.n_attempts,
            "next_trial_at": words::utc(tripped.next_trial),
        })
    })
}

/// A queue with its pace since the beginning of what was asked for.
pub fn stats(queue: &Queue, pace: Option<&Pace>, now: Timestamp) -> Value {
    let mut value = self::queue(queue, now);
    let (succeeded, failed) = super::ended(pace);
    value["done"] = succeeded.into();
    value["failed"] = failed.into();
    for (name, lengths) in ["run_ms", "wait_ms"].into_iter().zip(super::percentiles(pace)) {
        let [p50, p95, p99] = lengths.map(|length| length.map(millis));
        value[name] = json!({ "p50": p50, "p95": p95, "p99": p99 });
    }
    value
}

/// A worker.
pub fn worker(worker: &Worker) -> Value {
    json!({
        "id": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "queues": worker.queues.split(',').collect::<Vec<_>>(),
        "jobs": worker.n_slots,
        "running": ids(&worker.running),
        "since": words::utc(worker.since),
        "heartbeat_at": words::utc(worker.heartbeat_at),
    })
}

/// Job numbers.
pub fn ids(ids: &[JobId]) -> Value {
    ids.iter().map(|id| id.get()).collect()
}

/// A job that was not put back, because another holds its key.
pub fn key_taken(id: JobId, holder: JobId) -> Value {
    json!({ "id": id.get(), "holder": holder.get() })
}

/// What became of a job that was to be changed.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The job.
    pub id: JobId,
    /// What became of it, in a word or two joined by `_`.
    pub outcome: &'static str,
    /// Where it stands now; `None` where there is none any more.
    pub state: Option<StateKind>,
    /// The job that holds its key, where that stood in the way.
    pub holder: Option<JobId>,
}

/// What became of each job that was to be changed.
pub fn changes(changes: &[Change]) -> String {
    let one = |change: &Change| {
        let state = change.state.map(StateKind::name);
        let mut value = json!({ "id": change.id.get(), "outcome": change.outcome, "state": state });
        if let Some(holder) = change.holder {
            value["holder"] = holder.get().into();
        }
        value
    };
    document("jobs", changes.iter().map(one).collect())
}

/// What a job said of itself.
pub fn said(lease: Lease, said: &str) -> String {
    document("self", json!({ "id": lease.job.get(), "attempt": lease.token.get(), "said": said }))
}

/// Findings.
pub fn findings(findings: &[Finding]) -> Value {
    let one = |finding: &Finding| json!({ "code": finding.code, "message": finding.message, "hint": finding.hint });
    findings.iter().map(one).collect()
}

/// A piece of output of a running attempt, a line.
pub fn chunk(id: JobId, token: Token, chunk: &Chunk) -> String {
    let mut value = json!({
        "v": 1,
        "id": id.get(),
        "attempt": token.get(),
        "stream": chunk.stream.name(),
        "offset": chunk.offset,
    });
    match std::str::from_utf8(&chunk.bytes) {
        Ok(text) => value["text"] = text.into(),
        Err(_) => value["base64"] = STANDARD.encode(&chunk.bytes).into(),
    }
    value.to_string()
}

/// Output of an attempt (`None`: of none): of each stream the text where it is UTF-8, else
/// `…_base64`; and where some of it was not kept, `…_gap` says after how many bytes how many are
/// missing.
pub fn output(id: JobId, token: Option<Token>, streams: &[(Stream, Vec<Chunk>)]) -> Value {
    let mut value = json!({ "id": id.get(), "attempt": token.map(Token::get) });
    for (stream, chunks) in streams {
        let name = stream.name();
        let mut bytes: Vec<u8> = Vec::new();
        for chunk in chunks {
            let n_before = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            // Only one piece is ever missing, in the middle, so what was kept so far is its place.
            if chunk.offset > n_before && value.get(format!("{name}_gap")).is_none() {
                value[format!("{name}_gap")] = json!({ "at": n_before, "bytes": chunk.offset - n_before });
            }
            bytes.extend_from_slice(&chunk.bytes);
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => value[name] = text.into(),
            Err(_) => value[format!("{name}_base64")] = STANDARD.encode(&bytes).into(),
        }
    }
    value
}

/// What a worker did: names with counts.
pub fn summary(counts: &[(&str, usize)]) -> String {
    let counts: Value = counts.iter().map(|&(name, n)| (name, Value::from(n))).collect();
    document("summary", counts)
}

/// An error, as it follows on stderr with `--json`.
pub fn error(code: &str, message: &str, hint: Option<&str>) -> String {
    json!({ "v": 1, "error": { "code": code, "message": message, "hint": hint } }).to_string()
}

/// That `work --log json` had to make the queue file, a line like its events.
pub fn queue_made(path: &Path, now: Timestamp) -> String {
    let mut value = json!({ "v": 1, "at": words::utc(now), "event": "queue_made" });
    set_path(&mut value, path);
    value.to_string()
}

/// That others can write the queue which `work --log json` works, a line like its events.
pub fn queue_shared(message: &str, now: Timestamp) -> String {
    json!({ "v": 1, "at": words::utc(now), "event": "queue_shared", "message": message }).to_string()
}

/// An event of `work --log json`, a line.
pub fn event(event: &Event<'_>, now: Timestamp) -> String {
    let mut value = json!({ "v": 1, "at": words::utc(now) });
    let about = |value: &mut Value, name: &str, job: &Job| {
        value["event"] = name.into();
        value["id"] = job.id.get().into();
        value["queue"] = job.queue.as_str().into();
        value["attempt"] = job.attempt.into();
    };
    match event {
        Event::Up { worker } => {
            value["event"] = "up".into();
            value["worker"] = worker.to_string().into();
        }
        Event::Started { job } => about(&mut value, "started", job),
        Event::Ended { job, report, verdict, .. } => {
            about(&mut value, "ended", job);
            ended(&mut value, report, *verdict);
        }
        Event::Expired { job } => about(&mut value, "expired", job),
        Event::LeaseLost { job } => about(&mut value, "lease_lost", job),
        Event::NothingToRun { job } => about(&mut value, "nothing_to_run", job),
        Event::Breaker { news } => {
            value["event"] = if news.tripped.is_some() { "breaker_open" } else { "breaker_closed" }.into();
            value["queue"] = news.queue.as_str().into();
            value["breaker"] = breaker(news.tripped.as_ref());
        }
        Event::Trouble { message, retry_in } => {
            value["event"] = "trouble".into();
            value["message"] = (*message).into();
            value["retry_in_ms"] = millis(*retry_in).into();
        }
        Event::Cramped { n_wanted, n_fitting, limit } => {
            value["event"] = "cramped".into();
            value["jobs"] = (*n_fitting).into();
            value["wanted"] = (*n_wanted).into();
            value["file_limit"] = (*limit).into();
        }
        Event::Stopping { n_running, .. } => {
            value["event"] = "stopping".into();
            value["running"] = (*n_running).into();
        }
    }
    value.to_string()
}

fn ended(value: &mut Value, report: &Report, verdict: crate::job::Verdict) {
    use crate::job::Verdict;
    value["outcome"] = report.outcome.name().into();
    value["exit_code"] = report.exit_code.into();
    value["signal"] = report.signal.into();
    value["error"] = report.error.clone().into();
    value["duration_ms"] = millis(report.ended_at.since(report.started_at)).into();
    let (state, reason) = match verdict {
        Verdict::Succeed => (StateKind::Succeeded, None),
        Verdict::Retry { .. } => (StateKind::Retrying, None),
        Verdict::HandBack => (StateKind::Ready, None),
        Verdict::Die { reason } => (StateKind::Dead, Some(reason.name())),
        Verdict::Cancel => (StateKind::Cancelled, None),
    };
    value["state"] = state.name().into();
    value["reason"] = reason.into();
    if let Verdict::Retry { due } = verdict {
        value["run_at"] = words::utc(due).into();
    }
}
