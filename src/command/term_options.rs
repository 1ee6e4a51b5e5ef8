//! The options by which jobs say what their queue would else say for them.

use std::time::Duration;

use super::value::{self, Codes, Limit};
use crate::job::{Backoff, Jitter, QueueSettings};

/// What a queue may set, too.
#[derive(clap::Args, Debug)]
pub(super) struct TermOptions {
    /// -100 to 100, higher first [default: the queue's, else 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-100..=100))]
    priority: Option<i32>,
    /// How often it is tried, 1 to 1000 [default: the queue's, else 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) max_attempts: Option<u32>,
    /// Pause between attempts: exp:BASE..CAP, fixed:D, list:D,D,… [default: the queue's, else exp:10s..1h]
    #[arg(long, value_name = "P", value_parser = value::backoff)]
    backoff: Option<Backoff>,
    /// Share of each pause drawn at random: none, half, full [default: the queue's, else half]
    #[arg(long, value_name = "J", value_parser = value::jitter)]
    jitter: Option<Jitter>,
    /// Exit statuses that are final, such as 65,100-110
    #[arg(long, value_name = "CODES", value_parser = value::codes)]
    dead_on: Option<Codes>,
    /// How long each attempt may take [default: the queue's, else none]
    #[arg(long, value_name = "D|none", value_parser = value::positive_or_none)]
    timeout: Option<Limit>,
    /// From TERM to KILL, when an attempt is stopped [default: the queue's, else 10s]
    #[arg(long, value_name = "D", value_parser = value::duration)]
    kill_after: Option<Duration>,
}

impl TermOptions {
    /// What they say.
    pub(super) fn settings(self) -> QueueSettings {
        QueueSettings {
            priority: self.priority,
            max_attempts: self.max_attempts,
            backoff: self.backoff,
            jitter: self.jitter,
            dead_on: self.dead_on.map(|Codes(codes)| codes),
            timeout: self.timeout.map(|Limit(timeout)| timeout),
            kill_after: self.kill_after,
            ..QueueSettings::default()
        }
    }
}
