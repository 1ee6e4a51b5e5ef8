//! Queueing jobs: the insert, and what a held key makes of it.
//!
//! A key lives on the row of its job, behind a unique index, so it cannot outlast the job or be
//! forgotten. It holds while the job is unfinished and until `key_until`.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension as _, named_params};

use super::query;
use super::row::{self, Explain as _};
use super::terms;
use super::transaction::Txn;
use crate::clock::Timestamp;
use crate::job::{Context, Due, JobId, KeyRule, Labels, Lease, NewJob, OnDuplicate, QueueName, StateKind, Token};
use crate::store::{Error, Met, PushOutcome, Pushed, Result};

/// Queues all of `jobs`, or fails and queues none.
pub(super) fn push(
    tx: &Txn<'_>,
    jobs: &mut dyn Iterator<Item = NewJob>,
    now: Timestamp,
    told: &mut dyn FnMut(Pushed),
) -> Result<()> {
    let mut push = Push::begin(tx, now)?;
    for job in jobs {
        told(push.one(job)?);
    }
    push.finish();
    Ok(())
}

/// One push under way: what it found out for one job serves the next.
pub(super) struct Push<'t, 'c> {
    tx: &'t Txn<'c>,
    now: Timestamp,
    first_id: i64,
    last_id: i64,
    queues: HashMap<QueueName, i64>,
    context: Option<(Arc<Context>, i64)>,
}

/// The job that holds a key.
struct Holder {
    token: Token,
    has_started: bool,
    met: Met,
}

impl<'t, 'c> Push<'t, 'c> {
    /// Begins a push, to be finished.
    pub(super) fn begin(tx: &'t Txn<'c>, now: Timestamp) -> Result<Self> {
        let last = tx.last("job")?;
        Ok(Self { tx, now, first_id: last, last_id: last, queues: HashMap::new(), context: None })
    }

    /// Notes which numbers were given.
    pub(super) fn finish(self) {
        self.tx.use_up("job", self.last_id - self.first_id);
    }

    fn one(&mut self, job: NewJob) -> Result<Pushed> {
        let queue_id = self.queue_id(&job.queue)?;
        let Some(rule) = job.key.clone() else { return self.create(queue_id, &job) };
        free_key(self.tx, queue_id, &rule.key, self.now)?;
        match self.holder(queue_id, &rule.key, &job)? {
            None => self.create(queue_id, &job),
            Some(holder) => self.meet(queue_id, job, rule, holder),
        }
    }

    /// What a push does that finds its key held.
    fn meet(&mut self, queue_id: i64, job: NewJob, rule: KeyRule, holder: Holder) -> Result<Pushed> {
        let Holder { met, .. } = &holder;
        let (id, state) = (met.job.id, met.job.state.kind());
        let can_replace = !holder.has_started && !state.is_final();
        match rule.on_duplicate {
            OnDuplicate::Error => {
                Err(Error::KeyTaken { key: rule.key, queue: job.queue, holder: id, met: Box::new(holder.met) })
            }
            OnDuplicate::Replace if can_replace => self.replace(queue_id, job, holder),
            OnDuplicate::Return | OnDuplicate::Replace => Ok(Pushed {
                id,
                queue: job.queue,
                outcome: PushOutcome::Existing { differs: met.differs() },
                state,
                met: Some(Box::new(holder.met)),
            }),
        }
    }

    /// Queues a job whose key nobody holds.
    pub(super) fn create(&mut self, queue_id: i64, job: &NewJob) -> Result<Pushed> {
        self.last_id = self.tx.following("job", self.last_id)?;
        let id = JobId::new(self.last_id).expect("what follows is positive");
        let state = self.write_row(Lease { job: id, token: Token::new(0) }, queue_id, job)?;
        self.tx.count(queue_id, state, 1);
        Ok(Pushed { id, queue: job.queue.clone(), outcome: PushOutcome::Created, state, met: None })
    }

    /// Puts the new job in the place of one that has not started, under the same id. It counts on
    /// from the other's token: that one may have been claimed and returned, and the lease of then
    /// must stay stale.
    fn replace(&mut self, queue_id: i64, job: NewJob, holder: Holder) -> Result<Pushed> {
        let Holder { met, token, .. } = holder;
        let id = met.job.id;
        self.tx.count(queue_id, met.job.state.kind(), -1);
        super::forget::erase(self.tx, id)?;
        let state = self.write_row(Lease { job: id, token }, queue_id, &job)?;
        self.tx.count(queue_id, state, 1);
        Ok(Pushed { id, queue: job.queue, outcome: PushOutcome::Replaced, state, met: Some(Box::new(met)) })
    }

    /// Writes the row of a job that was last claimed under `last`, or never, if its token is 0.
    fn write_row(&mut self, last: Lease, queue_id: i64, job: &NewJob) -> Result<StateKind> {
        let (state, run_at) = match job.due {
            Due::At(due) if due > self.now => (StateKind::Scheduled, due),
            Due::At(_) | Due::Now => (StateKind::Ready, self.now),
        };
        let (is_shell, command) = row::command_columns(job.command.as_ref());
        let env = (!job.env.is_empty()).then(|| row::env_column(&job.env));
        let context_id = self.context_id(&job.context)?;
        let payload_id = job.payload.as_deref().map(|body| add_payload(self.tx, body)).transpose()?;
        let sql = "insert into job (
              id, queue_id, state, priority, run_at, max_attempts, created_at, expires_at, context_id, payload_id,
              is_shell, command, env, labels, key, key_holds, key_until, token
            ) values (
              :id, :queue_id, :state, :priority, :run_at, :max_attempts, :now, :expires_at, :context_id, :payload_id,
              :is_shell, :command, :env, :labels, :key, iif(:key is null, null, 1), :key_until,
              :token
            )";
        let mut insert = self.tx.prepare_cached(sql).explain(self.tx.path())?;
        insert
            .execute(named_params! {
                ":id": last.job,
                ":queue_id": queue_id,
                ":state": state,
                ":priority": job.priority,
                ":run_at": run_at,
                ":max_attempts": job.max_attempts,
                ":now": self.now,
                ":expires_at": job.expires_at,
                ":context_id": context_id,
                ":payload_id": payload_id,
                ":is_shell": is_shell,
                ":command": command,
                ":env": env,
                ":labels": row::labels_column(&job.labels),
                ":key": job.key.as_ref().map(|rule| &rule.key),
                ":key_until": job.key.as_ref().and_then(|rule| rule.held_until),
                ":token": last.token,
            })
            .explain(self.tx.path())?;
        add_labels(self.tx, last.job.get(), &job.labels)?;
        Ok(state)
    }

    fn holder(&self, queue_id: i64, key: &str, job: &NewJob) -> Result<Option<Holder>> {
        let (is_shell, command) = row::command_columns(job.command.as_ref());
        let sql = "select id, token, started_at is not null as has_started, key_until,
              command is not :command or is_shell is not :is_shell as is_other_command,
              (select body from payload where payload.id = payload_id) is not :payload as is_other_payload
            from job
            where queue_id = :queue_id and key = :key and key_holds = 1";
        let mut query = self.tx.prepare_cached(sql).explain(self.tx.path())?;
        let params = named_params! {
            ":queue_id": queue_id,
            ":key": key,
            ":command": command,
            ":is_shell": is_shell,
            ":payload": job.payload,
        };
        query
            .query_row(params, |row| {
                let met = Met {
                    job: query::job(self.tx, row.get("id")?)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?,
                    held_until: row.get("key_until")?,
                    is_other_command: row.get("is_other_command")?,
                    is_other_payload: row.get("is_other_payload")?,
                };
                Ok(Holder { token: row.get("token")?, has_started: row.get("has_started")?, met })
            })
            .optional()
            .explain(self.tx.path())
    }

    fn queue_id(&mut self, name: &QueueName) -> Result<i64> {
        if let Some(&id) = self.queues.get(name) {
            return Ok(id);
        }
        let id = queue_id(self.tx, name)?;
        self.queues.insert(name.clone(), id);
        Ok(id)
    }

    fn context_id(&mut self, context: &Arc<Context>) -> Result<i64> {
        match &self.context {
            Some((last, id)) if Arc::ptr_eq(last, context) || last == context => Ok(*id),
            _ => {
                let id = find_or_add_context(self.tx, context)?;
                self.context = Some((Arc::clone(context), id));
                Ok(id)
            }
        }
    }
}

/// Takes the key from a finished job whose time with it is over. Whoever asks for the holder of a
/// key does this first: nothing else happens to a job when its time with the key ends.
pub(super) fn free_key(tx: &Txn<'_>, queue_id: i64, key: &str, now: Timestamp) -> Result<()> {
    let sql = "update job set key_holds = null
        where queue_id = :queue_id and key = :key and key_holds = 1
          and state in ('succeeded', 'dead', 'cancelled')
          and (key_until is null or key_until <= :now)";
    let mut update = tx.prepare_cached(sql).explain(tx.path())?;
    update.execute(named_params! { ":queue_id": queue_id, ":key": key, ":now": now }).explain(tx.path())?;
    Ok(())
}

/// Has a job found by its labels.
pub(super) fn add_labels(tx: &Txn<'_>, job: i64, labels: &Labels) -> Result<()> {
    let sql = "insert into label (name, value, job_id) values (:name, :value, :job)";
    for (name, value) in labels {
        let mut insert = tx.prepare_cached(sql).explain(tx.path())?;
        insert.execute(named_params! { ":name": name, ":value": value, ":job": job }).explain(tx.path())?;
    }
    Ok(())
}

/// The number of a payload that is added.
pub(super) fn add_payload(tx: &Txn<'_>, body: &[u8]) -> Result<i64> {
    let mut insert = tx.prepare_cached("insert into payload (body) values (:body)").explain(tx.path())?;
    insert.insert(named_params! { ":body": body }).explain(tx.path())
}

/// The number of a queue, which is made if there is none of this name.
pub(super) fn queue_id(tx: &Txn<'_>, name: &QueueName) -> Result<i64> {
    let mut query = tx.prepare_cached("select id from queue where name = :name").explain(tx.path())?;
    let known = query.query_row(named_params! { ":name": name }, |row| row.get(0)).optional().explain(tx.path())?;
    match known {
        Some(id) => Ok(id),
        None => {
            let mut insert = tx.prepare_cached("insert into queue (name) values (:name)").explain(tx.path())?;
            insert.insert(named_params! { ":name": name }).explain(tx.path())
        }
    }
}

/// The number of a context, which is added if there is none like it.
pub(super) fn find_or_add_context(tx: &Txn<'_>, context: &Context) -> Result<i64> {
    let env = row::env_column(&context.env);
    let terms = terms::terms_column(&context.terms);
    let params = named_params! { ":cwd": context.cwd, ":env": env, ":terms": terms };
    let sql = "select id from context where cwd = :cwd and env = :env and terms = :terms";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    if let Some(id) = query.query_row(params, |row| row.get(0)).optional().explain(tx.path())? {
        return Ok(id);
    }
    let sql = "insert into context (cwd, env, terms) values (:cwd, :env, :terms)";
    let mut insert = tx.prepare_cached(sql).explain(tx.path())?;
    insert.insert(params).explain(tx.path())
}
