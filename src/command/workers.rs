//! `qctl workers`

use super::{Answer, Ctx};
use crate::exit::Exit;
use crate::job::QueuePattern;
use crate::render::{self, json, plain, table, words};
use crate::store;
use crate::ui::Format;

/// List the workers that live, and what they run
///
/// In a pipe: id, host, pid, queues, jobs (at the same time), running (job numbers), since and
/// heartbeat_at, parted by tabs.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl workers
  qctl workers --json | jq '.workers[].running'")]
pub(crate) struct Workers {}

impl Workers {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let (alive, gone): (Vec<_>, Vec<_>) = ctx.store()?.workers()?.into_iter().partition(|worker| worker.is_alive);
        let workers: Vec<render::Worker> = alive.into_iter().map(shown).collect();
        let look = &ctx.ui.look;
        match ctx.ui.format {
            Format::Json => ctx.ui.print(&json::document("workers", workers.iter().map(json::worker).collect()))?,
            Format::Plain => ctx.ui.print(&plain::workers(&workers, look))?,
            Format::Table if workers.is_empty() => ctx.ui.hint("no live workers; start one: qctl work"),
            Format::Table => ctx.ui.print(&table::workers(&workers, look))?,
        }
        let n_held: usize = gone.iter().map(|worker| worker.running.len()).sum();
        if n_held > 0 {
            let held = words::count(n_held, "job");
            ctx.ui.hint(format_args!("{held} of workers that died will be taken up by the next worker"));
        }
        Ok(Exit::Done)
    }
}

fn shown(worker: store::Worker) -> render::Worker {
    let patterns: Vec<&str> = worker.about.queues.iter().map(QueuePattern::as_str).collect();
    render::Worker {
        id: worker.id.to_string(),
        host: worker.about.host,
        pid: worker.about.pid,
        queues: if patterns.is_empty() { "*".to_owned() } else { patterns.join(",") },
        n_slots: worker.about.n_slots,
        running: worker.running,
        since: worker.since,
        heartbeat_at: worker.heartbeat_at,
    }
}
