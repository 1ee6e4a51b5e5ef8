//! `qctl doctor`: gathers what is so; what of it is a finding is judged in `place`, `work` and `events`.

mod events;
mod place;
mod work;

use std::path::Path;

use nix::unistd::geteuid;

use self::work::Facts;
use super::{Answer, Ctx, excess};
use crate::clock::{Clock as _, Moment, Timestamp};
use crate::config::ChosenBy;
use crate::exit::{Exit, Failure};
use crate::job::{Command, Filter, Job, JobId, Pace, Page, StartAt, StateKind};
use crate::render::{Finding, json, plain, table, text};
use crate::store::{self, Access, Part, Place, Store, Target};
use crate::ui::Format;

/// How many running jobs, keys and overdue jobs are looked at. Who has more of a kind has one
/// cause, and these show it.
const LIMIT: usize = 1000;

/// How many of the newest jobs are asked whether they come from the future: an import after the
/// clock was set back may hide a single older one.
const N_NEWEST: usize = 100;

/// Look for what is wrong with the queue, and say what cures it
///
/// Prints nothing and exits 0 when all is well; else prints each finding with its cure and exits 1.
/// A file that is no queue, or is not yours, is refused with status 78 as by every verb; one of an
/// older qctl is brought up to date. Nothing else is changed, but the whole file is read, which takes
/// its time where it is large.
///
/// It looks for: damage; a schema or a journal that somebody changed; files beside the queue that
/// belong to another user (the traces of one sudo), that you may not write, or that others may; a
/// file that is mounted by itself; a log of more than 64 MiB; less free space than 64 MiB or a tenth
/// of the file; workers that hang, and jobs of dead ones that nobody takes up; jobs that have run for
/// more than a minute and ten times longer than 99 of 100 in their queue did within a week; queues
/// that no live worker serves and whose jobs wait for more than an hour, or that are paused for more
/// than a day; queues that their breaker has stopped; subscriptions that are behind for as long, or for which events
/// were forgotten or soon will
/// be, for their age or because of topic set --keep-rows and --keep-bytes; queues with more dead jobs, or older ones,
/// than queue set --keep-dead-rows and --keep-dead allow; keys that dead or cancelled jobs hold; and times more than a
/// minute in the future, which a clock that was set back leaves.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl doctor
  qctl doctor || echo 'something is wrong'
  qctl doctor --json | jq -r '.findings[].code'
  0 7 * * *  qctl doctor         # cron mails what it prints: silence means that all is well")]
pub(crate) struct Doctor {}

impl Doctor {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let (target, chosen_by) = ctx.target()?;
        let Target::Sqlite(path) = &target;
        let qctl = match chosen_by {
            ChosenBy::Flag => format!("qctl --db {}", typed([path.as_path()])),
            ChosenBy::Variable | ChosenBy::Default => "qctl".to_owned(),
        };
        let findings = examine(&target, ctx.config.clock.moment(), qctl)?;
        match ctx.ui.format {
            Format::Json => {
                let document = serde_json::json!({ "v": 1, "findings": json::findings(&findings) });
                ctx.ui.print(&document.to_string())?;
            }
            Format::Plain => ctx.ui.print(&plain::findings(&findings))?,
            Format::Table => ctx.ui.print(&table::findings(&findings))?,
        }
        if findings.is_empty() {
            let path = text::safe(path.as_os_str().as_encoded_bytes());
            ctx.ui.hint(format_args!("{path}: no findings"));
            return Ok(Exit::Done);
        }
        Ok(Exit::BadAnswer)
    }
}

/// Everything that is wrong, the most fundamental first.
fn examine(target: &Target, at: Moment, qctl: String) -> Result<Vec<Finding>, Failure> {
    // Before anything is opened: what is wrong with the files may be why they cannot be.
    let parts = store::parts(target);
    let space = store::free_bytes(target).and_then(|free| place::space(&parts, free));
    let mut diagnosis = Diagnosis { findings: place::parts(&parts).into_iter().chain(space).collect() };
    match store::place(target).and_then(|place| Ok((place, store::open(target, Access::Existing)?))) {
        Ok((place, mut store)) => look_inside(&place, &mut *store, &mut diagnosis, (at, qctl))?,
        Err(error) if diagnosis.explains(&error) => {}
        Err(error) => return Err(unopened(error, &parts)),
    }
    Ok(diagnosis.findings)
}

/// What needs an open queue. One thing that cannot be read does not keep the others from being
/// looked at.
fn look_inside(
    place: &Place,
    store: &mut dyn Store,
    diagnosis: &mut Diagnosis,
    (at, qctl): (Moment, String),
) -> Result<(), Failure> {
    diagnosis.add(store.examine().map(|damage| place::damage(&place.path, &damage)).or_else(|error| match error {
        store::Error::Corrupt { .. } => Ok(place::damage(&place.path, &[error_in_words(&error)])),
        other => Err(other),
    }))?;
    diagnosis.add(store.strays().map(|strays| place::strays(&place.path, &strays)))?;
    let has_worker = store.workers().is_ok_and(|workers| workers.iter().any(|worker| worker.is_alive));
    diagnosis.add(Ok(place::file(place, has_worker, &qctl)))?;
    diagnosis.add(gather(store, at, qctl.clone()).map(|facts| facts.findings()))?;
    diagnosis.add(gather_events(store, at.now, qctl).map(|facts| facts.findings()))
}

fn error_in_words(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// What was found by now.
struct Diagnosis {
    findings: Vec<Finding>,
}

impl Diagnosis {
    fn add(&mut self, found: store::Result<Vec<Finding>>) -> Result<(), Failure> {
        match found {
            Ok(found) => self.findings.extend(found),
            Err(error) if self.explains(&error) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether a failure only follows from what was found already, so that it tells nothing new.
    fn explains(&self, error: &store::Error) -> bool {
        use store::Error as E;
        let causes: &[&str] = match error {
            E::Refused { .. } => place::SHUTS_OUT,
            E::Full { .. } => &[place::SPACE],
            E::Corrupt { .. } | E::Backend(_) | E::Unknown { .. } | E::Failing { .. } => {
                &[place::DAMAGE, place::SCHEMA]
            }
            E::Missing { .. }
            | E::NotAQueue { .. }
            | E::TooNew { .. }
            | E::UnsafePlace { .. }
            | E::Busy { .. }
            | E::Moved { .. }
            | E::KeyTaken { .. } => &[],
        };
        self.findings.iter().any(|finding| causes.contains(&finding.code))
    }
}

/// Why the queue could not be opened. Where it is another user's, that mostly is the trace of one
/// sudo, and there is more to be said than that it should be one's own.
fn unopened(error: store::Error, parts: &[Part]) -> Failure {
    let is_unsafe = matches!(error, store::Error::UnsafePlace { .. });
    let failure = Failure::from(error);
    let Some((_folder, files @ [file, ..])) = parts.split_last() else { return failure };
    if !is_unsafe || file.is_link || file.owner == geteuid().as_raw() {
        return failure;
    }
    let (owner, files) = (file.owner, typed(files.iter().map(|part| part.path.as_path())));
    failure.hint(format!(
        "look at it as that user (sudo -u '#{owner}' qctl doctor), or make it yours: sudo chown \"$(id -u)\" {files}"
    ))
}

/// What is known of the work in a queue.
fn gather(store: &mut dyn Store, at: Moment, qctl: String) -> store::Result<Facts> {
    let running = Filter { states: vec![StateKind::Running], ..Filter::default() };
    let overdue = store.overdue(at.now.minus(work::LONG_WAIT), LIMIT)?;
    let paused = store.subscriptions()?.into_iter().filter(|one| one.paused_at.is_some() && one.name == one.queue);
    let keys = store.blocking_keys(LIMIT, at.now)?;
    // Before the running jobs: who ended in between has then left none.
    let workers = store.workers()?;
    let queues = store.queues()?;
    Ok(Facts {
        at,
        workers,
        excesses: excess::of_all(store, &queues, at.now)?,
        queues,
        paused_with_subscription: paused.map(|one| one.queue).collect(),
        running: store.jobs(&running, Page { after: None, limit: LIMIT, oldest_first: true })?,
        newest: store.jobs(&Filter::default(), Page { after: None, limit: N_NEWEST, oldest_first: false })?,
        overdue: read(store, &overdue)?,
        holders: read(store, &keys)?,
        pace: store.pace(Pace::counted_from(at.now.minus(work::USUAL), at.now))?,
        qctl,
    })
}

/// What is known of the subscriptions that are behind.
fn gather_events(store: &mut dyn Store, now: Timestamp, qctl: String) -> store::Result<events::Facts> {
    let mut behind = Vec::new();
    for of in store.subscriptions()? {
        if let Some(next) = of.next {
            let (first, _) = store.event_from(StartAt::Event(next))?;
            let backlog = store.backlog(&of)?;
            behind.push(events::Behind { of, first, backlog });
        }
    }
    Ok(events::Facts { now, behind, topics: store.topics()?, queues: store.queues()?, qctl })
}

/// These jobs, as far as they are still there.
fn read(store: &mut dyn Store, ids: &[JobId]) -> store::Result<Vec<Job>> {
    let jobs = ids.iter().map(|&id| store.job(id)).collect::<store::Result<Vec<_>>>()?;
    Ok(jobs.into_iter().flatten().collect())
}

/// Paths as one would type them to a shell, parted by blanks.
fn typed<'p>(paths: impl IntoIterator<Item = &'p Path>) -> String {
    text::command(Some(&Command::Program(
        paths.into_iter().map(|path| path.as_os_str().as_encoded_bytes().to_vec()).collect(),
    )))
}

/// Words as one would type them to a shell.
fn shell_words<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    text::command(Some(&Command::Program(words.into_iter().map(|word| word.as_bytes().to_vec()).collect())))
}
