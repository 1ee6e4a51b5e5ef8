//! `qctl dlq drop`

use serde_json::json;

use super::select::{Selection, done, skip, would};
use crate::command::{Answer, Ctx};
use crate::job::StateKind;
use crate::render::json;

/// Forget dead jobs, with their output
///
/// A key that the job still holds is free then; pruning, in contrast, keeps such a job.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq drop 42
  qctl dlq drop -Q mail --dry-run")]
pub(super) struct Discard {
    #[command(flatten)]
    selection: Selection,
}

impl Discard {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
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
