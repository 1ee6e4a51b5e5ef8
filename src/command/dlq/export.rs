//! `qctl dlq export`

use super::select::{Selection, dead_in, skip, would};
use crate::command::{Answer, Ctx};
use crate::exit::Exit;
use crate::render::letter;

/// Write dead jobs as JSON Lines, which import takes back; all, unless some are named
///
/// A line has all that a job needs to run elsewhere as it would here, bytes that are no text in base64: command,
/// payload, key, labels, folder, variables and terms. Beside it stands what became of it, which import --as-dead
/// takes along. Output, recorded steps and the event that it is a delivery of stay here.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl dlq export > dead.jsonl
  qctl dlq export --group 4f1c09ab > later.jsonl
  qctl dlq export -Q mail | qctl --db other.db import              run them there
  qctl dlq export | qctl --db other.db import --as-dead            have them dead there
  qctl dlq export | jq -r '.error' | sort | uniq -c")]
pub(super) struct Export {
    #[command(flatten)]
    selection: Selection,
}

/// How many jobs are looked up at a time.
const PORTION: usize = 500;

impl Export {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let (mut dead, others) =
            if self.selection.is_empty() { (dead_in(ctx, &[])?, Vec::new()) } else { self.selection.resolve(ctx)? };
        if self.selection.dry_run {
            return would(ctx, "export", &dead);
        }
        let n_others = skip(ctx, &others);
        // As they were pushed, so that imported they stand in the same order.
        dead.sort_unstable();
        for portion in dead.chunks(PORTION) {
            let letters = ctx.store()?.letters(portion)?;
            let mut lines = String::new();
            for (id, letter) in &letters {
                lines.push_str(&letter::line(*id, letter));
                lines.push('\n');
            }
            // JSON is UTF-8 wherever it is read.
            ctx.ui.raw(lines.as_bytes())?;
        }
        Ok(if n_others > 0 { Exit::Refused } else { Exit::Done })
    }
}
