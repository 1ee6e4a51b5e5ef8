//! Dead jobs with all there is to tell of them, out of this file and into it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::job_row::{self, JOB_COLUMNS};
use super::push::{Push, queue_id};
use super::row::{self, Explain as _};
use super::transaction::Txn;
use super::{death, undo, wish};
use crate::clock::Timestamp;
use crate::job::{Context, Due, JobId, KeyRule, Letter, NewJob, OnDuplicate, Past, State, StateKind};
use crate::store::{Buried, Result};

/// All there is to tell of those of these jobs that are dead.
pub(super) fn letters(conn: &Connection, ids: &[JobId]) -> rusqlite::Result<Vec<(JobId, Letter)>> {
    let look = conn.unchecked_transaction()?;
    let sql = format!(
        "select {JOB_COLUMNS}, job.context_id, job.env as job_env, job.key_until, job.key_holds,
           (select body from payload where payload.id = job.payload_id) as body
         from job join queue on queue.id = job.queue_id
         where job.id = :id and job.state = 'dead'"
    );
    let mut query = look.prepare_cached(&sql)?;
    let mut contexts = HashMap::new();
    let mut letters = Vec::with_capacity(ids.len());
    for &id in ids {
        let found = query.query_row(named_params! { ":id": id }, |row| letter(&look, row, &mut contexts)).optional()?;
        letters.extend(found.map(|letter| (id, letter)));
    }
    Ok(letters)
}

fn letter(conn: &Connection, row: &Row<'_>, contexts: &mut HashMap<i64, Arc<Context>>) -> rusqlite::Result<Letter> {
    let of = job_row::job(row)?;
    let State::Dead { at: died_at, reason } = of.state else { return Err(rusqlite::Error::QueryReturnedNoRows) };
    let context = match contexts.entry(row.get("context_id")?) {
        Entry::Occupied(known) => Arc::clone(known.get()),
        Entry::Vacant(unknown) => {
            let context = Arc::new(context(conn, *unknown.key())?);
            Arc::clone(unknown.insert(context))
        }
    };
    let held_until = row.get("key_until")?;
    let job = NewJob {
        queue: of.queue,
        command: of.command,
        payload: row.get("body")?,
        key: of.key.map(|key| KeyRule { key, held_until, on_duplicate: OnDuplicate::Return }),
        priority: of.priority,
        due: Due::At(of.run_at),
        expires_at: of.expires_at,
        max_attempts: of.max_attempts,
        labels: of.labels,
        env: row::env(row.get_ref("job_env")?.as_blob_or_null()?),
        context,
    };
    let past = Past {
        created_at: of.created_at,
        started_at: of.started_at,
        died_at,
        reason,
        last: of.last,
        attempt: of.attempt,
        crashes: of.crashes,
        snoozes: of.snoozes,
        progress: of.progress,
        holds_key: row.get::<_, Option<bool>>("key_holds")?.unwrap_or(false),
        delivery: of.delivery,
        group: death::own_group(conn, of.id)?,
    };
    Ok(Letter { job, past })
}

fn context(conn: &Connection, id: i64) -> rusqlite::Result<Context> {
    let sql = "select cwd, env as context_env, terms from context where id = :id";
    conn.prepare_cached(sql)?.query_row(named_params! { ":id": id }, row::context)
}

/// Takes in jobs that died elsewhere.
pub(super) fn bury(
    tx: &Txn<'_>,
    letters: &mut dyn Iterator<Item = Letter>,
    now: Timestamp,
    told: &mut dyn FnMut(Buried),
) -> Result<()> {
    let mut push = Push::begin(tx, now)?;
    for Letter { mut job, past } in letters {
        let rule = job.key.take();
        let queue_id = queue_id(tx, &job.queue)?;
        let holder = match &rule {
            Some(rule) if past.holds_key => undo::holder(tx, queue_id, &rule.key, now)?,
            Some(_) | None => None,
        };
        let pushed = push.create(queue_id, &job)?;
        tx.count(queue_id, pushed.state, -1);
        tx.count(queue_id, StateKind::Dead, 1);
        give_past(tx, pushed.id, &past, job.due).explain(tx.path())?;
        death::file_again(tx, pushed.id).explain(tx.path())?;
        if let Some(rule) = &rule {
            give_key(tx, pushed.id, rule, past.holds_key && holder.is_none()).explain(tx.path())?;
        }
        told(Buried { id: pushed.id, holder });
    }
    push.finish();
    Ok(())
}

fn give_past(conn: &Connection, id: JobId, past: &Past, due: Due) -> rusqlite::Result<()> {
    let sql = "update job
        set state = 'dead', created_at = :created_at, run_at = coalesce(:run_at, run_at), started_at = :started_at,
            finished_at = :died_at, reason = :reason, outcome = :outcome, exit_code = :exit_code, signal = :signal,
            error = :error, cause = :group, attempt = :attempt, crashes = :crashes, snoozes = :snoozes, progress = :progress
        where id = :id";
    let last = past.last.as_ref();
    conn.prepare_cached(sql)?.execute(named_params! {
        ":id": id,
        ":created_at": past.created_at,
        ":run_at": if let Due::At(at) = due { Some(at) } else { None },
        ":started_at": past.started_at,
        ":died_at": past.died_at,
        ":reason": past.reason,
        ":outcome": last.map(|last| last.outcome),
        ":exit_code": last.and_then(|last| last.exit_code),
        ":signal": last.and_then(|last| last.signal),
        ":error": last.and_then(|last| last.error.as_deref()),
        ":group": past.group,
        ":attempt": past.attempt,
        ":crashes": past.crashes,
        ":snoozes": past.snoozes,
        ":progress": past.progress.as_ref().map(wish::progress_column),
    })?;
    Ok(())
}

fn give_key(conn: &Connection, id: JobId, rule: &KeyRule, holds: bool) -> rusqlite::Result<()> {
    let sql = "update job set key = :key, key_holds = iif(:holds, 1, null), key_until = :until where id = :id";
    let params = named_params! { ":id": id, ":key": rule.key, ":holds": holds, ":until": rule.held_until };
    conn.prepare_cached(sql)?.execute(params)?;
    Ok(())
}
