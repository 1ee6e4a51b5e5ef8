//! `qctl update`

use std::time::Duration;

use clap_complete::ArgValueCandidates;

use super::value::{self, Limit};
use super::{Answer, Ctx, complete, selection};
use crate::exit::{Exit, Failure};
use crate::job::{Due, IdRange, JobChange, JobId, QueueName, StateKind};
use crate::render::json::Change;
use crate::render::words;
use crate::store::Updated;

/// Change jobs that are not done with
///
/// What runs keeps its place and its time; its priority, timeout and number of attempts hold from the
/// next attempt on. What has ended is not changed: put it back first, with retry.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl update 42 --priority 10        ahead of its queue
  qctl update 42 --delay 2h           not before two hours from now
  qctl update 42 --delay 0s           at once
  qctl update 40-49 --queue slow      to another queue")]
pub(crate) struct Update {
    /// The jobs; 3-7 is a range
    #[arg(required = true, value_name = "ID", value_parser = value::ids, add = ArgValueCandidates::new(complete::open_jobs))]
    ids: Vec<IdRange>,
    /// -100 to 100, higher first
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-100..=100))]
    priority: Option<i32>,
    /// Not before this long from now
    #[arg(long, value_name = "D", value_parser = value::duration, conflicts_with = "at")]
    delay: Option<Duration>,
    /// Not before this instant: RFC 3339, a local date and time, HH:MM, @EPOCH
    #[arg(long, value_name = "T")]
    at: Option<String>,
    /// The queue to move to, made if need be
    #[arg(short = 'Q', long, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: Option<QueueName>,
    /// How long each further attempt may take
    #[arg(long, value_name = "D|none", value_parser = value::positive_or_none)]
    timeout: Option<Limit>,
    /// How often it is tried, 1 to 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_attempts: Option<u32>,
}

impl Update {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let change = self.change(ctx)?;
        if change == JobChange::default() {
            return Err(Failure::usage("nothing is to be changed").hint("say what: see qctl update --help"));
        }
        let jobs = selection::named(ctx.store()?, &self.ids)?;
        let mut changes = Vec::new();
        let done = update(ctx, &jobs, &change, &mut changes);
        // Also where it broke off: those before are ready, and someone may wait for them.
        let is_ready = |one: &&Change| one.outcome == UPDATED && one.state == Some(StateKind::Ready);
        let ready: Vec<JobId> = changes.iter().filter(is_ready).map(|one| one.id).collect();
        ctx.announce_jobs(&ready)?;
        let exit = done?;
        ctx.answer_changes(&changes)?;
        Ok(exit)
    }

    fn change(&self, ctx: &Ctx) -> Result<JobChange, Failure> {
        let now = ctx.now();
        let at = match &self.at {
            Some(text) => {
                let zone = (ctx.ui.look.zone)();
                let at = value::instant(text, now, &zone).map_err(|error| Failure::usage(format!("--at: {error}")))?;
                ctx.ui.say(format_args!("not before {}", words::both(at, &ctx.ui.look)));
                Some(at)
            }
            None => self.delay.map(|delay| now.plus(delay)),
        };
        Ok(JobChange {
            priority: self.priority,
            due: at.map(|at| if at > now { Due::At(at) } else { Due::Now }),
            queue: self.queue.clone(),
            timeout: self.timeout.map(|Limit(timeout)| timeout),
            max_attempts: self.max_attempts,
        })
    }
}

/// The outcome of a job that is as was asked.
const UPDATED: &str = "updated";

fn update(ctx: &mut Ctx, jobs: &[(JobId, StateKind)], change: &JobChange, changes: &mut Vec<Change>) -> Answer {
    let now = ctx.now();
    let mut exit = Exit::Done;
    for &(id, before) in jobs {
        let mut holder = None;
        let (outcome, state) = match ctx.store()?.update(id, change, now)? {
            Updated::Done(state) => {
                ctx.ui.hint(format_args!("updated job {id}, which is {}", state.name()));
                (UPDATED, Some(state))
            }
            Updated::WrongState(state) => {
                ctx.ui.say(format_args!("job {id} is {}; that cannot be changed now", state.name()));
                exit = exit.or(Exit::Refused);
                ("refused", Some(state))
            }
            Updated::KeyTaken(other) => {
                ctx.ui.say(format_args!("job {id} stays as it is: job {other} holds its key there"));
                holder = Some(other);
                exit = exit.or(Exit::Refused);
                ("key_taken", Some(before))
            }
            Updated::Unknown => {
                exit = exit.or(Exit::NotFound);
                ("not_found", None)
            }
        };
        changes.push(Change { id, outcome, state, holder });
    }
    Ok(exit)
}
