//! One file for each verb: its help, its arguments and its effect on one screen.
//!
//! A verb knows no other verb. What several share stands in files of its own: how jobs are described
//! (`draft`, `job_options`, `term_options`, `payload_options`, `key`), answered (`pushed`), kept from others (`shared`), meant (`selection`), listed (`subscribers`), followed (`follow`) and
//! waited for (`waiter`, `awaited`, `unserved`), whose job a verb is called inside of (`lease`), and what is
//! left behind about them (`report`, `whole_file`). `outside` is for tests.

mod awaited;
pub(crate) mod backup;
pub(crate) mod cancel;
mod chosen;
pub(crate) mod complete;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod dlq;
pub(crate) mod doctor;
mod draft;
mod ending;
mod excess;
mod follow;
pub(crate) mod generate;
pub(crate) mod help;
pub(crate) mod import;
// No module can have the name of this verb.
#[path = "self.rs"]
pub(crate) mod inside;
mod job_options;
mod key;
mod lease;
pub(crate) mod list;
pub(crate) mod listen;
pub(crate) mod logs;
pub mod outside;
mod payload_options;
pub(crate) mod prune;
pub(crate) mod publish;
pub(crate) mod push;
mod pushed;
pub(crate) mod queue;
mod report;
pub(crate) mod retry;
pub(crate) mod run;
mod selection;
mod shared;
pub(crate) mod show;
pub(crate) mod stats;
pub(crate) mod step;
mod subscribers;
pub(crate) mod subscription;
pub(crate) mod systemd;
mod term_options;
pub(crate) mod topic;
mod unserved;
pub(crate) mod update;
pub(crate) mod value;
pub(crate) mod wait;
mod waiter;
pub(crate) mod r#where;
mod whole_file;
pub(crate) mod why;
pub(crate) mod work;
pub(crate) mod workers;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::clock::{Clock as _, Timestamp};
use crate::config::{ChosenBy, Config};
use crate::exit::{Exit, Failure};
use crate::job::{EventId, JobId, QueueName, QueueSettings, StartAt, StateKind};
use crate::render::{json, words};
use crate::store::{self, Access, Store, Target, Tidy};
use crate::ui::{Format, Ui};
use crate::wake;

/// What every verb works with.
pub(crate) struct Ctx {
    pub(crate) config: Config,
    pub(crate) ui: Ui,
    store: Option<Box<dyn Store>>,
}

/// How many jobs one transaction changes or forgets, so that nobody waits long for the write lock.
const CHANGED_AT_ONCE: usize = 500;

/// What a verb answers.
pub(crate) type Answer = Result<Exit, Failure>;

impl Ctx {
    pub(crate) fn new(config: Config, ui: Ui) -> Self {
        Self { config, ui, store: None }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.config.clock.now()
    }

    /// An instant that is given as such or as how long ago it was.
    ///
    /// # Errors
    ///
    /// Usage, naming the option.
    pub(crate) fn past(&self, option: &str, text: &str) -> Result<Timestamp, Failure> {
        let now = self.now();
        if let Ok(ago) = value::duration(text) {
            return Ok(now.minus(ago));
        }
        value::instant(text, now, &(self.ui.look.zone)())
            .map_err(|error| Failure::usage(format!("{option}: {error}, or a duration such as 2h")))
    }

    /// Where in the log of events to begin: `new`, `all`, the id of an event, or an instant.
    ///
    /// # Errors
    ///
    /// Usage, naming the option.
    pub(crate) fn event_from(&self, option: &str, text: &str) -> Result<StartAt, Failure> {
        match text {
            "new" => Ok(StartAt::New),
            "all" => Ok(StartAt::All),
            // Never a length of time: 0 would be now, and pass over everything.
            number if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                let id = number.parse().ok().and_then(EventId::new);
                id.map(StartAt::Event).ok_or_else(|| {
                    Failure::usage(format!("{option}: no event has the number {number}")).hint("with the oldest: all")
                })
            }
            text => match self.past(option, text)? {
                at if at > self.now() => {
                    Err(Failure::usage(format!("{option}: {text} has not come yet")).hint("to begin now: new"))
                }
                at => Ok(StartAt::Time(at)),
            },
        }
    }

    /// Refuses an event that is yet to come, but for the very next one: nobody would begin there. The queue file is
    /// open by now.
    ///
    /// # Errors
    ///
    /// Not found.
    pub(crate) fn known_place(&mut self, from: StartAt) -> Result<(), Failure> {
        let StartAt::Event(id) = from else { return Ok(()) };
        match self.store()?.event_from(StartAt::New)? {
            (next, _) if id <= next => Ok(()),
            (_, 0) => Err(Failure::not_found(format!("there is no event {id}: none was published yet"))),
            (_, last) => Err(Failure::not_found(format!("there is no event {id}: the last one is {last}"))),
        }
    }

    /// What a queue, which must be there, has of its own.
    ///
    /// # Errors
    ///
    /// Not found.
    pub(crate) fn known_queue(&mut self, queue: &QueueName) -> Result<QueueSettings, Failure> {
        self.store()?.settings(queue)?.ok_or_else(|| selection::unknown_queue(queue))
    }

    /// Forgets those of `ids` that stand in one of `states`, in portions; answers which, in their order.
    ///
    /// # Errors
    ///
    /// Those of the store; what was forgotten until then stays so.
    pub(crate) fn forget(&mut self, ids: &[JobId], states: &[StateKind]) -> Result<Vec<JobId>, Failure> {
        let mut forgotten = Vec::new();
        for portion in ids.chunks(CHANGED_AT_ONCE) {
            forgotten.extend(self.store()?.forget(portion, states)?);
        }
        Ok(forgotten)
    }

    /// Answers with what became of each job that was to be changed: as JSON, where that is asked for.
    pub(crate) fn answer_changes(&self, changes: &[json::Change]) -> Result<(), Failure> {
        if self.ui.format == Format::Json { self.ui.print(&json::changes(changes)) } else { Ok(()) }
    }

    /// Answers with what a verb would do to these jobs, of which it changes only those in `states`.
    pub(crate) fn would_change(
        &self,
        (verb, would): (&str, &'static str),
        jobs: &[(JobId, StateKind)],
        states: &[StateKind],
    ) -> Answer {
        let (meant, others): (Vec<_>, Vec<_>) = jobs.iter().partition(|(_, state)| states.contains(state));
        for (id, state) in &others {
            self.ui.say(format_args!("job {id} is {}; there is nothing to {verb}", state.name()));
        }
        if self.ui.format == Format::Json {
            let change = |outcome| {
                move |&(id, state): &(JobId, StateKind)| json::Change { id, outcome, state: Some(state), holder: None }
            };
            let changes = meant.iter().map(change(would)).chain(others.iter().map(change("refused")));
            self.ui.print(&json::changes(&changes.collect::<Vec<_>>()))?;
        } else {
            self.ui.say(format_args!("would {verb} {}", words::count(meant.len(), "job")));
            let lines: Vec<String> = meant.iter().map(|(id, _)| id.to_string()).collect();
            self.ui.print(&lines.join("\n"))?;
        }
        Ok(if others.is_empty() { Exit::Done } else { Exit::Refused })
    }

    /// The queue and the rule that chose it.
    pub(crate) fn target(&self) -> Result<(Target, ChosenBy), Failure> {
        self.config.target.clone().ok_or_else(|| {
            Failure::usage("there is no home folder to keep a queue in").hint("name a file with --db or QCTL_DB")
        })
    }

    /// The queue, which must be there.
    pub(crate) fn store(&mut self) -> Result<&mut dyn Store, Failure> {
        self.open(Access::Existing)
    }

    /// The queue, which is made if need be.
    pub(crate) fn store_or_create(&mut self) -> Result<&mut dyn Store, Failure> {
        self.open(Access::Create)
    }

    fn open(&mut self, access: Access) -> Result<&mut dyn Store, Failure> {
        let store = match self.store.take() {
            Some(store) => store,
            None => store::open(&self.target()?.0, access)?,
        };
        Ok(&mut **self.store.insert(store))
    }

    /// Where bells hang.
    pub(crate) fn bells(&self) -> Result<PathBuf, Failure> {
        Ok(store::bells(&self.target()?.0))
    }

    /// Says that jobs of these queues are ready now, and wakes those who wait for something to happen.
    pub(crate) fn announce<'q>(&mut self, queues: impl IntoIterator<Item = &'q QueueName>) -> Result<(), Failure> {
        let bells = self.bells()?;
        wake::raise_all(&bells, queues.into_iter().map(QueueName::as_str).collect::<BTreeSet<_>>());
        self.ring()
    }

    /// The same for jobs that were made ready.
    pub(crate) fn announce_jobs(&mut self, ids: &[JobId]) -> Result<(), Failure> {
        let mut queues = BTreeSet::new();
        for &id in ids {
            queues.extend(self.store()?.job(id)?.map(|job| job.queue));
        }
        self.announce(&queues)
    }

    /// Wakes those who wait for something to happen, after it has; where no worker is there to do
    /// so, folds the log back.
    pub(crate) fn ring(&mut self) -> Result<(), Failure> {
        let heard = wake::ring(&self.bells()?, |_| true);
        let has_worker = heard.iter().any(|name| name.starts_with(wake::WORKER));
        if let Some(store) = &mut self.store
            && !has_worker
        {
            // What was asked is done and durable; housekeeping that fails is no failure of it.
            let _ = store.tidy(Tidy::Passing);
        }
        Ok(())
    }
}
