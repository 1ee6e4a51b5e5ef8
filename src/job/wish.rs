//! What a running attempt says of itself: what is to be done with the job when it ends, and how far
//! along it is.

use std::time::Duration;

use super::attempt::{Outcome, Report, Verdict};
use super::group::GroupName;
use super::step::StepPath;
use crate::clock::Timestamp;

/// What an attempt asks for when it ends. Of several the last counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To be run again this long after its end, without being counted.
    Snooze(Duration),
    /// Not to be run again: it will never succeed.
    Bury {
        /// What is to be told of it.
        message: Option<String>,
        /// The group of dead jobs that it is to be in.
        group: Option<GroupName>,
    },
    /// That, if it fails, the next attempt comes this long after its end.
    RetryAfter(Duration),
    /// To be run again at this time, without being counted: it came to a step that lets time pass.
    Sleep(Timestamp),
    /// Not to be run again: this step of it may or may not have happened.
    Doubt(StepPath),
}

impl Wish {
    /// The word for it, the same everywhere.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Snooze(_) => "snooze",
            Self::Bury { .. } => "bury",
            Self::RetryAfter(_) => "retry_after",
            Self::Sleep(_) => "sleep",
            Self::Doubt(_) => "doubt",
        }
    }
}

/// How far along an attempt says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// What it does.
    pub message: Option<String>,
}

/// The longest message that is kept, in bytes: one line of it is shown in lists.
const MAX_MESSAGE: usize = 1000;

/// A message as it is kept; `None` where it says nothing.
pub fn message(text: &[u8]) -> Option<String> {
    let kept = &text[..text.len().min(MAX_MESSAGE)];
    (!kept.is_empty()).then(|| String::from_utf8_lossy(kept).into_owned())
}

/// What becomes of an attempt whose wish is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Where the job goes.
    pub verdict: Verdict,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// What is told of its end.
    pub error: Option<String>,
    /// The group of dead jobs that it named itself.
    pub group: Option<GroupName>,
}

/// The rule by which a wish is granted, given with a settlement: `None` where it does not count. Whoever
/// records the settlement learns of the wish only then, and applies the rule of whoever made it.
pub type Heed = fn(&Wish, Verdict, &Report) -> Option<Granted>;

/// The rule where no attempt that could wish for anything came to its end.
pub fn unheeded(_: &Wish, _: Verdict, _: &Report) -> Option<Granted> {
    None
}
