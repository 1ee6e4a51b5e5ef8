//! What a wait leaves behind: who did not succeed, for people, for programs and for CI.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::Ctx;
use super::awaited::{self, Awaited};
use super::whole_file::WholeFile;
use crate::clock::Timestamp;
use crate::exit::Failure;
use crate::job::{Attempt, Filter, Job, JobId, Page, State, Stream};
use crate::render::waited::{self, Fate, Waited};
use crate::render::{detail, github, json, junit, text};
use crate::ui::Format;

/// How many jobs are told of one by one; of what is longer nobody reads the end.
const MAX_LISTED: usize = 20;

/// How many of the last lines of stderr are shown.
const LAST_LINES: usize = 10;

/// How many jobs are read at a time.
const PORTION: usize = 1000;

/// A wait that has ended.
pub(super) struct Report<'a> {
    pub(super) jobs: &'a Awaited,
    pub(super) began: Timestamp,
    pub(super) is_time_up: bool,
    /// Where the JUnit report goes.
    pub(super) junit: Option<&'a WholeFile>,
    /// The command that shows those that are not listed.
    pub(super) more: String,
}

impl Report<'_> {
    /// Tells everyone whom it concerns.
    ///
    /// # Errors
    ///
    /// Those of any read, and where the JUnit report could not be written; then everything else was
    /// told all the same.
    pub(super) fn tell(&self, ctx: &mut Ctx) -> Result<(), Failure> {
        // First, because whoever reads the rest may have gone.
        let written = self.write_junit(ctx)?;
        let failed = &self.jobs.failed;
        let listed = read(ctx, &failed[..failed.len().min(MAX_LISTED)], Fate::Failed)?;
        self.summarize(ctx, &listed);
        self.annotate(ctx, &listed);
        match ctx.ui.format {
            Format::Json => self.document(ctx)?,
            Format::Table | Format::Plain => self.list(ctx, &listed),
        }
        written
    }

    /// The inner result is that of the writing.
    fn write_junit(&self, ctx: &mut Ctx) -> Result<Result<(), Failure>, Failure> {
        let Some(file) = self.junit else { return Ok(Ok(())) };
        let mut jobs = read(ctx, &self.jobs.succeeded, Fate::Succeeded)?;
        jobs.extend(read(ctx, &self.jobs.failed, Fate::Failed)?);
        jobs.extend(read(ctx, &self.jobs.pending, Fate::Pending)?);
        jobs.sort_by_key(|waited| waited.id);
        let report = junit::Report { jobs: &jobs, began: self.began, is_time_up: self.is_time_up };
        Ok(file.write(&junit::document(&report)))
    }

    /// Adds to the summary of a step in GitHub Actions.
    fn summarize(&self, ctx: &Ctx, listed: &[Waited]) {
        let Some(path) = ctx.config.actions.as_ref().and_then(|step| step.summary.as_ref()) else { return };
        let summary = github::summary(&self.jobs.totals(), listed, &self.more);
        if let Err(error) = append(path, &summary) {
            let path = text::safe(path.as_os_str().as_encoded_bytes());
            ctx.ui.say(format_args!("the summary of the step could not be written: {path}: {error}"));
        }
    }

    /// On stderr: the runner reads both streams, and stdout is for data.
    fn annotate(&self, ctx: &Ctx, listed: &[Waited]) {
        if ctx.config.actions.is_some() {
            for line in github::annotations(listed, self.jobs.failed.len(), &ctx.ui.look) {
                ctx.ui.say(line);
            }
        }
    }

    fn list(&self, ctx: &Ctx, listed: &[Waited]) {
        let n_more = self.jobs.failed.len() - listed.len();
        for line in waited::list(listed, n_more, &self.more, &ctx.ui.look) {
            ctx.ui.say(if ctx.config.actions.is_some() { github::inert(&line) } else { line });
        }
    }

    fn document(&self, ctx: &mut Ctx) -> Result<(), Failure> {
        let (mut failed, mut deleted) = (Vec::new(), Vec::new());
        for portion in self.jobs.failed.chunks(PORTION) {
            let jobs = find(ctx, portion)?;
            for &id in portion {
                match jobs.iter().find(|job| job.id == id) {
                    Some(job) => failed.push(json::job(job)),
                    None => deleted.push(id),
                }
            }
        }
        let mut document = json!({
            "v": 1,
            "succeeded": self.jobs.succeeded.len(),
            "failed": failed,
            "pending": json::ids(&self.jobs.pending),
        });
        // Nothing else would say why the status is 1.
        if !deleted.is_empty() {
            document["deleted"] = json::ids(&deleted);
        }
        ctx.ui.print(&document.to_string())
    }
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    std::fs::File::options().append(true).create(true).open(path)?.write_all(text.as_bytes())
}

/// These jobs, to which this happened, with what is shown of them.
fn read(ctx: &mut Ctx, ids: &[JobId], fate: Fate) -> Result<Vec<Waited>, Failure> {
    let mut all = Vec::with_capacity(ids.len());
    for portion in ids.chunks(PORTION) {
        let mut jobs = find(ctx, portion)?;
        for &id in portion {
            let job = jobs.iter().position(|job| job.id == id).map(|at| jobs.swap_remove(at));
            all.push(waited(ctx, id, job, fate)?);
        }
    }
    Ok(all)
}

/// Those of these jobs that there are.
fn find(ctx: &mut Ctx, ids: &[JobId]) -> Result<Vec<Job>, Failure> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    let filter = Filter { ids: awaited::ranges(&ids), ..Filter::default() };
    Ok(ctx.store()?.jobs(&filter, Page { after: None, limit: ids.len(), oldest_first: true })?)
}

fn waited(ctx: &mut Ctx, id: JobId, job: Option<Job>, fate: Fate) -> Result<Waited, Failure> {
    let mut waited = Waited { id, fate, job, took: Duration::ZERO, tail: Vec::new() };
    match (fate, &waited.job) {
        (Fate::Succeeded, Some(Job { started_at: Some(start), state: State::Succeeded { at }, .. })) => {
            waited.took = at.since(*start);
        }
        // The instants of the job would not do: it may have been given up long after an attempt.
        (Fate::Failed, Some(_)) => {
            if let Some(last) = ctx.store()?.attempts(id)?.last() {
                waited.took = last.report.as_ref().map(|end| end.ended_at.since(end.started_at)).unwrap_or_default();
                waited.tail = tail(ctx, id, last)?;
            }
        }
        (Fate::Succeeded | Fate::Pending, _) | (Fate::Failed, None) => {}
    }
    Ok(waited)
}

/// The last lines that an attempt wrote to stderr.
fn tail(ctx: &mut Ctx, id: JobId, attempt: &Attempt) -> Result<Vec<String>, Failure> {
    let chunks = ctx.store()?.output(id, attempt.token, Stream::Stderr, 0)?;
    let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.bytes).collect();
    let lines = detail::tail(&bytes, LAST_LINES);
    Ok(lines.iter().map(|line| waited::cut_line(line, &ctx.ui.look)).collect())
}
