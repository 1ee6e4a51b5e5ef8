//! The hook of a queue: a death pushes a job that tells of it, in the transaction in which it is filed.
//!
//! Its key is the group, so that of two thousand deaths of one cause one is told in each period; and its queue is one
//! beside, which has no hook itself, so that a hook that fails calls none.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{OptionalExtension as _, named_params};
use serde_json::json;

use super::death::Death;
use super::row::{self, Explain as _};
use super::transaction::Txn;
use super::{push, query};
use crate::job::{
    Command, Context, Defaults, Due, EnvVars, GroupName, Hook, Job, JobId, KeyRule, Labels, NewJob, OnDuplicate,
    QueueName, QueueSettings,
};
use crate::store::{PushOutcome, Result};

/// Pushes the hook of a queue for a job that died there and was filed under `group`, unless one was for this group
/// lately or is still to run.
pub(super) fn sound(
    tx: &Txn<'_>,
    death: &Death<'_>,
    (queue, group): (&QueueName, &GroupName),
    (hook, every): (&Hook, Option<Duration>),
) -> Result<()> {
    let Some(beside) = queue.on_dead() else { return Ok(()) };
    if is_sounded(tx, &beside, (group, death)).explain(tx.path())? {
        return Ok(());
    }
    let own = settings(tx, &beside).explain(tx.path())?;
    let payload = payload(tx, death, (queue, group)).explain(tx.path())?;
    let held_until = death.at.plus(every.unwrap_or(Defaults::ON_DEAD_EVERY));
    let none = QueueSettings::default();
    let context = Context { cwd: hook.cwd.clone(), env: hook.env.clone(), terms: none.terms(&own) };
    let job = NewJob {
        queue: beside,
        command: Some(Command::Shell(hook.line.clone().into_bytes())),
        payload: Some(payload),
        key: Some(KeyRule {
            key: group.as_str().to_owned(),
            held_until: Some(held_until),
            on_duplicate: OnDuplicate::Return,
        }),
        priority: none.priority(&own),
        due: Due::Now,
        expires_at: None,
        max_attempts: none.max_attempts(&own),
        labels: Labels::new(),
        env: env(death, (queue, group)),
        context: Arc::new(context),
    };
    let beside = job.queue.clone();
    let mut is_made = false;
    push::push(tx, &mut std::iter::once(job), death.at, &mut |pushed| {
        is_made = pushed.outcome == PushOutcome::Created;
    })?;
    if is_made {
        tx.note_alarm(push::queue_id(tx, &beside)?);
    }
    Ok(())
}

/// Whether the key of a group is held. Asked first: of two thousand deaths of one cause this is all that is done for
/// most of them.
fn is_sounded(tx: &Txn<'_>, beside: &QueueName, (group, death): (&GroupName, &Death<'_>)) -> rusqlite::Result<bool> {
    let sql = "select exists (
          select 1 from job
          where queue_id = (select id from queue where name = :queue) and key = :key and key_holds = 1
            and (state not in ('succeeded', 'dead', 'cancelled') or key_until > :now))";
    let params = named_params! { ":queue": beside, ":key": group.as_str(), ":now": death.at };
    tx.prepare_cached(sql)?.query_row(params, |row| row.get(0))
}

/// What is set for the queue of the hooks, which may not be there.
fn settings(tx: &Txn<'_>, beside: &QueueName) -> rusqlite::Result<QueueSettings> {
    let sql = "select settings from queue where name = :name";
    let found = tx.prepare_cached(sql)?.query_row(named_params! { ":name": beside }, row::settings).optional()?;
    Ok(found.unwrap_or_default())
}

/// A line of JSON about the job that died. Its fields are called as those of a job in what qctl prints.
fn payload(tx: &Txn<'_>, death: &Death<'_>, (queue, group): (&QueueName, &GroupName)) -> rusqlite::Result<Vec<u8>> {
    let sql = "select n from cause where queue_id = :queue_id and name = :name";
    let params = named_params! { ":queue_id": death.queue_id, ":name": group.as_str() };
    let n: u64 = tx.prepare_cached(sql)?.query_row(params, |row| row.get(0))?;
    let id = JobId::new(death.job).ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let job = query::job(tx, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let (exit_code, signal) = death.ended;
    let line = json!({
        "v": 1,
        "id": death.job,
        "queue": queue.as_str(),
        "group": group.as_str(),
        "count": n,
        "reason": death.reason.name(),
        "exit_code": exit_code,
        "signal": signal,
        "error": death.error,
        "command": command(&job),
        "labels": job.labels,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
    });
    Ok(format!("{line}\n").into_bytes())
}

/// The command as one would type it; bytes that are no text are lost.
fn command(job: &Job) -> Option<String> {
    let line = match job.command.as_ref()? {
        Command::Shell(line) => line.clone(),
        // It fails only on NUL, which no argument holds.
        Command::Program(words) => {
            shlex::bytes::try_join(words.iter().map(Vec::as_slice)).unwrap_or_else(|_| words.join(&b' '))
        }
    };
    Some(String::from_utf8_lossy(&line).into_owned())
}

/// The longest error that becomes a variable, in characters: a program is not started with one of more than 128 KiB.
const MAX_ERROR: usize = 1000;

/// What a line of shell can use without reading JSON. What a job wrote to stderr may hold anything; a NUL would end
/// the variable, and what follows it would be one more, of its choice.
fn env(death: &Death<'_>, (queue, group): (&QueueName, &GroupName)) -> EnvVars {
    let error = death.error.chars().take(MAX_ERROR).map(|c| if c.is_control() { ' ' } else { c });
    let vars = [
        ("QCTL_DEAD_ID", death.job.to_string()),
        ("QCTL_DEAD_QUEUE", queue.to_string()),
        ("QCTL_DEAD_GROUP", group.to_string()),
        ("QCTL_DEAD_REASON", death.reason.name().to_owned()),
        ("QCTL_DEAD_ERROR", error.collect()),
    ];
    vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}
