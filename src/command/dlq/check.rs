//! `qctl dlq check`

use std::time::Duration;

use clap_complete::ArgValueCandidates;

use crate::command::{Answer, Ctx, complete, value};
use crate::exit::Exit;
use crate::job::{Filter, Group, QueueName};
use crate::render::words;
use crate::ui::Format;

/// Say in one line whether there are too many dead jobs, for monitoring
///
/// Exits 0 where all is well and 1 where it is not, which Nagios takes for a warning; 2 where the command line is wrong,
/// and more where the queue cannot be read. The line ends in figures as Nagios reads them. With no limit given, one
/// dead job is too many.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq check                                          none may be dead
  qctl dlq check -Q mail --max-count 100 --max-age 1d
  0 * * * *  qctl dlq check --new-group 1h >/tmp/dlq || cat /tmp/dlq")]
pub(super) struct Check {
    /// Only these queues
    #[arg(short = 'Q', long, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: Vec<QueueName>,
    /// Not well where more jobs are dead than this
    #[arg(long, value_name = "N")]
    max_count: Option<u64>,
    /// Not well where one has been dead for longer than this
    #[arg(long, value_name = "D", value_parser = value::duration)]
    max_age: Option<Duration>,
    /// Not well where a group appeared for the first time within this
    #[arg(long, value_name = "D", value_parser = value::positive_duration)]
    new_group: Option<Duration>,
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
        let n = groups.iter().map(|group| group.n).sum();
        let age = oldest.map_or(Duration::ZERO, |at| now.since(at));
        let is_new = |group: &&Group| self.new_group.is_some_and(|within| now.since(group.first_at) <= within);
        let new: Vec<&Group> = groups.iter().filter(is_new).collect();
        let wrong = self.wrong(n, age, &new);
        let figures = format!("dead={n} groups={} oldest={}s", groups.len(), age.as_secs());
        let line = if wrong.is_empty() {
            format!("DLQ OK: {} | {figures}", words::count(usize::try_from(n).unwrap_or(usize::MAX), "dead job"))
        } else {
            format!("DLQ WARNING: {} | {figures}", wrong.join(", "))
        };
        match ctx.ui.format {
            Format::Json => {
                let document = serde_json::json!({
                    "v": 1,
                    "is_well": wrong.is_empty(),
                    "dead": n,
                    "groups": groups.len(),
                    "oldest_s": age.as_secs(),
                    "new_groups": new.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(),
                    "wrong": wrong,
                });
                ctx.ui.print(&document.to_string())?;
            }
            Format::Plain | Format::Table => ctx.ui.print(&line)?,
        }
        Ok(if wrong.is_empty() { Exit::Done } else { Exit::BadAnswer })
    }

    /// What is not well, each in a few words.
    fn wrong(&self, n: u64, age: Duration, new: &[&Group]) -> Vec<String> {
        let is_without_limits = self.max_count.is_none() && self.max_age.is_none() && self.new_group.is_none();
        let max_count = self.max_count.or(is_without_limits.then_some(0));
        let mut wrong = Vec::new();
        if let Some(max) = max_count.filter(|&max| n > max) {
            wrong.push(format!(
                "{} (at most {max})",
                words::count(usize::try_from(n).unwrap_or(usize::MAX), "dead job")
            ));
        }
        if let Some(max) = self.max_age.filter(|&max| age > max) {
            wrong.push(format!("the oldest died {} ago (at most {})", words::age(age), words::exact(max)));
        }
        for group in new {
            let text = &group.cause.text;
            wrong.push(format!("new in {}: {} {text} ({})", group.queue, group.name, group.n));
        }
        wrong
    }
}
