//! `qctl show`

use clap_complete::ArgValueCandidates;

use super::{Answer, Ctx, complete, selection, value};
use crate::exit::Exit;
use crate::job::JobId;
use crate::render::{detail, json, letter};
use crate::ui::Format;

/// Show everything about one job, with its attempts
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl show 42
  qctl show 42 --json | jq '.job.attempts[].duration_ms'")]
pub(crate) struct Show {
    /// The job
    #[arg(value_name = "ID", value_parser = value::id, add = ArgValueCandidates::new(complete::jobs))]
    id: JobId,
}

impl Show {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let store = ctx.store()?;
        let Some(job) = store.job(self.id)? else { return Err(selection::unknown(self.id.into())) };
        let context = store.context(self.id)?;
        let attempts = store.attempts(self.id)?;
        let revisions = store.revisions(self.id)?;
        match ctx.ui.format {
            Format::Json => {
                let mut value = json::job_with_attempts(&job, &attempts);
                letter::set_revisions(&mut value, &revisions);
                ctx.ui.print(&json::document("job", value))?;
            }
            Format::Table | Format::Plain => {
                let look = &ctx.ui.look;
                let text = detail::job(&job, context.as_ref(), &attempts, look);
                ctx.ui.print(&(text + &letter::revised(self.id, &revisions, look)))?;
            }
        }
        Ok(Exit::Done)
    }
}
