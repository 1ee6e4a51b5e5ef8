//! What is said on stderr while the bench runs; the table alone goes to stdout.

use std::fmt;
use std::io::Write as _;

/// Says it. A stderr that is gone is no reason to stop measuring.
pub(crate) fn say(what: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{what}");
}
