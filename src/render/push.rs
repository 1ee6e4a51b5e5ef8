//! What a push came to: in words and for programs.

use serde_json::{Value, json};

use super::{Look, words};
use crate::clock::Timestamp;
use crate::job::{Job, JobId, QueueName, State, StateKind};

/// What a push came to.
#[derive(Clone, Debug)]
pub struct Push<'a> {
    /// The job: the new one, or the one that holds the key.
    pub id: JobId,
    /// Its queue.
    pub queue: &'a QueueName,
    /// `created`, `existing` or `replaced`.
    pub outcome: &'static str,
    /// Where it stands.
    pub state: StateKind,
    /// When it is due, if it waits for that.
    pub due: Option<Timestamp>,
    /// Its key.
    pub key: Option<&'a str>,
    /// Until when it holds that even if it ends before.
    pub held_until: Option<Timestamp>,
    /// The job that had the key, as the push found it.
    pub met: Option<&'a Job>,
    /// In what that differs from what was pushed: `command`, `payload`.
    pub differs: &'a [&'static str],
}

impl Push<'_> {
    /// The document of `push --json`.
    pub fn document(&self) -> Value {
        let reason = match self.met.map(|job| &job.state) {
            Some(State::Dead { reason, .. }) => Some(reason.name()),
            Some(_) | None => None,
        };
        json!({
            "v": 1,
            "id": self.id.get(),
            "queue": self.queue.as_str(),
            "outcome": self.outcome,
            "state": self.state.name(),
            "reason": reason,
            "due": self.due.map(words::utc),
            "key": self.key,
            "key_until": self.held_until.map(words::utc),
            "differs": self.differs,
        })
    }
}

/// Where a job stands that has the key of a push, and why: `dead: exhausted, 3m ago`.
pub fn standing(job: &Job, look: &Look) -> String {
    let name = job.state.kind().name();
    let ago = |at: Timestamp| format!("{} ago", words::age(look.now.since(at)));
    match &job.state {
        State::Blocked => name.to_owned(),
        State::Ready { .. } => format!("{name}, waiting for a worker"),
        State::Scheduled { due } => format!("{name}, not before {}", words::local(*due, look)),
        State::Retrying { due } => format!("{name}, waiting for its backoff until {}", words::local(*due, look)),
        State::Running { cancel_requested: true, .. } => format!("{name}, being cancelled"),
        State::Running { since, cancel_requested: false, .. } => {
            let (attempt, most) = (job.attempt, job.max_attempts);
            format!("{name} for {}, attempt {attempt} of {most}", words::age(look.now.since(*since)))
        }
        State::Succeeded { at } | State::Cancelled { at } => format!("{name} {}", ago(*at)),
        State::Dead { at, reason } => format!("{name}: {}, {}", reason.name(), ago(*at)),
    }
}

/// In what a job differs: `another command and another payload`.
pub fn difference(differs: &[&'static str]) -> String {
    differs.iter().map(|what| format!("another {what}")).collect::<Vec<_>>().join(" and ")
}
