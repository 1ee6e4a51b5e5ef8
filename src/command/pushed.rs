//! What a push came to, as `push`, `run` and `import` tell it.

use super::Ctx;
use crate::clock::Timestamp;
use crate::exit::Failure;
use crate::job::{Due, JobId, KeyRule, NewJob, OnDuplicate, QueueName, StateKind};
use crate::render::{push as words, text};
use crate::store::{Met, PushOutcome, Pushed};

/// The answer to the push of one job.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    /// What the store says.
    pub(super) pushed: Pushed,
    /// The key that was pushed.
    key: Option<KeyRule>,
    /// When the job was to be due.
    due: Due,
}

/// What is asked for, to be told once it is answered.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    key: Option<KeyRule>,
    due: Due,
}

impl Asked {
    pub(super) fn of(job: &NewJob) -> Self {
        Self { key: job.key.clone(), due: job.due }
    }

    pub(super) fn answered(self, pushed: Pushed) -> Answered {
        Answered { pushed, key: self.key, due: self.due }
    }
}

/// The word for an outcome.
pub(super) fn outcome_name(outcome: PushOutcome) -> &'static str {
    match outcome {
        PushOutcome::Created => "created",
        PushOutcome::Existing { .. } => "existing",
        PushOutcome::Replaced => "replaced",
    }
}

/// In what the job that was met differs from what was pushed.
pub(super) fn differs(met: &Met) -> Vec<&'static str> {
    let all = [("command", met.is_other_command), ("payload", met.is_other_payload)];
    all.into_iter().filter(|&(_, is_other)| is_other).map(|(what, _)| what).collect()
}

impl Answered {
    /// The document that says it.
    pub(super) fn document(&self) -> serde_json::Value {
        let Pushed { id, queue, outcome, state, met } = &self.pushed;
        let found = met.as_deref().filter(|_| matches!(outcome, PushOutcome::Existing { .. }));
        let key_until = match found {
            Some(met) => met.held_until,
            None => self.key.as_ref().and_then(|rule| rule.held_until),
        };
        words::Push {
            id: *id,
            queue,
            outcome: outcome_name(*outcome),
            state: *state,
            due: self.due(found),
            key: self.key.as_ref().map(|rule| rule.key.as_str()),
            held_until: key_until,
            met: found.map(|met| &met.job),
            differs: &self.differs(),
        }
        .document()
    }

    fn due(&self, found: Option<&Met>) -> Option<Timestamp> {
        match (self.pushed.state, found, self.due) {
            (StateKind::Scheduled | StateKind::Retrying, Some(met), _) => Some(met.job.run_at),
            (StateKind::Scheduled, None, Due::At(at)) => Some(at),
            (_, _, _) => None,
        }
    }

    /// In what the job that was met differs from what was pushed.
    pub(super) fn differs(&self) -> Vec<&'static str> {
        self.pushed.met.as_deref().map(differs).unwrap_or_default()
    }

    /// Says what the id alone does not.
    ///
    /// Said to everyone is what whoever pushed may not have meant: that nothing is going to run, that something
    /// else is, or that nothing was replaced. The rest is for who sits there.
    pub(super) fn explain(&self, ctx: &Ctx) {
        let Pushed { id, queue, .. } = &self.pushed;
        let Some(met) = &self.pushed.met else {
            ctx.ui.hint(format_args!("queued job {id} on {queue}"));
            return;
        };
        let is_idle = is_idle(met);
        let line = self.line(met, ctx, "nothing was queued");
        if self.pushed.outcome != PushOutcome::Replaced && (met.differs() || is_idle || self.is_kept()) {
            ctx.ui.say(line);
        } else {
            ctx.ui.hint(line);
        }
        if is_idle {
            ctx.ui.hint(cure(*id));
        }
    }

    /// Says which other job it is whose end is waited for, if it is another.
    pub(super) fn explain_wait(&self, ctx: &Ctx) {
        if let Some(met) = &self.pushed.met {
            ctx.ui.say(self.line(met, ctx, "nothing was queued, and this ends as that job does"));
        }
    }

    /// What became of the job that was met; `then` is what follows where nothing was queued.
    fn line(&self, met: &Met, ctx: &Ctx, then: &str) -> String {
        let Pushed { id, queue, outcome, .. } = &self.pushed;
        let had = had(met, ctx);
        if *outcome == PushOutcome::Replaced {
            return format!("replaced job {id} on {queue}, which was {had}");
        }
        let kept = if self.is_kept() { "; it is past replacing" } else { "" };
        format!("the key is held by job {id}, which is {had}{kept}; {then}")
    }

    /// Whether the job that was met was to be replaced and was not.
    fn is_kept(&self) -> bool {
        let wanted = self.key.as_ref().is_some_and(|rule| rule.on_duplicate == OnDuplicate::Replace);
        wanted && matches!(self.pushed.outcome, PushOutcome::Existing { .. })
    }
}

/// Whether nothing runs for who pushes the key of this job.
pub(super) fn is_idle(met: &Met) -> bool {
    matches!(met.job.state.kind(), StateKind::Dead | StateKind::Cancelled)
}

/// Where the job that was met stands, and how it differs: `dead: exhausted, 3m ago, and has another command`.
pub(super) fn had(met: &Met, ctx: &Ctx) -> String {
    let standing = words::standing(&met.job, &ctx.ui.look);
    match differs(met).as_slice() {
        [] => standing,
        what => format!("{standing}, and has {}", words::difference(what)),
    }
}

fn cure(id: JobId) -> String {
    format!("run it: qctl retry {id}; or free the key: qctl delete {id}")
}

/// A push that asked to be refused where its key is held, which it is by this job.
pub(super) fn refusal(key: &str, queue: &QueueName, met: &Met, ctx: &Ctx) -> Failure {
    let id = met.job.id;
    let (key, had) = (text::safe(format!("{key:?}").as_bytes()), had(met, ctx));
    let hint = if is_idle(met) { cure(id) } else { format!("qctl show {id}") };
    Failure::refused(format!("key {key} is held by job {id} in queue {queue}, which is {had}")).hint(hint)
}
