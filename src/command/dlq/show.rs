//! `qctl dlq show`

use clap_complete::ArgValueCandidates;

use crate::command::{Answer, Ctx, complete, selection, value};
use crate::exit::{Exit, Failure};
use crate::job::{Job, JobId, StateKind, Stream};
use crate::render::{detail, json, letter};
use crate::ui::Format;

/// Show a dead job, with its attempts and the end of its stderr
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  qctl dlq show 42")]
pub(super) struct Show {
    /// The job
    #[arg(value_name = "ID", value_parser = value::id, add = ArgValueCandidates::new(complete::dead_jobs))]
    id: JobId,
}

/// How many of the last lines of stderr are shown.
const LAST_LINES: usize = 10;

impl Show {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let store = ctx.store()?;
        let Some(job) = store.job(self.id)? else { return Err(selection::unknown(self.id.into())) };
        if job.state.kind() != StateKind::Dead {
            let message = format!("job {} is {}, not dead", self.id, job.state.kind().name());
            return Err(Failure::refused(message).hint(format!("qctl show {}", self.id)));
        }
        let context = store.context(self.id)?;
        let attempts = store.attempts(self.id)?;
        let revisions = store.revisions(self.id)?;
        if ctx.ui.format == Format::Json {
            let mut value = json::job_with_attempts(&job, &attempts);
            letter::set_revisions(&mut value, &revisions);
            ctx.ui.print(&json::document("job", value))?;
            return Ok(Exit::Done);
        }
        let mut text = detail::job(&job, context.as_ref(), &attempts, &ctx.ui.look);
        text.push_str(&letter::revised(self.id, &revisions, &ctx.ui.look));
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
