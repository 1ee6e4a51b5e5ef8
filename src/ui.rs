//! The two streams and their manners: data on stdout, talk on stderr.
//!
//! The only writer to either. A reader that has gone ends the run quietly.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, BufRead as _, Write};
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use terminal_size::{Width, terminal_size_of};

use crate::exit::{Failure, Kind};
use crate::render::{Look, json, text};

/// How data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people, on a terminal.
    Table,
    /// For scripts.
    Plain,
    /// For programs.
    Json,
}

/// The two streams.
#[derive(Debug)]
pub struct Ui {
    /// How data is written.
    pub format: Format,
    /// How it looks.
    pub look: Look,
    /// Whether stdout is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether stderr is a terminal.
    pub stderr_is_terminal: bool,
    /// Whether stdin is a terminal.
    pub stdin_is_terminal: bool,
    /// Whether talk is suppressed.
    pub is_quiet: bool,
    /// Where progress is shown; `None`: nowhere.
    pub progress: Option<ProgressLine>,
}

/// A line of the terminal that is rewritten in place; what it shows now, empty where it is not there.
#[derive(Debug, Default)]
pub struct ProgressLine(RefCell<String>);

impl Ui {
    /// Writes data and a line end to stdout; nothing where there is no data.
    ///
    /// # Errors
    ///
    /// Where it could not be written.
    pub fn print(&self, data: &str) -> Result<(), Failure> {
        if data.is_empty() {
            return Ok(());
        }
        let data = if self.format == Format::Json { data.to_owned() } else { self.shown(data) };
        self.write(&mut io::stdout().lock(), format!("{data}\n").as_bytes())
    }

    /// Writes data to stdout as it is, except that a terminal gets colours and nothing else that
    /// could do something to it.
    ///
    /// # Errors
    ///
    /// Where it could not be written.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.pass_through(&mut io::stdout().lock(), bytes, self.stdout_is_terminal)
    }

    /// The same for stderr: the stderr of a job is data too.
    ///
    /// # Errors
    ///
    /// Where it could not be written.
    pub fn raw_stderr(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.pass_through(&mut io::stderr().lock(), bytes, self.stderr_is_terminal)
    }

    /// Takes back what colours are left of the output of a job, which ended without doing so. Only a
    /// terminal has any.
    ///
    /// # Errors
    ///
    /// Where it could not be written.
    pub fn unpaint(&self) -> Result<(), Failure> {
        let stream: &mut dyn Write = if self.stdout_is_terminal { &mut io::stdout() } else { &mut io::stderr() };
        let has_terminal = self.stdout_is_terminal || self.stderr_is_terminal;
        if has_terminal { self.write(stream, b"\x1b[0m") } else { Ok(()) }
    }

    /// Looks whether anybody reads stdout still, without writing to it.
    ///
    /// # Errors
    ///
    /// Where nobody does, the failure that a write would be.
    pub fn check_reader(&self) -> Result<(), Failure> {
        let stdout = io::stdout();
        // Asked for nothing: that the other end has gone is told unasked, and of a file never.
        let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let _ = poll(&mut fds, PollTimeout::ZERO);
        let seen = fds[0].revents().unwrap_or(PollFlags::empty());
        if seen.intersects(PollFlags::POLLERR | PollFlags::POLLHUP) {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        }
        Ok(())
    }

    fn pass_through(&self, stream: &mut dyn Write, bytes: &[u8], is_terminal: bool) -> Result<(), Failure> {
        if is_terminal { self.write(stream, text::colors_only(bytes).as_bytes()) } else { self.write(stream, bytes) }
    }

    fn write(&self, stream: &mut dyn Write, bytes: &[u8]) -> Result<(), Failure> {
        self.hide_progress();
        stream.write_all(bytes)?;
        stream.flush()?;
        Ok(())
    }

    /// Says something on stderr, unless told to be quiet.
    pub fn say(&self, words: impl Display) {
        if !self.is_quiet {
            self.talk(self.shown(words));
        }
    }

    /// Says something to a program, unless told to be quiet. JSON is UTF-8 wherever it is read.
    pub fn say_json(&self, document: impl Display) {
        if !self.is_quiet {
            self.talk(document);
        }
    }

    /// Says something that only someone who sits there wants to know.
    pub fn hint(&self, words: impl Display) {
        if self.stderr_is_terminal {
            self.say(words);
        }
    }

    /// Asks whether to do something that cannot be undone.
    ///
    /// # Errors
    ///
    /// Refused, where the answer is not yes or where nobody can be asked.
    pub fn confirm(&self, question: &str) -> Result<(), Failure> {
        if !(self.stderr_is_terminal && self.stdin_is_terminal) {
            return Err(Failure::refused(format!("nobody can be asked: {question}")).hint("say so with --yes"));
        }
        let _ = write!(io::stderr().lock(), "{question} [y/N] ");
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::refused(error.to_string()))?;
        match answer.trim() {
            "y" | "Y" | "yes" | "Yes" | "YES" => Ok(()),
            _ => Err(Failure::refused("nothing was done")),
        }
    }

    /// Shows on a line of the terminal how far something is, in place of what stood there. Whatever
    /// is written next takes the line away.
    pub fn show_progress(&self, words: &str) {
        let Some(ProgressLine(shown)) = &self.progress else { return };
        // One column stays free: behind a full line some terminals erase its last character.
        let columns =
            terminal_size_of(io::stderr()).map_or(80, |(Width(width), _)| usize::from(width)).saturating_sub(1);
        let line = text::cut(words, columns, self.look.has_unicode);
        if *shown.borrow() != line {
            let _ = write!(io::stderr().lock(), "\r{line}\x1b[K");
            shown.replace(line);
        }
    }

    /// Takes that line away.
    pub fn hide_progress(&self) {
        if let Some(ProgressLine(shown)) = &self.progress
            && !shown.take().is_empty()
        {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }

    /// Says on stderr why the run failed.
    pub fn fail(&self, failure: &Failure) {
        if failure.kind == Kind::ClosedPipe {
            return;
        }
        self.talk(self.shown(format_args!("qctl: {}", text::safe(failure.message.as_bytes()))));
        if let Some(hint) = &failure.hint {
            self.talk(self.shown(format_args!("hint: {}", text::safe(hint.as_bytes()))));
        }
        if self.format == Format::Json {
            self.talk(json::error(failure.kind.name(), &failure.message, failure.hint.as_deref()));
        }
    }

    /// Words as this locale can show them.
    fn shown(&self, words: impl Display) -> String {
        let words = words.to_string();
        if self.look.has_unicode { words } else { text::ascii(&words) }
    }

    /// Nobody may be listening on stderr, and that is no reason to fail.
    fn talk(&self, words: impl Display) {
        self.hide_progress();
        let _ = writeln!(io::stderr().lock(), "{words}");
    }
}
