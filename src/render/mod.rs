//! Values to text: for people, for scripts, for programs.
//!
//! Pure: no stream, no store, no environment, and the present time comes in. The public JSON is
//! written here by hand, key by key, because it is a promise; deriving it from the vocabulary would
//! turn every renaming into a breach.

pub mod detail;
pub mod event;
pub mod json;
pub mod plain;
pub mod table;
pub mod text;
pub mod words;

use jiff::tz::TimeZone;

use crate::clock::Timestamp;

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
