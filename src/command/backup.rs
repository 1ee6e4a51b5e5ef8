//! `qctl backup`

use std::path::PathBuf;

use super::{Answer, Ctx};
use crate::exit::{Exit, Failure};
use crate::render::{json, text, words};
use crate::ui::Format;

/// Copy the queue into one file, while workers work
///
/// The copy is the queue as of one instant, and is on the disk when this has ended. It is used like any
/// queue: qctl --db FILE list. What steps printed beyond a megabyte is in a folder beside it, FILE-steps. Never
/// copy queue.db by other means while anyone uses it: what is in its log would be missing.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl backup /backup/queue-$(date +%F).db
  qctl --db /backup/queue-2026-11-24.db doctor")]
pub(crate) struct Backup {
    /// The file to make, which must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Backup {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let path = self.file.display();
        ctx.store()?;
        if self.file.symlink_metadata().is_ok() {
            return Err(
                Failure::refused(format!("{path} is there already")).hint("name a new file, or remove that one")
            );
        }
        ctx.store()?.back_up(&self.file)?;
        let n_bytes = self.file.metadata().map_or(0, |meta| meta.len());
        if ctx.ui.format == Format::Json {
            let mut document = serde_json::json!({ "v": 1, "path": null, "bytes": n_bytes });
            json::set_path(&mut document, &self.file);
            ctx.ui.print(&document.to_string())?;
        }
        let path = text::safe(self.file.as_os_str().as_encoded_bytes());
        ctx.ui.hint(format_args!("wrote {} to {path}", words::bytes(n_bytes)));
        Ok(Exit::Done)
    }
}
