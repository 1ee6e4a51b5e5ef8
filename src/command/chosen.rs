//! The jobs that a verb deals with, by their numbers or by what is true of them.

use clap_complete::ArgValueCandidates;

use super::ending::Ending;
use super::{Ctx, complete, selection, value};
use crate::exit::Failure;
use crate::job::{Filter, IdRange, JobId, QueueName, StateKind};

/// Which jobs. Of the options every one must hold.
#[derive(clap::Args, Debug)]
pub(crate) struct Chosen {
    /// The jobs; 3-7 is a range
    #[arg(value_name = "ID", value_parser = value::ids, add = ArgValueCandidates::new(complete::jobs))]
    pub(crate) ids: Vec<IdRange>,
    /// Only jobs of this queue
    #[arg(short = 'Q', long, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    pub(crate) queue: Vec<QueueName>,
    /// Only jobs in these states
    #[arg(short = 's', long = "state", value_name = "STATE", value_delimiter = ',', value_parser = value::state)]
    pub(crate) states: Vec<StateKind>,
    /// Only jobs with this label
    #[arg(short = 'l', long = "label", value_name = "K=V", value_parser = value::label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Only jobs pushed since then: an instant, or a duration ago
    #[arg(long, value_name = "T")]
    pub(crate) since: Option<String>,
    /// Only jobs pushed before then: an instant, or a duration ago
    #[arg(long, value_name = "T")]
    pub(crate) until: Option<String>,
    #[command(flatten)]
    pub(crate) ending: Ending,
}

impl Chosen {
    /// Whether anything but numbers says which jobs are meant.
    pub(crate) fn is_by_traits(&self) -> bool {
        let Self { ids: _, queue, states, labels, since, until, ending } = self;
        let is_any = !queue.is_empty() || !states.is_empty() || !labels.is_empty() || ending.is_any();
        is_any || since.is_some() || until.is_some()
    }

    /// The jobs, with where they stand: those of these numbers, or, where traits are given, those of them that have
    /// these. Of all jobs that have the traits only those in one of `states` are meant, unless states are among them.
    ///
    /// # Errors
    ///
    /// Usage, where nothing says which jobs; not found, where a queue or a group is not there, a number is no job's, or
    /// no job has the traits.
    pub(crate) fn resolve(&self, ctx: &mut Ctx, states: &[StateKind]) -> Result<Vec<(JobId, StateKind)>, Failure> {
        if !self.is_by_traits() {
            if self.ids.is_empty() {
                let failure = Failure::usage("no jobs are named");
                return Err(failure.hint("give job numbers, or say which: -Q QUEUE, -l LABEL=VALUE, --help for more"));
            }
            return selection::named(ctx.store()?, &self.ids);
        }
        // A number that is no job's is a slip, whatever else is said.
        selection::named(ctx.store()?, &self.ids)?;
        let filter = self.filter(ctx, states)?;
        let found = ctx.store()?.matching(&filter)?;
        if found.is_empty() {
            return Err(Failure::not_found("no job is like that").hint("see which there are: qctl list"));
        }
        Ok(found)
    }

    /// What is asked for, in one of `states` unless states are asked for.
    pub(crate) fn filter(&self, ctx: &mut Ctx, states: &[StateKind]) -> Result<Filter, Failure> {
        for queue in &self.queue {
            ctx.known_queue(queue)?;
        }
        let filter = Filter {
            ids: self.ids.clone(),
            queues: self.queue.clone(),
            states: if self.states.is_empty() { states.to_vec() } else { self.states.clone() },
            labels: self.labels.clone(),
            since: self.since.as_deref().map(|text| ctx.past("--since", text)).transpose()?,
            until: self.until.as_deref().map(|text| ctx.past("--until", text)).transpose()?,
            ..Filter::default()
        };
        self.ending.narrow(ctx, filter)
    }
}
