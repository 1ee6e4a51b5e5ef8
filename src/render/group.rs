//! Groups of dead jobs: for people, for pipes and as JSON.

use serde_json::{Value, json};

use super::{Look, plain as lines, table as tables, text, words};
use crate::job::Group;

/// How its jobs ended: `exit 1`, `signal 9`, or nothing.
fn end(group: &Group) -> String {
    words::end_of(&group.cause)
}

/// The groups of `dlq groups`.
pub fn table(groups: &[Group], look: &Look) -> String {
    let rows = groups.iter().map(|group| {
        let ago = |at| format!("{} ago", words::age(look.now.since(at)));
        vec![
            group.name.to_string(),
            group.queue.to_string(),
            group.n.to_string(),
            group.reason.name().to_owned(),
            end(group),
            ago(group.first_at),
            ago(group.last_at),
            group.sample.map_or("-".to_owned(), |id| id.to_string()),
            text::safe(group.cause.text.as_bytes()),
        ]
    });
    let header = [
        ("GROUP", 0),
        ("QUEUE", 1),
        ("JOBS", 0),
        ("REASON", 3),
        ("END", 2),
        ("FIRST", 5),
        ("LAST", 4),
        ("SAMPLE", 6),
        ("CAUSE", 0),
    ];
    tables::fit(&header, rows.collect(), look)
}

/// The same for a pipe.
pub fn plain(groups: &[Group], look: &Look) -> String {
    lines::lines(groups.iter().map(|group| {
        vec![
            group.name.to_string(),
            group.queue.to_string(),
            group.n.to_string(),
            group.reason.name().to_owned(),
            end(group),
            words::local(group.first_at, look),
            words::local(group.last_at, look),
            group.sample.map_or(String::new(), |id| id.to_string()),
            group.cause.text.clone(),
        ]
    }))
}

/// A group as JSON.
pub fn json(group: &Group) -> Value {
    json!({
        "group": group.name.as_str(),
        "queue": group.queue.as_str(),
        "jobs": group.n,
        "reason": group.reason.name(),
        "exit_code": group.cause.exit_code,
        "signal": group.cause.signal,
        "cause": group.cause.text,
        "first_at": words::utc(group.first_at),
        "last_at": words::utc(group.last_at),
        "sample": group.sample.map(crate::job::JobId::get),
    })
}
