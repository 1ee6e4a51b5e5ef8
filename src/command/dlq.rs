//! `qctl dlq`: dead letters

use clap_complete::ArgValueCandidates;
use serde_json::{Value, json};

use super::{Answer, Ctx, complete, selection, value};
use crate::exit::{Exit, Failure};
use crate::job::{IdRange, Job, JobId, QueueName, StateKind, StepPath, Stream};
use crate::render::{detail, json, plain, table, words};
use crate::store::Retried;
use crate::ui::Format;

/// Look at dead letters, requeue them, drop them
///
/// A job that will not be tried again by itself waits here until someone decides.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq list
  qctl dlq show 42
  qctl dlq requeue -Q mail")]
pub(crate) struct Dlq {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    List(List),
    Show(Show),
    Requeue(Requeue),
    Drop(Discard),
}

impl Dlq {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        match self.verb {
            Verb::List(verb) => verb.run(ctx),
            Verb::Show(verb) => verb.run(ctx),
            Verb::Requeue(verb) => verb.run(ctx),
            Verb::Drop(verb) => verb.run(ctx),
        }
    }
}

/// List dead jobs, the last to die first
///
/// In a pipe: id, queue, reason, attempt, died_at, error and command, parted by tabs.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq list -Q mail --limit 10
  qctl dlq list --json | jq -r '.jobs[].error' | sort | uniq -c")]
struct List {
    /// Only this queue
    #[arg(short = 'Q', long, value_name = "NAME", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: Vec<QueueName>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value::limit)]
    limit: usize,
}

impl List {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let ids = dead_in(ctx, &self.queue, self.limit)?;
        let mut jobs = Vec::new();
        for id in ids {
            jobs.extend(ctx.store()?.job(id)?.filter(|job| job.state.kind() == StateKind::Dead));
        }
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => ctx.ui.print(&json::document("jobs", jobs.iter().map(json::job).collect()))?,
            Format::Plain => ctx.ui.print(&plain::dead(&jobs, look))?,
            Format::Table if jobs.is_empty() => ctx.ui.hint("no dead jobs"),
            Format::Table => ctx.ui.print(&table::dead(&jobs, look))?,
        }
        Ok(Exit::Done)
    }
}

/// The dead jobs of these queues (of all, if none is named), which must exist.
fn dead_in(ctx: &mut Ctx, queues: &[QueueName], limit: usize) -> Result<Vec<JobId>, Failure> {
    for queue in queues {
        ctx.known_queue(queue)?;
    }
    Ok(ctx.store()?.dead(queues, limit)?)
}

/// Show a dead job, with its attempts and the end of its stderr
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl dlq show 42")]
struct Show {
    /// The job
    #[arg(value_name = "ID", value_parser = value::id, add = ArgValueCandidates::new(complete::dead_jobs))]
    id: JobId,
}

/// How many of the last lines of stderr are shown.
const LAST_LINES: usize = 10;

impl Show {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let store = ctx.store()?;
        let Some(job) = store.job(self.id)? else { return Err(selection::unknown(self.id.into())) };
        if job.state.kind() != StateKind::Dead {
            let message = format!("job {} is {}, not dead", self.id, job.state.kind().name());
            return Err(Failure::refused(message).hint(format!("qctl show {}", self.id)));
        }
        let context = store.context(self.id)?;
        let attempts = store.attempts(self.id)?;
        if ctx.ui.format == Format::Json {
            ctx.ui.print(&json::document("job", json::job_with_attempts(&job, &attempts)))?;
            return Ok(Exit::Done);
        }
        let mut text = detail::job(&job, context.as_ref(), &attempts, &ctx.ui.look);
        text.push_str(&last_lines(ctx, &job)?);
        ctx.ui.print(&text)?;
        ctx.ui.hint(format_args!("\nagain: qctl dlq requeue {}   give up: qctl dlq drop {}", self.id, self.id));
        Ok(Exit::Done)
    }
}

fn last_lines(ctx: &mut Ctx, job: &Job) -> Result<String, Failure> {
    let store = ctx.store()?;
    let attempts = store.attempts(job.id)?;
    let Some(last) = attempts.last() else { return Ok(String::new()) };
    let chunks = store.output(job.id, last.token, Stream::Stderr, 0)?;
    let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.bytes).collect();
    Ok(detail::last_lines(&bytes, LAST_LINES, &ctx.ui.look))
}

/// Which dead jobs a verb deals with.
#[derive(clap::Args, Debug)]
struct Selection {
    /// The jobs; 3-7 is a range
    #[arg(value_name = "ID", value_parser = value::ids, add = ArgValueCandidates::new(complete::dead_jobs))]
    ids: Vec<IdRange>,
    /// Every dead job
    #[arg(long, conflicts_with_all = ["ids", "queue"])]
    all: bool,
    /// Every dead job of this queue
    #[arg(short = 'Q', long, value_name = "NAME", value_parser = value::queue, conflicts_with = "ids", add = ArgValueCandidates::new(complete::queues))]
    queue: Vec<QueueName>,
    /// Say what would happen, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Dead jobs, and others with where they stand.
type Meant = (Vec<JobId>, Vec<(JobId, StateKind)>);

impl Selection {
    /// The dead jobs that are meant, and those that were named and are not dead.
    fn resolve(&self, ctx: &mut Ctx) -> Result<Meant, Failure> {
        if self.all || !self.queue.is_empty() {
            return Ok((dead_in(ctx, &self.queue, usize::MAX >> 1)?, Vec::new()));
        }
        if self.ids.is_empty() {
            return Err(Failure::usage("no dead jobs are named").hint("give job numbers, -Q QUEUE or --all"));
        }
        let (dead, others): (Vec<_>, Vec<_>) =
            selection::named(ctx.store()?, &self.ids)?.into_iter().partition(|(_, state)| *state == StateKind::Dead);
        Ok((dead.into_iter().map(|(id, _)| id).collect(), others))
    }
}

/// Put dead jobs back, with the same ids and attempts from zero
///
/// A job whose key a newer one holds by now stays dead and is reported; the others are put back. Steps that
/// are recorded are not run again, unless --from-step says so.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq requeue 42 50-60
  qctl dlq requeue 42 --from-step charge
  qctl dlq requeue -Q mail --dry-run
  qctl dlq requeue --all")]
pub(crate) struct Requeue {
    #[command(flatten)]
    selection: Selection,
    /// Run this recorded step again, and all that was begun after it [default: none that is recorded]
    #[arg(long, value_name = "NAME", value_parser = value::step)]
    from_step: Option<StepPath>,
}

impl Requeue {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let (mut dead, others) = self.selection.resolve(ctx)?;
        let mut skipped = skip(ctx, &others) + self.spare(ctx, &mut dead)?;
        if self.selection.dry_run {
            return would(ctx, "requeue", &dead);
        }
        let now = ctx.now();
        let (mut requeued, mut key_taken) = (Vec::new(), Vec::new());
        let put_back = || -> Result<(), Failure> {
            for id in dead {
                match ctx.store()?.retry(id, &[StateKind::Dead], self.from_step.as_ref(), now)? {
                    Retried::Ready => requeued.push(id),
                    Retried::KeyTaken(holder) => {
                        ctx.ui.say(words::key_taken(id, StateKind::Dead, holder));
                        key_taken.push((id, holder));
                    }
                    // It left the state while we were at it.
                    Retried::WrongState(_) | Retried::NoStep | Retried::Unknown => skipped += 1,
                }
            }
            Ok(())
        };
        let outcome = put_back();
        // Also where it broke off: those before are ready, and someone may wait for them.
        ctx.announce_jobs(&requeued)?;
        outcome?;
        skipped += key_taken.len();
        let mut document = json!({ "v": 1, "requeued": json::ids(&requeued), "skipped": skipped });
        document["key_taken"] = key_taken.iter().map(|&(id, holder)| json::key_taken(id, holder)).collect();
        done(ctx, &document, ("requeued", requeued.len()), skipped)
    }

    /// Takes out the jobs that have not the step from which they would be run, and says so of each; answers how
    /// many.
    fn spare(&self, ctx: &mut Ctx, dead: &mut Vec<JobId>) -> Result<usize, Failure> {
        let Some(path) = &self.from_step else { return Ok(0) };
        let n_meant = dead.len();
        let mut kept = Vec::new();
        for &id in dead.iter() {
            if ctx.store()?.steps(id)?.iter().any(|step| step.path == *path) {
                kept.push(id);
            } else {
                ctx.ui.say(format_args!("job {id} stays dead: it has no step {path}"));
            }
        }
        *dead = kept;
        Ok(n_meant - dead.len())
    }
}

/// Forget dead jobs, with their output
///
/// A key that the job still holds is free then; pruning, in contrast, keeps such a job.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq drop 42
  qctl dlq drop -Q mail --dry-run")]
struct Discard {
    #[command(flatten)]
    selection: Selection,
}

impl Discard {
    fn run(self, ctx: &mut Ctx) -> Answer {
        let (dead, others) = self.selection.resolve(ctx)?;
        if self.selection.dry_run {
            return would(ctx, "drop", &dead);
        }
        let n_others = skip(ctx, &others);
        let dropped = ctx.forget(&dead, &[StateKind::Dead])?;
        let skipped = n_others + dead.len() - dropped.len();
        ctx.ring()?;
        let document = json!({ "v": 1, "dropped": json::ids(&dropped), "skipped": skipped });
        done(ctx, &document, ("dropped", dropped.len()), skipped)
    }
}

/// Says which of the named jobs are not dead; answers how many.
fn skip(ctx: &Ctx, others: &[(JobId, StateKind)]) -> usize {
    for (id, state) in others {
        ctx.ui.say(format_args!("job {id} is {}, not dead", state.name()));
    }
    others.len()
}

fn would(ctx: &Ctx, verb: &str, ids: &[JobId]) -> Answer {
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

fn done(ctx: &Ctx, document: &Value, (what, n): (&str, usize), n_skipped: usize) -> Answer {
    if ctx.ui.format == Format::Json {
        ctx.ui.print(&document.to_string())?;
    } else {
        ctx.ui.hint(format_args!("{what} {}", words::count(n, "job")));
    }
    Ok(if n_skipped > 0 { Exit::Refused } else { Exit::Done })
}
