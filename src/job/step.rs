//! A recorded step: a part of a job that is done once, however often the job is run.

use std::fmt;

use super::id::Token;
use crate::clock::Timestamp;

/// Which step of a job: its name, behind the names of the steps that it is inside of, parted by `/`.
/// The second of one name is `name#2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepPath {
    /// Without the number of the last name.
    name: String,
    /// 1 for the first.
    occurrence: u32,
}

/// A step name that cannot be one.
#[derive(Debug, thiserror::Error)]
pub enum BadStep {
    /// It is empty or too long.
    #[error("a step name has 1 to {MAX_NAME} bytes")]
    Length,
    /// It has a slash.
    #[error("a step name has no `/`, which stands between a step and one inside it")]
    Slash,
    /// It has a character that is not shown.
    #[error("a step name has no control characters")]
    Control,
    /// It looks like the number of a repeated step.
    #[error("a step name does not end in `#` and a number, which `--repeat` gives")]
    Number,
    /// The steps are too deep inside each other.
    #[error("a step's name, with those that it is inside of, has at most {MAX_PATH} bytes")]
    Depth,
}

/// The longest name of a step, in bytes.
const MAX_NAME: usize = 200;

/// The longest path, in bytes: with it a row of the store is found without leaving its page.
const MAX_PATH: usize = 800;

impl StepPath {
    /// The first step of this name inside of `outer`, or of the job itself.
    ///
    /// # Errors
    ///
    /// [`BadStep`].
    pub fn new(outer: Option<&Self>, name: &str) -> Result<Self, BadStep> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(BadStep::Length);
        }
        if name.contains('/') {
            return Err(BadStep::Slash);
        }
        if name.contains(char::is_control) {
            return Err(BadStep::Control);
        }
        if number(name).is_some() {
            return Err(BadStep::Number);
        }
        let name = outer.map_or_else(|| name.to_owned(), |outer| format!("{outer}/{name}"));
        if name.len() > MAX_PATH { Err(BadStep::Depth) } else { Ok(Self { name, occurrence: 1 }) }
    }

    /// The step that is written like this: `order/mail#2`.
    ///
    /// # Errors
    ///
    /// [`BadStep`].
    pub fn parse(text: &str) -> Result<Self, BadStep> {
        let mut path: Option<Self> = None;
        for name in text.split('/') {
            let (name, occurrence) = number(name).unwrap_or((name, 1));
            path = Some(Self::new(path.as_ref(), name)?.nth(occurrence));
        }
        path.ok_or(BadStep::Length)
    }

    /// The step of a row that has these columns.
    pub fn of_row(name: String, occurrence: u32) -> Self {
        Self { name, occurrence }
    }

    /// The `occurrence`th of this name.
    #[must_use]
    pub fn nth(self, occurrence: u32) -> Self {
        Self { occurrence, ..self }
    }

    /// The path without the number of its last name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of its last name, 1 for the first.
    pub fn occurrence(&self) -> u32 {
        self.occurrence
    }

    /// The step that this is directly inside of.
    pub fn outer(&self) -> Option<Self> {
        let (outer, _) = self.name.rsplit_once('/')?;
        let last = outer.rsplit('/').next().unwrap_or(outer);
        Some(match number(last) {
            Some((name, occurrence)) => {
                let cut = outer.len() - last.len() + name.len();
                Self { name: outer[..cut].to_owned(), occurrence }
            }
            None => Self { name: outer.to_owned(), occurrence: 1 },
        })
    }

    /// Whether this is inside of `outer`, however deep.
    pub fn is_inside(&self, outer: &Self) -> bool {
        self.name.strip_prefix(&outer.to_string()).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// The name and the number of one that ends in `#` and a number.
fn number(name: &str) -> Option<(&str, u32)> {
    let (name, digits) = name.rsplit_once('#')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { Some((name, digits.parse().unwrap_or(u32::MAX))) } else { None }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.occurrence == 1 { Ok(()) } else { write!(f, "#{}", self.occurrence) }
    }
}

/// What an attempt says when it comes to a step.
#[derive(Clone, Debug)]
pub struct StepCall {
    /// The step; the first of its name, also where it is repeated.
    pub path: StepPath,
    /// Whether each of this name in one attempt is a step of its own, numbered in their order.
    pub is_repeated: bool,
    /// What is done where an earlier attempt began it and nobody knows how that ended.
    pub on_uncertain: OnUncertain,
    /// The key that it gets if it has none yet; nobody else's.
    pub key: String,
    /// A hash of the command; another one is pointed out.
    pub command: String,
    /// A hash of its standard input, where that belongs to what the step is.
    pub input: Option<String>,
}

/// What is done with a step that was begun and may or may not have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUncertain {
    /// It is run again.
    Rerun,
    /// The job is dead when the attempt ends.
    Fail,
    /// Nothing yet: whoever asks finds out.
    Ask,
}

/// What is to be done with a step.
#[derive(Debug)]
pub enum Begun {
    /// Run it: that it began is on record.
    Run(StepRun),
    /// Nothing: it is done, and this is what it printed.
    Recorded {
        /// Which one.
        path: StepPath,
        /// What it printed.
        output: StepOutput,
        /// Whether it ran another command.
        is_other_command: bool,
    },
    /// An earlier attempt began it, and nobody knows how that ended.
    Uncertain(StepRun),
    /// Nothing: this attempt is refused it.
    Refused(StepRefusal),
}

/// A step that is run, or may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRun {
    /// Which one, with its number.
    pub path: StepPath,
    /// What it shows to services, the same each time.
    pub key: String,
}

/// Why an attempt may not come to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepRefusal {
    /// Its lease is lost.
    Lost,
    /// It is to be stopped.
    Cancelled,
    /// It is to end: it sleeps.
    Asleep,
    /// It came to this step before, and that was recorded.
    Twice,
    /// It came to this step before, and that is not over.
    Underway,
    /// It was recorded with another input.
    OtherInput,
}

/// What a step printed.
#[derive(Debug)]
pub enum StepOutput {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What this file holds.
    File(std::fs::File),
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// Well, having printed this.
    Recorded(Printed),
    /// It failed, with this exit status if it had one; it will be run again.
    Failed(Option<i32>),
}

/// What a step printed, as it is put on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Printed {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes, in the file of this name among those of the queue.
    File {
        /// Its name.
        name: String,
        /// Its size in bytes.
        bytes: u64,
    },
}

/// A step on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which one.
    pub path: StepPath,
    /// Where it stands.
    pub state: StepState,
    /// The attempt that began it last.
    pub token: Token,
    /// What it shows to services.
    pub key: String,
    /// When that attempt began it.
    pub started_at: Timestamp,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// The attempt that began it runs.
    Running,
    /// It was begun, and nobody knows how that ended.
    Uncertain,
    /// It is done, and printed so many bytes.
    Recorded {
        /// How many.
        bytes: u64,
    },
    /// It failed and will be run again.
    Failed {
        /// Its exit status, if it had one.
        exit_code: Option<i32>,
    },
    /// It lets time pass.
    Sleeping {
        /// Until then.
        until: Timestamp,
    },
}

impl StepState {
    /// The word for it, the same everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Uncertain => "uncertain",
            Self::Recorded { .. } => "recorded",
            Self::Failed { .. } => "failed",
            Self::Sleeping { .. } => "sleeping",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> StepPath {
        StepPath::parse(text).expect("a path")
    }

    #[test]
    fn a_path_is_read_as_it_is_written() {
        for text in ["charge", "order/charge", "mail#2", "all#3/mail#12/send", "issue#7b", "a #b", "über:straße"] {
            assert_eq!(parsed(text).to_string(), text);
        }
        assert_eq!(parsed("a/b#1").to_string(), "a/b");
    }

    #[test]
    fn a_path_knows_what_it_is_inside_of() {
        let path = parsed("all#3/mail#12/send");
        assert_eq!(path.outer(), Some(parsed("all#3/mail#12")));
        assert_eq!(parsed("all#3/mail#12").outer(), Some(parsed("all#3")));
        assert_eq!(parsed("all#3").outer(), None);
        assert!(path.is_inside(&parsed("all#3")) && path.is_inside(&parsed("all#3/mail#12")));
        assert!(!path.is_inside(&parsed("all")) && !path.is_inside(&path) && !path.is_inside(&parsed("al")));
    }

    #[test]
    fn a_name_that_could_be_taken_for_another_is_none() {
        for name in ["", "a/b", "a\nb", "mail#2", "#1", &"x".repeat(201)] {
            assert!(StepPath::new(None, name).is_err(), "{name:?}");
        }
        let mut deep = StepPath::new(None, &"x".repeat(200)).expect("a path");
        for _ in 0..2 {
            deep = StepPath::new(Some(&deep), &"x".repeat(199)).expect("a path");
        }
        assert!(StepPath::new(Some(&deep), "y").is_ok());
        assert!(StepPath::new(Some(&deep), &"y".repeat(200)).is_err());
    }
}
