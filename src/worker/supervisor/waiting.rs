//! Waiting in `poll` for whatever comes first: a child, its output, a bell, a signal, or time.

use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Mode, Ready, Supervisor};
use crate::clock::Moment;
use crate::worker::slot::Slot;

/// How long it sleeps at the most when a job is to fall due: a clock that is set meanwhile is
/// noticed within this time.
const CLOCK_LOOK: Duration = Duration::from_secs(1);

impl Supervisor<'_> {
    pub(super) fn wait(&mut self, at: Moment) {
        let was_rescuing = std::mem::replace(&mut self.is_rescuing, self.keeper.is_rescuing());
        // What a rescue brought is told before it is over: that is heard before it is taken to be over.
        let is_over = was_rescuing && !self.is_rescuing;
        let timeout = if is_over { PollTimeout::ZERO } else { self.timeout(at) };
        let mut fds = vec![
            PollFd::new(self.inbox.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.shutdown.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.bell.iter().map(|bell| PollFd::new(bell.as_fd(), PollFlags::POLLIN)));
        let n_own = fds.len();
        let mut pipes = Vec::new();
        for (&pid, slot) in &self.slots {
            for (place, pipe) in slot.child().pipes() {
                fds.push(PollFd::new(pipe, PollFlags::POLLIN));
                pipes.push((pid, place));
            }
        }
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, timeout);
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        self.ready = Ready {
            inbox: is_ready(&fds[0]),
            children: is_ready(&fds[1]),
            shutdown: is_ready(&fds[2]),
            bell: n_own > 3 && is_ready(&fds[3]),
        };
        let ready: Vec<bool> = fds[n_own..].iter().map(is_ready).collect();
        for ((pid, place), _) in pipes.into_iter().zip(ready).filter(|(_, is_ready)| *is_ready) {
            if let Some(slot) = self.slots.get_mut(&pid) {
                slot.read(place, &mut self.buffer);
            }
        }
    }

    /// How long there is nothing to do but wait.
    fn timeout(&self, at: Moment) -> PollTimeout {
        let rules = &self.plan.stop;
        let rule_ends = [
            rules.max_time.map(|max| self.started.plus(max)),
            rules.idle_exit.filter(|_| self.slots.is_empty()).map(|max| self.last_work.plus(max)),
            self.no_room_until,
            if let Mode::Finishing { stop_at } = self.mode { stop_at } else { None },
            self.next_sync.filter(|_| self.unsynced.n_turns > 0),
        ];
        let rule_ends = rule_ends.into_iter().flatten().filter(|&end| end > at.uptime);
        let slot_ends = self.slots.values().filter_map(Slot::next_deadline);
        let by_uptime = rule_ends.chain(slot_ends).map(|end| end.since(at.uptime)).min();
        let by_clock = self.next_due.map(|due| due.since(at.now).min(CLOCK_LOOK));
        let shortest = by_uptime.into_iter().chain(by_clock.filter(|_| self.n_wanted(at) > 0)).min();
        // Rounded up, or the last fraction of a millisecond would be spent in a busy loop.
        let millis = shortest.map(|wait| u32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u32::MAX));
        millis.map_or(PollTimeout::NONE, |millis| PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX))
    }
}
