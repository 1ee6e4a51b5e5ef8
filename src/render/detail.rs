//! Everything about one job, or one queue, for people.

use std::time::Duration;

use super::{Look, bars, text, topic, waited, words};
use crate::job::{Attempt, Context, Defaults, EnvVars, Job, Queue, QueueSettings, State, Subscription, Terms, Tripped};

/// A job with its attempts, as `show` gives it.
pub fn job(job: &Job, context: Option<&(Context, EnvVars)>, attempts: &[Attempt], look: &Look) -> String {
    let mut lines = vec![format!("{}  {}", job.id, headline(job, look)), String::new()];
    let mut fact = |name: &str, value: String| lines.push(format!("  {name:<9} {value}"));
    if job.command.is_some() {
        fact("command", text::command(job.command.as_ref()));
    }
    fact("queue", format!("{}, priority {}", job.queue, job.priority));
    fact("pushed", words::local(job.created_at, look));
    if let Some(of) = &job.delivery {
        fact(
            "event",
            format!(
                "{} of {}, for subscription {}",
                of.event,
                text::safe(of.topic.as_str().as_bytes()),
                of.subscription
            ),
        );
    }
    if let State::Scheduled { due } | State::Retrying { due } = job.state {
        fact("due", words::both(due, look));
    }
    if let Some(expires_at) = job.expires_at {
        fact("expires", words::both(expires_at, look));
    }
    if let Some(progress) = &job.progress {
        fact("progress", words::progress(progress));
    }
    if job.snoozes > 0 {
        let n = usize::try_from(job.snoozes).unwrap_or(usize::MAX);
        fact("snoozed", format!("{}, not counted", words::count(n, "time")));
    }
    if let Some(key) = &job.key {
        fact("key", text::safe(key.as_bytes()));
    }
    if !job.labels.is_empty() {
        fact("labels", words::labels(&job.labels));
    }
    if job.payload_bytes > 0 {
        fact("payload", words::bytes(job.payload_bytes));
    }
    if let Some((context, env)) = context {
        fact("cwd", text::safe(&context.cwd));
        fact("policy", policy(&context.terms));
        let names: Vec<String> = context.env.iter().chain(env).map(|(name, _)| text::safe(name)).collect();
        if !names.is_empty() {
            fact("env", format!("{} (values kept)", names.join(" ")));
        }
    }
    if !attempts.is_empty() {
        lines.push(String::new());
        lines.push(attempts_table(attempts, look));
        lines.push(String::new());
        lines.push(timeline(job, attempts, look));
    }
    lines.join("\n")
}

fn headline(job: &Job, look: &Look) -> String {
    match &job.state {
        State::Succeeded { .. } | State::Cancelled { .. } | State::Ready { .. } | State::Blocked => {
            format!("{}, {}", job.state.kind().name(), tries(job))
        }
        State::Dead { at, reason } => {
            format!("{}, {} ago, {}", words::reason(*reason, job), words::age(look.now.since(*at)), tries(job))
        }
        State::Running { worker, .. } => format!("{} on {worker}, {}", words::state(&job.state, look.now), tries(job)),
        State::Scheduled { .. } | State::Retrying { .. } => {
            format!("{}, {}", words::state(&job.state, look.now), tries(job))
        }
    }
}

fn tries(job: &Job) -> String {
    format!("attempt {} of {}", job.attempt, job.max_attempts)
}

fn policy(terms: &Terms) -> String {
    let mut words = vec![
        format!("backoff {}", words::backoff(&terms.backoff)),
        format!("jitter {}", words::jitter(terms.jitter)),
        format!("timeout {}", terms.timeout.map_or("none".to_owned(), words::exact)),
        format!("kill after {}", words::exact(terms.kill_after)),
    ];
    if !terms.dead_on.is_empty() {
        words.push(format!("dead on {}", words::codes(&terms.dead_on)));
    }
    words.join(", ")
}

fn attempts_table(attempts: &[Attempt], look: &Look) -> String {
    let rows = attempts.iter().map(|attempt| {
        let report = attempt.report.as_ref();
        let ended = report.map_or(look.now, |report| report.ended_at);
        let usage = report.and_then(|report| report.usage);
        let end = report.map_or("running".to_owned(), |report| match (report.exit_code, report.signal) {
            (Some(code), _) if code != 0 => format!("{}, exit {code}", report.outcome.name()),
            (_, Some(signal)) => format!("{}, signal {signal}", report.outcome.name()),
            (Some(_) | None, None) => report.outcome.name().to_owned(),
        });
        vec![
            attempt.token.to_string(),
            words::clock(attempt.started_at, look),
            words::length(ended.since(attempt.started_at)),
            end,
            usage.map_or("-".to_owned(), |usage| words::length(usage.cpu)),
            usage.map_or("-".to_owned(), |usage| words::bytes(usage.max_rss_bytes)),
            report.map_or("-".to_owned(), |report| words::bytes(report.stdout_bytes + report.stderr_bytes)),
            report
                .and_then(|report| report.error.as_deref())
                .map_or_else(String::new, |error| text::safe(error.as_bytes())),
        ]
    });
    let header = [
        ("ATTEMPT", 0),
        ("STARTED", 3),
        ("TOOK", 0),
        ("END", 0),
        ("CPU", 6),
        ("MEMORY", 5),
        ("OUTPUT", 4),
        ("ERROR", 0),
    ];
    super::table::fit(&header, rows.collect(), look)
}

/// The widest that a timeline gets, in columns: wider, the eye loses the line.
const MAX_TIMELINE: usize = 72;

/// When each attempt ran, to scale, from the push to the last end (to now, where the job is not done
/// with): a bar for each attempt, the newest of many.
fn timeline(job: &Job, attempts: &[Attempt], look: &Look) -> String {
    let ended = |attempt: &Attempt| attempt.report.as_ref().map_or(look.now, |report| report.ended_at);
    let last = attempts.iter().map(ended).max().unwrap_or(look.now);
    let end = if job.state.kind().is_final() { last } else { last.max(look.now) };
    let whole = (job.created_at, end);
    let shown = &attempts[attempts.len().saturating_sub(MAX_BARS)..];
    let widest = shown.iter().map(|attempt| attempt.token.to_string().len()).max().unwrap_or(1);
    let columns = look.width.saturating_sub(widest + 14).clamp(10, MAX_TIMELINE);
    let bars = shown.iter().map(|attempt| {
        let bar = bars::stretch((attempt.started_at, ended(attempt)), whole, columns, look);
        let start = words::length(attempt.started_at.since(job.created_at));
        format!("  {:>widest$}  {bar}  +{start}", attempt.token.get())
    });
    let scale = format!(
        "  {} from the push, {}, to {}",
        words::length(end.since(job.created_at)),
        words::clock(job.created_at, look),
        words::clock(end, look)
    );
    std::iter::once(scale).chain(bars).collect::<Vec<_>>().join("\n")
}

/// How many attempts the timeline shows.
const MAX_BARS: usize = 20;

/// A queue with what it has of its own, as `queue show` gives it: name and value a line.
pub fn queue(queue: &Queue, look: &Look) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("name", queue.name.to_string()),
        ("paused", queue.paused_at.map_or("no".to_owned(), |at| format!("since {}", words::local(at, look)))),
        ("tripped", queue.tripped.as_ref().map_or("no".to_owned(), |tripped| self::tripped(tripped, look))),
        ("workers", queue.n_workers.to_string()),
        ("oldest ready", queue.oldest_ready.map_or("-".to_owned(), |since| words::age(look.now.since(since)))),
    ];
    pairs.extend(crate::job::StateKind::ALL.map(|state| (state.name(), queue.tally.get(state).to_string())));
    let own_or_default = |(name, value, is_own): (_, String, _)| {
        (name, if is_own { text::safe(value.as_bytes()) } else { format!("{value} (default)") })
    };
    pairs.extend(settings(&queue.settings).map(own_or_default));
    pairs.extend(hook_folder(&queue.settings).map(|cwd| ("on-dead-cwd", cwd)));
    pairs
}

/// How a queue is stopped by its breaker.
fn tripped(tripped: &Tripped, look: &Look) -> String {
    let (since, trial) = (words::local(tripped.since, look), words::local(tripped.next_trial, look));
    format!("since {since}: {}; the next job is tried at {trial}", words::tripped(tripped))
}

/// A subscription to a queue with these settings, as `subscription show` gives it.
pub fn subscription(of: &Subscription, queue: &QueueSettings, look: &Look) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("name", of.name.to_string()), ("pattern", text::safe(of.pattern.as_str().as_bytes()))];
    if !of.only.is_empty() {
        pairs.push(("where", words::labels(&of.only)));
    }
    pairs.push(("queue", of.queue.to_string()));
    let handler = || "none: its workers need a handler".to_owned();
    pairs.push(("command", of.command.as_ref().map_or_else(handler, |command| text::command(Some(command)))));
    pairs.push(("cwd", text::safe(&of.cwd)));
    pairs.extend(terms(&of.own, queue).map(|(name, value, whose)| match whose {
        Whose::Own => (name, value),
        Whose::Queue => (name, format!("{value} (of the queue)")),
        Whose::Nobody => (name, format!("{value} (default)")),
    }));
    pairs.push(("paused", of.paused_at.map_or("no".to_owned(), |at| format!("since {}", words::local(at, look)))));
    pairs.push(("lag", of.lag.to_string()));
    if let Some(next) = of.next {
        pairs.push(("next event", next.to_string()));
    }
    if let Some(since) = of.behind_since {
        let age = words::age(look.now.since(since));
        pairs.push(("behind since", format!("{} ({age} ago)", words::local(since, look))));
    }
    if let Some(rate) = of.rate {
        pairs.push(("rate", topic::rate(rate)));
    }
    pairs.push(("added", words::local(of.created_at, look)));
    pairs
}

/// Who says something of the terms of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The job, or the subscription that it is of.
    Own,
    /// Its queue.
    Queue,
    /// Neither: it is the default.
    Nobody,
}

/// What the jobs of a subscription get that says this in a queue that says the other: the option, its value, and who
/// says so.
pub fn terms(own: &QueueSettings, queue: &QueueSettings) -> impl Iterator<Item = (&'static str, String, Whose)> {
    let said_by = settings(own).into_iter().zip(settings(queue)).map(|((_, _, is_own), (_, _, is_of_queue))| {
        match (is_own, is_of_queue) {
            (true, _) => Whose::Own,
            (false, true) => Whose::Queue,
            (false, false) => Whose::Nobody,
        }
    });
    let values = settings(&own.clone().or(queue.clone())).into_iter().zip(said_by);
    // How jobs end up is no matter of a subscription.
    const OF_JOBS: [&str; 7] = ["max-attempts", "backoff", "jitter", "timeout", "kill-after", "dead-on", "priority"];
    values.map(|((name, value, _), whose)| (name, value, whose)).filter(|(name, ..)| OF_JOBS.contains(name))
}

/// The folder in which the hook of a queue is run, if it has one.
pub fn hook_folder(settings: &QueueSettings) -> Option<String> {
    settings.on_dead.as_ref().and_then(Option::as_ref).map(|hook| text::safe(&hook.cwd))
}

/// What jobs of a queue get where their push does not say: the option, its value, and whether the
/// queue has it of its own.
pub fn settings(settings: &QueueSettings) -> [(&'static str, String, bool); 16] {
    let terms = Terms::default();
    let limit = |limit: Option<Duration>| limit.map_or("none".to_owned(), words::exact);
    let dead_on = settings.dead_on.as_deref().filter(|codes| !codes.is_empty());
    let max_attempts = settings.max_attempts.unwrap_or(Defaults::MAX_ATTEMPTS);
    let backoff = settings.backoff.as_ref().unwrap_or(&terms.backoff);
    let jitter = settings.jitter.unwrap_or(terms.jitter);
    let kill_after = settings.kill_after.unwrap_or(terms.kill_after);
    let priority = settings.priority.unwrap_or(Defaults::PRIORITY);
    let keep = settings.keep.unwrap_or(Some(Defaults::KEEP));
    let rows = |rows: Option<u64>| rows.map_or("none".to_owned(), |n| n.to_string());
    let keep_rows = settings.keep_rows.unwrap_or(Some(Defaults::KEEP_ROWS));
    let group_by = settings.group_by.as_ref().and_then(Option::as_ref);
    let on_dead = settings.on_dead.as_ref().and_then(Option::as_ref);
    let on_dead_every = settings.on_dead_every.unwrap_or(Defaults::ON_DEAD_EVERY);
    let breaker = settings.breaker.flatten().map_or("none".to_owned(), |rule| rule.to_string());
    let probe = settings.breaker_probe.unwrap_or(Defaults::BREAKER_PROBE);
    [
        ("max-attempts", max_attempts.to_string(), settings.max_attempts.is_some()),
        ("backoff", words::backoff(backoff), settings.backoff.is_some()),
        ("jitter", words::jitter(jitter).to_owned(), settings.jitter.is_some()),
        ("timeout", limit(settings.timeout.flatten()), settings.timeout.is_some()),
        ("kill-after", words::exact(kill_after), settings.kill_after.is_some()),
        ("dead-on", dead_on.map_or("none".to_owned(), words::codes), settings.dead_on.is_some()),
        ("priority", priority.to_string(), settings.priority.is_some()),
        ("keep", limit(keep), settings.keep.is_some()),
        ("keep-rows", rows(keep_rows), settings.keep_rows.is_some()),
        ("group-by", group_by.map_or("none".to_owned(), |rule| rule.as_str().to_owned()), settings.group_by.is_some()),
        ("on-dead", on_dead.map_or("none".to_owned(), |hook| hook.line.clone()), settings.on_dead.is_some()),
        ("on-dead-every", words::exact(on_dead_every), settings.on_dead_every.is_some()),
        ("keep-dead", limit(settings.keep_dead.flatten()), settings.keep_dead.is_some()),
        ("keep-dead-rows", rows(settings.keep_dead_rows.flatten()), settings.keep_dead_rows.is_some()),
        ("breaker", breaker, settings.breaker.is_some()),
        ("breaker-probe", words::exact(probe), settings.breaker_probe.is_some()),
    ]
}

/// The last `n` lines of a stderr, as a block that follows a job.
pub fn last_lines(stderr: &[u8], n: usize, look: &Look) -> String {
    let shown = |line: &String| format!("    | {}", waited::cut_line(line, look));
    let lines: Vec<String> = tail(stderr, n).iter().map(shown).collect();
    if lines.is_empty() { String::new() } else { format!("\n\n  the end of its stderr\n{}", lines.join("\n")) }
}

/// The last `n` lines of some output, safe to show; none where it is blank.
pub fn tail(output: &[u8], n: usize) -> Vec<String> {
    if output.trim_ascii().is_empty() {
        return Vec::new();
    }
    let lines: Vec<&[u8]> = output.trim_ascii_end().split(|&byte| byte == b'\n').collect();
    let last = &lines[lines.len().saturating_sub(n)..];
    last.iter().map(|line| text::safe(line.trim_ascii_end())).collect()
}
