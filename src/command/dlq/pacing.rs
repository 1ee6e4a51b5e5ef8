//! How a requeue goes: how fast, in which order, what first, and how the jobs come back.

use std::time::Duration;

use clap_complete::ArgValueCandidates;

use crate::command::{complete, value};
use crate::job::{JobId, Order, QueueName, Rate, Revival, StepPath, Tempo, Trial};

/// What goes first, and how fast the rest follows.
#[derive(clap::Args, Debug)]
pub(super) struct Pacing {
    /// These many first: the rest follows only if they succeed
    #[arg(long, value_name = "N", value_parser = value::jobs)]
    sample: Option<usize>,
    /// It is enough if so many percent of the sample succeed [default: 100]
    #[arg(long, value_name = "PCT", value_parser = value::percent, requires = "sample")]
    if_ok: Option<u8>,
    /// No faster than this: 10/s, 600/m, 5/h
    #[arg(long, value_name = "N/s", value_parser = value::rate, conflicts_with = "ramp")]
    rate: Option<Rate>,
    /// At a rate that rises evenly within five minutes: 1/s..50/s; or within another time: 1/s..50/s,10m
    #[arg(long, value_name = "FROM..TO[,D]", value_parser = value::ramp)]
    ramp: Option<Tempo>,
    /// Leave it to the workers, and do not wait for the sample
    #[arg(long)]
    pub(super) detach: bool,
}

impl Pacing {
    /// What goes first.
    pub(super) fn trial(&self) -> Option<Trial> {
        self.sample.map(|n| Trial { n, if_ok: self.if_ok.unwrap_or(100) })
    }

    /// How fast the rest follows.
    pub(super) fn tempo(&self) -> Tempo {
        self.ramp.or(self.rate.map(Tempo::Even)).unwrap_or_default()
    }

    /// Whether it takes its time, and is recorded as a task.
    pub(super) fn takes_time(&self) -> bool {
        self.sample.is_some() || self.tempo() != Tempo::AtOnce
    }
}

/// Which of the selected jobs come back, in which order, and what is changed of them.
#[derive(clap::Args, Debug)]
pub(super) struct Return {
    /// At most this many
    #[arg(long, value_name = "N", value_parser = value::jobs)]
    limit: Option<usize>,
    /// Which first: oldest, the first to die; newest, the last; or random
    #[arg(long, value_name = "ORDER", value_parser = value::order, default_value = "oldest")]
    order: Order,
    /// Into this queue [default: the one that each was in]
    #[arg(long, value_name = "QUEUE", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    to: Option<QueueName>,
    /// Each to run only after this time
    #[arg(long, value_name = "D", value_parser = value::duration)]
    delay: Option<Duration>,
    /// How often each is tried from now on, 1 to 1000 [default: as before]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_attempts: Option<u32>,
    /// Run this recorded step again, and all that was begun after it [default: none that is recorded]
    #[arg(long, value_name = "NAME", value_parser = value::step)]
    pub(super) from_step: Option<StepPath>,
}

impl Return {
    /// Those of these jobs, of which the last to die is the first, that come back, in their order.
    pub(super) fn arrange(&self, mut jobs: Vec<JobId>) -> Vec<JobId> {
        jobs.reverse();
        self.order.arrange(&mut jobs, |below| fastrand::usize(..below));
        jobs.truncate(self.limit.unwrap_or(usize::MAX));
        jobs
    }

    /// How they come back.
    pub(super) fn revival(&self) -> Revival {
        Revival {
            to: self.to.clone(),
            delay: self.delay,
            max_attempts: self.max_attempts,
            from_step: self.from_step.clone(),
        }
    }
}
