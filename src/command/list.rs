//! `qctl list`

use clap_complete::ArgValueCandidates;

use super::ending::Ending;
use super::{Answer, Ctx, complete, value};
use crate::exit::Exit;
use crate::job::{Filter, JobId, Page, QueueName, StateKind};
use crate::render::field::Field;
use crate::render::{json, plain, table};
use crate::ui::Format;

/// List jobs, the newest first
///
/// In a pipe: id, queue, state, attempt, max_attempts, created_at and command, parted by tabs.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl list -s running
  qctl list -Q mail --since 2h --limit 200
  qctl list -l build=481 -F id,state,error
  qctl list --grep 'rsync.*/srv' --exit-code 23
  qctl list --limit 100 --after 4711       the next page")]
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
    #[command(flatten)]
    ending: Ending,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value::limit)]
    limit: usize,
    /// The oldest first
    #[arg(long)]
    reverse: bool,
    /// Only jobs that come after this one in the list: the next page
    #[arg(long, value_name = "ID", value_parser = value::id)]
    after: Option<JobId>,
    /// Only these fields, parted by commas and named as in the JSON
    #[arg(short = 'F', long, value_name = "FIELDS", value_delimiter = ',', value_parser = value::field)]
    fields: Vec<Field>,
}

impl List {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        for queue in &self.queue {
            ctx.known_queue(queue)?;
        }
        let filter = Filter {
            since: self.since.as_deref().map(|text| ctx.past("--since", text)).transpose()?,
            until: self.until.as_deref().map(|text| ctx.past("--until", text)).transpose()?,
            queues: self.queue,
            states: self.states,
            labels: self.labels,
            ..Filter::default()
        };
        let filter = self.ending.narrow(ctx, filter)?;
        let store = ctx.store()?;
        let page = Page { after: self.after, limit: self.limit, oldest_first: self.reverse };
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
        if let Some(last) = jobs.last()
            && jobs.len() == self.limit
        {
            ctx.ui.hint(format_args!("there may be more: add --after {}", last.id));
        }
        Ok(Exit::Done)
    }
}
