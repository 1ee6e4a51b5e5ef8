//! `qctl dlq undo`

use serde_json::json;

use crate::command::{Answer, Ctx};
use crate::exit::{Exit, Failure};
use crate::job::{DropId, DropRecord, Restored};
use crate::render::{letter, words};
use crate::ui::Format;

/// Bring back dead jobs that were dropped, the last drop first
///
/// They come back as they were: the same ids, with attempts, output, steps, labels and payload. A job whose key
/// another holds by now comes back without holding it. A drop can be undone for a day, and once.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq undo
  qctl dlq undo --list
  qctl dlq undo 7")]
pub(super) struct Undo {
    /// The drop, as --list has it [default: the last]
    #[arg(value_name = "N", value_parser = number)]
    drop: Option<DropId>,
    /// Show which drops can be undone, and do nothing
    #[arg(long, conflicts_with = "drop")]
    list: bool,
}

fn number(text: &str) -> Result<DropId, String> {
    text.parse().map(DropId::new).map_err(|_| "write the number of a drop; see qctl dlq undo --list".to_owned())
}

impl Undo {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let drops = ctx.store()?.drops()?;
        if self.list {
            return list(ctx, &drops);
        }
        let drop = match self.drop {
            Some(id) => drops.iter().find(|drop| drop.id == id).ok_or_else(|| {
                Failure::not_found(format!("there is no drop {id}")).hint("see which there are: qctl dlq undo --list")
            }),
            None => drops.first().ok_or_else(|| {
                Failure::not_found("there is nothing to bring back").hint("a drop can be undone for a day, and once")
            }),
        }?;
        let restored = restore(ctx, drop.id);
        // Also where it broke off: those before are back.
        ctx.ring()?;
        let restored = restored?;
        let taken: Vec<_> = restored.iter().filter_map(|one| Some((one.id, one.holder?))).collect();
        for (id, holder) in &taken {
            ctx.ui.say(format_args!("job {id} is back without its key: job {holder} holds it by now"));
        }
        if ctx.ui.format == Format::Json {
            let ids: serde_json::Value = restored.iter().map(|one| one.id.get()).collect();
            let taken: serde_json::Value =
                taken.iter().map(|(id, holder)| json!({ "id": id.get(), "holder": holder.get() })).collect();
            let document = json!({ "v": 1, "undo": drop.id.get(), "restored": ids, "key_taken": taken });
            ctx.ui.print(&document.to_string())?;
        } else {
            ctx.ui.hint(format_args!("brought back {}", words::count(restored.len(), "job")));
        }
        Ok(Exit::Done)
    }
}

fn restore(ctx: &mut Ctx, drop: DropId) -> Result<Vec<Restored>, Failure> {
    let now = ctx.now();
    let mut restored = Vec::new();
    loop {
        let portion = ctx.store()?.restore(drop, now)?;
        if portion.is_empty() {
            return Ok(restored);
        }
        restored.extend(portion);
    }
}

fn list(ctx: &mut Ctx, drops: &[DropRecord]) -> Answer {
    let look = &ctx.ui.look;
    match ctx.ui.format {
        Format::Json => ctx.ui.print(&letter::drops_json(drops))?,
        Format::Plain => ctx.ui.print(&letter::drops_plain(drops, look))?,
        Format::Table if drops.is_empty() => ctx.ui.hint("nothing was dropped that can be brought back"),
        Format::Table => ctx.ui.print(&letter::drops_table(drops, look))?,
    }
    Ok(Exit::Done)
}
