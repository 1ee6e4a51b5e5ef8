//! `qctl push`

use super::draft;
use super::job_options::JobOptions;
use super::{Answer, Ctx};
use crate::exit::{Exit, Failure};
use crate::job::StateKind;
use crate::render::words;
use crate::store::Pushed;
use crate::ui::Format;

/// Put a job into a queue
///
/// Prints the job's id and nothing else. Once it has, the job survives a crash of the machine.
///
/// Where its --key is held, nothing is queued: the id is that of the job that holds it, and stderr says
/// where that stands if it is dead, cancelled or another than what was pushed; --json always does. A key
/// is held until its job ends, and for --key-ttl after the push even then. --key auto makes the key from
/// command, payload and working directory, and from nothing else; no key is the text auto itself.
///
/// Inside of a step (qctl step) a push without --key gets one that is made from the step's and from command,
/// payload, working directory, --env and labels, so that a step that is run again queues nothing twice; the
/// same push twice in one step is one job unless each is given a --key.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl push 'sleep 1 && echo done'        a shell command line
  qctl push -- ffmpeg -i in.mov out.mp4   a program and its arguments, no shell
  qctl push -Q mail --key inv-17 ./send.sh 17
  qctl push --key auto --key-ttl none ./reindex.sh     not again while it is queued or runs
  id=$(qctl push --delay 10m ./remind.sh) && qctl wait \"$id\"")]
pub(crate) struct Push {
    #[command(flatten)]
    options: JobOptions,
}

impl Push {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let draft = self.options.draft(ctx)?;
        let answered = draft::push(ctx, draft)?;
        let pushed = &answered.pushed;
        let printed = match ctx.ui.format {
            Format::Json => ctx.ui.print(&answered.document().to_string()),
            Format::Table | Format::Plain => ctx.ui.print(&pushed.id.to_string()),
        };
        // The job is queued, whether its id could be told or not.
        ctx.announce(pushed.ready_queue())?;
        printed?;
        answered.explain(ctx);
        tell_workers(ctx, pushed)?;
        Ok(Exit::Done)
    }
}

/// Says who will run it, if it could run now.
fn tell_workers(ctx: &mut Ctx, pushed: &Pushed) -> Result<(), Failure> {
    let Pushed { queue, state, .. } = pushed;
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
