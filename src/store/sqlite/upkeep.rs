//! Workers on the books, the jobs of dead ones, and the housekeeping of the files.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::SqliteStore;
use super::job_row::{self, JOB_COLUMNS};
use super::presence::{Presence, Whereabouts, boot_id};
use super::row::{self, Explain as _};
use super::transaction::Txn;
use crate::clock::{Moment, Timestamp, Uptime};
use crate::job::{JobId, Lease, QueueName, QueuePattern, WorkerId};
use crate::store::{NewWorker, Orphan, Result, Serving, Standing, Tidy, Worker};

/// A log of this many bytes is folded back by a process that only passes by: 128 pages, whose
/// reading back at the next open is still lost in the noise.
const PASSING_LOG: u64 = 128 * 4096;

/// A log of this many bytes is folded back by a worker between jobs.
const WORKING_LOG: u64 = 4 * 1024 * 1024;

/// The number of the next worker.
pub(super) fn next_worker(tx: &Txn<'_>) -> Result<WorkerId> {
    let id = tx.next("worker")?;
    // A file that cannot be written says so here, before anything is made beside it.
    tx.write_counters()?;
    Ok(WorkerId::new(id))
}

/// Puts a worker on the books.
pub(super) fn enroll(
    tx: &Txn<'_>,
    id: WorkerId,
    worker: &NewWorker,
    whereabouts: Whereabouts,
    at: Moment,
) -> Result<()> {
    let sql = "insert into worker (
          id, host, pid, boot_id, queues, slots, lease, since, heartbeat_at, lease_until, has_handler,
          queue_file, lock_file
        ) values (
          :id, :host, :pid, :boot_id, :queues, :slots, :lease, :now, :now, :lease_until, :has_handler,
          :queue_file, :lock_file
        )";
    let queues: Vec<&str> = worker.queues.iter().map(QueuePattern::as_str).collect();
    let params = named_params! {
        ":id": id,
        ":host": worker.host,
        ":pid": worker.pid,
        ":boot_id": boot_id(),
        ":queues": queues.join(","),
        ":slots": worker.n_slots,
        ":lease": crate::clock::millis(worker.lease),
        ":now": at.now,
        ":lease_until": at.uptime.plus(worker.lease),
        ":has_handler": worker.has_handler,
        ":queue_file": whereabouts.queue_file,
        ":lock_file": whereabouts.lock_file,
    };
    tx.prepare_cached(sql).and_then(|mut insert| insert.execute(params)).explain(tx.path())?;
    Ok(())
}

/// Takes a worker off the books that was last there at `last_seen`, unless it still holds jobs:
/// whoever takes those up must know where to look for their marks. The queues that it served keep in
/// mind when it was there: who asks why a job does not run wants to know.
pub(super) fn retire(tx: &Txn<'_>, worker: WorkerId, last_seen: Timestamp) -> Result<()> {
    let served = served_by(tx, worker).explain(tx.path())?;
    let sql = "update queue set served_until = :last_seen
        where name = :name and (served_until is null or served_until < :last_seen)";
    let mut update = tx.prepare_cached(sql).explain(tx.path())?;
    for name in served {
        update.execute(named_params! { ":name": name, ":last_seen": last_seen }).explain(tx.path())?;
    }
    let sql = "delete from worker
        where id = :id
          and not exists (select 1 from job indexed by job_running where state = 'running' and worker_id = :id)";
    tx.prepare_cached(sql).and_then(|mut delete| delete.execute(named_params! { ":id": worker })).explain(tx.path())?;
    Ok(())
}

/// The queues that a worker serves.
fn served_by(conn: &Connection, worker: WorkerId) -> rusqlite::Result<Vec<QueueName>> {
    let mut query = conn.prepare_cached("select queues from worker where id = :id")?;
    let Some(list) = query.query_row(named_params! { ":id": worker }, |row| row.get(0)).optional()? else {
        return Ok(Vec::new());
    };
    let list: String = list;
    let serving = Serving { patterns: patterns(&list), except: Vec::new() };
    let mut query = conn.prepare_cached("select name from queue")?;
    let names = query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<QueueName>>>()?;
    Ok(names.into_iter().filter(|name| serving.includes(name)).collect())
}

/// The patterns in a worker's column `queues`; none: every queue.
fn patterns(list: &str) -> Vec<QueuePattern> {
    list.split(',').filter_map(|pattern| QueuePattern::new(pattern).ok()).collect()
}

/// Every worker on the books.
pub(super) fn workers(conn: &Connection, path: &Path, presence: &Presence) -> Result<Vec<Worker>> {
    let boot_id = boot_id();
    let running = running(conn).explain(path)?;
    entries(conn)
        .explain(path)?
        .into_iter()
        .map(|mut entry| {
            let own = running.iter().filter(|(worker, _)| *worker == entry.worker.id);
            entry.worker.running = own.map(|&(_, job)| job).collect();
            entry.worker.is_alive =
                entry.boot_id == boot_id && presence.is_alive(entry.worker.id, entry.whereabouts)?;
            Ok(entry.worker)
        })
        .collect()
}

/// The running jobs with their workers.
fn running(conn: &Connection) -> rusqlite::Result<Vec<(WorkerId, JobId)>> {
    let sql = "select worker_id, id from job indexed by job_running
        where state = 'running' and worker_id is not null
        order by worker_id, id";
    conn.prepare_cached(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// A row of `worker`; whether it lives is not known yet.
pub(super) struct Entry {
    worker: Worker,
    boot_id: String,
    whereabouts: Option<Whereabouts>,
}

/// Every worker on the books, as [`entry`] reads it.
pub(super) const WORKERS_SQL: &str = "select
      id, host, pid, boot_id, queues, slots, lease, since, heartbeat_at, lease_until, has_handler, queue_file, lock_file
    from worker
    order by id";

fn entries(conn: &Connection) -> rusqlite::Result<Vec<Entry>> {
    conn.prepare_cached(WORKERS_SQL)?.query_map([], entry)?.collect()
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let queues: String = row.get("queues")?;
    let about = NewWorker {
        host: row.get("host")?,
        pid: row.get("pid")?,
        queues: patterns(&queues),
        n_slots: row.get("slots")?,
        lease: Duration::from_millis(row.get("lease")?),
        has_handler: row.get("has_handler")?,
    };
    let worker = Worker {
        id: row.get("id")?,
        about,
        since: row.get("since")?,
        heartbeat_at: row.get("heartbeat_at")?,
        lease_until: row.get("lease_until")?,
        is_alive: false,
        running: Vec::new(),
    };
    Ok(Entry { worker, boot_id: row.get("boot_id")?, whereabouts: whereabouts(row)? })
}

/// Nothing is known of a worker that an older qctl put on the books.
fn whereabouts(row: &Row<'_>) -> rusqlite::Result<Option<Whereabouts>> {
    let (queue_file, lock_file): (Option<_>, Option<_>) = (row.get("queue_file")?, row.get("lock_file")?);
    Ok(queue_file.zip(lock_file).map(|(queue_file, lock_file)| Whereabouts { queue_file, lock_file }))
}

/// Where the worker is to be looked for that has this lease.
pub(super) fn whereabouts_of(conn: &Connection, lease: Lease) -> rusqlite::Result<Option<Whereabouts>> {
    let sql = "select worker.queue_file, worker.lock_file
        from job join worker on worker.id = job.worker_id
        where job.id = :job and job.token = :token";
    let mut query = conn.prepare_cached(sql)?;
    let params = named_params! { ":job": lease.job, ":token": lease.token };
    Ok(query.query_row(params, whereabouts).optional()?.flatten())
}

/// Prolongs a worker's lease: one row, however many jobs it runs.
pub(super) fn renew(tx: &Txn<'_>, worker: WorkerId, lease_until: Uptime, now: Timestamp) -> Result<()> {
    let sql = "update worker set heartbeat_at = :now, lease_until = :lease_until where id = :id";
    let params = named_params! { ":id": worker, ":now": now, ":lease_until": lease_until };
    tx.prepare_cached(sql).and_then(|mut update| update.execute(params)).explain(tx.path())?;
    Ok(())
}

/// How the jobs under these leases stand.
pub(super) fn standings(conn: &Connection, leases: &[Lease]) -> rusqlite::Result<Vec<(Lease, Standing)>> {
    let sql = "select cancel_requested from job
        where id = :id and state = 'running' and token = :token and is_taken = 0";
    let mut query = conn.prepare_cached(sql)?;
    let mut standing = |lease: &Lease| -> rusqlite::Result<Standing> {
        let params = named_params! { ":id": lease.job, ":token": lease.token };
        let is_cancelled: Option<bool> = query.query_row(params, |row| row.get(0)).optional()?;
        Ok(match is_cancelled {
            Some(false) => Standing::Held,
            Some(true) => Standing::CancelRequested,
            None => Standing::Lost,
        })
    };
    leases.iter().map(|lease| Ok((*lease, standing(lease)?))).collect()
}

/// Takes a job from its worker, unless that has been heard of; answers whether it is taken.
pub(super) fn take_away(tx: &Txn<'_>, lease: Lease, uptime: Uptime) -> rusqlite::Result<bool> {
    let sql = "update job
        set is_taken = 1
        where id = :id and state = 'running' and token = :token
          and (is_taken = 1 or exists (select 1 from worker where worker.id = worker_id and lease_until < :uptime))";
    let params = named_params! { ":id": lease.job, ":token": lease.token, ":uptime": uptime };
    Ok(tx.prepare_cached(sql)?.execute(params)? > 0)
}

/// The running jobs whose worker is dead or hangs, and those that were taken from theirs. Dead workers
/// without any are taken off the books.
pub(super) fn lost(store: &mut SqliteStore, uptime: Uptime) -> Result<Vec<Orphan>> {
    let boot_id = boot_id();
    let holders = holders(&store.conn).explain(&store.path)?;
    let mut known = Vec::new();
    let mut orphans = Vec::new();
    for entry in entries(&store.conn).explain(&store.path)? {
        let id = entry.worker.id;
        known.push(id);
        let is_alive = entry.boot_id == boot_id && store.presence.is_alive(id, entry.whereabouts)?;
        let is_hung = is_alive && entry.worker.lease_until < uptime;
        match holders.get(&id) {
            Some(&has_taken) if !is_alive || is_hung || has_taken => {
                let pid = is_alive.then_some(entry.worker.about.pid);
                let own = orphans_of(&store.conn, id, pid).explain(&store.path)?;
                orphans.extend(own.into_iter().filter(|orphan| is_hung || !orphan.is_contested()));
            }
            Some(_) => {}
            None if is_alive => {}
            None => store.write(|tx| retire(tx, id, entry.worker.heartbeat_at))?,
        }
    }
    for id in holders.into_keys() {
        if !known.contains(&id) {
            orphans.extend(orphans_of(&store.conn, id, None).explain(&store.path)?);
        }
    }
    Ok(orphans)
}

/// The workers that hold running jobs, and whether any of these was taken from them.
fn holders(conn: &Connection) -> rusqlite::Result<BTreeMap<WorkerId, bool>> {
    let sql = "select worker_id, max(is_taken) from job indexed by job_running
        where state = 'running' and worker_id is not null
        group by worker_id";
    conn.prepare_cached(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn orphans_of(conn: &Connection, worker: WorkerId, hung_pid: Option<u32>) -> rusqlite::Result<Vec<Orphan>> {
    let sql = format!(
        "select {JOB_COLUMNS}, job.is_taken, context.cwd, context.env as context_env, context.terms
         from job indexed by job_running
         join queue on queue.id = job.queue_id
         join context on context.id = job.context_id
         where job.state = 'running' and job.worker_id = :worker"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let orphans = query.query_map(named_params! { ":worker": worker }, |row| {
        Ok(Orphan {
            lease: job_row::lease(row)?,
            job: job_row::job(row)?,
            context: row::context(row)?,
            hung_pid,
            is_taken: row.get("is_taken")?,
        })
    })?;
    orphans.collect()
}

/// Folds the log back into the file.
///
/// Nobody else does: the automatic checkpoint is off, because it would run inside someone's push.
pub(super) fn tidy(conn: &Connection, wal: &Path, how: Tidy) -> rusqlite::Result<()> {
    let bytes = wal.metadata().map_or(0, |meta| meta.len());
    let (floor, mode) = match how {
        Tidy::Passing => (PASSING_LOG, "truncate"),
        Tidy::Working => (WORKING_LOG, "passive"),
        Tidy::Leaving => (0, "truncate"),
    };
    if bytes <= floor {
        return Ok(());
    }
    // Whoever is in the way has work to do: leave it to them, or to the next one.
    match checkpoint(conn, mode, Duration::ZERO) {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Ok(()),
        done => done,
    }
}

/// Folds the whole log back, waiting for others at most so long.
pub(super) fn fold(conn: &Connection, patience: Duration) -> rusqlite::Result<()> {
    checkpoint(conn, "truncate", patience)
}

fn checkpoint(conn: &Connection, mode: &str, patience: Duration) -> rusqlite::Result<()> {
    conn.busy_timeout(patience)?;
    let done = conn.query_row(&format!("pragma wal_checkpoint({mode})"), [], |_| Ok(()));
    conn.busy_timeout(super::PATIENCE)?;
    done
}
