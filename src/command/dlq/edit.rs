//! What dead jobs get in the place of what they had when they are put back.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::command::Ctx;
use crate::config;
use crate::exit::Failure;
use crate::job::{Command, JobId, Part};
use crate::process;
use crate::render::text;

/// What the jobs get in the place of what they had.
#[derive(clap::Args, Debug)]
pub(super) struct Edit {
    /// Change the payload of each job in $VISUAL or $EDITOR, or its command where it has no payload; the old one is kept, see show
    #[arg(long, conflicts_with = "set_payload")]
    edit: bool,
    /// Give each job this payload: a text, @FILE, or - for standard input; the old one is kept, see show
    #[arg(long, value_name = "S|@FILE|-")]
    set_payload: Option<OsString>,
}

/// What was asked for, for each job that is still meant.
pub(super) enum New {
    /// Everything stays as it is.
    Nothing,
    /// The same for all.
    ForAll(Part),
    /// Something for each.
    ForEach(BTreeMap<JobId, Part>),
}

/// How many jobs one transaction changes, so that nobody waits long for the write lock.
const PORTION: usize = 500;

impl New {
    /// Gives it to these dead jobs.
    pub(super) fn give(&self, ctx: &mut Ctx, dead: &[JobId]) -> Result<(), Failure> {
        let of = |&id: &JobId| match self {
            Self::Nothing => None,
            Self::ForAll(part) => Some((id, part)),
            Self::ForEach(parts) => parts.get(&id).map(|part| (id, part)),
        };
        let new: Vec<(JobId, &Part)> = dead.iter().filter_map(of).collect();
        let now = ctx.now();
        for portion in new.chunks(PORTION) {
            ctx.store()?.revise(portion, now)?;
        }
        Ok(())
    }
}

impl Edit {
    /// Reads or asks for what is new, before anything is put back. Takes out the jobs of which the text was left as
    /// it was, and says so of each; answers how many.
    pub(super) fn read(&self, ctx: &mut Ctx, dead: &mut Vec<JobId>) -> Result<(New, usize), Failure> {
        if let Some(given) = &self.set_payload {
            return Ok((New::ForAll(Part::Payload(Some(payload(given)?))), 0));
        }
        if !self.edit {
            return Ok((New::Nothing, 0));
        }
        let editor = editor(ctx)?;
        let n_meant = dead.len();
        // Each is looked at before the first is shown: what cannot be edited is said while nothing is lost.
        let mut texts = Vec::new();
        for &id in dead.iter() {
            texts.extend(Text::of(ctx, id)?.map(|text| (id, text)));
        }
        let mut parts = BTreeMap::new();
        for (id, text) in texts {
            match text.ask(id, &editor)? {
                Edited::Is(part) => drop(parts.insert(id, part)),
                Edited::Cancelled(why) => ctx.ui.say(format_args!("job {id} stays dead: {why}")),
            }
        }
        dead.retain(|id| parts.contains_key(id));
        Ok((New::ForEach(parts), n_meant - dead.len()))
    }
}

fn payload(given: &OsString) -> Result<Vec<u8>, Failure> {
    let bytes = given.as_bytes();
    if let Some(path) = bytes.strip_prefix(b"@") {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        return std::fs::read(path)
            .map_err(|error| Failure::usage(format!("{} could not be read: {error}", path.display())));
    }
    if bytes != b"-" {
        return Ok(bytes.to_vec());
    }
    let mut read = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut read)
        .map_err(|error| Failure::usage(format!("standard input could not be read: {error}")))?;
    Ok(read)
}

fn editor(ctx: &Ctx) -> Result<OsString, Failure> {
    match config::editor() {
        Some(editor) => Ok(editor),
        None if ctx.ui.stdin_is_terminal => Ok("vi".into()),
        None => Err(Failure::refused("nobody can edit here: there is no terminal")
            .hint("set EDITOR, or give the payload: --set-payload")),
    }
}

/// What of a job is edited, as it is before.
enum Text {
    Payload(String),
    Shell(String),
    Program(String),
}

/// What came of it.
enum Edited {
    Is(Part),
    Cancelled(&'static str),
}

impl Text {
    /// That of a job; `None` where it has left meanwhile.
    fn of(ctx: &mut Ctx, id: JobId) -> Result<Option<Self>, Failure> {
        let Some(job) = ctx.store()?.job(id)? else { return Ok(None) };
        let no_text = |what: &str| Failure::refused(format!("the {what} of job {id} is no text"));
        if let Some(payload) = ctx.store()?.payload(id)? {
            let text = String::from_utf8(payload);
            return text.map(|text| Some(Self::Payload(text))).map_err(|_| {
                no_text("payload").hint(format!("give another: qctl dlq requeue {id} --set-payload @FILE"))
            });
        }
        let Some(command) = job.command else {
            return Err(Failure::refused(format!("job {id} has neither payload nor command"))
                .hint(format!("give it a payload: qctl dlq requeue {id} --set-payload S")));
        };
        let kind = if matches!(command, Command::Shell(_)) { Self::Shell } else { Self::Program };
        String::from_utf8(text::command_line(&command)).map(|text| Some(kind(text))).map_err(|_| {
            no_text("command").hint(format!("change it in a file: qctl dlq export {id} > FILE; qctl import FILE"))
        })
    }

    fn as_str(&self) -> &str {
        let (Self::Payload(text) | Self::Shell(text) | Self::Program(text)) = self;
        text
    }

    /// Shows it in the editor, and reads what is there afterwards.
    fn ask(&self, id: JobId, editor: &OsString) -> Result<Edited, Failure> {
        let failed = |error: io::Error| Failure::refused(format!("the text of job {id} could not be edited: {error}"));
        let name = format!("job-{id}{}", if matches!(self, Self::Payload(_)) { "-payload" } else { "-command" });
        let draft = Draft::make(&name, self.as_str()).map_err(failed)?;
        if let Some(end) = process::run_in_foreground(editor, draft.file.as_os_str()).map_err(failed)? {
            let message = format!("the editor {} ended with {end}", editor.display());
            return Err(Failure::refused(message).hint("nothing was put back"));
        }
        let mut edited = std::fs::read(&draft.file).map_err(failed)?;
        // Editors end the last line, whether it was ended before or not.
        if !self.as_str().ends_with('\n') && edited.last() == Some(&b'\n') {
            edited.pop();
        }
        if edited.trim_ascii().is_empty() {
            return Ok(Edited::Cancelled("the text is empty"));
        }
        if edited == self.as_str().as_bytes() {
            return Ok(Edited::Cancelled("the text is as it was"));
        }
        self.part(edited)
            .map(Edited::Is)
            .map_err(|why| Failure::refused(format!("the new command of job {id} {why}")).hint("nothing was put back"))
    }

    /// The part of the job that an edited text is.
    fn part(&self, edited: Vec<u8>) -> Result<Part, &'static str> {
        let command = match self {
            Self::Payload(_) => return Ok(Part::Payload(Some(edited))),
            _ if edited.contains(&0) => return Err("has a NUL in it"),
            Self::Shell(_) => Command::Shell(edited),
            Self::Program(_) => {
                let words = shlex::bytes::split(&edited).ok_or("has a quote without its end")?;
                if words.first().is_none_or(Vec::is_empty) {
                    return Err("names no program");
                }
                Command::Program(words)
            }
        };
        Ok(Part::Command(Some(command)))
    }
}

/// A file in a folder, both for nobody else, which go with this.
struct Draft {
    folder: PathBuf,
    file: PathBuf,
}

impl Draft {
    fn make(name: &str, text: &str) -> io::Result<Self> {
        let folder = config::temporary_folder().join(format!("qctl-edit-{:016x}", fastrand::u64(..)));
        // Fails where anything is there by that name, so that nobody can have put it there.
        DirBuilder::new().mode(0o700).create(&folder)?;
        let draft = Self { file: folder.join(name), folder };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft.file)?;
        file.write_all(text.as_bytes())?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // With what the editor left beside it.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
