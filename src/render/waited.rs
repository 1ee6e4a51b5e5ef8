//! What became of jobs that were waited for, as the list at the end tells it.

use std::time::Duration;

use super::{Look, table, text};
use crate::job::{Job, JobId, StateKind};

/// What became of a job when the waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It succeeded.
    Succeeded,
    /// It died, was cancelled or was deleted.
    Failed,
    /// It was not done with.
    Pending,
}

/// A job that was waited for.
#[derive(Clone, Debug)]
pub struct Waited {
    /// Its number.
    pub id: JobId,
    /// What became of it.
    pub fate: Fate,
    /// The job; `None`: it was deleted.
    pub job: Option<Job>,
    /// How long its last attempt took.
    pub took: Duration,
    /// The last lines of its stderr, safe to show.
    pub tail: Vec<String>,
}

/// How many of the jobs came to which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Succeeded.
    pub n_succeeded: usize,
    /// Died, were cancelled or deleted.
    pub n_failed: usize,
    /// Were not done with.
    pub n_pending: usize,
}

/// The longest that a line of output is shown, in characters. A program that writes no line ends
/// would otherwise fill the screen, and the summary of a run in CI, which may not pass 1 MiB.
const MAX_LINE: usize = 500;

/// The longest that a command is shown where it only helps to recognize the job.
const MAX_COMMAND: usize = 60;

impl Waited {
    /// Where the job stands: `dead`, `cancelled`, `deleted`.
    pub fn state(&self) -> &'static str {
        self.job.as_ref().map_or("deleted", |job| job.state.kind().name())
    }

    /// What happened to it: `exit 3: why`.
    pub fn error(&self) -> String {
        self.job.as_ref().map_or_else(|| "deleted while it was waited for".to_owned(), table::error)
    }

    /// Its command, whole; empty where there is none.
    pub fn command(&self) -> String {
        self.job.as_ref().map(|job| text::command(job.command.as_ref())).unwrap_or_default()
    }

    /// As much of its command as it takes to recognize it.
    pub fn short_command(&self, look: &Look) -> String {
        text::cut(&self.command(), MAX_COMMAND, look.has_unicode)
    }

    /// `job 7 dead: exit 3: why (./send.sh 8841)`
    pub fn headline(&self, look: &Look) -> String {
        let (state, error) = (self.state(), self.error());
        // Not `cancelled: cancelled`.
        let mut line = format!("job {} {state}", self.id);
        match error.strip_prefix(state) {
            Some(rest) => line.push_str(rest),
            None => line.push_str(&format!(": {error}")),
        }
        let command = self.short_command(look);
        if command.is_empty() { line } else { format!("{line} ({command})") }
    }
}

/// A line of output, cut where it is very long.
pub fn cut_line(line: &str, look: &Look) -> String {
    match line.char_indices().nth(MAX_LINE) {
        Some((at, _)) => format!("{}{}", &line[..at], if look.has_unicode { "…" } else { "..." }),
        None => line.to_owned(),
    }
}

/// Those that did not succeed, each with the last lines of its stderr, and how many more there are.
pub fn list(failed: &[Waited], n_more: usize, more: &str, look: &Look) -> Vec<String> {
    let mut lines = Vec::new();
    for waited in failed {
        lines.push(waited.headline(look));
        // The bar keeps a line from passing for one of qctl's own, or for a command to a CI service.
        lines.extend(waited.tail.iter().map(|line| format!("    | {line}")));
    }
    if n_more > 0 {
        lines.push(format!("and {n_more} more: {more}"));
    }
    lines
}

impl From<StateKind> for Fate {
    fn from(state: StateKind) -> Self {
        match state {
            StateKind::Succeeded => Self::Succeeded,
            StateKind::Dead | StateKind::Cancelled => Self::Failed,
            StateKind::Blocked | StateKind::Scheduled | StateKind::Ready | StateKind::Running | StateKind::Retrying => {
                Self::Pending
            }
        }
    }
}
