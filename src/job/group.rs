//! Groups of dead jobs: those that died of one cause.

use std::cell::RefCell;
use std::fmt;

use regex::{Regex, RegexBuilder};

use super::cause;
use super::id::{BadName, JobId, QueueName};
use super::state::Reason;
use crate::clock::Timestamp;

/// The name of a group within its queue: eight hexadecimal digits, or what a job said of itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(String);

impl GroupName {
    /// Takes `name` as a group's, which is made as a queue's is.
    ///
    /// # Errors
    ///
    /// [`BadName`] where no queue could be called that.
    pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        QueueName::new(name.as_str()).map(|_| Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it may have been made of a cause.
    pub fn is_of_cause(&self) -> bool {
        self.0.len() == 8 && self.0.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What attempts that belong together failed of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The exit status, if the attempt exited.
    pub exit_code: Option<i32>,
    /// The signal, if it died of one.
    pub signal: Option<i32>,
    /// What its last line of stderr, or what is told in its place, has in common with others.
    pub text: String,
}

impl Cause {
    /// The cause of an attempt that ended like this, in a queue with this rule.
    pub fn of((exit_code, signal): (Option<i32>, Option<i32>), error: &str, rule: Option<&GroupRule>) -> Self {
        let text = rule.and_then(|rule| rule.apply(error)).unwrap_or_else(|| cause::common(error));
        Self { exit_code, signal, text }
    }

    /// A number by which it is told from others, whatever became of the job; never 0.
    pub fn number(&self) -> u32 {
        let Self { exit_code, signal, text } = self;
        let [a, b, c, d, ..] = hmac_sha256::Hash::hash(format!("{exit_code:?}\0{signal:?}\0{text}").as_bytes());
        u32::from_be_bytes([a, b, c, d]).max(1)
    }

    /// The name of the group of jobs of a queue that die of this for this reason: the first 32 bits of the SHA-256 of
    /// all of it. The queue is part of it, so that what is chosen by the name is never more than what was seen.
    pub fn group(&self, queue: &QueueName, reason: Reason) -> GroupName {
        let Self { exit_code, signal, text } = self;
        let whole = format!("{queue}\0{}\0{exit_code:?}\0{signal:?}\0{text}", reason.name());
        let [a, b, c, d, ..] = hmac_sha256::Hash::hash(whole.as_bytes());
        GroupName(format!("{:08x}", u32::from_be_bytes([a, b, c, d])))
    }
}

/// The largest program that a pattern may become, in bytes: one written by hand is far smaller.
pub(super) const MAX_PROGRAM: usize = 1 << 20;

/// Compiles a regular expression that somebody wrote.
///
/// # Errors
///
/// Where it is none, or a far too large one.
fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(MAX_PROGRAM).build()
}

/// A queue's own rule of what belongs together: what a regular expression finds in the error. Its groups, parted by
/// spaces, where it has any; else all of what it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRule(String);

impl GroupRule {
    /// Takes `pattern` as a rule.
    ///
    /// # Errors
    ///
    /// Where it is no regular expression.
    pub fn new(pattern: impl Into<String>) -> Result<Self, regex::Error> {
        let pattern = pattern.into();
        regex(&pattern).map(|_| Self(pattern))
    }

    /// The regular expression.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it finds; `None` where it does not match.
    fn apply(&self, error: &str) -> Option<String> {
        thread_local! {
            /// The rule that was used last: where a queue dies, the same is used again and again.
            static LAST: RefCell<Option<(String, Regex)>> = const { RefCell::new(None) };
        }
        LAST.with_borrow_mut(|last| {
            if last.as_ref().is_none_or(|(pattern, _)| *pattern != self.0) {
                *last = Some((self.0.clone(), regex(&self.0).ok()?));
            }
            let (_, regex) = last.as_ref()?;
            let found = regex.captures(error)?;
            let parts: Vec<&str> = found.iter().skip(1).flatten().map(|part| part.as_str()).collect();
            let whole = if parts.is_empty() { found[0].to_owned() } else { parts.join(" ") };
            Some(whole.chars().take(cause::MAX_CHARS).collect())
        })
    }
}

/// The dead jobs of a queue that died of one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their queue.
    pub queue: QueueName,
    /// What the group is called within it.
    pub name: GroupName,
    /// Why they are dead.
    pub reason: Reason,
    /// What they died of.
    pub cause: Cause,
    /// How many of them are dead now.
    pub n: u64,
    /// When the first one ever died of it, one that is no longer dead included.
    pub first_at: Timestamp,
    /// When the last one did.
    pub last_at: Timestamp,
    /// The one that died last, of those that are dead; `None` where none is.
    pub sample: Option<JobId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str) -> QueueName {
        QueueName::new(name).expect("a name")
    }

    #[test]
    fn a_group_is_named_by_all_that_its_cause_is() {
        let cause = Cause { exit_code: Some(1), signal: None, text: "disk full".to_owned() };
        let name = cause.group(&queue("mail"), Reason::Exhausted);
        assert_eq!(name, cause.clone().group(&queue("mail"), Reason::Exhausted));
        let others = [
            cause.group(&queue("ci"), Reason::Exhausted),
            cause.group(&queue("mail"), Reason::Permanent),
            Cause { exit_code: Some(2), ..cause.clone() }.group(&queue("mail"), Reason::Exhausted),
            Cause { exit_code: None, signal: Some(1), ..cause.clone() }.group(&queue("mail"), Reason::Exhausted),
            Cause { text: "disk gone".to_owned(), ..cause }.group(&queue("mail"), Reason::Exhausted),
        ];
        assert!(!others.contains(&name));
        assert_eq!(name.as_str().len(), 8);
    }

    #[test]
    fn a_rule_says_what_belongs_together_and_where_it_finds_nothing_the_usual_one_does() {
        let of = |rule: &str, error: &str| {
            Cause::of((Some(1), None), error, Some(&GroupRule::new(rule).expect("a rule"))).text
        };
        assert_eq!(of(r"(\w+Error)", "app.DbError: row 7 of users"), "DbError");
        assert_eq!(of(r"(\w+)\.(\w+Error)", "app.DbError: row 7"), "app DbError");
        assert_eq!(of(r"row \d+", "app.DbError: row 7 of users"), "row 7");
        assert_eq!(of(r"(\w+Error)", "row 7 of 'users'"), "row * of '*'");
        assert!(GroupRule::new("(").is_err());
    }
}
