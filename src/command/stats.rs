//! `qctl stats`

use clap_complete::ArgValueCandidates;

use super::{Answer, Ctx, complete, value};
use crate::exit::{Exit, Failure};
use crate::job::QueueName;
use crate::render::{json, plain, table};
use crate::ui::Format;

/// Count jobs by queue and state, with the oldest that waits
#[derive(clap::Args, Debug)]
pub(crate) struct Stats {
    /// Only this queue
    #[arg(value_name = "QUEUE", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: Option<QueueName>,
}

impl Stats {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let mut queues = ctx.store()?.queues()?;
        if let Some(name) = &self.queue {
            queues.retain(|queue| queue.name == *name);
            if queues.is_empty() {
                return Err(Failure::not_found(format!("there is no queue {name}")).hint("qctl queue list"));
            }
        }
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => {
                let queues: Vec<_> = queues.iter().map(|queue| json::queue(queue, look.now)).collect();
                ctx.ui.print(&serde_json::json!({ "v": 1, "since": null, "queues": queues }).to_string())?;
            }
            Format::Plain => ctx.ui.print(&plain::queues(&queues, look))?,
            Format::Table if queues.is_empty() => ctx.ui.hint("no queues"),
            Format::Table => ctx.ui.print(&table::queues(&queues, look))?,
        }
        Ok(Exit::Done)
    }
}
