//! `qctl dlq drop`

use serde_json::json;

use super::select::{Selection, done, skip, would};
use crate::command::{Answer, Ctx};
use crate::exit::Failure;
use crate::job::{JobId, StateKind};
use crate::render::json;
use crate::store::Dropped;

/// Forget dead jobs, with their output; for a day: qctl dlq undo
///
/// A key that the job still holds is free then; pruning, in contrast, keeps such a job. After a day workers and
/// prune forget for good what was dropped; qctl delete does so at once.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq drop 42
  qctl dlq drop -Q mail --dry-run
  qctl dlq undo                   bring them back")]
pub(super) struct Discard {
    #[command(flatten)]
    selection: Selection,
    /// Forget them for good, at once
    #[arg(long)]
    no_undo: bool,
}

impl Discard {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let (dead, others) = self.selection.resolve(ctx)?;
        if self.selection.dry_run {
            return would(ctx, "drop", &dead);
        }
        let n_others = skip(ctx, &others);
        let n_meant = n_others + dead.len();
        let dropped = drop_all(ctx, &dead, self.no_undo)?;
        answer(ctx, &dropped, n_meant - dropped.ids.len())
    }
}

/// How many jobs one transaction drops: some hundredths of a second. All are on one record, so what was dropped
/// before a power cut can be brought back whole.
const DROPPED_AT_ONCE: usize = 5000;

/// Drops those of the jobs that are dead.
pub(super) fn drop_all(ctx: &mut Ctx, ids: &[JobId], is_final: bool) -> Result<Dropped, Failure> {
    if is_final {
        return Ok(Dropped { record: None, ids: ctx.forget(ids, &[StateKind::Dead])? });
    }
    let now = ctx.now();
    let mut all = Dropped { record: None, ids: Vec::with_capacity(ids.len()) };
    for portion in ids.chunks(DROPPED_AT_ONCE) {
        let dropped = ctx.store()?.drop_dead(portion, all.record, now)?;
        all.record = dropped.record;
        all.ids.extend(dropped.ids);
    }
    Ok(all)
}

/// Says what was dropped.
pub(super) fn answer(ctx: &mut Ctx, dropped: &Dropped, n_skipped: usize) -> Answer {
    ctx.ring()?;
    let record = dropped.record.map(|record| record.get());
    let document = json!({ "v": 1, "dropped": json::ids(&dropped.ids), "skipped": n_skipped, "undo": record });
    let answer = done(ctx, &document, ("dropped", dropped.ids.len()), n_skipped)?;
    if let Some(record) = record {
        ctx.ui.hint(format_args!("for a day: qctl dlq undo {record}"));
    }
    Ok(answer)
}
