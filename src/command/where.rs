//! `qctl where`

use super::{Answer, Ctx};
use crate::exit::{Exit, Failure};
use crate::render::{json, plain, table, text, words};
use crate::store::{self, Target};
use crate::ui::Format;

/// Say which queue file is used, why, and how it is
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl where
  qctl --db /srv/queue.db where")]
pub(crate) struct Where {}

impl Where {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let (target, chosen_by) = ctx.target()?;
        let Target::Sqlite(path) = &target;
        let mut facts = vec![
            ("path", text::safe(path.as_os_str().as_encoded_bytes())),
            ("chosen by", chosen_by.words().to_owned()),
        ];
        // Where the file is missing, what is known is said all the same: that is what one asks for.
        let place = store::place(&target);
        let mut n_workers = 0;
        if let Ok(place) = &place {
            n_workers = ctx.store()?.workers()?.iter().filter(|worker| worker.is_alive).count();
            facts.extend([
                ("size", words::bytes(place.bytes)),
                ("log size", words::bytes(place.wal_bytes)),
                ("schema", place.schema.to_string()),
                ("journal", place.journal.clone()),
                ("file system", place.file_system.clone()),
                ("owner", place.owner.to_string()),
                ("live workers", n_workers.to_string()),
            ]);
        }
        match (ctx.ui.format, &place) {
            (Format::Json, Ok(place)) => {
                let mut document = serde_json::json!({
                    "v": 1,
                    "path": null,
                    "chosen_by": chosen_by.words(),
                    "bytes": place.bytes,
                    "wal_bytes": place.wal_bytes,
                    "schema": place.schema,
                    "journal": place.journal,
                    "file_system": place.file_system,
                    "owner": place.owner,
                    "live_workers": n_workers,
                });
                json::set_path(&mut document, &place.path);
                ctx.ui.print(&document.to_string())?;
            }
            (Format::Json, Err(_)) => {}
            (Format::Plain, _) => ctx.ui.print(&plain::pairs(facts))?,
            (Format::Table, _) => ctx.ui.print(&table::pairs(&facts))?,
        }
        place.map(|_| Exit::Done).map_err(Failure::from)
    }
}
