//! Which dead jobs a verb deals with, and what it says of them.

use clap_complete::ArgValueCandidates;
use serde_json::Value;

use crate::command::ending::Ending;
use crate::command::{Answer, Ctx, complete, selection, value};
use crate::exit::{Exit, Failure};
use crate::job::{Command, Filter, IdRange, JobId, QueueName, StateKind};
use crate::render::{json, text, words};
use crate::ui::Format;

/// Which dead jobs. Of the options every one must hold.
#[derive(clap::Args, Debug)]
pub(super) struct Which {
    /// The jobs; 3-7 is a range
    #[arg(value_name = "ID", value_parser = value::ids, add = ArgValueCandidates::new(complete::dead_jobs))]
    ids: Vec<IdRange>,
    /// Only jobs of this queue
    #[arg(short = 'Q', long, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    pub(super) queue: Vec<QueueName>,
    #[command(flatten)]
    pub(super) ending: Ending,
    /// Only jobs with this label
    #[arg(short = 'l', long = "label", value_name = "K=V", value_parser = value::label)]
    labels: Vec<(String, String)>,
    /// Only jobs that died since then: an instant, or a duration ago
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// Only jobs that died before then: an instant, or a duration ago
    #[arg(long, value_name = "T")]
    until: Option<String>,
}

impl Which {
    /// Whether anything is asked for beyond queues.
    pub(super) fn is_narrow(&self) -> bool {
        let is_of_times = self.since.is_some() || self.until.is_some();
        !self.ids.is_empty() || self.ending.is_any() || !self.labels.is_empty() || is_of_times
    }

    /// What is asked for.
    ///
    /// # Errors
    ///
    /// Not found, where a queue or a group is not there; usage, where an instant is none.
    pub(super) fn filter(&self, ctx: &mut Ctx) -> Result<Filter, Failure> {
        for queue in &self.queue {
            ctx.known_queue(queue)?;
        }
        let filter = Filter {
            ids: self.ids.clone(),
            queues: self.queue.clone(),
            labels: self.labels.clone(),
            ended_since: self.since.as_deref().map(|text| ctx.past("--since", text)).transpose()?,
            ended_until: self.until.as_deref().map(|text| ctx.past("--until", text)).transpose()?,
            ..Filter::default()
        };
        self.ending.narrow(ctx, filter)
    }

    /// What is asked for as it was typed.
    fn words(&self) -> String {
        let ids = self.ids.iter().map(|range| match range.len() {
            1 => range.first.to_string(),
            _ => format!("{}-{}", range.first, range.last),
        });
        let option = |name: &str, value: &str| {
            let word = Command::Program(vec![value.as_bytes().to_vec()]);
            format!("{name} {}", text::command(Some(&word)))
        };
        let queues = self.queue.iter().map(|queue| option("-Q", queue.as_str()));
        let labels = self.labels.iter().map(|(name, value)| option("-l", &format!("{name}={value}")));
        let since = self.since.iter().map(|since| option("--since", since));
        let until = self.until.iter().map(|until| option("--until", until));
        let ending = self.ending.options().into_iter().map(|(name, value)| option(name, &value));
        queues.chain(ending).chain(labels).chain(since).chain(until).chain(ids).collect::<Vec<_>>().join(" ")
    }

    /// The dead jobs that are meant, at most `limit`, the last to die first.
    ///
    /// # Errors
    ///
    /// Those of [`Self::filter`].
    pub(super) fn dead(&self, ctx: &mut Ctx, limit: usize) -> Result<Vec<JobId>, Failure> {
        let filter = self.filter(ctx)?;
        Ok(ctx.store()?.dead(&filter, limit)?)
    }
}

/// Which dead jobs a verb changes.
#[derive(clap::Args, Debug)]
pub(super) struct Selection {
    #[command(flatten)]
    which: Which,
    /// Every dead job
    #[arg(long, conflicts_with_all = ["ids", "queue", "groups", "reasons", "exit_code", "grep", "labels", "since", "until"])]
    all: bool,
    /// Say what would happen, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Dead jobs, and others with where they stand.
pub(super) type Meant = (Vec<JobId>, Vec<(JobId, StateKind)>);

impl Selection {
    /// Whether nothing is said of which.
    pub(super) fn is_empty(&self) -> bool {
        !self.all && !self.which.is_narrow() && self.which.queue.is_empty()
    }

    /// The dead jobs that are meant, the last to die first, and those that were named and are not dead.
    ///
    /// # Errors
    ///
    /// Usage, where nothing says which jobs; not found, where a queue, a group or a job is not there, or no dead job is
    /// as it is asked for.
    pub(super) fn resolve(&self, ctx: &mut Ctx) -> Result<Meant, Failure> {
        let which = &self.which;
        if self.all {
            return Ok((which.dead(ctx, usize::MAX >> 1)?, Vec::new()));
        }
        if !which.is_narrow() && which.queue.is_empty() {
            let failure = Failure::usage("no dead jobs are named");
            return Err(failure.hint("give job numbers, -Q QUEUE, --group GROUP or --all"));
        }
        let standings = selection::named(ctx.store()?, &which.ids)?;
        let others = standings.into_iter().filter(|(_, state)| *state != StateKind::Dead).collect();
        let dead = which.dead(ctx, usize::MAX >> 1)?;
        // A queue may well have none.
        if dead.is_empty() && which.is_narrow() && which.ids.is_empty() {
            return Err(Failure::not_found("no dead job is like that").hint("see which there are: qctl dlq list"));
        }
        Ok((dead, others))
    }

    /// The selection as it was typed.
    pub(super) fn words(&self) -> String {
        if self.all { "--all".to_owned() } else { self.which.words() }
    }
}

/// The dead jobs of these queues (of all, if none is named), which must exist.
pub(super) fn dead_in(ctx: &mut Ctx, queues: &[QueueName]) -> Result<Vec<JobId>, Failure> {
    for queue in queues {
        ctx.known_queue(queue)?;
    }
    let filter = Filter { queues: queues.to_vec(), ..Filter::default() };
    Ok(ctx.store()?.dead(&filter, usize::MAX >> 1)?)
}

/// Says which of the named jobs are not dead; answers how many.
pub(super) fn skip(ctx: &Ctx, others: &[(JobId, StateKind)]) -> usize {
    for (id, state) in others {
        ctx.ui.say(format_args!("job {id} is {}, not dead", state.name()));
    }
    others.len()
}

pub(super) fn would(ctx: &Ctx, verb: &str, ids: &[JobId]) -> Answer {
    match ctx.ui.format {
        Format::Json => ctx.ui.print(&json::document(&format!("would_{verb}"), json::ids(ids)))?,
        Format::Table | Format::Plain => {
            ctx.ui.say(format_args!("would {verb} {}", words::count(ids.len(), "job")));
            let lines: Vec<String> = ids.iter().map(ToString::to_string).collect();
            ctx.ui.print(&lines.join("\n"))?;
        }
    }
    Ok(Exit::Done)
}

pub(super) fn done(ctx: &Ctx, document: &Value, (what, n): (&str, usize), n_skipped: usize) -> Answer {
    if ctx.ui.format == Format::Json {
        ctx.ui.print(&document.to_string())?;
    } else {
        ctx.ui.hint(format_args!("{what} {}", words::count(n, "job")));
    }
    Ok(if n_skipped > 0 { Exit::Refused } else { Exit::Done })
}
