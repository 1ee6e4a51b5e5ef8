//! `qctl queue set`

use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use clap_complete::ArgValueCandidates;

use super::Show;
use crate::command::value::{self, Breaker, Codes, HookLine, Limit, Rows, Rule};
use crate::command::{Answer, Ctx, complete, job_options};
use crate::config;
use crate::exit::{Exit, Failure};
use crate::job::{Backoff, Hook, Jitter, QueueName, QueueSettings};
use crate::ui::Format;

/// Set what jobs of a queue get where their push does not say, making the queue if need be
///
/// A circuit breaker (--breaker '20 of 50') stops the queue once 20 of its last 50 attempts have failed of one cause: the
/// exit status or signal and the last line of stderr without the parts that vary, or what --group-by finds in it. What
/// waits then keeps its attempts. One job is tried each --breaker-probe, each time another; if it fails of that cause
/// too, this is not counted as one of its attempts. Once one succeeds the queue goes on. qctl queue resume has it go
/// on at once.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl queue set mail --max-attempts 10 --backoff exp:30s..6h
  qctl queue set mail --group-by '(\\w+Error)'
  qctl queue set mail --on-dead './page.sh \"$QCTL_DEAD_ERROR\"' --on-dead-every 15m
  qctl queue set mail --keep-dead 30d --keep-dead-rows 1000
  qctl queue set mail --breaker '20 of 50' --breaker-probe 30s
  qctl queue set ci --keep 2d --keep-rows 5000 --timeout 15m")]
pub(super) struct Set {
    /// The queue
    #[arg(value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: QueueName,
    /// How often a job is tried, 1 to 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_attempts: Option<u32>,
    /// Pause between attempts: exp:BASE..CAP, fixed:D, list:D,D,…
    #[arg(long, value_name = "P", value_parser = value::backoff)]
    backoff: Option<Backoff>,
    /// Share of each pause drawn at random: none, half, full
    #[arg(long, value_name = "J", value_parser = value::jitter)]
    jitter: Option<Jitter>,
    /// How long each attempt may take
    #[arg(long, value_name = "D|none", value_parser = value::positive_or_none)]
    timeout: Option<Limit>,
    /// From TERM to KILL, when an attempt is stopped
    #[arg(long, value_name = "D", value_parser = value::duration)]
    kill_after: Option<Duration>,
    /// Exit statuses that are final, such as 65,100-110, or none
    #[arg(long, value_name = "CODES", value_parser = value::codes)]
    dead_on: Option<Codes>,
    /// -100 to 100, higher first
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-100..=100))]
    priority: Option<i32>,
    /// How long finished jobs are kept; dead ones are kept until you decide
    #[arg(long, value_name = "D|none", value_parser = value::positive_or_none)]
    keep: Option<Limit>,
    /// How many finished jobs are kept, the newest
    #[arg(long, value_name = "N|none", value_parser = value::rows_or_none)]
    keep_rows: Option<Rows>,
    /// Which dead jobs belong together: what this regular expression finds in their errors, or its groups
    #[arg(long, value_name = "REGEX|none", value_parser = value::group_rule)]
    group_by: Option<Rule>,
    /// What is run when a job dies: a line for the shell, as a job of the queue NAME.on-dead
    ///
    /// It runs in the folder in which this is called, with the PATH, LANG, LC_* and TZ of this call; a
    /// worker that serves NAME by its name serves that queue too, also while NAME is paused. Its
    /// standard input is one line of JSON about the dead job, and QCTL_DEAD_ID, _QUEUE, _GROUP, _REASON
    /// and _ERROR are set. The group is its key: it tells of the first death of a cause, and for
    /// --on-dead-every that counts for all others of it. A hook that dies calls none.
    #[arg(long, value_name = "CMD|none", value_parser = value::hook_line)]
    on_dead: Option<HookLine>,
    /// How long one such run counts for all that die of one cause [default: 1h]
    #[arg(long, value_name = "D", value_parser = value::positive_duration)]
    on_dead_every: Option<Duration>,
    /// For how long a job may be dead before queue show, stats, dlq and doctor say so; nothing is dropped
    #[arg(long, value_name = "D|none", value_parser = value::positive_or_none)]
    keep_dead: Option<Limit>,
    /// How many jobs may be dead before they say so; nothing is dropped
    #[arg(long, value_name = "N|none", value_parser = value::rows_or_none)]
    keep_dead_rows: Option<Rows>,
    /// Stop the queue once so many of its last attempts failed of one cause, such as '20 of 50'
    #[arg(long, value_name = "N of M|none", value_parser = value::breaker)]
    breaker: Option<Breaker>,
    /// How long until the next job is tried in a queue that is so stopped
    #[arg(long, value_name = "D", value_parser = value::kept_duration)]
    breaker_probe: Option<Duration>,
}

impl Set {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let own = self.own()?;
        let queue = self.queue;
        if own == QueueSettings::default() {
            return Err(Failure::usage("nothing is set").hint(format!("qctl queue show {queue} shows what can be")));
        }
        ctx.store_or_create()?.configure(&queue, &mut |settings| {
            *settings = own.clone().or(std::mem::take(settings));
        })?;
        if ctx.ui.format == Format::Json { Show { queue }.run(ctx) } else { Ok(Exit::Done) }
    }

    /// What is set.
    fn own(&self) -> Result<QueueSettings, Failure> {
        Ok(QueueSettings {
            max_attempts: self.max_attempts,
            backoff: self.backoff.clone(),
            jitter: self.jitter,
            timeout: self.timeout.map(|Limit(timeout)| timeout),
            kill_after: self.kill_after,
            dead_on: self.dead_on.clone().map(|Codes(codes)| codes),
            priority: self.priority,
            keep: self.keep.map(|Limit(keep)| keep),
            keep_rows: self.keep_rows.map(|Rows(rows)| rows),
            group_by: self.group_by.clone().map(|Rule(rule)| rule),
            on_dead: self.hook()?,
            on_dead_every: self.on_dead_every,
            keep_dead: self.keep_dead.map(|Limit(keep)| keep),
            keep_dead_rows: self.keep_dead_rows.map(|Rows(rows)| rows),
            breaker: self.breaker.map(|Breaker(rule)| rule),
            breaker_probe: self.breaker_probe,
        })
    }

    /// The hook, as it is to run from here.
    fn hook(&self) -> Result<Option<Option<Hook>>, Failure> {
        let Some(HookLine(line)) = &self.on_dead else { return Ok(None) };
        let Some(line) = line else { return Ok(Some(None)) };
        let queue = &self.queue;
        if queue.has_hooks_of().is_some() {
            return Err(Failure::usage(format!("--on-dead: {queue} is a queue of hooks, and those have none"))
                .hint("a hook that fails is tried again, and ends in the dead letters of its queue"));
        }
        if queue.on_dead().is_none() {
            return Err(Failure::usage(format!("--on-dead: the name {queue} is too long for a queue {queue}.on-dead"))
                .hint(format!("a name has at most {} characters", QueueName::MAX_LEN)));
        }
        let cwd = job_options::cwd(None)?.into_os_string().into_vec();
        Ok(Some(Some(Hook { line: line.clone(), cwd, env: config::kept_variables() })))
    }
}
