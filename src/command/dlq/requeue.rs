//! `qctl dlq requeue`

use serde_json::json;

use super::account::account;
use super::edit::Edit;
use super::pacing::{Pacing, Return};
use super::sampling::{Ended, watch};
use super::select::{Selection, done, skip, would};
use crate::command::{Answer, Ctx};
use crate::exit::{Exit, Failure};
use crate::job::{JobId, Phase, Plan, StateKind, TaskId};
use crate::render::{json, task, words};
use crate::signal::SignalPipe;
use crate::store::Retried;
use crate::ui::Format;

/// Put dead jobs back, with the same ids and attempts from zero
///
/// A job whose key a newer one holds by now stays dead and is reported; the others are put back. Steps that
/// are recorded are not run again, unless --from-step says so.
///
/// With --sample, --rate or --ramp the requeue is a task, with the jobs that are selected now: the workers carry it on,
/// also after this terminal is closed or the machine was restarted, and what dies again is not put back again. With
/// --sample this waits until the sample is done with, and exits 1 if too few of it succeeded: the rest stays dead then.
/// The number of the task is printed where the output is no terminal; `qctl dlq tasks` shows how far it is.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq requeue 42 50-60
  qctl dlq requeue 42 --from-step charge
  qctl dlq requeue 42 --edit
  qctl dlq requeue -Q mail --sample 5 --if-ok 80
  qctl dlq requeue -Q mail --ramp 1/s..50/s
  qctl dlq requeue -Q mail --limit 100 --to mail-slow --max-attempts 2
  qctl dlq requeue -Q mail --rate 10/s --dry-run
  qctl dlq requeue --all")]
pub(crate) struct Requeue {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    pacing: Pacing,
    #[command(flatten)]
    how: Return,
    #[command(flatten)]
    edit: Edit,
}

/// How many jobs one transaction puts back where all are to be at once: no sync for each, and nobody waits long for the
/// write lock.
const PORTION: usize = 5000;

/// What became of the jobs.
#[derive(Default)]
struct Outcome {
    requeued: Vec<JobId>,
    key_taken: Vec<(JobId, JobId)>,
    n_skipped: usize,
}

impl Requeue {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let (mut dead, others) = self.selection.resolve(ctx)?;
        let n_skipped = skip(ctx, &others) + self.spare(ctx, &mut dead)?;
        let mut dead = self.how.arrange(dead);
        if self.selection.dry_run {
            return self.foresee(ctx, &dead);
        }
        let (new, n_cancelled) = self.edit.read(ctx, &mut dead)?;
        let n_skipped = n_skipped + n_cancelled;
        new.give(ctx, &dead)?;
        if self.pacing.takes_time() && !dead.is_empty() {
            return self.record(ctx, &dead, n_skipped);
        }
        let mut outcome = Outcome { n_skipped, ..Outcome::default() };
        self.put_back(ctx, &dead, &mut outcome)?;
        let Outcome { requeued, key_taken, n_skipped } = outcome;
        let skipped = n_skipped + key_taken.len();
        let mut document = json!({ "v": 1, "requeued": json::ids(&requeued), "skipped": skipped });
        document["key_taken"] = key_taken.iter().map(|&(id, holder)| json::key_taken(id, holder)).collect();
        done(ctx, &document, ("requeued", requeued.len()), skipped)
    }

    /// Puts all back at once. Where it breaks off, those of the portions before are ready.
    fn put_back(&self, ctx: &mut Ctx, dead: &[JobId], outcome: &mut Outcome) -> Result<(), Failure> {
        let (how, now) = (self.how.revival(), ctx.now());
        for portion in dead.chunks(PORTION) {
            let put_back = ctx.store()?.put_back(portion, &[StateKind::Dead], &how, now)?;
            ctx.announce(&put_back.queues)?;
            for (id, answer) in put_back.answers {
                match answer {
                    Retried::Ready => outcome.requeued.push(id),
                    Retried::KeyTaken(holder) => {
                        ctx.ui.say(words::key_taken(id, StateKind::Dead, holder));
                        outcome.key_taken.push((id, holder));
                    }
                    // It left the state while we were at it.
                    Retried::WrongState(_) | Retried::NoStep | Retried::Unknown => outcome.n_skipped += 1,
                }
            }
        }
        Ok(())
    }

    /// Takes out the jobs that have not the step from which they would be run, and says so of each; answers how
    /// many.
    fn spare(&self, ctx: &mut Ctx, dead: &mut Vec<JobId>) -> Result<usize, Failure> {
        let Some(path) = &self.how.from_step else { return Ok(0) };
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

    /// Says what would happen.
    fn foresee(&self, ctx: &mut Ctx, dead: &[JobId]) -> Answer {
        if !self.pacing.takes_time() {
            return would(ctx, "requeue", dead);
        }
        let (trial, tempo) = (self.pacing.trial(), self.pacing.tempo());
        if ctx.ui.format == Format::Json {
            let n_rest = dead.len() - trial.map_or(0, |trial| trial.n.min(dead.len()));
            let takes = crate::clock::millis(task::takes(tempo, n_rest));
            ctx.ui.print(&json!({ "v": 1, "would_requeue": json::ids(dead), "takes_ms": takes }).to_string())?;
            return Ok(Exit::Done);
        }
        let exit = would(ctx, "requeue", dead)?;
        for sentence in task::prospect(trial, tempo, dead.len()) {
            ctx.ui.say(sentence);
        }
        Ok(exit)
    }

    /// Records a task, and waits for its sample where it has one.
    fn record(&self, ctx: &mut Ctx, dead: &[JobId], n_skipped: usize) -> Answer {
        let trial = self.pacing.trial();
        let plan =
            Plan { selection: self.selection.words(), trial, tempo: self.pacing.tempo(), revival: self.how.revival() };
        // Before anything is recorded, or a signal just after that would end this without a word.
        let mut interrupts = SignalPipe::of_shutdown().map_err(|error| Failure::usage(error.to_string()))?;
        let now = ctx.now();
        let id = ctx.store()?.record_task(&plan, dead, now)?;
        if ctx.ui.format == Format::Plain {
            ctx.ui.print(&id.to_string())?;
        }
        let is_waited_for = trial.is_some() && !self.pacing.detach;
        let ended = if is_waited_for { watch(ctx, id, &mut interrupts)? } else { begin(ctx)? };
        self.tell(ctx, (id, ended), n_skipped)
    }

    /// Says how the task stands by now.
    fn tell(&self, ctx: &mut Ctx, (id, ended): (TaskId, Ended), n_skipped: usize) -> Answer {
        let (report, relapsed) = account(ctx, id)?;
        let phase = report.task.phase;
        ctx.ui.say(task::sentence(&report, ctx.now()));
        for cause in task::causes(&report, &relapsed) {
            ctx.ui.say(format_args!("relapsed: {cause}"));
        }
        if !phase.is_final() {
            self.tell_who_goes_on(ctx)?;
        }
        if ctx.ui.format == Format::Json {
            ctx.ui.print(&json::document("task", task::json_report(&report, &relapsed)))?;
        }
        if ended == Ended::Interrupted {
            ctx.ui.say(format_args!("the workers carry it on; end it: qctl dlq tasks cancel {id}"));
            return Ok(Exit::As(130));
        }
        Ok(match phase {
            Phase::Stopped | Phase::Cancelled => Exit::BadAnswer,
            _ if n_skipped + report.task.n_skipped > 0 => Exit::Refused,
            Phase::Sampling | Phase::Releasing | Phase::Paused | Phase::Done => Exit::Done,
        })
    }

    fn tell_who_goes_on(&self, ctx: &mut Ctx) -> Result<(), Failure> {
        if !ctx.store()?.workers()?.iter().any(|worker| worker.is_alive) {
            ctx.ui.say("no worker is there to carry it on; start one: qctl work");
        }
        Ok(())
    }
}

/// Does what is due at once, so that nobody need be there for it.
fn begin(ctx: &mut Ctx) -> Result<Ended, Failure> {
    let now = ctx.now();
    let carried = ctx.store()?.carry_tasks(now)?;
    // Also where nothing was: workers learn when to look.
    ctx.announce(&carried.queues)?;
    Ok(Ended::ByItself)
}
