//! Recording how an attempt ended, and what it printed.
//!
//! Every statement here is fenced: it changes a row only while the job runs under the very token
//! that the report carries.

use rusqlite::{OptionalExtension as _, named_params};

use super::breaker::Breakers;
use super::death::{self, Death};
use super::row::{self, Explain as _};
use super::transaction::{Beat, MAX_NUMBER, Txn};
use crate::clock::Timestamp;
use crate::job::{
    Chunk, Granted, GroupName, Histogram, JobId, Lease, Outcome, Pace, Report, Settlement, StateKind, Verdict, Wish,
};
use crate::store::{Result, Settled};

/// How many pieces of output the numbering leaves to one job.
const PIECES_PER_JOB: i64 = 1 << 24;

/// Records one report, if its lease still holds. Whoever settles need not be who claimed: the jobs
/// of a lost worker are settled by another.
pub(super) fn settle(
    tx: &Txn<'_>,
    breakers: &mut Breakers,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<Settled> {
    let lease = settlement.lease;
    let Some(held) = held(tx, lease)? else {
        return Ok(Settled::LeaseLost);
    };
    let is_loss = settlement.report.as_ref().is_some_and(|report| report.outcome == Outcome::Lost);
    if held.is_taken && !is_loss {
        return Ok(Settled::LeaseLost);
    }
    let granted = granted(settlement, &held);
    let told = granted.as_ref().zip(settlement.report.as_ref()).map(|(granted, report)| told(granted, report));
    let report = told.as_ref().or(settlement.report.as_ref());
    let verdict = granted.as_ref().map_or_else(|| held.or_cancel(settlement.verdict), |granted| granted.verdict);
    let spared = breakers.note_end(tx, (held.queue_id, lease), (report, verdict), now).explain(tx.path())?;
    let is_counted = spared.is_none() && report.is_some_and(|report| report.outcome.is_counted());
    let end = End { lease, verdict: spared.unwrap_or(verdict), report, is_counted };
    record(tx, &held, &end, &settlement.output, now)?;
    file(tx, &held, &end, granted.as_ref().and_then(|granted| granted.group.as_ref()), now)?;
    Ok(match (spared, granted) {
        (Some(verdict), _) => Settled::Uncounted(verdict),
        (None, Some(granted)) => Settled::AsWished(granted),
        (None, None) => Settled::Recorded,
    })
}

/// What the attempt gets of what it asked for, by the rule of whoever saw it end.
fn granted(settlement: &Settlement, held: &Held) -> Option<Granted> {
    let (wish, report) = held.wish.as_ref().zip(settlement.report.as_ref())?;
    let granted = (settlement.heed)(wish, settlement.verdict, report)?;
    Some(Granted { verdict: held.or_cancel(granted.verdict), ..granted })
}

/// What is told of an attempt that gets what it asked for.
fn told(granted: &Granted, report: &Report) -> Report {
    Report { outcome: granted.outcome, error: granted.error.clone(), ..report.clone() }
}

/// The end of an attempt, as it is recorded.
struct End<'e> {
    lease: Lease,
    verdict: Verdict,
    report: Option<&'e Report>,
    /// Whether the attempt is one of the job's `max_attempts`.
    is_counted: bool,
}

/// Writes down how an attempt ended and what follows.
fn record(tx: &Txn<'_>, held: &Held, end: &End<'_>, output: &[Chunk], now: Timestamp) -> Result<()> {
    move_job(tx, end, now)?;
    tx.count(held.queue_id, StateKind::Running, -1);
    tx.count(held.queue_id, target(end.verdict), 1);
    write_output(tx, end.lease, output)?;
    if let Some(report) = end.report {
        record_attempt(tx, end.lease, report)?;
        note_pace(tx, held.queue_id, report, (held.run_at, now));
    }
    Ok(())
}

/// Files a job that is dead now under what it died of, or under the group that it named.
fn file(tx: &Txn<'_>, held: &Held, end: &End<'_>, own: Option<&GroupName>, now: Timestamp) -> Result<()> {
    let Verdict::Die { reason } = end.verdict else { return Ok(()) };
    let report = end.report;
    let death = Death {
        job: end.lease.job.get(),
        queue_id: held.queue_id,
        at: now,
        reason,
        ended: (report.and_then(|report| report.exit_code), report.and_then(|report| report.signal)),
        error: report.and_then(|report| report.error.as_deref()).unwrap_or_default(),
        own,
    };
    death::file(tx, &death)
}

/// Counts how long the attempt waited and ran, if it ended by itself.
fn note_pace(tx: &Txn<'_>, queue_id: i64, report: &Report, (due, now): (Timestamp, Timestamp)) {
    let what = match report.outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed | Outcome::Timeout | Outcome::Buried => "failed",
        Outcome::Lost | Outcome::Released | Outcome::Snoozed | Outcome::Cancelled => return,
    };
    let slot = Pace::slot_of(now);
    let ran = report.ended_at.since(report.started_at);
    let waited = report.started_at.since(due);
    for (what, length) in [(what, ran), ("wait", waited)] {
        tx.note_pace(Beat { queue_id, slot, what, took: Histogram::rounded(length) });
    }
}

/// The state that a verdict leads to.
fn target(verdict: Verdict) -> StateKind {
    match verdict {
        Verdict::Succeed => StateKind::Succeeded,
        Verdict::Retry { .. } => StateKind::Retrying,
        Verdict::HandBack => StateKind::Ready,
        Verdict::Die { .. } => StateKind::Dead,
        Verdict::Cancel => StateKind::Cancelled,
    }
}

/// What must be known of a running job.
struct Held {
    queue_id: i64,
    /// Whether it is to be stopped.
    is_cancelled: bool,
    /// Whether it was taken from its worker.
    is_taken: bool,
    /// When it was due.
    run_at: Timestamp,
    /// What its attempt asked for.
    wish: Option<Wish>,
}

impl Held {
    /// Who asked for it to be stopped does not want it to run again.
    fn or_cancel(&self, verdict: Verdict) -> Verdict {
        if self.is_cancelled && !verdict.is_final() { Verdict::Cancel } else { verdict }
    }
}

/// The job, if the lease holds.
fn held(tx: &Txn<'_>, lease: Lease) -> Result<Option<Held>> {
    let sql = "select queue_id, cancel_requested, is_taken, run_at, wish from job
        where id = :id and state = 'running' and token = :token";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    query
        .query_row(named_params! { ":id": lease.job, ":token": lease.token }, |row| {
            Ok(Held {
                queue_id: row.get("queue_id")?,
                is_cancelled: row.get("cancel_requested")?,
                is_taken: row.get("is_taken")?,
                run_at: row.get("run_at")?,
                wish: row::wish(row)?,
            })
        })
        .optional()
        .explain(tx.path())
}

/// Moves the job out of `running`.
///
/// `crashes` counts lost workers in a row: an attempt that a worker saw to its end starts it anew,
/// one that was handed back says nothing about it. A job that was returned untouched has started
/// when it had before the claim, which its recorded attempts tell.
fn move_job(tx: &Txn<'_>, end: &End<'_>, now: Timestamp) -> Result<()> {
    let &End { lease, verdict, report, is_counted } = end;
    let state = target(verdict);
    let outcome = report.map(|report| report.outcome);
    let run_at = match verdict {
        Verdict::Retry { due } => Some(due),
        Verdict::HandBack => Some(now),
        Verdict::Succeed | Verdict::Die { .. } | Verdict::Cancel => None,
    };
    let reason = match verdict {
        Verdict::Die { reason } => Some(reason),
        Verdict::Succeed | Verdict::Retry { .. } | Verdict::HandBack | Verdict::Cancel => None,
    };
    let sql = "update job
        set state = :state, run_at = coalesce(:run_at, run_at), finished_at = iif(:is_final, :now, null),
            attempt = attempt - :n_uncounted,
            crashes = case when :outcome is null or :outcome = 'released' then crashes
                           when :outcome = 'lost' then crashes + 1 else 0 end,
            started_at = iif(:outcome is null, (select max(started_at) from attempt where job_id = :id), started_at),
            worker_id = null, cancel_requested = 0, is_taken = 0, wish = null, reason = :reason,
            snoozes = snoozes + (:outcome is 'snoozed'),
            outcome = coalesce(:outcome, outcome),
            exit_code = iif(:outcome is null, exit_code, :exit_code),
            signal = iif(:outcome is null, signal, :signal),
            error = iif(:outcome is null, error, :error),
            key_holds = iif(:is_final and (key_until is null or key_until <= :now), null, key_holds)
        where id = :id and state = 'running' and token = :token";
    let mut update = tx.prepare_cached(sql).explain(tx.path())?;
    update
        .execute(named_params! {
            ":id": lease.job,
            ":token": lease.token,
            ":now": now,
            ":state": state,
            ":is_final": state.is_final(),
            ":run_at": run_at,
            ":reason": reason,
            ":n_uncounted": i64::from(!is_counted),
            ":outcome": outcome,
            ":exit_code": report.and_then(|report| report.exit_code),
            ":signal": report.and_then(|report| report.signal),
            ":error": report.and_then(|report| report.error.as_deref()),
        })
        .explain(tx.path())?;
    Ok(())
}

fn record_attempt(tx: &Txn<'_>, lease: Lease, report: &Report) -> Result<()> {
    let sql = "insert into attempt (
          job_id, token, outcome, exit_code, signal, error, started_at, ended_at, cpu_us, max_rss_bytes,
          stdout_bytes, stderr_bytes, is_truncated, worker
        ) values (
          :job, :token, :outcome, :exit_code, :signal, :error, :started_at, :ended_at, :cpu_us, :max_rss_bytes,
          :stdout_bytes, :stderr_bytes, :is_truncated, :worker
        )";
    let cpu_us = report.usage.map(|usage| i64::try_from(usage.cpu.as_micros()).unwrap_or(i64::MAX));
    let mut insert = tx.prepare_cached(sql).explain(tx.path())?;
    insert
        .execute(named_params! {
            ":job": lease.job,
            ":token": lease.token,
            ":outcome": report.outcome,
            ":exit_code": report.exit_code,
            ":signal": report.signal,
            ":error": report.error,
            ":started_at": report.started_at,
            ":ended_at": report.ended_at,
            ":cpu_us": cpu_us,
            ":max_rss_bytes": report.usage.map(|usage| usage.max_rss_bytes),
            ":stdout_bytes": report.stdout_bytes,
            ":stderr_bytes": report.stderr_bytes,
            ":is_truncated": report.is_truncated,
            ":worker": report.worker,
        })
        .explain(tx.path())?;
    Ok(())
}

/// Stores what a running attempt has printed, if its lease still holds.
pub(super) fn add_output(tx: &Txn<'_>, lease: Lease, chunks: &[Chunk]) -> Result<()> {
    let is_held = held(tx, lease)?.is_some_and(|held| !held.is_taken);
    if is_held { write_output(tx, lease, chunks) } else { Ok(()) }
}

fn write_output(tx: &Txn<'_>, lease: Lease, chunks: &[Chunk]) -> Result<()> {
    for chunk in chunks {
        if let Some(from) = chunk.drops_from {
            drop_pieces(tx, lease, chunk, from)?;
        }
        if !chunk.bytes.is_empty() {
            add_piece(tx, lease, chunk)?;
        }
    }
    Ok(())
}

/// Drops what was stored of the middle of the stream when it was still the end; a piece that
/// reaches into it is cut.
fn drop_pieces(tx: &Txn<'_>, lease: Lease, chunk: &Chunk, from: u64) -> Result<()> {
    let (first, end) = piece_ids(lease.job);
    for sql in [
        "delete from output
         where id >= :first and id < :end and token = :token and stream = :stream and start >= :from",
        "update output set body = substr(body, 1, :from - start)
         where id >= :first and id < :end and token = :token and stream = :stream and start + length(body) > :from",
    ] {
        let mut change = tx.prepare_cached(sql).explain(tx.path())?;
        change
            .execute(named_params! {
                ":first": first,
                ":end": end,
                ":token": lease.token,
                ":stream": chunk.stream,
                ":from": from,
            })
            .explain(tx.path())?;
    }
    Ok(())
}

fn add_piece(tx: &Txn<'_>, lease: Lease, chunk: &Chunk) -> Result<()> {
    let (first, end) = piece_ids(lease.job);
    let sql = "insert into output (id, token, stream, start, body)
        values (
          (select coalesce(max(id) + 1, :first) from output where id >= :first and id < :end),
          :token, :stream, :start, :body
        )";
    let mut insert = tx.prepare_cached(sql).explain(tx.path())?;
    insert
        .execute(named_params! {
            ":first": first,
            ":end": end,
            ":token": lease.token,
            ":stream": chunk.stream,
            ":start": chunk.offset,
            ":body": chunk.bytes,
        })
        .explain(tx.path())?;
    Ok(())
}

/// The numbers of a job's pieces of output: from the first to before the second.
/// A job of a number that is never given has none, so that it has not those of another.
pub(super) fn piece_ids(job: JobId) -> (i64, i64) {
    if job.get() > MAX_NUMBER { (0, 0) } else { (job.get() * PIECES_PER_JOB, (job.get() + 1) * PIECES_PER_JOB) }
}
