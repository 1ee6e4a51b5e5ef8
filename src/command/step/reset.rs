//! `qctl step reset`

use clap_complete::ArgValueCandidates;
use serde_json::json;

use super::running;
use crate::command::{Answer, Ctx, complete, selection, value};
use crate::exit::{Exit, Failure};
use crate::job::{JobId, StepPath};
use crate::store::Forgotten;
use crate::ui::Format;

/// Forget steps of a job, so that its next attempt runs them again
///
/// With a step goes what is inside of it and what it is inside of. Each gets another QCTL_STEP_KEY. The job
/// must not be running.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl step reset 42 charge && qctl retry 42
  qctl step reset 42 --all
  qctl dlq requeue 42 --from-step charge     charge and all that came after it")]
pub(super) struct Reset {
    /// The job
    #[arg(value_name = "ID", value_parser = value::id, add = ArgValueCandidates::new(complete::jobs))]
    job: JobId,
    /// The steps, as `step list` writes them
    #[arg(value_name = "NAME", value_parser = value::step, required_unless_present = "all")]
    paths: Vec<StepPath>,
    /// Every step
    #[arg(long, conflicts_with = "paths")]
    all: bool,
}

impl Reset {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let job = self.job;
        let paths =
            if self.all { ctx.store()?.steps(job)?.into_iter().map(|step| step.path).collect() } else { self.paths };
        let forgotten = match ctx.store()?.reset_steps(job, &paths)? {
            Forgotten::Steps(forgotten) => forgotten,
            Forgotten::NoJob => return Err(selection::unknown(job.into())),
            Forgotten::Running => return Err(running(job)),
            Forgotten::NoStep(path) => {
                return Err(Failure::not_found(format!("job {job} has no step {path}; nothing was forgotten"))
                    .hint(format!("qctl step list {job}")));
            }
        };
        ctx.ring()?;
        let names: Vec<String> = forgotten.iter().map(ToString::to_string).collect();
        if ctx.ui.format == Format::Json {
            ctx.ui.print(&json!({ "v": 1, "reset": names }).to_string())?;
        } else {
            ctx.ui.hint(format_args!(
                "forgot {}",
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            ));
        }
        Ok(Exit::Done)
    }
}
