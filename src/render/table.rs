//! For people: a header, one line a record, fitted to the terminal; the last column gives way.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::field::Field;
use super::{Finding, Look, Worker, bars, text, words};
use crate::job::{Job, LogRetention, Pace, Queue, StateKind, Step, StepState, Subscription, Topic, TopicTally};

/// The narrowest a last column gets while another can give way.
const MIN_LAST: usize = 16;

/// The jobs of `list`.
pub fn jobs(jobs: &[Job], look: &Look) -> String {
    let rows = jobs.iter().map(|job| {
        vec![
            job.id.to_string(),
            job.queue.to_string(),
            words::state(&job.state, look.now),
            format!("{}/{}", job.attempt, job.max_attempts),
            words::age(look.now.since(job.created_at)),
            text::command(job.command.as_ref()),
        ]
    });
    let text =
        fit(&[("ID", 0), ("QUEUE", 1), ("STATE", 0), ("TRY", 2), ("AGE", 3), ("COMMAND", 0)], rows.collect(), look);
    paint(&text, jobs.iter().map(|job| job.state.kind()), look)
}

/// The jobs of `dlq list`.
pub fn dead(jobs: &[Job], look: &Look) -> String {
    let rows = jobs.iter().map(|job| {
        let died = job.state.finished_at().map(|at| format!("{} ago", words::age(look.now.since(at))));
        vec![
            job.id.to_string(),
            job.queue.to_string(),
            died.unwrap_or_default(),
            format!("{}/{}", job.attempt, job.max_attempts),
            super::json::reason(job).unwrap_or_default().to_owned(),
            job.group.as_ref().map(ToString::to_string).unwrap_or_default(),
            text::cut(&error(job), 48, look.has_unicode),
            text::command(job.command.as_ref()),
        ]
    });
    let header = [
        ("ID", 0),
        ("QUEUE", 3),
        ("DIED", 4),
        ("TRY", 6),
        ("REASON", 5),
        ("GROUP", 2),
        ("LAST ERROR", 0),
        ("COMMAND", 1),
    ];
    fit(&header, rows.collect(), look)
}

/// How a job's last attempt ended: `exit 111: connect: Connection refused`.
pub fn error(job: &Job) -> String {
    let end = words::end(job);
    match job.last.as_ref().and_then(|last| last.error.as_deref()) {
        Some(error) if error != end => format!("{end}: {}", text::safe(error.as_bytes())),
        Some(_) | None => end,
    }
}

/// The queues of `queue list`.
pub fn queues(queues: &[Queue], look: &Look) -> String {
    use StateKind::{Cancelled, Dead, Ready, Retrying, Running, Scheduled, Succeeded};
    let rows = queues.iter().map(|queue| {
        let mut row = vec![name(queue)];
        let states = [Ready, Scheduled, Retrying, Running, Succeeded, Dead, Cancelled];
        row.extend(states.map(|state| queue.tally.get(state).to_string()));
        row.push(queue.oldest_ready.map_or("-".to_owned(), |since| words::age(look.now.since(since))));
        row.push(queue.n_workers.to_string());
        row
    });
    let header = [
        ("QUEUE", 0),
        ("READY", 0),
        ("SCHEDULED", 5),
        ("RETRYING", 3),
        ("RUNNING", 0),
        ("SUCCEEDED", 4),
        ("DEAD", 0),
        ("CANCELLED", 7),
        ("OLDEST", 2),
        ("WORKERS", 0),
    ];
    fit(&header, rows.collect(), look)
}

/// The queues of `stats`, with what went on lately; `course` is how many attempts ended from one
/// stretch of time to the next.
pub fn stats(queues: &[(Queue, Option<Pace>, Vec<u64>)], look: &Look) -> String {
    use StateKind::{Blocked, Dead, Ready, Retrying, Running, Scheduled};
    let rows = queues.iter().map(|(queue, pace, course)| {
        let n = |state| queue.tally.get(state);
        let (succeeded, failed) = super::ended(pace.as_ref());
        let failure_rate = match u128::from(succeeded) + u128::from(failed) {
            0 => "-".to_owned(),
            n => format!("{}%", (u128::from(failed) * 100 + n / 2) / n),
        };
        let length = |length: Option<std::time::Duration>| length.map_or("-".to_owned(), words::length);
        let [run, wait] = super::percentiles(pace.as_ref()).map(|lengths| lengths.map(length));
        let mut row = vec![name(queue), n(Ready).saturating_add(n(Blocked)).to_string(), n(Running).to_string()];
        row.extend([n(Scheduled), n(Retrying), n(Dead)].map(|n| n.to_string()));
        row.extend([succeeded.to_string(), failure_rate]);
        row.extend(run);
        row.extend(wait);
        row.push(bars::sparkline(course, look));
        row
    });
    let header = [
        ("QUEUE", 0),
        ("WAITING", 0),
        ("RUNNING", 0),
        ("SCHEDULED", 5),
        ("RETRYING", 6),
        ("DEAD", 0),
        ("DONE", 0),
        ("FAILED", 1),
        ("RUN P50", 2),
        ("P95", 4),
        ("P99", 7),
        ("WAIT P50", 3),
        ("P95", 8),
        ("P99", 9),
        ("COURSE", 0),
    ];
    fit(&header, rows.collect(), look)
}

fn name(queue: &Queue) -> String {
    match words::stop(queue) {
        Some(stop) => format!("{} ({stop})", queue.name),
        None => queue.name.to_string(),
    }
}

/// The workers of `workers`.
pub fn workers(workers: &[Worker], look: &Look) -> String {
    let rows = workers.iter().map(|worker| {
        let jobs = words::ids(&worker.running);
        vec![
            worker.id.clone(),
            text::safe(worker.host.as_bytes()),
            worker.pid.to_string(),
            worker.queues.clone(),
            format!("{}/{}", worker.running.len(), worker.n_slots),
            words::age(look.now.since(worker.since)),
            format!("{} ago", words::age(look.now.since(worker.heartbeat_at))),
            if jobs.is_empty() { "-".to_owned() } else { jobs },
        ]
    });
    let header = [
        ("WORKER", 0),
        ("HOST", 4),
        ("PID", 2),
        ("QUEUES", 0),
        ("BUSY", 0),
        ("UP", 3),
        ("HEARTBEAT", 1),
        ("RUNNING", 0),
    ];
    fit(&header, rows.collect(), look)
}

/// The subscriptions of `subscription list` and `topic test`.
pub fn subscriptions(subscriptions: &[Subscription], look: &Look) -> String {
    let rows = subscriptions.iter().map(|one| {
        vec![
            if one.paused_at.is_some() { format!("{} (paused)", one.name) } else { one.name.to_string() },
            text::safe(one.pattern.as_str().as_bytes()),
            one.queue.to_string(),
            one.lag.to_string(),
            text::command(one.command.as_ref()),
        ]
    });
    let header = [("NAME", 0), ("PATTERN", 0), ("QUEUE", 1), ("LAG", 0), ("COMMAND", 2)];
    fit(&header, rows.collect(), look)
}

/// The topics of `topic list`.
pub fn topics(topics: &[TopicTally], look: &Look) -> String {
    let rows = topics.iter().map(|topic| {
        vec![
            text::safe(topic.name.as_bytes()),
            topic.events.to_string(),
            words::bytes(topic.bytes),
            topic.last_at.map_or("-".to_owned(), |at| format!("{} ago", words::age(look.now.since(at)))),
            topic_kept(topic, topics),
        ]
    });
    let header = [("TOPIC", 0), ("EVENTS", 0), ("BYTES", 2), ("LAST", 1), ("KEPT", 0)];
    fit(&header, rows.collect(), look)
}

/// What holds for a topic; of a pattern, what was set for it.
fn topic_kept(of: &TopicTally, topics: &[TopicTally]) -> String {
    let Ok(topic) = Topic::new(&of.name) else { return words::log_retention(of.keep) };
    let set = LogRetention::set_for(&topic, topics);
    if set == LogRetention::default() {
        return format!("{} (default)", words::exact(LogRetention::KEEP));
    }
    // Of a limit that nobody set there is nothing to say.
    words::log_retention(LogRetention { keep: set.keep.or(LogRetention::DEFAULT.keep), ..set })
}

/// The steps of `step list`.
pub fn steps(steps: &[Step], look: &Look) -> String {
    let rows = steps.iter().map(|step| {
        let end = match step.state {
            StepState::Recorded { bytes: 0 } => "printed nothing".to_owned(),
            StepState::Recorded { bytes } => format!("printed {}", words::bytes(bytes)),
            StepState::Failed { exit_code: Some(code) } => format!("exit {code}"),
            StepState::Failed { exit_code: None } => "died of a signal".to_owned(),
            StepState::Sleeping { until } => format!("until {}", words::local(until, look)),
            StepState::Uncertain => "it may or may not have happened".to_owned(),
            StepState::Running => String::new(),
        };
        vec![
            text::safe(step.path.to_string().as_bytes()),
            step.state.name().to_owned(),
            step.token.to_string(),
            words::local(step.started_at, look),
            step.ended_at.map_or("-".to_owned(), |at| words::length(at.since(step.started_at))),
            end,
        ]
    });
    let header = [("STEP", 0), ("STATE", 0), ("ATTEMPT", 3), ("BEGUN", 2), ("TOOK", 1), ("END", 0)];
    fit(&header, rows.collect(), look)
}

/// Findings, each with what would change it.
pub fn findings(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| {
        let message = text::safe(finding.message.as_bytes());
        match finding.hint.as_str() {
            "" => message,
            hint => format!("{message}\n    {}", text::safe(hint.as_bytes())),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// These fields of each job, as `list -F` has it.
pub fn fields(jobs: &[Job], fields: &[Field], look: &Look) -> String {
    let names: Vec<String> = fields.iter().map(|field| field.name().to_uppercase()).collect();
    let header: Vec<(&str, u8)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    let rows = jobs.iter().map(|job| fields.iter().map(|field| field.text(job, look)).collect());
    fit(&header, rows.collect(), look)
}

/// A name and a value on each line.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let widest = pairs.iter().map(|(name, _)| text::width(name)).max().unwrap_or(0);
    let lines: Vec<String> = pairs.iter().map(|(name, value)| format!("{name:<widest$}  {value}")).collect();
    lines.join("\n")
}

/// A table of these rows under a header of names, each with the turn in which its column gives way
/// where there is no room: the highest first, those of turn 0 never.
///
/// Cells are one line each. The last is cut to what room there is, because left to itself the library
/// would wrap it; it keeps [`MIN_LAST`] columns as long as another can give way.
pub(super) fn fit(header: &[(&str, u8)], mut rows: Vec<Vec<String>>, look: &Look) -> String {
    if !look.has_unicode {
        rows.iter_mut().flatten().for_each(|cell| *cell = text::ascii(cell));
    }
    let last = header.len() - 1;
    let widths: Vec<usize> = (0..=last)
        .map(|n| rows.iter().map(|row| text::width(&row[n])).chain([text::width(header[n].0)]).max().unwrap_or(0))
        .collect();
    let kept = kept(header, &widths, look.width);
    let taken: usize = kept.iter().filter(|&&n| n != last).map(|&n| widths[n] + 2).sum();
    let room = look.width.saturating_sub(taken).max(MIN_LAST.min(look.width));
    let cell = |n: usize, text: &str| if n == last { text::cut(text, room, look.has_unicode) } else { text.to_owned() };
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(kept.iter().map(|&n| cell(n, header[n].0)));
    table.add_rows(rows.iter().map(|row| kept.iter().map(|&n| cell(n, &row[n])).collect::<Vec<_>>()));
    for (place, &n) in kept.iter().enumerate() {
        let column = table.column_mut(place).expect("every column has a header");
        column.set_padding((0, if n == last { 0 } else { 2 }));
        if header[n].0 == "ID" {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // Where even that is too wide, the lines are cut: a terminal would wrap them.
    let lines = table.lines().map(|line| text::cut(line.trim_end(), look.width, look.has_unicode));
    lines.collect::<Vec<_>>().join("\n")
}

/// Which columns there is room for.
fn kept(header: &[(&str, u8)], widths: &[usize], room: usize) -> Vec<usize> {
    let last = header.len() - 1;
    let mut kept: Vec<usize> = (0..header.len()).collect();
    loop {
        let needed =
            kept.iter().map(|&n| if n == last { widths[n].min(MIN_LAST) } else { widths[n] + 2 }).sum::<usize>();
        let next = kept.iter().copied().filter(|&n| header[n].1 > 0).max_by_key(|&n| header[n].1);
        match next {
            Some(next) if needed > room => kept.retain(|&n| n != next),
            Some(_) | None => return kept,
        }
    }
}

/// Paints the header, and the state in each line. The words stay: colour alone says nothing.
fn paint(text: &str, states: impl Iterator<Item = StateKind>, look: &Look) -> String {
    if !look.has_color {
        return text.to_owned();
    }
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let at = header.find("STATE").unwrap_or(0);
    let bold = anstyle::Style::new().bold();
    let mut painted = vec![format!("{bold}{header}{bold:#}")];
    for (line, state) in lines.zip(states) {
        let (before, rest) = line.split_at_checked(at).unwrap_or((line, ""));
        let after = rest.strip_prefix(state.name()).unwrap_or(rest);
        let style = style(state);
        let name = if after.len() == rest.len() { "" } else { state.name() };
        painted.push(format!("{before}{style}{name}{style:#}{after}"));
    }
    painted.join("\n")
}

fn style(state: StateKind) -> anstyle::Style {
    use anstyle::AnsiColor::{Cyan, Green, Red, Yellow};
    match state {
        StateKind::Running => Cyan.on_default(),
        StateKind::Retrying => Yellow.on_default(),
        StateKind::Succeeded => Green.on_default(),
        StateKind::Dead => Red.on_default().bold(),
        StateKind::Cancelled => anstyle::Style::new().dimmed(),
        StateKind::Blocked | StateKind::Scheduled | StateKind::Ready => anstyle::Style::new(),
    }
}
