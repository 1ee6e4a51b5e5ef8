//! How a run ends: exit statuses, and failures with what would cure them.
//!
//! Errors are typed where they arise; here they get a status, a code for programs, and a hint. The
//! table is the one in the manual, and a test holds them against each other.

use std::io;

use crate::store;
use crate::worker;

/// The exit statuses of qctl, with their meaning as the manual has it.
pub const STATUSES: [(u8, &str); 9] = [
    (0, "done, also when there was nothing to do"),
    (1, "the answer is bad: a waited job did not succeed, a check failed"),
    (2, "usage"),
    (3, "no such job, queue, topic, subscription, or no queue file"),
    (4, "refused: wrong state, key conflict, lost lease, needs --yes"),
    (74, "input/output error, outcome unknown: the job may or may not be queued; push again with the same --key"),
    (75, "nothing was written, try again: queue busy, disk full"),
    (
        78,
        "the file is not a qctl queue, is newer than this qctl, is on an unsafe file system, is owned or may be written by someone else, or was moved while in use",
    ),
    (124, "wait, run: timed out"),
];

/// The statuses with their meaning as they are shown: those of [`STATUSES`], and those that `run` takes
/// from its command.
pub fn table() -> Vec<(String, &'static str)> {
    let own = STATUSES.iter().map(|&(status, meaning)| (status.to_string(), meaning));
    let of_run = "run, step: the command could not be executed, was not found, died of signal n";
    own.chain([("126, 127, 128+n".to_owned(), of_run)]).collect()
}

/// How a run that did what it was asked ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0
    Done,
    /// 1
    BadAnswer,
    /// 3: some of the things named do not exist; the others were dealt with.
    NotFound,
    /// 4: some of the things named were refused; the others were dealt with.
    Refused,
    /// 124
    TimedOut,
    /// `run`: as the command ended.
    As(u8),
}

impl Exit {
    /// The status.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::BadAnswer => 1,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::TimedOut => 124,
            Self::As(code) => code,
        }
    }

    /// The first thing that went wrong is what counts.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self == Self::Done { other } else { self }
    }
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line makes no sense.
    Usage,
    /// Something named does not exist.
    NotFound,
    /// It exists and will not have that done.
    Refused,
    /// It may or may not have been done.
    Unknown,
    /// Nothing was done; later it may.
    TryAgain,
    /// The queue file is not fit for use.
    BadFile,
    /// Whoever read our output has gone: no failure.
    ClosedPipe,
}

impl Kind {
    /// The exit status.
    pub const fn code(self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Unknown => 74,
            Self::TryAgain => 75,
            Self::BadFile => 78,
        }
    }

    /// The code in the JSON error.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClosedPipe => "closed_pipe",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Unknown => "unknown_outcome",
            Self::TryAgain => "try_again",
            Self::BadFile => "bad_file",
        }
    }
}

/// Why a run did not do what it was asked, and what would cure it.
#[derive(Debug)]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// One line that names the thing.
    pub message: String,
    /// One line that names the cure.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// A command line that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Something that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Something that will not have that done.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// With what would cure it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        use store::Error as E;
        let message = with_sources(&error);
        match error {
            E::Missing { .. } => Self::not_found(message)
                .hint("name the file with --db or QCTL_DB; `qctl push` or `qctl publish` makes it"),
            E::NotAQueue { .. } => Self::new(Kind::BadFile, message).hint("name a queue file with --db or QCTL_DB"),
            E::TooNew { .. } => Self::new(Kind::BadFile, message).hint("install a newer qctl"),
            E::UnsafePlace { .. } => Self::new(Kind::BadFile, message)
                .hint("a queue is a plain file of your own on a local disk; name one with --db or QCTL_DB"),
            E::Refused { source, .. } => Self::new(Kind::BadFile, message).hint(way_in(&source)),
            E::Busy { .. } => Self::new(Kind::TryAgain, message).hint("try again; `qctl where` shows who works on it"),
            E::Full { .. } => Self::new(Kind::TryAgain, message).hint("make room, then try again"),
            E::Unknown { .. } => {
                Self::new(Kind::Unknown, message).hint("push again with the same --key: it cannot be queued twice")
            }
            E::Failing { .. } => Self::new(Kind::Unknown, message)
                .hint("`dmesg` may tell what the disk has; push again with the same --key: it cannot be queued twice"),
            E::Moved { .. } => Self::new(Kind::BadFile, message)
                .hint("put it back where it was, or start anew whatever works on it; `qctl doctor` looks it through"),
            E::Corrupt { .. } => Self::new(Kind::BadFile, message)
                .hint("keep a copy, then recover with the sqlite3 of sqlite.org: sqlite3 FILE .recover | sqlite3 NEW"),
            E::KeyTaken { holder, .. } => Self::refused(message).hint(format!("qctl show {holder}")),
            E::Backend(_) => {
                Self::new(Kind::Unknown, message).hint("look where it lies, and for a failing disk: qctl where")
            }
        }
    }
}

impl From<worker::Error> for Failure {
    fn from(error: worker::Error) -> Self {
        match error {
            worker::Error::Store(error @ (store::Error::Unknown { .. } | store::Error::Failing { .. })) => {
                Self::new(Kind::Unknown, with_sources(&error))
                    .hint("the next worker takes up what this one ran; `dmesg` may tell what the disk has")
            }
            worker::Error::Store(error) => error.into(),
            worker::Error::System(_) => Self::new(Kind::TryAgain, with_sources(&error)),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Kind::ClosedPipe, "nobody reads"),
            _ => Self::new(Kind::Unknown, format!("the output could not be written: {error}")),
        }
    }
}

/// What opens a file that the system refused to open.
fn way_in(why: &io::Error) -> &'static str {
    let is_out_of_files = [Some(nix::libc::EMFILE), Some(nix::libc::ENFILE)].contains(&why.raw_os_error());
    match why.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "mount it for writing; after a disk error, look at `dmesg` first",
        _ if is_out_of_files => "raise the limit of open files: ulimit -n",
        _ => "the queue's files and their folder must be writable for you: `qctl doctor` tells which is not",
    }
}

/// An error with what lies behind it, on one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = error.source();
    }
    message.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_one_line_with_its_path_and_one_with_the_cure() {
        use store::Error as E;
        let path = || PathBuf::from("/q/queue.db");
        let source = || io::Error::other("no\nreason");
        let errors = [
            E::Missing { path: path() },
            E::NotAQueue { path: path(), found: "it is a folder" },
            E::TooNew { path: path(), found: 9, known: 2 },
            E::UnsafePlace { path: path(), why: "it is on nfs, where a write-ahead log is not safe".to_owned() },
            E::Refused { path: path(), source: source() },
            E::Full { path: path() },
            E::Corrupt { path: path(), source: Box::new(source()) },
        ];
        for error in errors {
            let failure = Failure::from(error);
            assert!(failure.message.contains("/q/queue.db") && !failure.message.contains('\n'), "{failure:?}");
            assert!(failure.hint.as_ref().is_some_and(|hint| !hint.contains('\n')), "{failure:?}");
        }
    }

    #[test]
    fn every_status_stands_in_the_table() {
        let known = |code| STATUSES.iter().any(|&(status, _)| status == code);
        for exit in [Exit::Done, Exit::BadAnswer, Exit::NotFound, Exit::Refused, Exit::TimedOut] {
            assert!(known(exit.code()), "{exit:?}");
        }
        for kind in
            [Kind::ClosedPipe, Kind::Usage, Kind::NotFound, Kind::Refused, Kind::Unknown, Kind::TryAgain, Kind::BadFile]
        {
            assert!(known(kind.code()), "{kind:?}");
        }
    }
}
