//! Saying that jobs will wait for ever: nobody serves their queue, or it is paused or stopped by its breaker.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Ctx, awaited};
use crate::clock::{Clock as _, Uptime};
use crate::exit::Failure;
use crate::job::{Filter, JobId, Page, QueueName, StateKind};
use crate::render::words;

/// How long it waits before it looks for the first time, and from then on each time. A worker that
/// was just started is there by then.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many ranges of jobs are asked for at a time.
const PORTION: usize = 1000;

/// The states in which a job needs a worker and has none.
const WAITING: [StateKind; 4] = [StateKind::Blocked, StateKind::Scheduled, StateKind::Ready, StateKind::Retrying];

/// What has been said already.
pub(super) struct Complaints {
    told: BTreeSet<String>,
    due: Uptime,
}

impl Complaints {
    /// Nothing, by someone who waits from now on.
    pub(super) fn new(now: Uptime) -> Self {
        Self { told: BTreeSet::new(), due: now.plus(PATIENCE) }
    }

    /// Says of each queue in which jobs wait what keeps them there, once.
    pub(super) fn voice(&mut self, ctx: &mut Ctx, pending: &[JobId]) -> Result<(), Failure> {
        let now = ctx.config.clock.uptime();
        if now < self.due {
            return Ok(());
        }
        self.due = now.plus(PATIENCE);
        for queue in ctx.store()?.queues()? {
            let name = &queue.name;
            let unserved = format!("no worker serves {name}; start one: qctl work -Q {name}");
            let paused = format!("queue {name} is paused; resume it: qctl queue resume {name}");
            let mut complaints = Vec::new();
            complaints.extend((queue.n_workers == 0).then_some(unserved));
            complaints.extend(queue.paused_at.is_some().then_some(paused));
            complaints.extend(queue.tripped.as_ref().map(|tripped| {
                let why = words::tripped(tripped);
                format!("queue {name} is stopped by its breaker: {why}; have it go on: qctl queue resume {name}")
            }));
            complaints.retain(|complaint| !self.told.contains(complaint));
            if complaints.is_empty() || !holds_any(ctx, name, pending)? {
                continue;
            }
            for complaint in complaints {
                ctx.ui.say(&complaint);
                self.told.insert(complaint);
            }
        }
        Ok(())
    }
}

/// Whether one of these jobs waits in this queue.
fn holds_any(ctx: &mut Ctx, queue: &QueueName, jobs: &[JobId]) -> Result<bool, Failure> {
    for portion in awaited::ranges(jobs).chunks(PORTION) {
        let filter = Filter {
            ids: portion.to_vec(),
            queues: vec![queue.clone()],
            states: WAITING.to_vec(),
            ..Filter::default()
        };
        let page = Page { after: None, limit: 1, oldest_first: true };
        if !ctx.store()?.jobs(&filter, page)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
