//! A terminal of a given size and someone who sits at it: keys are typed, the screen is read, and the
//! bytes that made it are kept.
//!
//! What is started on it leads a session of its own and has it as its controlling terminal, so that a
//! typed Ctrl-C is a signal to what runs in front.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::AsFd as _;
use std::process::{Child, Command};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pty_process::Size;
use pty_process::blocking::Pty;
use qctl::clock::{Clock as _, SystemClock};

use super::sandbox::PATIENCE;

/// A terminal. What runs on it is killed when it is dropped.
pub(crate) struct Terminal {
    what: String,
    pty: Pty,
    child: Child,
    emulator: vt100::Parser<Deeds>,
    bytes: Vec<u8>,
}

impl Terminal {
    /// The key that interrupts.
    pub(crate) const CTRL_C: &str = "\x03";

    pub(super) fn open(command: Command, (columns, rows): (u16, u16), what: &str) -> Self {
        let (pty, end) = pty_process::blocking::open().expect("a terminal");
        pty.resize(Size::new(rows, columns)).expect("a size");
        let child = pty_process::blocking::Command::from(command).spawn(end).expect("it starts");
        let [rows, columns] = [rows, columns].map(|n| NonZeroU16::new(n).expect("a size"));
        let emulator = vt100::Parser::new_with_callbacks(rows, columns, 0, Deeds::default());
        Self { what: what.to_owned(), pty, child, emulator, bytes: Vec::new() }
    }

    /// Types these keys.
    #[track_caller]
    pub(crate) fn types(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).expect("someone reads");
    }

    /// Types a line at the prompt of a shell and waits until it has run. The prompt is `$ `.
    #[track_caller]
    pub(crate) fn runs(&mut self, line: &str) {
        self.waits_for_prompt();
        self.types(line);
        self.waits_until(&format!("{line:?} is typed"), |screen| row_of_cursor(screen) == format!("$ {line}"));
        self.types("\r");
        self.waits_for_prompt();
    }

    /// Waits until a shell is ready for the next line.
    #[track_caller]
    pub(crate) fn waits_for_prompt(&mut self) {
        self.waits_until("there is a prompt", |screen| row_of_cursor(screen) == "$");
    }

    /// Waits until this stands somewhere on the screen.
    #[track_caller]
    pub(crate) fn waits_for(&mut self, text: &str) {
        self.waits_until(&format!("{text:?} is on the screen"), |screen| screen.contents().contains(text));
    }

    /// Waits until something is so on the screen.
    #[track_caller]
    pub(crate) fn waits_until(&mut self, fact: &str, is_so: impl Fn(&vt100::Screen) -> bool) {
        let clock = SystemClock::default();
        let end = clock.uptime().plus(PATIENCE);
        while !is_so(self.screen()) {
            let can_become_so = self.takes_in(end.since(clock.uptime()));
            assert!(can_become_so, "it never came to be that {fact}\n{}", self.story());
        }
    }

    /// Waits until what runs has ended and everything it wrote is on the screen, and claims that it
    /// ended with this status.
    #[track_caller]
    pub(crate) fn exits(mut self, status: i32) -> Self {
        let clock = SystemClock::default();
        let end = clock.uptime().plus(PATIENCE);
        while self.takes_in(end.since(clock.uptime())) {}
        assert!(clock.uptime() < end, "it never ended\n{}", self.story());
        let ended = self.child.wait().expect("it ends");
        assert_eq!(ended.code(), Some(status), "{}", self.story());
        self
    }

    /// The same with status 0.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// Takes in what comes next; answers whether anything came.
    fn takes_in(&mut self, patience: Duration) -> bool {
        let mut fds = [PollFd::new(self.pty.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        if poll(&mut fds, timeout).expect("a terminal can be waited for") == 0 {
            return false;
        }
        let mut buffer = [0; 1 << 16];
        // Once nobody has the other end open, Linux answers with an error.
        let n = self.pty.read(&mut buffer).unwrap_or(0);
        self.bytes.extend_from_slice(&buffer[..n]);
        self.emulator.process(&buffer[..n]);
        n > 0
    }

    /// The screen.
    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.emulator.screen()
    }

    /// The rows of the screen, blank ones at the end left out.
    pub(crate) fn rows(&self) -> Vec<String> {
        let (_, columns) = self.screen().size();
        let mut rows: Vec<String> = self.screen().rows(0, columns.get()).map(|row| row.trim_end().to_owned()).collect();
        let n_rows = rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1);
        rows.truncate(n_rows);
        rows
    }

    /// Whether a line went on in the row below.
    pub(crate) fn has_wrapped(&self) -> bool {
        let (rows, _) = self.screen().size();
        (0..rows.get()).any(|row| self.screen().row_wrapped(row))
    }

    /// Everything that was written to the terminal, as it came.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was done to the terminal besides writing on it.
    pub(crate) fn deeds(&self) -> &[String] {
        &self.emulator.callbacks().0
    }

    /// Everything, for the message of a failed claim.
    pub(crate) fn story(&self) -> String {
        let last = &self.bytes[self.bytes.len().saturating_sub(2000)..];
        let screen = self.rows().join("\n");
        format!("$ {}\n--- the screen\n{screen}\n--- the last bytes\n{}", self.what, last.escape_ascii())
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.story())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn row_of_cursor(screen: &vt100::Screen) -> String {
    let (row, _) = screen.cursor_position();
    let (_, columns) = screen.size();
    screen.rows(0, columns.get()).nth(row.into()).unwrap_or_default().trim_end().to_owned()
}

/// What was done to a terminal besides writing on it.
#[derive(Default)]
struct Deeds(Vec<String>);

impl vt100::Callbacks for Deeds {
    fn audible_bell(&mut self, _: &mut vt100::Screen) {
        self.0.push("a bell".to_owned());
    }

    fn visual_bell(&mut self, _: &mut vt100::Screen) {
        self.0.push("a flash".to_owned());
    }

    fn resize(&mut self, _: &mut vt100::Screen, request: (u16, u16)) {
        self.0.push(format!("a size: {request:?}"));
    }

    fn set_window_icon_name(&mut self, _: &mut vt100::Screen, name: &[u8]) {
        self.0.push(format!("an icon's name: {}", name.escape_ascii()));
    }

    fn set_window_title(&mut self, _: &mut vt100::Screen, title: &[u8]) {
        self.0.push(format!("a title: {}", title.escape_ascii()));
    }

    fn copy_to_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8], data: &[u8]) {
        self.0.push(format!("to the clipboard: {}", data.escape_ascii()));
    }

    fn paste_from_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8]) {
        self.0.push("from the clipboard".to_owned());
    }

    fn unhandled_control(&mut self, _: &mut vt100::Screen, byte: u8) {
        self.0.push(format!("a control character: {byte:#x}"));
    }

    fn unhandled_escape(&mut self, _: &mut vt100::Screen, _: Option<u8>, _: Option<u8>, byte: u8) {
        self.0.push(format!("an escape: {byte:#x}"));
    }

    fn unhandled_osc(&mut self, _: &mut vt100::Screen, words: &[&[u8]]) {
        self.0.push(format!("an order to the system: {words:?}"));
    }
}
