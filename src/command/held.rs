//! Jobs that are not forgotten, because they still hold their keys.

use std::collections::BTreeSet;

use super::Ctx;
use crate::clock::Timestamp;
use crate::exit::Failure;
use crate::job::JobId;
use crate::render::words;
use crate::store::HeldKeys;

/// Whether a verb that forgets jobs also forgets their keys.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct FreeKeys {
    /// Also jobs that have ended and still hold their keys, which are free then
    #[arg(long)]
    free_keys: bool,
}

impl FreeKeys {
    /// What the store is told of it.
    pub(super) fn rule(self, now: Timestamp) -> HeldKeys {
        if self.free_keys { HeldKeys::Freed } else { HeldKeys::Kept { now } }
    }

    /// Those of `ids` that are not to be forgotten and until when, in their order.
    pub(super) fn kept(self, ctx: &mut Ctx, ids: &[JobId]) -> Result<Vec<(JobId, Timestamp)>, Failure> {
        let now = ctx.now();
        if self.free_keys { Ok(Vec::new()) } else { Ok(ctx.store()?.keys_held(ids, now)?) }
    }

    /// Takes those out of `ids` that are not to be forgotten and says so of each; answers which.
    pub(super) fn spare(self, ctx: &mut Ctx, ids: &mut Vec<JobId>) -> Result<BTreeSet<JobId>, Failure> {
        let kept = self.kept(ctx, ids)?;
        for (id, until) in &kept {
            let until = words::local(*until, &ctx.ui.look);
            ctx.ui.say(format_args!("job {id} stays: it holds its key until {until}; to free that: --free-keys"));
        }
        let kept: BTreeSet<JobId> = kept.into_iter().map(|(id, _)| id).collect();
        ids.retain(|id| !kept.contains(id));
        Ok(kept)
    }
}
