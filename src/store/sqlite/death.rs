//! What jobs died of: counted by cause in the transaction in which they die, and in which they leave, so that the groups
//! of a hundred thousand dead jobs are as many rows as there are causes.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::alarm;
use super::condition;
use super::row::{self, Explain as _};
use super::schema::Annex;
use super::transaction::Txn;
use crate::clock::Timestamp;
use crate::job::{Cause, Group, GroupName, GroupRule, JobId, QueueName, QueueSettings, Reason};
use crate::store::Result;

/// What is told of a job that was not started in time.
pub(super) const NOT_STARTED: &str = "not started in time";

/// How a job came to be dead.
pub(super) struct Death<'d> {
    pub(super) job: i64,
    pub(super) queue_id: i64,
    pub(super) at: Timestamp,
    pub(super) reason: Reason,
    /// The exit status and the signal of its last attempt.
    pub(super) ended: (Option<i32>, Option<i32>),
    /// What is told of its end.
    pub(super) error: &'d str,
    /// The group that it named itself.
    pub(super) own: Option<&'d GroupName>,
}

/// Files a job that is dead, as its row already says, under its cause, and pushes the hook of its queue.
pub(super) fn file(tx: &Txn<'_>, death: &Death<'_>) -> Result<()> {
    Annex::Causes.build(tx).explain(tx.path())?;
    let (queue, settings) = queue(tx, death.queue_id).explain(tx.path())?;
    let rule = settings.group_by.as_ref().and_then(Option::as_ref);
    let group = file_by(tx, death, &queue, rule).explain(tx.path())?;
    match &settings.on_dead {
        Some(Some(hook)) => alarm::sound(tx, death, (&queue, &group), (hook, settings.on_dead_every)),
        Some(None) | None => Ok(()),
    }
}

/// The name of a queue, and what it has of its own.
fn queue(conn: &Connection, id: i64) -> rusqlite::Result<(QueueName, QueueSettings)> {
    let sql = "select name, settings from queue where id = :id";
    conn.prepare_cached(sql)?.query_row(named_params! { ":id": id }, |row| Ok((row.get("name")?, row::settings(row)?)))
}

/// Files a job under its cause; answers under which.
fn file_by(
    conn: &Connection,
    death: &Death<'_>,
    queue: &QueueName,
    rule: Option<&GroupRule>,
) -> rusqlite::Result<GroupName> {
    let cause = Cause::of(death.ended, death.error, rule);
    let name = death.own.cloned().unwrap_or_else(|| cause.group(queue, death.reason));
    let sql = "insert into cause (queue_id, name, reason, exit_code, signal, body, is_own, n, first_at, last_at)
        values (:queue_id, :name, :reason, :exit_code, :signal, :body, :is_own, 1, :at, :at)
        on conflict (queue_id, name)
        do update set n = n + 1, first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)";
    conn.prepare_cached(sql)?.execute(named_params! {
        ":queue_id": death.queue_id,
        ":name": name.as_str(),
        ":reason": death.reason,
        ":exit_code": cause.exit_code,
        ":signal": cause.signal,
        ":body": cause.text,
        ":is_own": death.own.is_some(),
        ":at": death.at,
    })?;
    let sql = "insert into death (queue_id, name, died_at, job_id) values (:queue_id, :name, :at, :job)";
    conn.prepare_cached(sql)?.execute(named_params! {
        ":queue_id": death.queue_id,
        ":name": name.as_str(),
        ":at": death.at,
        ":job": death.job,
    })?;
    let sql = "update job set cause = :name where id = :job";
    conn.prepare_cached(sql)?.execute(named_params! { ":name": name.as_str(), ":job": death.job })?;
    Ok(name)
}

/// Takes a job, which may be dead, from under its cause, before it is forgotten.
pub(super) fn unfile(tx: &Txn<'_>, job: JobId) -> rusqlite::Result<()> {
    let sql = "select queue_id, cause, finished_at from job where id = :job and cause is not null";
    let found = tx.prepare_cached(sql)?.query_row(named_params! { ":job": job }, |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<Timestamp>>(2)?))
    });
    match found.optional()? {
        Some((queue_id, cause, Some(died_at))) => leave(tx, (queue_id, job), cause, died_at),
        Some((_, _, None)) | None => Ok(()),
    }
}

/// Takes a job of a queue from under the cause of which it has been dead since then. Its row still says so.
pub(super) fn leave(
    tx: &Txn<'_>,
    (queue_id, job): (i64, JobId),
    cause: String,
    died_at: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "delete from death where queue_id = :queue_id and name = :name and died_at = :died_at and job_id = :job";
    let params = named_params! { ":queue_id": queue_id, ":name": cause, ":died_at": died_at, ":job": job };
    // A file in which the two disagree stays as it is until somebody heeds the doctor.
    if tx.prepare_cached(sql)?.execute(params)? > 0 {
        tx.note_left(queue_id, cause);
    }
    Ok(())
}

/// Files a dead job that came back, or came from elsewhere, of which nobody need be told. The group that its row names is its own if it is known to
/// be, or cannot be that of a cause.
pub(super) fn file_again(conn: &Connection, job: JobId) -> rusqlite::Result<()> {
    Annex::Causes.build(conn)?;
    let sql = "select job.queue_id, job.cause, finished_at, job.reason, job.exit_code, job.signal, error, is_own
        from job left join cause on cause.queue_id = job.queue_id and cause.name = job.cause
        where id = :job and state = 'dead'";
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query(named_params! { ":job": job })?;
    let Some(row) = rows.next()? else { return Ok(()) };
    let reason: Reason = row.get("reason")?;
    let error: Option<String> = row.get("error")?;
    let error = error.or_else(|| (reason == Reason::Expired).then(|| NOT_STARTED.to_owned())).unwrap_or_default();
    let named: Option<GroupName> = row.get("cause")?;
    let is_own: Option<bool> = row.get("is_own")?;
    let own = named.filter(|name| is_own.unwrap_or(!name.is_of_cause()));
    let death = Death {
        job: job.get(),
        queue_id: row.get("queue_id")?,
        at: row.get("finished_at")?,
        reason,
        ended: (row.get("exit_code")?, row.get("signal")?),
        error: &error,
        own: own.as_ref(),
    };
    let (queue, settings) = queue(conn, death.queue_id)?;
    file_by(conn, &death, &queue, settings.group_by.flatten().as_ref()).map(drop)
}

/// The group that a dead job named itself.
pub(super) fn own_group(conn: &Connection, job: JobId) -> rusqlite::Result<Option<GroupName>> {
    if !is_any(conn)? {
        return Ok(None);
    }
    let sql = "select name from job join cause on cause.queue_id = job.queue_id and cause.name = job.cause
        where id = :job and is_own = 1";
    conn.prepare_cached(sql)?.query_row(named_params! { ":job": job }, |row| row.get(0)).optional()
}

/// Files all that are dead under causes, in a file that has none yet.
pub(super) fn file_all(conn: &Connection) -> rusqlite::Result<()> {
    let mut query = conn.prepare("select distinct queue_id from job indexed by job_dead where state = 'dead'")?;
    let queues = query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
    queues.into_iter().try_for_each(|queue_id| refile(conn, queue_id))
}

/// Files the dead jobs of a queue anew, by the rule that it has now. Those that named their group themselves stay in it.
pub(super) fn refile(conn: &Connection, queue_id: i64) -> rusqlite::Result<()> {
    Annex::Causes.build(conn)?;
    let (queue, settings) = queue(conn, queue_id)?;
    let rule = settings.group_by.flatten();
    for sql in [
        "delete from death where queue_id = :id and name in (select name from cause where queue_id = :id and is_own = 0)",
        "update job set cause = null where id in (select id from job indexed by job_dead where state = 'dead')
           and queue_id = :id and cause in (select name from cause where queue_id = :id and is_own = 0)",
        "delete from cause where queue_id = :id and is_own = 0",
    ] {
        conn.execute(sql, named_params! { ":id": queue_id })?;
    }
    let sql = "select id, finished_at, reason, exit_code, signal, coalesce(error, '') as error
        from job indexed by job_dead
        where state = 'dead' and queue_id = :id and cause is null
        order by finished_at";
    let mut query = conn.prepare(sql)?;
    let mut rows = query.query(named_params! { ":id": queue_id })?;
    while let Some(row) = rows.next()? {
        let error: String = row.get("error")?;
        let death = Death {
            job: row.get("id")?,
            queue_id,
            at: row.get("finished_at")?,
            reason: row.get("reason")?,
            ended: (row.get("exit_code")?, row.get("signal")?),
            error: &error,
            own: None,
        };
        file_by(conn, &death, &queue, rule.as_ref())?;
    }
    Ok(())
}

/// Forgets the causes of a queue that is removed, and has no jobs.
pub(super) fn forget_queue(conn: &Connection, queue_id: i64) -> rusqlite::Result<()> {
    if Annex::Causes.is_in(conn)? {
        conn.prepare_cached("delete from cause where queue_id = :id")?.execute(named_params! { ":id": queue_id })?;
    }
    Ok(())
}

/// The number of a queue.
pub(super) fn queue_id(conn: &Connection, queue: &QueueName) -> rusqlite::Result<i64> {
    conn.prepare_cached("select id from queue where name = :name")?
        .query_row(named_params! { ":name": queue }, |row| row.get(0))
}

/// Whether any job ever died here.
pub(super) fn is_any(conn: &Connection) -> rusqlite::Result<bool> {
    Annex::Causes.is_in(conn)
}

/// The groups that have dead jobs, in these queues (in all, if none is named), the largest first.
pub(super) fn groups(conn: &Connection, queues: &[QueueName]) -> rusqlite::Result<Vec<Group>> {
    if !Annex::Causes.is_in(conn)? {
        return Ok(Vec::new());
    }
    let condition = if queues.is_empty() {
        String::new()
    } else {
        format!("and {}", condition::in_queues("cause.queue_id", queues))
    };
    let sql =
        format!("{GROUPS_SQL} where cause.n > 0 {condition} order by cause.n desc, cause.last_at desc, cause.name");
    let mut query = conn.prepare(&sql)?;
    query.query_map(rusqlite::params_from_iter(queues), group)?.collect()
}

/// When the first of the jobs died that are dead now.
pub(super) fn oldest(conn: &Connection, queues: &[QueueName]) -> rusqlite::Result<Option<Timestamp>> {
    if !is_any(conn)? {
        return Ok(None);
    }
    let condition = if queues.is_empty() {
        String::new()
    } else {
        format!("and {}", condition::in_queues("cause.queue_id", queues))
    };
    let sql = format!(
        "select min((select min(died_at) from death where death.queue_id = cause.queue_id and death.name = cause.name))
         from cause where n > 0 {condition}"
    );
    conn.prepare(&sql)?.query_row(rusqlite::params_from_iter(queues), |row| row.get(0))
}

/// Causes, with their queues.
pub(super) const GROUPS_SQL: &str =
    "select cause.queue_id, queue.name as queue, cause.name, reason, exit_code, signal, body, n,
      first_at, last_at,
      (select job_id from death where death.queue_id = cause.queue_id and death.name = cause.name
       order by died_at desc, job_id desc limit 1) as sample
    from cause join queue on queue.id = cause.queue_id";

/// A group from the columns of [`GROUPS_SQL`].
pub(super) fn group(row: &Row<'_>) -> rusqlite::Result<Group> {
    let cause = Cause { exit_code: row.get("exit_code")?, signal: row.get("signal")?, text: row.get("body")? };
    Ok(Group {
        queue: row.get("queue")?,
        name: row.get("name")?,
        reason: row.get("reason")?,
        cause,
        n: row.get("n")?,
        first_at: row.get("first_at")?,
        last_at: row.get("last_at")?,
        sample: row.get("sample")?,
    })
}
