//! `qctl dlq check`

use std::time::Duration;

use clap_complete::ArgValueCandidates;
use serde_json::json;

use crate::command::{Answer, Ctx, complete, excess, value};
use crate::exit::{Exit, Failure};
use crate::job::{Filter, Group, Queue, QueueName, StateKind};
use crate::render::{excess as words_of_excess, text, words};
use crate::ui::Format;

/// Say in one line whether there are too many dead jobs, for monitoring
///
/// Exits 0 where all is well and 1 where it is not, which Nagios takes for a warning; 2 where the command line is
/// wrong, 3 where there is no such queue or file, and more where it cannot be read. The line ends in figures as Nagios
/// reads them. With no option that says what is not well, that is each queue's own matter: queue set --keep-dead and
/// --keep-dead-rows; in a queue for which neither was ever set, one dead job is too many.
///
/// A group that is new is told for as long as --new-group says, so a cron line that looks every hour asks for a little
/// more than one: rather twice than never. To hear of it as it happens there is queue set --on-dead.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq check                                          by what is set for each queue
  qctl dlq check -Q mail --max-count 100 --max-age 1d
  0 * * * *  out=$(qctl dlq check --new-group 61m) || echo \"$out\"    # cron mails what it prints")]
pub(super) struct Check {
    /// Only these queues
    #[arg(short = 'Q', long, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: Vec<QueueName>,
    /// Not well where more jobs than this are dead, in all these queues together
    #[arg(long, value_name = "N")]
    max_count: Option<u64>,
    /// Not well where one has been dead for longer than this
    #[arg(long, value_name = "D", value_parser = value::duration)]
    max_age: Option<Duration>,
    /// Not well where a group appeared for the first time within this
    #[arg(long, value_name = "D", value_parser = value::positive_duration)]
    new_group: Option<Duration>,
}

/// How many new groups are told one by one: it is one line.
const MAX_TOLD: usize = 5;

/// What is dead.
struct Found<'g> {
    n: u64,
    n_groups: usize,
    /// For how long the first of them has been.
    age: Duration,
    /// Those that appeared lately, the largest first.
    new: Vec<&'g Group>,
}

impl Check {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        for queue in &self.queue {
            ctx.known_queue(queue)?;
        }
        let now = ctx.now();
        let filter = Filter { queues: self.queue.clone(), ..Filter::default() };
        let groups = ctx.store()?.groups(&filter)?;
        let oldest = ctx.store()?.oldest_death(&self.queue)?;
        let is_new = |group: &&Group| self.new_group.is_some_and(|within| now.since(group.first_at) <= within);
        let found = Found {
            n: groups.iter().map(|group| group.n).sum(),
            n_groups: groups.len(),
            age: oldest.map_or(Duration::ZERO, |at| now.since(at)),
            new: groups.iter().filter(is_new).collect(),
        };
        let wrong = if self.has_limits() { self.beyond(&found) } else { self.beyond_own(ctx)? };
        self.tell(ctx, &found, &wrong)?;
        Ok(if wrong.is_empty() { Exit::Done } else { Exit::BadAnswer })
    }

    fn has_limits(&self) -> bool {
        self.max_count.is_some() || self.max_age.is_some() || self.new_group.is_some()
    }

    fn tell(&self, ctx: &Ctx, found: &Found<'_>, wrong: &[String]) -> Result<(), Failure> {
        let is_well = wrong.is_empty();
        if ctx.ui.format == Format::Json {
            let document = json!({
                "v": 1,
                "is_well": is_well,
                "dead": found.n,
                "groups": found.n_groups,
                "oldest_s": found.age.as_secs(),
                "new_groups": found.new.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(),
                "wrong": wrong,
            });
            return ctx.ui.print(&document.to_string());
        }
        let what = if is_well { dead_jobs(found.n) } else { wrong.join(", ") };
        let word = if is_well { "OK" } else { "WARNING" };
        ctx.ui.print(&format!("DLQ {word}: {what} | {}", self.figures(found)))
    }

    /// What Nagios reads: a name, the value, and the value beyond which it is not well.
    fn figures(&self, found: &Found<'_>) -> String {
        let limit = |limit: Option<u64>| limit.map_or(String::new(), |limit| format!(";{limit}"));
        format!(
            "dead={}{} groups={} oldest={}s{}",
            found.n,
            limit(self.max_count),
            found.n_groups,
            found.age.as_secs(),
            limit(self.max_age.map(|max| max.as_secs()))
        )
    }

    /// What is not well by the options, each in a few words.
    fn beyond(&self, found: &Found<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(max) = self.max_count.filter(|&max| found.n > max) {
            wrong.push(format!("{} (at most {max})", dead_jobs(found.n)));
        }
        if let Some(max) = self.max_age.filter(|&max| found.age > max) {
            wrong.push(format!("the oldest died {} ago (at most {})", words::age(found.age), words::exact(max)));
        }
        wrong.extend(found.new.iter().take(MAX_TOLD).map(|group| told(group)));
        let n_more = found.new.len().saturating_sub(MAX_TOLD);
        if n_more > 0 {
            wrong.push(format!("{n_more} more that are new"));
        }
        wrong
    }

    /// What is not well by what is set for each queue.
    fn beyond_own(&self, ctx: &mut Ctx) -> Result<Vec<String>, Failure> {
        let now = ctx.now();
        let store = ctx.store()?;
        let mut wrong = Vec::new();
        for queue in store.queues()?.iter().filter(|queue| self.queue.is_empty() || self.queue.contains(&queue.name)) {
            if queue.settings.limits_dead() {
                let beyond = excess::of(store, queue, now)?;
                wrong.extend(beyond.map(|beyond| words_of_excess::sentence(&queue.name, &beyond)));
            } else {
                wrong.extend(any_dead(queue));
            }
        }
        Ok(wrong)
    }
}

/// In a queue for which nothing is set there are to be none.
fn any_dead(queue: &Queue) -> Option<String> {
    let n = u64::try_from(queue.tally.get(StateKind::Dead)).unwrap_or(0);
    (n > 0).then(|| format!("queue {} has {}", queue.name, dead_jobs(n)))
}

fn dead_jobs(n: u64) -> String {
    words::count(usize::try_from(n).unwrap_or(usize::MAX), "dead job")
}

/// A group that is new, in a few words. A job chose them: they must not end the line, nor begin the figures.
fn told(group: &Group) -> String {
    let cause = text::safe(group.cause.text.as_bytes()).replace('|', "/");
    format!("new in {}: {cause} ({} of group {})", group.queue, group.n, group.name)
}
