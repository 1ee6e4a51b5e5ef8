//! The fields of a job, each by its name: what `list -F` chooses from, and the columns of plain
//! output.

use serde_json::Value;

use super::{Look, json, text, words};
use crate::job::Job;

/// A field of a job; its name is its key in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field(&'static str);

/// Every field, in the order of the JSON.
const NAMES: [&str; 29] = [
    "id",
    "queue",
    "state",
    "reason",
    "group",
    "command",
    "argv",
    "shell",
    "payload_bytes",
    "key",
    "priority",
    "attempt",
    "max_attempts",
    "crashes",
    "snoozes",
    "labels",
    "created_at",
    "run_at",
    "started_at",
    "finished_at",
    "exit_code",
    "signal",
    "error",
    "progress",
    "worker",
    "topic",
    "event_id",
    "subscription",
    "expires_at",
];

impl Field {
    /// The columns of `list` in a pipe.
    pub const PLAIN: [Self; 7] = [
        Self("id"),
        Self("queue"),
        Self("state"),
        Self("attempt"),
        Self("max_attempts"),
        Self("created_at"),
        Self("command"),
    ];

    /// The field of this name.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.into_iter().find(|known| *known == name).map(Self)
    }

    /// Every name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.into_iter()
    }

    /// The name.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// The field as it stands in a document.
    pub fn json(self, job: &Job) -> Value {
        match self.0 {
            "expires_at" => job.expires_at.map(words::utc).into(),
            name => json::job(job)[name].take(),
        }
    }

    /// The field as text, safe to show: times are local, what is absent is empty.
    pub fn text(self, job: &Job, look: &Look) -> String {
        match self.0 {
            "id" => job.id.to_string(),
            "queue" => job.queue.to_string(),
            "state" => job.state.kind().name().to_owned(),
            "attempt" => job.attempt.to_string(),
            "max_attempts" => job.max_attempts.to_string(),
            "command" => text::command(job.command.as_ref()),
            "created_at" => words::local(job.created_at, look),
            "run_at" => words::local(job.run_at, look),
            "started_at" => job.started_at.map(|at| words::local(at, look)).unwrap_or_default(),
            "finished_at" => job.state.finished_at().map(|at| words::local(at, look)).unwrap_or_default(),
            "expires_at" => job.expires_at.map(|at| words::local(at, look)).unwrap_or_default(),
            "progress" => job.progress.as_ref().map(words::progress).unwrap_or_default(),
            "labels" => words::labels(&job.labels),
            name => match json::job(job)[name].take() {
                Value::Null => String::new(),
                Value::String(value) => text::safe(value.as_bytes()),
                value => text::safe(value.to_string().as_bytes()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_name_and_every_plain_column_is_one() {
        assert!(Field::names().all(|name| Field::named(name).is_some_and(|field| field.name() == name)));
        assert!(Field::PLAIN.iter().all(|field| Field::named(field.name()) == Some(*field)));
        assert_eq!(Field::named("no_such"), None);
    }
}
