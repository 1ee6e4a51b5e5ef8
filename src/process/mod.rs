//! Starting a command, keeping what it prints, and ending it with all that it started.
//!
//! The only room that starts, captures and kills. It knows nothing of jobs: it is told what to run
//! and answers how that ended. What holds here:
//!
//! - A command is started by `posix_spawn`: three times as fast as `fork`, a hundred times from a
//!   large worker. Nothing here may use `pre_exec`, other users, or a bare program name, because
//!   each would silently make it a `fork`.
//! - A command leads a process group of its own, and signals go to the group. The last one is sent
//!   before the leader is reaped, while its number cannot mean anyone else. A [`Guest`] and what
//!   has our terminal are the exceptions: they stay in ours, and are sent nothing.
//! - What is no child of this process is never signalled by its number.
//! - Its output is always read, kept or not, so that it never blocks on a full pipe; and never read
//!   to its end after the leader has gone, because something in the background may hold it open.

mod capture;
mod child;
mod foreground;
mod guest;
mod handle;
mod kin;
mod limit;
mod reap;
mod spawn;

pub use capture::{CAP, Capture, Piece};
pub use child::{Child, Exit};
pub use foreground::run_in_foreground;
pub use guest::Guest;
pub use kin::{LockedByte, Remnant};
pub use limit::open_file_limit;
pub use reap::{Used, adopted};
pub use spawn::{Launch, SpawnError};
