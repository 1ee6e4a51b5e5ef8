//! `qctl dlq requeue`

use serde_json::json;

use super::edit::Edit;
use super::select::{Selection, done, skip, would};
use crate::command::{Answer, Ctx, value};
use crate::exit::Failure;
use crate::job::{JobId, StateKind, StepPath};
use crate::render::{json, words};
use crate::store::Retried;

/// Put dead jobs back, with the same ids and attempts from zero
///
/// A job whose key a newer one holds by now stays dead and is reported; the others are put back. Steps that
/// are recorded are not run again, unless --from-step says so.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq requeue 42 50-60
  qctl dlq requeue 42 --from-step charge
  qctl dlq requeue 42 --edit
  qctl dlq requeue -Q mail --dry-run
  qctl dlq requeue --all")]
pub(crate) struct Requeue {
    #[command(flatten)]
    selection: Selection,
    /// Run this recorded step again, and all that was begun after it [default: none that is recorded]
    #[arg(long, value_name = "NAME", value_parser = value::step)]
    from_step: Option<StepPath>,
    #[command(flatten)]
    edit: Edit,
}

impl Requeue {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let (mut dead, others) = self.selection.resolve(ctx)?;
        let mut skipped = skip(ctx, &others) + self.spare(ctx, &mut dead)?;
        if self.selection.dry_run {
            return would(ctx, "requeue", &dead);
        }
        let (new, n_cancelled) = self.edit.read(ctx, &mut dead)?;
        skipped += n_cancelled;
        let now = ctx.now();
        let (mut requeued, mut key_taken) = (Vec::new(), Vec::new());
        let put_back = || -> Result<(), Failure> {
            for id in dead {
                match new.retry(ctx.store()?, id, self.from_step.as_ref(), now)? {
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
