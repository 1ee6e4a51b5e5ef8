//! What a worker reports, for people: a line per event, and a block for each death under cron.

use super::{Look, text, waited, words};
use crate::job::{Event, Job, Reason, Report, StopReason, Verdict};

/// An event as one line; `None` for what is not worth one.
pub fn line(event: &Event<'_>, look: &Look) -> Option<String> {
    let time = words::clock(look.now, look);
    let line = match event {
        Event::Up { .. } => return None,
        Event::Started { job } => {
            let command = text::command(job.command.as_ref());
            let command = text::cut(&command, 100, look.has_unicode);
            // A handler's job may have none of its own.
            format!("{time}  {}  {}  {command}", head(job), attempt(job)).trim_end().to_owned()
        }
        Event::Ended { job, report, verdict, is_counted, .. } => {
            // Of the others the word for how they ended says so.
            let is_spared = !is_counted && report.outcome.is_counted();
            let counted = if is_spared { "; not counted" } else { "" };
            format!("{time}  {}  {}{counted}", head(job), ended(job, report, *verdict, look))
        }
        Event::Expired { job } => format!("{time}  {}  dead: not started in time", head(job)),
        Event::LeaseLost { job } => {
            format!("{time}  {}  lost to another worker; stopped, and nothing recorded", head(job))
        }
        Event::NothingToRun { job } => format!(
            "{time}  {}  has no command and this worker no handler; queue {} is left alone",
            head(job),
            job.queue
        ),
        Event::Breaker { news } => match &news.tripped {
            Some(tripped) => format!(
                "{time}  queue {}: breaker open: {}; one job is tried every {}",
                news.queue,
                words::tripped(tripped),
                words::exact(tripped.next_trial.since(tripped.since))
            ),
            None => format!("{time}  queue {}: breaker closed: the job that was tried succeeded", news.queue),
        },
        Event::Trouble { message, retry_in } => {
            format!("{time}  {}; trying again in {}", text::safe(message.as_bytes()), words::exact(*retry_in))
        }
        Event::Cramped { n_wanted, n_fitting, limit } => format!(
            "{time}  runs {n_fitting} jobs at the same time, not {n_wanted}: it may have only {limit} files open (ulimit -n)"
        ),
        Event::Stopping { reason, n_running } => format!("{time}  {}", stopping(*reason, *n_running)),
    };
    Some(line)
}

fn head(job: &Job) -> String {
    format!("{}  {}", job.id, job.queue)
}

fn attempt(job: &Job) -> String {
    format!("attempt {}/{}", job.attempt, job.max_attempts)
}

fn ended(job: &Job, report: &Report, verdict: Verdict, look: &Look) -> String {
    let took = words::length(report.ended_at.since(report.started_at));
    let how = how(report, look);
    match verdict {
        Verdict::Succeed => format!("succeeded in {took}"),
        Verdict::Retry { due } => {
            format!("{how} after {took}; next attempt in {}", words::length(due.since(report.ended_at)))
        }
        Verdict::HandBack => format!("{how} after {took}; back in the queue"),
        Verdict::Die { reason } => format!("{how} after {took}; {}", words::reason(reason, &after(job, report))),
        Verdict::Cancel => format!("cancelled after {took}"),
    }
}

/// The job as it stands after the attempt, for the words about its death.
fn after(job: &Job, report: &Report) -> Job {
    let last = crate::job::Ending {
        outcome: report.outcome,
        exit_code: report.exit_code,
        signal: report.signal,
        error: report.error.clone(),
    };
    let crashes = job.crashes + u32::from(report.outcome == crate::job::Outcome::Lost);
    Job { last: Some(last), crashes, ..job.clone() }
}

fn how(report: &Report, look: &Look) -> String {
    use crate::job::Outcome;
    let end = match (report.outcome, report.exit_code, report.signal) {
        (Outcome::Failed, Some(code), _) => format!("exit {code}"),
        (Outcome::Failed, None, Some(signal)) => format!("signal {signal}"),
        (Outcome::Timeout, ..) => "timed out".to_owned(),
        (Outcome::Released, ..) => "stopped".to_owned(),
        (Outcome::Lost, ..) => "its worker died".to_owned(),
        (outcome, ..) => outcome.name().to_owned(),
    };
    match report.error.as_deref() {
        Some(error) if matches!(report.outcome, Outcome::Failed | Outcome::Buried) && error != end => {
            format!("{end} ({})", text::cut(&text::safe(error.as_bytes()), 80, look.has_unicode))
        }
        Some(_) | None => end,
    }
}

fn stopping(reason: StopReason, n_running: usize) -> String {
    let jobs = words::count(n_running, "running job");
    match reason {
        StopReason::Signal if n_running == 0 => "stopping".to_owned(),
        StopReason::Signal => format!("finishing {jobs}; a second signal hands back, a third kills"),
        StopReason::SignalTwice => format!("stopping {jobs} and handing back; another signal kills"),
        StopReason::SignalThrice => format!("killing {jobs}"),
    }
}

/// What `work --cron` prints for a job that died: what cron puts into its mail.
#[derive(Debug)]
pub struct Obituary<'a> {
    /// The job, as it was claimed.
    pub job: &'a Job,
    /// Why.
    pub reason: Reason,
    /// Its last attempt; `None`: it had none.
    pub report: Option<&'a Report>,
    /// The last lines of its stderr.
    pub last_words: &'a [u8],
    /// The name of the machine.
    pub host: &'a str,
    /// The path of the queue file.
    pub db: &'a str,
}

/// An obituary as a block of lines, the last one blank.
pub fn obituary(of: &Obituary<'_>, look: &Look) -> String {
    let Obituary { job, reason, report, last_words, host, db } = *of;
    let after = report.map_or_else(|| job.clone(), |report| after(job, report));
    let why = words::reason(reason, &after);
    let end = if report.is_some() { super::table::error(&after) } else { String::new() };
    let mut lines = vec![
        format!("qctl: job {} died on {} (queue {})", job.id, text::safe(host.as_bytes()), job.queue),
        String::new(),
        format!("  {}", text::command(job.command.as_ref())),
        format!("  {why}"),
    ];
    if !end.is_empty() {
        lines.push(format!("  {end}"));
    }
    if !last_words.is_empty() {
        lines.push("  last lines:".to_owned());
        let shown = |line| format!("    | {}", waited::cut_line(&text::safe(line), look));
        lines.extend(last_words.split(|&byte| byte == b'\n').map(shown));
    }
    lines.push(String::new());
    lines.push(format!("  qctl --db {db} logs {}", job.id));
    lines.push(format!("  qctl --db {db} dlq requeue {}", job.id));
    lines.push(String::new());
    lines.join("\n")
}
