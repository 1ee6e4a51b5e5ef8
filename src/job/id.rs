//! Names and numbers of things, each its own type so that none is taken for another.

use std::fmt;
use std::sync::Arc;

use wildmatch::WildMatch;

/// The number of a job in its queue file: positive, rising, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(i64);

impl JobId {
    /// The job of this number; `None` unless it is positive.
    pub const fn new(id: i64) -> Option<Self> {
        if id > 0 { Some(Self(id)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A run of job numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first job.
    pub first: JobId,
    /// The last job, not below `first`.
    pub last: JobId,
}

impl IdRange {
    /// How many numbers it spans.
    pub fn len(self) -> u64 {
        u64::try_from(self.last.0 - self.first.0 + 1).unwrap_or(0)
    }

    /// Whether it spans nothing; false of every range that was parsed.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The jobs in it, in order.
    pub fn iter(self) -> impl Iterator<Item = JobId> {
        (self.first.0..=self.last.0).map(JobId)
    }
}

impl From<JobId> for IdRange {
    fn from(id: JobId) -> Self {
        Self { first: id, last: id }
    }
}

/// The fencing token of one attempt: how often its job had been claimed, that claim included.
///
/// It only rises, so a report that carries an older one is known to be stale. It also numbers the
/// attempts of a job in `show` and `logs --attempt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(i64);

impl Token {
    /// The token of this number.
    pub const fn new(token: i64) -> Self {
        Self(token)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The only permission to report on a running job: which one, and under which token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The token of the claim.
    pub token: Token,
}

/// The number under which a worker registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(i64);

impl WorkerId {
    /// The worker of this number.
    pub const fn new(id: i64) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

/// The name of a queue: 1 to 64 of `A-Z a-z 0-9 . _ -`. Cheap to clone: a million jobs share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Arc<str>);

/// A queue name that cannot be one.
#[derive(Debug, thiserror::Error)]
#[error("a queue name is 1 to 64 of A-Z a-z 0-9 . _ -")]
pub struct BadName;

impl QueueName {
    /// The longest name, in characters.
    pub const MAX_LEN: usize = 64;

    /// Takes `name` as a queue's.
    ///
    /// # Errors
    ///
    /// [`BadName`] where it is empty, longer than [`Self::MAX_LEN`], or has another character.
    pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        let fits = (1..=Self::MAX_LEN).contains(&name.len());
        if fits && name.bytes().all(is_name_byte) { Ok(Self(name.into())) } else { Err(BadName) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a queue name, a label's name or a lock's name may hold this byte.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

impl Default for QueueName {
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which queues are meant: a name, in which `*` stands for any run of characters, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePattern(String);

impl QueuePattern {
    /// Takes `pattern` as one.
    ///
    /// # Errors
    ///
    /// [`BadName`] where it is empty, too long, or has a character that neither a queue name nor a
    /// pattern may have.
    pub fn new(pattern: impl Into<String>) -> Result<Self, BadName> {
        let pattern = pattern.into();
        let fits = (1..=QueueName::MAX_LEN).contains(&pattern.len());
        if fits && pattern.bytes().all(|byte| byte == b'*' || is_name_byte(byte)) {
            Ok(Self(pattern))
        } else {
            Err(BadName)
        }
    }

    /// Whether it means this queue.
    pub fn matches(&self, queue: &QueueName) -> bool {
        WildMatch::new(&self.0).matches(queue.as_str())
    }

    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_name_is_short_and_plain() {
        for good in ["a", "mail.eu-west_1", &"x".repeat(64)] {
            assert!(QueueName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "é", "a\n", &"x".repeat(65), "*"] {
            assert!(QueueName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_stands_for_queues() {
        let queue = QueueName::new("mail.eu").expect("a good name");
        let means = |pattern| QueuePattern::new(pattern).is_ok_and(|pattern| pattern.matches(&queue));
        assert!(means("mail.eu") && means("mail.*") && means("*") && means("*.eu"));
        assert!(!means("mail") && !means("mail.*x") && !means(""));
    }

    #[test]
    fn a_job_number_is_positive() {
        assert!(JobId::new(0).is_none() && JobId::new(-1).is_none());
        assert_eq!(JobId::new(7).map(JobId::get), Some(7));
    }
}
