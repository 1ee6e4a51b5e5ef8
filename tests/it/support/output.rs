//! What a command answered, and claims about it that read as sentences.

use std::fmt::Write as _;
use std::process;

use super::schema;

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Output {
    what: String,
    status: i32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Output {
    pub(super) fn new(what: String, output: process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let status = output.status;
        let status = status.code().unwrap_or_else(|| 128 + status.signal().expect("it exited or died of a signal"));
        Self { what, status, stdout: output.stdout, stderr: output.stderr }
    }

    /// Claims that it ended with 0.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// Claims that it ended with this status; a death of signal n counts as 128+n.
    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}", self.story());
        self
    }

    /// How it ended; a death of signal n counts as 128+n.
    pub(crate) fn status(&self) -> i32 {
        self.status
    }

    /// Claims that stdout is exactly this.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert_eq!(self.out(), text, "{}", self.story());
        self
    }

    /// Claims that this stands somewhere in stderr.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.err().contains(text), "{text:?} is not on stderr\n{}", self.story());
        self
    }

    /// Claims that stderr is empty.
    #[track_caller]
    pub(crate) fn says_nothing(self) -> Self {
        assert!(self.stderr.is_empty(), "{}", self.story());
        self
    }

    /// Stdout as text.
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Stderr as text.
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Stdout as it came.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.stdout
    }

    /// Stderr as it came.
    pub(crate) fn err_bytes(&self) -> &[u8] {
        &self.stderr
    }

    /// Stdout as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{}", self.story()))
    }

    /// Claims that stdout is one line with one document, of the shape that this schema describes.
    #[track_caller]
    pub(crate) fn gives(self, schema: &str) -> Self {
        assert!(self.out().lines().count() == 1 && self.out().ends_with('\n'), "not one line\n{}", self.story());
        schema::fits(&self.json(), schema);
        self
    }

    /// Claims that an error is the last line of stderr, and the only document there.
    #[track_caller]
    pub(crate) fn gives_error(self) -> Self {
        let err = self.err();
        let documents: Vec<&str> = err.lines().filter(|line| line.starts_with('{')).collect();
        assert!(documents.len() == 1 && err.lines().last() == documents.first().copied(), "{}", self.story());
        schema::fits(&serde_json::from_str(documents[0]).expect("a document"), "error");
        self
    }

    /// Everything, for the message of a failed claim.
    pub(crate) fn story(&self) -> String {
        let mut story = format!("$ {}\nstatus: {}\n", self.what, self.status);
        let _ = writeln!(story, "--- stdout\n{}\n--- stderr\n{}", self.out(), self.err());
        story
    }
}
