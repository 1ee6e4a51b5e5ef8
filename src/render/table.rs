//! For people: a header, one line a record, fitted to the terminal; the last column gives way.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{Look, text, words};
use crate::job::{Job, Queue, StateKind};

/// The narrowest a last column gets; narrower it would say nothing.
const MIN_LAST: usize = 8;

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
    let text = fit(&["ID", "QUEUE", "STATE", "TRY", "AGE", "COMMAND"], rows.collect(), look);
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
            text::cut(&error(job), 48, look.has_unicode),
            text::command(job.command.as_ref()),
        ]
    });
    fit(&["ID", "QUEUE", "DIED", "TRY", "REASON", "LAST ERROR", "COMMAND"], rows.collect(), look)
}

/// How a job's last attempt ended: `exit 111: connect: Connection refused`.
pub fn error(job: &Job) -> String {
    let end = words::end(job);
    match job.last.as_ref().and_then(|last| last.error.as_deref()) {
        Some(error) if error != end => format!("{end}: {}", text::safe(error.as_bytes())),
        Some(_) | None => end,
    }
}

/// The queues of `queue list` and `stats`.
pub fn queues(queues: &[Queue], look: &Look) -> String {
    use StateKind::{Cancelled, Dead, Ready, Retrying, Running, Scheduled, Succeeded};
    let rows = queues.iter().map(|queue| {
        let name = queue.name.to_string();
        let mut row = vec![if queue.paused_at.is_some() { format!("{name} (paused)") } else { name }];
        let states = [Ready, Scheduled, Retrying, Running, Succeeded, Dead, Cancelled];
        row.extend(states.map(|state| queue.tally.get(state).to_string()));
        row.push(queue.oldest_ready.map_or("-".to_owned(), |since| words::age(look.now.since(since))));
        row.push(queue.n_workers.to_string());
        row
    });
    let header =
        ["QUEUE", "READY", "SCHEDULED", "RETRYING", "RUNNING", "SUCCEEDED", "DEAD", "CANCELLED", "OLDEST", "WORKERS"];
    fit(&header, rows.collect(), look)
}

/// A name and a value on each line.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let widest = pairs.iter().map(|(name, _)| text::width(name)).max().unwrap_or(0);
    let lines: Vec<String> = pairs.iter().map(|(name, value)| format!("{name:<widest$}  {value}")).collect();
    lines.join("\n")
}

/// A table of these rows. Cells are one line each; the last is cut to what room there is, because
/// left to itself the library would wrap it.
pub(super) fn fit(header: &[&str], mut rows: Vec<Vec<String>>, look: &Look) -> String {
    let last = header.len() - 1;
    let column =
        |n: usize| rows.iter().map(|row| text::width(&row[n])).chain([text::width(header[n])]).max().unwrap_or(0);
    let taken: usize = (0..last).map(|n| column(n) + 2).sum();
    let room = look.width.saturating_sub(taken).max(MIN_LAST);
    for row in &mut rows {
        row[last] = text::cut(&row[last], room, look.has_unicode);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table.add_rows(rows);
    for (n, name) in header.iter().enumerate() {
        let column = table.column_mut(n).expect("every column has a header");
        column.set_padding((0, if n == last { 0 } else { 2 }));
        if *name == "ID" {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
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
