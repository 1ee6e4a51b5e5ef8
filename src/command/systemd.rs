//! `qctl systemd`

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use clap_complete::ArgValueCandidates;

use super::value::{self, Limit};
use super::{Answer, Ctx, complete};
use crate::config;
use crate::exit::{Exit, Failure};
use crate::job::QueueName;
use crate::render::unit::{self, Unit, Workplace};
use crate::store::{self, Target};
use crate::ui::Format;
use crate::wake;

/// Print systemd units that work a queue
///
/// One service that stays, or with --on-demand three units: a path unit that sees the queue's flag,
/// the worker that it starts and that leaves when nothing is due, and a timer for what falls due
/// later. Nothing is installed unless --write names a folder.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl systemd mail                  a worker that stays
  qctl systemd mail --on-demand --write ~/.config/systemd/user
  systemctl --user daemon-reload
  systemctl --user enable --now qctl-mail.path qctl-mail.timer")]
pub(crate) struct Systemd {
    /// The queue, which need not exist yet
    #[arg(value_name = "QUEUE", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: QueueName,
    /// Start a worker only when there is something to do
    #[arg(long)]
    on_demand: bool,
    /// Units for `systemctl --user` [default, unless you are root]
    #[arg(long, conflicts_with = "system")]
    user: bool,
    /// Units for the system, run as the owner of the queue file
    #[arg(long)]
    system: bool,
    /// Jobs to run at the same time
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    jobs: u16,
    /// How long running jobs get when the worker is stopped
    #[arg(long, value_name = "D|none", default_value = "30s", value_parser = value::duration_or_none)]
    grace: Limit,
    /// Write the files into this folder, replacing none, and print their paths
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

impl Systemd {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let (Target::Sqlite(db), _) = ctx.target()?;
        let db = settle(&db)?;
        let bells = store::bells(&Target::Sqlite(db.clone()));
        let flag = wake::flag(&bells, self.queue.as_str());
        let hook_flag = self.queue.on_dead().map(|beside| wake::flag(&bells, beside.as_str()));
        let program = config::program().map_err(|error| Failure::usage(format!("where is qctl? {error}")))?;
        let me = config::user();
        let is_system = self.system || (me == 0 && !self.user);
        let owner = is_system.then(|| config::user_name(db.metadata().map_or(me, |meta| meta.uid())));
        let place = Workplace {
            queue: self.queue.as_str(),
            program: plain(&program)?,
            db: plain(&db)?,
            flag: plain(&flag)?,
            hook_flag: hook_flag.as_deref().map(plain).transpose()?,
            n_slots: self.jobs,
            grace: self.grace.0,
            user: owner.as_deref(),
        };
        let units = if self.on_demand { unit::on_demand(&place) } else { unit::staying(&place) };
        let written = self.write.as_deref().map(|folder| write(folder, &units)).transpose()?;
        match (ctx.ui.format, written) {
            (Format::Json, _) => {
                ctx.ui.print(&serde_json::json!({ "v": 1, "units": unit::json(&units) }).to_string())?;
            }
            (Format::Table | Format::Plain, Some(paths)) => {
                let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                ctx.ui.print(&paths.join("\n"))?;
                self.say_what_is_next(ctx, is_system);
            }
            (Format::Table | Format::Plain, None) => ctx.ui.print(&unit::listing(&units))?,
        }
        Ok(Exit::Done)
    }

    fn say_what_is_next(&self, ctx: &Ctx, is_system: bool) {
        let systemctl = if is_system { "systemctl" } else { "systemctl --user" };
        let kinds: &[&str] = if self.on_demand { &["path", "timer"] } else { &["service"] };
        let names: Vec<String> = kinds.iter().map(|kind| format!("qctl-{}.{kind}", self.queue)).collect();
        ctx.ui.hint(format_args!("{systemctl} daemon-reload && {systemctl} enable --now {}", names.join(" ")));
    }
}

/// The full path of the queue file, its folder free of links where it is there already: a path unit
/// watches what it is told, and the worker raises flags where the file really is.
fn settle(db: &Path) -> Result<PathBuf, Failure> {
    let db = std::path::absolute(db).map_err(|error| Failure::usage(format!("{}: {error}", db.display())))?;
    let parts = db.parent().and_then(|folder| folder.canonicalize().ok()).zip(db.file_name());
    Ok(parts.map_or(db.clone(), |(folder, name)| folder.join(name)))
}

/// A path as a unit file can hold it.
fn plain(path: &Path) -> Result<&str, Failure> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control));
    text.ok_or_else(|| {
        let message = format!("{} cannot be named in a unit", path.display());
        Failure::refused(message).hint("systemd takes paths in UTF-8 without control characters; move the file")
    })
}

/// Writes the units, all or none.
fn write(folder: &Path, units: &[Unit]) -> Result<Vec<PathBuf>, Failure> {
    let wrong = |path: &Path, error: &io::Error| Failure::refused(format!("{}: {error}", path.display()));
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(|error| wrong(folder, &error))?;
    let paths: Vec<PathBuf> = units.iter().map(|unit| folder.join(&unit.name)).collect();
    if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        let message = format!("{} is there already; nothing was written", path.display());
        return Err(Failure::refused(message).hint("remove it first, or name another folder"));
    }
    for (n, (path, unit)) in paths.iter().zip(units).enumerate() {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        if let Err(error) = file.and_then(|mut file| file.write_all(unit.text.as_bytes())) {
            for path in &paths[..n] {
                let _ = fs::remove_file(path);
            }
            return Err(wrong(path, &error));
        }
    }
    Ok(paths)
}
