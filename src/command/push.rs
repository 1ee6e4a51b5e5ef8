//! `qctl push`

use super::draft;
use super::job_options::JobOptions;
use super::{Answer, Ctx};
use crate::exit::Exit;
use crate::job::StateKind;
use crate::render::{json, words};
use crate::store::{PushOutcome, Pushed};
use crate::ui::Format;

/// Put a job into a queue
///
/// Prints the job's id and nothing else. Once it has, the job survives a crash of the machine.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl push 'sleep 1 && echo done'        a shell command line
  qctl push -- ffmpeg -i in.mov out.mp4   a program and its arguments, no shell
  qctl push -Q mail --key inv-17 ./send.sh 17
  id=$(qctl push --delay 10m ./remind.sh) && qctl wait \"$id\"")]
pub(crate) struct Push {
    #[command(flatten)]
    options: JobOptions,
}

impl Push {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let draft = self.options.draft(ctx)?;
        let pushed = draft::push(ctx, draft)?;
        let printed = match ctx.ui.format {
            Format::Json => {
                let Pushed { id, queue, outcome, state } = &pushed;
                ctx.ui.print(&json::pushed(*id, queue, outcome_name(*outcome), *state).to_string())
            }
            Format::Table | Format::Plain => ctx.ui.print(&pushed.id.to_string()),
        };
        // The job is queued, whether its id could be told or not.
        ctx.announce(pushed.ready_queue())?;
        printed?;
        explain(ctx, &pushed)?;
        Ok(Exit::Done)
    }
}

fn outcome_name(outcome: PushOutcome) -> &'static str {
    match outcome {
        PushOutcome::Created => "created",
        PushOutcome::Existing { .. } => "existing",
        PushOutcome::Replaced => "replaced",
    }
}

/// Says what the id alone does not.
fn explain(ctx: &mut Ctx, pushed: &Pushed) -> Result<(), crate::exit::Failure> {
    let Pushed { id, queue, outcome, state } = pushed;
    match outcome {
        PushOutcome::Existing { differs: true } => ctx.ui.say(format_args!(
            "the key is held by job {id} ({}), which has another command or payload; nothing was queued",
            state.name()
        )),
        PushOutcome::Existing { differs: false } => {
            ctx.ui.hint(format_args!("the key is held by job {id} ({}); nothing was queued", state.name()));
        }
        PushOutcome::Replaced => ctx.ui.hint(format_args!("replaced job {id} on {queue}")),
        PushOutcome::Created => ctx.ui.hint(format_args!("queued job {id} on {queue}")),
    }
    if ctx.ui.stderr_is_terminal && *state == StateKind::Ready {
        let queues = ctx.store()?.queues()?;
        let n_workers = queues.iter().find(|known| known.name == *queue).map_or(0, |known| known.n_workers);
        match n_workers {
            0 => ctx.ui.hint(format_args!("no worker serves {queue}; start one: qctl work -Q {queue}")),
            n => ctx.ui.hint(format_args!("{} serve it", words::count(n, "worker"))),
        }
    }
    Ok(())
}
