//! `qctl work`

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap_complete::ArgValueCandidates;

use super::value::{self, Limit};
use super::{Answer, Ctx, complete, shared};
use crate::clock::Clock as _;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::job::{Event, QueueName, QueuePattern, Reason, Verdict};
use crate::render::event::{self, Obituary};
use crate::render::{Look, json, text, words};
use crate::store::{self, Access, Target};
use crate::ui::{Format, Ui};
use crate::worker::{self, Plan, Sole, StopRules, Summary, Surroundings};

/// Run jobs
///
/// Without -Q it serves every queue that is not paused. Who serves a queue by its name serves the
/// queue of its hooks too: mail.on-dead with mail (queue set --on-dead). Without a handler each job's
/// own command runs; with one, the handler runs with the job's arguments appended and its payload on
/// standard input, but hooks run as they are. The first INT or TERM lets running jobs finish, a second hands them back, a third kills.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl work -j 4                     until told to stop
  qctl work --drain                  until nothing is due
  qctl work -Q 'mail.*' -- ./send    payloads of these queues to a handler
  * * * * * qctl work --cron --max-time 55s      a line for crontab: silence means all is well")]
pub(crate) struct Work {
    /// Queues to serve, parted by commas; * stands for any characters
    #[arg(short = 'Q', long = "queue", value_name = "NAME", value_delimiter = ',', value_parser = value::pattern, add = ArgValueCandidates::new(complete::queues))]
    queues: Vec<QueuePattern>,
    /// Jobs to run at the same time
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = n_slots)]
    jobs: usize,
    /// Stop after one job
    #[arg(long, conflicts_with = "max_jobs")]
    once: bool,
    /// Stop when nothing is due and nothing runs
    #[arg(long)]
    drain: bool,
    /// Stop after this many jobs
    #[arg(long, value_name = "N", value_parser = n_jobs)]
    max_jobs: Option<usize>,
    /// Take no new job after this time
    #[arg(long, value_name = "D", value_parser = value::duration)]
    max_time: Option<Duration>,
    /// Stop after this long without work
    #[arg(long, value_name = "D", value_parser = value::duration)]
    idle_exit: Option<Duration>,
    /// With --drain: also wait for what falls due within this time
    #[arg(long, value_name = "D", default_value = "0s", value_parser = value::duration)]
    wait_due: Duration,
    /// How long it may be silent before others take its jobs
    #[arg(long, value_name = "D", default_value = "30s", value_parser = lease)]
    lease: Duration,
    /// How long running jobs get after the first INT or TERM
    #[arg(long, value_name = "D|none", default_value = "30s", value_parser = value::duration_or_none)]
    grace: Limit,
    /// At most one such worker on this queue file; another exits 0 at once
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "default", value_parser = value::queue)]
    lock: Option<QueueName>,
    /// --drain --lock --quiet, and a block on stdout for each job that died
    #[arg(long)]
    cron: bool,
    /// Exit 1 if a job died in this run
    #[arg(long)]
    exit_status: bool,
    /// Work a queue that others can write, who can so run commands as you
    #[arg(long)]
    allow_shared: bool,
    /// A line per event on stderr
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    log: Log,
    /// What gets each job, instead of the job's own command
    #[arg(value_name = "HANDLER", last = true)]
    handler: Vec<OsString>,
}

/// The words of `--log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Log {
    /// For people
    Human,
    /// JSON Lines
    Json,
    /// Nothing
    None,
}

fn n_slots(text: &str) -> Result<usize, String> {
    let n = text.parse().ok().filter(|n| (1..=1000).contains(n));
    n.ok_or_else(|| "write a number from 1 to 1000".to_owned())
}

fn n_jobs(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "write a number from 1 on".to_owned())
}

/// A lease so short that a busy machine would lose it is worse than none.
fn lease(text: &str) -> Result<Duration, String> {
    let lease = value::duration(text)?;
    if lease >= Duration::from_secs(1) { Ok(lease) } else { Err("a lease is at least 1s".to_owned()) }
}

impl Work {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let around = self.surroundings(ctx)?;
        let _sole = match self.lock_name() {
            Some(name) => match Sole::claim(&around.bells, &name) {
                Ok(Some(sole)) => Some(sole),
                Ok(None) => {
                    Reporter::new(&self, ctx, &around).sum_up(&Summary::default())?;
                    return Ok(Exit::Done);
                }
                Err(error) => return Err(Failure::refused(format!("the lock {name} could not be taken: {error}"))),
            },
            None => None,
        };
        let plan = self.plan()?;
        let mut reporter = Reporter::new(&self, ctx, &around);
        let summary = worker::run(&plan, &around, &mut |event| reporter.report(event))?;
        reporter.sum_up(&summary)?;
        Ok(if self.exit_status && summary.n_dead > 0 { Exit::BadAnswer } else { Exit::Done })
    }

    fn lock_name(&self) -> Option<String> {
        let name = self.lock.as_ref().map(ToString::to_string);
        // A crontab's lines for different queues do not keep each other out.
        let default = || {
            let queues: Vec<String> = self.queues.iter().map(|queue| queue.as_str().replace('*', "+")).collect();
            format!("cron-{}", queues.join(","))
        };
        if self.cron { Some(name.unwrap_or_else(default)) } else { name }
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let max_jobs = if self.once { Some(1) } else { self.max_jobs };
        let drain = (self.drain || self.cron).then_some(self.wait_due);
        Ok(Plan {
            queues: self.queues.clone(),
            n_slots: self.jobs,
            handler: self.handler()?,
            stop: StopRules { max_jobs, drain, max_time: self.max_time, idle_exit: self.idle_exit },
            lease: self.lease,
            grace: self.grace.0,
        })
    }

    /// The handler's words. A path among them is this worker's, so it is made to hold wherever the
    /// job runs.
    fn handler(&self) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let Some((program, rest)) = self.handler.split_first() else { return Ok(None) };
        let mut program = PathBuf::from(program);
        if program.components().count() > 1 {
            let here = config::working_directory().map_err(|error| Failure::usage(error.to_string()))?;
            program = here.join(program);
        }
        let words = std::iter::once(program.into_os_string()).chain(rest.iter().cloned());
        Ok(Some(words.map(OsString::into_vec).collect()))
    }

    fn surroundings(&self, ctx: &mut Ctx) -> Result<Surroundings, Failure> {
        let (target, _) = ctx.target()?;
        let is_new = !store::exists(&target);
        if !is_new {
            // Before it is opened: what others put beside it would be taken up by that.
            self.check_who_writes(ctx, &target)?;
        }
        // Opened here first, so that a file that is no queue is told before anything is started.
        ctx.store_or_create()?;
        let path = store::place(&target)?.path;
        if is_new {
            self.check_who_writes(ctx, &target)?;
            self.tell_of_new_queue(ctx, &path);
        }
        Ok(Surroundings {
            open: Arc::new(move || store::open(&target, Access::Existing)),
            clock: Arc::new(ctx.config.clock),
            db: path,
            bells: ctx.bells()?,
            host: ctx.config.host.clone(),
        })
    }

    /// Says that the queue had to be made: the classic trap of cron, whose environment names another.
    fn tell_of_new_queue(&self, ctx: &Ctx, path: &Path) {
        if self.log == Log::Json {
            return ctx.ui.say(json::queue_made(path, ctx.now()));
        }
        let path = text::safe(path.as_os_str().as_encoded_bytes());
        ctx.ui
            .say(format_args!("qctl: made a new queue at {path}; if you meant another, name it with --db or QCTL_DB"));
    }
}

impl Work {
    /// Whoever can put a job in runs commands as this user.
    fn check_who_writes(&self, ctx: &Ctx, target: &Target) -> Result<(), Failure> {
        match shared::found(target) {
            Some(failure) if !self.allow_shared => Err(failure),
            Some(failure) if !self.cron => {
                match self.log {
                    Log::Json => ctx.ui.say(json::queue_shared(&failure.message, ctx.now())),
                    Log::Human | Log::None => ctx.ui.say(format_args!("qctl: {}", failure.message)),
                }
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Says what the worker reports.
struct Reporter<'a> {
    ui: &'a Ui,
    clock: crate::clock::SystemClock,
    log: Log,
    is_cron: bool,
    host: String,
    db: String,
}

impl<'a> Reporter<'a> {
    fn new(work: &Work, ctx: &'a Ctx, around: &Surroundings) -> Self {
        let is_silent = work.cron || ctx.ui.is_quiet;
        Self {
            ui: &ctx.ui,
            clock: ctx.config.clock,
            log: if is_silent { Log::None } else { work.log },
            is_cron: work.cron,
            host: around.host.clone(),
            db: text::word(around.db.as_os_str().as_encoded_bytes()),
        }
    }

    fn report(&mut self, event: &Event<'_>) {
        let look = Look { now: self.clock.now(), ..self.ui.look.clone() };
        match self.log {
            Log::Human => {
                if let Event::Up { worker } = event {
                    self.ui.hint(format_args!("worker {worker} on {}; Ctrl-C finishes what runs and stops", self.db));
                }
                if let Some(line) = event::line(event, &look) {
                    self.ui.say(line);
                }
            }
            Log::Json => self.ui.say_json(json::event(event, look.now)),
            Log::None => {}
        }
        if self.is_cron {
            self.mourn(event);
        }
    }

    /// A block on stdout for a job that died; cron makes a mail of it.
    fn mourn(&self, event: &Event<'_>) {
        let (host, db) = (self.host.as_str(), self.db.as_str());
        let obituary = match event {
            Event::Ended { job, report, verdict: Verdict::Die { reason }, last_words, .. } => {
                Obituary { job, reason: *reason, report: Some(report), last_words, host, db }
            }
            Event::Expired { job } => {
                Obituary { job, reason: Reason::Expired, report: None, last_words: &[], host, db }
            }
            _ => return,
        };
        if self.ui.format == Format::Json {
            return;
        }
        // A worker does not stop because nobody reads its obituaries: the jobs are in the queue.
        let _ = self.ui.print(&event::obituary(&obituary, &self.ui.look));
    }

    fn sum_up(&self, summary: &Summary) -> Result<(), Failure> {
        if self.ui.format == Format::Json {
            return self.ui.print(&json::summary(&counts(summary)));
        }
        self.hint_at(summary);
        Ok(())
    }

    fn hint_at(&self, summary: &Summary) {
        if self.log != Log::Human || !self.ui.stderr_is_terminal {
            return;
        }
        let parts = counts(summary).into_iter().skip(1).filter(|(_, n)| *n > 0);
        let parts: Vec<String> = parts.map(|(what, n)| format!("{n} {}", what.replace('_', " "))).collect();
        let started = words::count(summary.n_started, "attempt");
        self.ui.hint(if parts.is_empty() {
            format!("stopped after {started}")
        } else {
            format!("stopped after {started}: {}", parts.join(", "))
        });
    }
}

/// What a worker did, by name.
fn counts(summary: &Summary) -> [(&'static str, usize); 6] {
    [
        ("started", summary.n_started),
        ("succeeded", summary.n_succeeded),
        ("retrying", summary.n_retrying),
        ("dead", summary.n_dead),
        ("cancelled", summary.n_cancelled),
        ("handed_back", summary.n_handed_back),
    ]
}
