//! Values to text: for people, for scripts, for programs.
//!
//! Pure: no stream, no store, no environment, and the present time comes in. The public JSON is
//! written here by hand, key by key, because it is a promise; deriving it from the vocabulary would
//! turn every renaming into a breach.

pub mod bars;
pub mod detail;
pub mod event;
pub mod excess;
pub mod field;
pub mod github;
pub mod group;
pub mod json;
pub mod junit;
pub mod letter;
pub mod plain;
pub mod progress;
pub mod push;
pub mod table;
pub mod task;
pub mod text;
pub mod topic;
pub mod unit;
pub mod waited;
pub mod why;
pub mod words;

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::clock::Timestamp;
use crate::job::{JobId, Pace};

/// How things should look.
#[derive(Clone, Debug)]
pub struct Look {
    /// Columns of the terminal; without end where there is none, so that nothing is cut.
    pub width: usize,
    /// Whether to paint.
    pub has_color: bool,
    /// Whether the terminal shows more than ASCII.
    pub has_unicode: bool,
    /// The present time, for ages.
    pub now: Timestamp,
    /// Gives the zone that local times are told in. Asked only when one is told: finding out reads
    /// the whole tree of zones, which took half of the system calls of a push.
    pub zone: fn() -> TimeZone,
}

/// Something that is so and could be otherwise: why a job does not run, or what is wrong with a
/// queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A word for programs.
    pub code: &'static str,
    /// What is so, without a full stop.
    pub message: String,
    /// What would change it; mostly a command. Empty where nothing need be done.
    pub hint: String,
}

impl Finding {
    /// A finding.
    pub fn new(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }
}

/// A worker as it is shown.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its name.
    pub id: String,
    /// Its machine.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// Its queues, parted by commas; `*`: every one.
    pub queues: String,
    /// How many jobs it runs at the same time.
    pub n_slots: usize,
    /// Those that it runs.
    pub running: Vec<JobId>,
    /// Since when it works.
    pub since: Timestamp,
    /// When it was last heard of.
    pub heartbeat_at: Timestamp,
}

/// How many attempts succeeded and failed.
fn ended(pace: Option<&Pace>) -> (u64, u64) {
    pace.map_or((0, 0), |pace| (pace.succeeded.count(), pace.failed.count()))
}

/// The 50th, 95th and 99th percentile of how long attempts ran, and of how long they waited.
fn percentiles(pace: Option<&Pace>) -> [[Option<Duration>; 3]; 2] {
    let of = |histogram: &crate::job::Histogram| [50, 95, 99].map(|percent| histogram.percentile(percent));
    pace.map_or([[None; 3]; 2], |pace| [of(&pace.run()), of(&pace.wait)])
}
