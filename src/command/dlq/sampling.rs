//! Waiting for the sample of a requeue, and carrying the task on meanwhile.

use std::time::Duration;

use crate::clock::{Clock as _, Uptime};
use crate::command::Ctx;
use crate::command::awaited::Awaited;
use crate::command::unserved::Complaints;
use crate::command::waiter::Waiter;
use crate::exit::Failure;
use crate::job::{Phase, Task, TaskId};
use crate::render::progress;
use crate::signal::SignalPipe;

use super::account::unknown;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The task needs nobody to wait for it any more.
    ByItself,
    /// Somebody asked this to end.
    Interrupted,
}

/// One who waits for a sample.
struct Watch<'c> {
    ctx: &'c mut Ctx,
    id: TaskId,
    began: Uptime,
    sample: Awaited,
    n_sample: usize,
    complaints: Complaints,
    has_told_of_pause: bool,
}

/// Waits until the sample of a task has its verdict; where the rest has no rate, until all of it is put back.
pub(super) fn watch(ctx: &mut Ctx, id: TaskId, interrupts: &mut SignalPipe) -> Result<Ended, Failure> {
    let began = ctx.config.clock.uptime();
    let mut waiter = Waiter::new(ctx);
    let mut watch = Watch {
        ctx,
        id,
        began,
        sample: Awaited::default(),
        n_sample: 0,
        complaints: Complaints::new(began),
        has_told_of_pause: false,
    };
    let ended = loop {
        if interrupts.take() > 0 {
            break Ok(Ended::Interrupted);
        }
        waiter.hush();
        match watch.look() {
            Ok(Look::Over) => break Ok(Ended::ByItself),
            Ok(Look::AtOnce) => {}
            Ok(Look::Later) => {
                if let Err(failure) = waiter.wait(watch.ctx, Duration::MAX) {
                    break Err(failure);
                }
            }
            Err(failure) => break Err(failure),
        }
    };
    ctx.ui.hide_progress();
    ended
}

/// What is to be done after a look.
enum Look {
    Over,
    AtOnce,
    Later,
}

impl Watch<'_> {
    fn look(&mut self) -> Result<Look, Failure> {
        let now = self.ctx.now();
        let carried = self.ctx.store()?.carry_tasks(now)?;
        if !carried.queues.is_empty() {
            self.ctx.announce(&carried.queues)?;
        }
        let task = self.ctx.store()?.task(self.id)?.ok_or_else(|| unknown(self.id))?;
        match task.phase {
            Phase::Releasing if carried.is_more => return Ok(Look::AtOnce),
            Phase::Releasing | Phase::Done | Phase::Stopped | Phase::Cancelled => return Ok(Look::Over),
            Phase::Sampling => {}
            Phase::Paused => self.tell_of_pause(),
        }
        if carried.is_more {
            return Ok(Look::AtOnce);
        }
        self.show(&task)?;
        Ok(Look::Later)
    }

    fn tell_of_pause(&mut self) {
        if !std::mem::replace(&mut self.has_told_of_pause, true) {
            let id = self.id;
            self.ctx.ui.say(format_args!("task {id} is paused; go on: qctl dlq tasks resume {id}"));
        }
    }

    fn show(&mut self, task: &Task) -> Result<(), Failure> {
        if self.n_sample != task.n_released {
            self.n_sample = task.n_released;
            self.sample = Awaited::new(self.ctx.store()?.released_by(self.id)?);
        }
        self.sample.look(self.ctx)?;
        self.complaints.voice(self.ctx, &self.sample.pending)?;
        let waited = self.ctx.config.clock.uptime().since(self.began);
        self.ctx.ui.show_progress(&progress::line(&self.sample.progress(waited)));
        Ok(())
    }
}
