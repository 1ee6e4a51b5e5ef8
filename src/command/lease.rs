//! The attempt that a verb is called inside of.

use super::Ctx;
use crate::config::{self, ChosenBy};
use crate::exit::Failure;
use crate::job::Lease;
use crate::store::Target;

/// The lease of the attempt that this runs in, whose queue is the one that is used.
pub(super) fn own(ctx: &Ctx) -> Result<Lease, Failure> {
    let Some((db, lease)) = config::attempt() else {
        return Err(Failure::usage("this is not inside a job")
            .hint("call it from the command of a job: QCTL_DB, QCTL_JOB_ID and QCTL_TOKEN say which"));
    };
    let (Target::Sqlite(path), chosen_by) = ctx.target()?;
    // In another file the numbers mean another job.
    if chosen_by == ChosenBy::Flag && path != db {
        return Err(Failure::usage("the job that this is inside of is in another queue file").hint("leave --db out"));
    }
    Ok(lease)
}

/// Whoever has this lease has it no longer.
pub(super) fn lost(lease: Lease) -> Failure {
    Failure::refused(format!("job {} is no longer this attempt's", lease.job))
        .hint("its lease was lost: leave the job to whoever has it now")
}
