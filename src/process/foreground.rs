//! A command that has our terminal for as long as it runs, such as an editor.
//!
//! It stays in our process group, or else it could not read the terminal. What is typed to interrupt it reaches us
//! too, and is left to it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGQUIT};
use signal_hook::{flag, low_level};

/// Runs a shell line with one more argument, and waits until it has ended; answers how, if not well.
///
/// # Errors
///
/// Where it could not be started.
pub fn run_in_foreground(line: &OsStr, argument: &OsStr) -> io::Result<Option<String>> {
    let ignored = [SIGINT, SIGQUIT].map(|signal| flag::register(signal, Arc::new(AtomicBool::new(false))));
    // The shell leaves it to the command, too: a trap is not passed on.
    let mut script = OsString::from("trap : INT QUIT; ");
    script.push(line);
    script.push(" \"$1\"");
    let words: [&OsStr; 4] = [OsStr::new("-c"), &script, OsStr::new("sh"), argument];
    let status = Command::new("/bin/sh").args(words.map(OsString::from)).status();
    for id in ignored.into_iter().flatten() {
        low_level::unregister(id);
    }
    let status = status?;
    Ok((!status.success()).then(|| match status.code() {
        Some(code) => format!("exit {code}"),
        None => "a signal".to_owned(),
    }))
}
