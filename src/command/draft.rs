//! A job as it was described, before its queue has filled in what was left out.

use std::collections::HashMap;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Ctx;
use super::key::{self, Key};
use super::pushed::{self, Answered, Asked};
use crate::clock::Timestamp;
use crate::config;
use crate::exit::Failure;
use crate::job::{
    Command, Context, Defaults, Due, EnvVars, KeyRule, Labels, NewJob, OnDuplicate, QueueName, QueueSettings,
};
use crate::store::{self, Store};

/// A job as it was described.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) queue: QueueName,
    pub(super) command: Option<Command>,
    pub(super) payload: Option<Vec<u8>>,
    pub(super) key: Option<Key>,
    /// How long after the push a finished job holds its key.
    pub(super) key_ttl: Option<Duration>,
    /// Until when, where that is said by itself.
    pub(super) key_until: Option<Option<Timestamp>>,
    pub(super) on_duplicate: OnDuplicate,
    pub(super) due: Due,
    pub(super) expires: Option<Duration>,
    pub(super) env: EnvVars,
    /// The variables that are kept, where they are not those of here.
    pub(super) kept_env: Option<EnvVars>,
    pub(super) cwd: PathBuf,
    pub(super) labels: Labels,
    /// What it says of the things that a queue may set.
    pub(super) own: QueueSettings,
}

impl Draft {
    /// A job of which nothing but this is said.
    pub(super) fn new(queue: QueueName, command: Option<Command>, cwd: PathBuf) -> Self {
        Self {
            queue,
            command,
            payload: None,
            key: None,
            key_ttl: Some(Defaults::KEY_TTL),
            key_until: None,
            on_duplicate: OnDuplicate::Return,
            due: Due::Now,
            expires: None,
            env: EnvVars::new(),
            kept_env: None,
            cwd,
            labels: Labels::new(),
            own: QueueSettings::default(),
        }
    }
}

/// Queues the one job that a draft describes.
pub(super) fn push(ctx: &mut Ctx, draft: Draft) -> Result<Answered, Failure> {
    let now = ctx.now();
    let mut finisher = Finisher::new(now);
    let store = ctx.store_or_create()?;
    finisher.learn(&draft.queue, store)?;
    let job = finisher.finish(draft);
    let asked = Asked::of(&job);
    let pushed = match store.push(&mut std::iter::once(job), now) {
        Err(store::Error::KeyTaken { key, queue, met, .. }) => return Err(pushed::refusal(&key, &queue, &met, ctx)),
        pushed => pushed?,
    };
    Ok(asked.answered(pushed.into_iter().next().expect("one job in, one answer out")))
}

/// Turns drafts into jobs: what a draft leaves out comes from its queue, then from the defaults.
pub(super) struct Finisher {
    settings: HashMap<QueueName, QueueSettings>,
    kept: EnvVars,
    last: Option<Arc<Context>>,
    /// How many of these keys were made from a step.
    of_step: HashMap<(QueueName, String), u32>,
    now: Timestamp,
}

impl Finisher {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { settings: HashMap::new(), kept: config::kept_variables(), last: None, of_step: HashMap::new(), now }
    }

    /// Looks up what the queue has of its own. To be called for the queue of each draft before it is
    /// finished.
    pub(super) fn learn(&mut self, queue: &QueueName, store: &mut dyn Store) -> Result<(), Failure> {
        if !self.settings.contains_key(queue) {
            self.settings.insert(queue.clone(), store.settings(queue)?.unwrap_or_default());
        }
        Ok(())
    }

    /// The job that a draft describes.
    pub(super) fn finish(&mut self, draft: Draft) -> NewJob {
        let queue = self.settings.get(&draft.queue).cloned().unwrap_or_default();
        let now = self.now;
        let held_until = draft.key_until.unwrap_or_else(|| draft.key_ttl.map(|ttl| now.plus(ttl)));
        let on_duplicate = draft.on_duplicate;
        let cwd = draft.cwd.into_os_string().into_vec();
        let deed = (draft.command.as_ref(), draft.payload.as_deref(), cwd.as_slice());
        let key = draft.key.map(|key| match key {
            Key::Given(key) => key,
            Key::Auto => key::auto(deed.0, deed.1, deed.2),
            Key::OfStep(step) => self.number(&draft.queue, key::of_step(&step, deed, &draft.env, &draft.labels)),
        });
        let context =
            Context { terms: draft.own.terms(&queue), cwd, env: draft.kept_env.unwrap_or_else(|| self.kept.clone()) };
        NewJob {
            queue: draft.queue,
            command: draft.command,
            payload: draft.payload,
            key: key.map(|key| KeyRule { key, held_until, on_duplicate }),
            priority: draft.own.priority(&queue),
            due: draft.due,
            expires_at: draft.expires.map(|expires| now.plus(expires)),
            max_attempts: draft.own.max_attempts(&queue),
            labels: draft.labels,
            env: draft.env,
            context: self.share(context),
        }
    }

    /// The key itself for the first job of one push that has it, and then `key-2`, `key-3`: two equal lines of
    /// `import` are two jobs, and are the same two where it is run again.
    fn number(&mut self, queue: &QueueName, key: String) -> String {
        let n = self.of_step.entry((queue.clone(), key.clone())).or_insert(0);
        *n += 1;
        if *n == 1 { key } else { format!("{key}-{n}") }
    }

    /// The context that jobs of one push have in common, once.
    fn share(&mut self, context: Context) -> Arc<Context> {
        match &self.last {
            Some(last) if **last == context => Arc::clone(last),
            _ => Arc::clone(self.last.insert(Arc::new(context))),
        }
    }
}
