//! `qctl list`

use clap_complete::ArgValueCandidates;

use super::{Answer, Ctx, complete, value};
use crate::exit::{Exit, Failure};
use crate::job::{Filter, Page, QueueName, StateKind};
use crate::render::field::Field;
use crate::render::{json, plain, table};
use crate::ui::Format;

/// List jobs, the newest first
///
/// In a pipe: id, queue, state, attempt, max_attempts, created_at and command, parted by tabs.
#[derive(clap::Args, Debug)]
pub(crate) struct List {
    /// Only this queue
    #[arg(short = 'Q', long, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: Vec<QueueName>,
    /// Only these states
    #[arg(short = 's', long = "state", value_name = "STATE", value_delimiter = ',', value_parser = value::state)]
    states: Vec<StateKind>,
    /// Only jobs with this label
    #[arg(short = 'l', long = "label", value_name = "K=V", value_parser = value::label)]
    labels: Vec<(String, String)>,
    /// Only jobs pushed since then: an instant, or a duration ago
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// Only jobs pushed before then: an instant, or a duration ago
    #[arg(long, value_name = "T")]
    until: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value::limit)]
    limit: usize,
    /// The oldest first
    #[arg(long)]
    reverse: bool,
    /// Only these fields, parted by commas and named as in the JSON
    #[arg(short = 'F', long, value_name = "FIELDS", value_delimiter = ',', value_parser = value::field)]
    fields: Vec<Field>,
}

impl List {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let filter = Filter {
            ids: Vec::new(),
            since: self.since.as_deref().map(|text| when(ctx, "--since", text)).transpose()?,
            until: self.until.as_deref().map(|text| when(ctx, "--until", text)).transpose()?,
            queues: self.queue,
            states: self.states,
            labels: self.labels,
        };
        let store = ctx.store()?;
        for queue in &filter.queues {
            if store.settings(queue)?.is_none() {
                return Err(Failure::not_found(format!("there is no queue {queue}")).hint("qctl queue list"));
            }
        }
        let page = Page { after: None, limit: self.limit, oldest_first: self.reverse };
        let jobs = store.jobs(&filter, page)?;
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => {
                let jobs = jobs.iter().map(|job| json::fields(job, &self.fields));
                ctx.ui.print(&json::document("jobs", jobs.collect()))?;
            }
            Format::Plain if self.fields.is_empty() => ctx.ui.print(&plain::jobs(&jobs, &Field::PLAIN, look))?,
            Format::Plain => ctx.ui.print(&plain::jobs(&jobs, &self.fields, look))?,
            Format::Table if jobs.is_empty() => ctx.ui.hint("no jobs"),
            Format::Table if self.fields.is_empty() => ctx.ui.print(&table::jobs(&jobs, look))?,
            Format::Table => ctx.ui.print(&table::fields(&jobs, &self.fields, look))?,
        }
        Ok(Exit::Done)
    }
}

/// An instant, or how long ago.
fn when(ctx: &Ctx, option: &str, text: &str) -> Result<crate::clock::Timestamp, Failure> {
    let now = ctx.now();
    if let Ok(ago) = value::duration(text) {
        return Ok(now.minus(ago));
    }
    value::instant(text, now, &(ctx.ui.look.zone)())
        .map_err(|error| Failure::usage(format!("{option}: {error}, or a duration such as 2h")))
}
