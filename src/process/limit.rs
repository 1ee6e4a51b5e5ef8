//! What the system lets a process have.

use nix::sys::resource::{Resource, getrlimit};

/// How many files this process may have open; `None` where that cannot be known or is not limited.
pub fn open_file_limit() -> Option<usize> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    usize::try_from(limit).ok()
}
