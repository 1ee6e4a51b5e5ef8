//! Waiting until something happens to a queue.

use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Ctx;
use crate::clock::Clock as _;
use crate::exit::Failure;
use crate::wake::{self, Bell};

/// How long it waits at the most where workers ring.
const WITH_BELL: Duration = Duration::from_millis(250);

/// How long it waits where no bell could be hung.
const WITHOUT_BELL: Duration = Duration::from_millis(50);

/// Someone who waits.
pub(super) struct Waiter {
    bell: Option<Bell>,
    is_for_reader: bool,
}

impl Waiter {
    pub(super) fn new(ctx: &Ctx) -> Self {
        let name = format!("{}-{}", wake::WAITER, std::process::id());
        Self { bell: ctx.bells().ok().and_then(|folder| Bell::hang(&folder, &name).ok()), is_for_reader: false }
    }

    /// One who does nothing but pass on to stdout what happens, and has no reason to once nobody reads that.
    pub(super) fn for_reader(ctx: &Ctx) -> Self {
        Self { is_for_reader: true, ..Self::new(ctx) }
    }

    /// Forgets the rings so far; to be called before looking.
    pub(super) fn hush(&mut self) {
        if let Some(bell) = &mut self.bell {
            bell.hush();
        }
    }

    /// Waits for a ring, a signal, or a while, at most `longest`.
    ///
    /// # Errors
    ///
    /// Where the queue is no longer there: nothing would ever happen to it. For a reader also where that has gone,
    /// which otherwise would be seen only when there is something to write.
    pub(super) fn wait(&self, ctx: &mut Ctx, longest: Duration) -> Result<(), Failure> {
        ctx.store()?.check_place()?;
        if self.is_for_reader {
            ctx.ui.check_reader()?;
        }
        let Some(bell) = &self.bell else {
            ctx.config.clock.pause(longest.min(WITHOUT_BELL));
            return Ok(());
        };
        let millis = longest.min(WITH_BELL).as_millis().max(1);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        // An interrupted wait is a short one.
        let _ = poll(&mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)], timeout);
        Ok(())
    }
}
