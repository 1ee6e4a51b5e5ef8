//! Breakers: how the attempts of a queue ended that has one, whether it is stopped, and who is tried meanwhile.
//!
//! What is known of them is kept from one turn to the next beside what there is to claim (`front`), and written at the
//! end of a turn that changed it. A queue without a breaker is not in here: it costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, Row, named_params};

use super::row;
use super::schema::Annex;
use crate::clock::Timestamp;
use crate::job::{
    BreakerNews, BreakerRule, Cause, Defaults, GroupRule, Lease, Outcome, QueueName, QueueSettings, Reason, Report,
    Tripped, Verdict,
};

/// What stands in the place of a cause where an attempt succeeded.
const SUCCESS: u32 = 0;

/// The breaker of a queue.
#[derive(Debug)]
pub(super) struct Breaker {
    queue: QueueName,
    rule: BreakerRule,
    /// From one trial to the next.
    every: Duration,
    group_by: Option<GroupRule>,
    /// How the last attempts ended, the oldest first.
    recent: Vec<u32>,
    tripped: Option<Tripped>,
    /// The priority and the number of the job that was tried last since it tripped.
    tried: Option<(i64, i64)>,
    is_changed: bool,
}

/// What the end of an attempt says of its queue.
enum Said {
    Succeeded,
    Failed(Cause),
    /// Nothing: it was snoozed or cancelled, or its worker died.
    Nothing,
    /// Nothing, for its worker gave it back.
    HandedBack,
}

/// All of them, by queue.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    all: BTreeMap<i64, Breaker>,
    news: Vec<(i64, BreakerNews)>,
}

impl Breakers {
    /// Reads them, from a file that has some.
    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let mut query = conn.prepare_cached(ALL_SQL)?;
        let found = query.query_map([], breaker)?;
        let all = found.filter_map(Result::transpose).collect::<rusqlite::Result<_>>()?;
        Ok(Self { all, news: Vec::new() })
    }

    /// Whether a job of this queue may be claimed now. Of one that is stopped one may, where the time of a trial has
    /// come, or lies further away than ever: then the clock was set back.
    pub(super) fn let_in(&self, queue_id: i64, now: Timestamp) -> bool {
        self.tripped(queue_id)
            .is_none_or(|(breaker, tripped)| tripped.next_trial <= now || tripped.next_trial > now.plus(breaker.every))
    }

    fn tripped(&self, queue_id: i64) -> Option<(&Breaker, &Tripped)> {
        let breaker = self.all.get(&queue_id)?;
        Some((breaker, breaker.tripped.as_ref()?))
    }

    /// The job that was tried last in a queue that is stopped: its priority and its number.
    pub(super) fn tried(&self, queue_id: i64) -> Option<(i64, i64)> {
        self.all.get(&queue_id)?.tried
    }

    /// When the next trial may be, in a queue that is stopped.
    pub(super) fn next_trial(&self, queue_id: i64) -> Option<Timestamp> {
        self.tripped(queue_id).map(|(_, tripped)| tripped.next_trial)
    }

    /// Whether no queue is stopped.
    pub(super) fn are_closed(&self) -> bool {
        self.all.values().all(|breaker| breaker.tripped.is_none())
    }

    /// Takes note that this job of a queue was claimed: in one that is stopped it is a trial.
    pub(super) fn note_claim(&mut self, queue_id: i64, (priority, id): (i64, i64), now: Timestamp) {
        let Some(breaker) = self.all.get_mut(&queue_id) else { return };
        let Some(tripped) = &mut breaker.tripped else { return };
        tripped.next_trial = now.plus(breaker.every);
        // By a clock that was set back it would look like an attempt from before.
        tripped.since = tripped.since.min(now.minus(Duration::from_millis(1)));
        breaker.tried = Some((priority, id));
        breaker.is_changed = true;
    }

    /// Takes note of how an attempt ended, before that is recorded. Answers what becomes of its job instead, where it
    /// was a trial that failed of what the queue is stopped for: the attempt is not counted then.
    pub(super) fn note_end(
        &mut self,
        conn: &Connection,
        (queue_id, lease): (i64, Lease),
        (report, verdict): (Option<&Report>, Verdict),
        now: Timestamp,
    ) -> rusqlite::Result<Option<Verdict>> {
        let Some(breaker) = self.all.get_mut(&queue_id) else { return Ok(None) };
        let said = breaker.said(report);
        let was_tripped = breaker.tripped.is_some();
        let spared = if was_tripped {
            if !is_trial(conn, lease, breaker)? {
                return Ok(None);
            }
            breaker.note_trial(said, verdict, now)
        } else {
            breaker.count(said, now);
            None
        };
        if was_tripped != breaker.tripped.is_some() {
            let news = BreakerNews { queue: breaker.queue.clone(), tripped: breaker.tripped.clone() };
            self.news.push((queue_id, news));
        }
        Ok(spared)
    }

    /// What is new since this was last asked.
    pub(super) fn take_news(&mut self) -> Vec<(i64, BreakerNews)> {
        std::mem::take(&mut self.news)
    }

    /// Writes those that have changed.
    pub(super) fn save(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        for (&queue_id, breaker) in self.all.iter_mut().filter(|(_, breaker)| breaker.is_changed) {
            write(conn, queue_id, breaker)?;
            breaker.is_changed = false;
        }
        Ok(())
    }
}

impl Breaker {
    /// What the end of an attempt says. As in a queue's pace, only one that ended by itself says something: a worker
    /// that dies or goes home is no fault of what the jobs need.
    fn said(&self, report: Option<&Report>) -> Said {
        let Some(report) = report else { return Said::HandedBack };
        match report.outcome {
            Outcome::Succeeded => Said::Succeeded,
            Outcome::Failed | Outcome::Timeout | Outcome::Buried => {
                let error = report.error.as_deref().unwrap_or_default();
                Said::Failed(Cause::of((report.exit_code, report.signal), error, self.group_by.as_ref()))
            }
            Outcome::Lost | Outcome::Snoozed | Outcome::Cancelled => Said::Nothing,
            Outcome::Released => Said::HandedBack,
        }
    }

    /// Counts an attempt of a queue that goes on, and stops it where that was one too many.
    fn count(&mut self, said: Said, now: Timestamp) {
        let (ended, cause) = match said {
            Said::Succeeded => (SUCCESS, None),
            Said::Failed(cause) => (cause.number(), Some(cause)),
            Said::Nothing | Said::HandedBack => return,
        };
        self.is_changed = true;
        self.recent.push(ended);
        let n_old = self.recent.len().saturating_sub(self.rule.n_attempts());
        self.recent.drain(..n_old);
        let n_failures = self.recent.iter().filter(|&&one| one == ended).count();
        if let Some(cause) = cause.filter(|_| n_failures >= self.rule.n_failures()) {
            let (n_attempts, next_trial) = (self.recent.len(), now.plus(self.every));
            self.tripped = Some(Tripped { since: now, cause, n_failures, n_attempts, next_trial });
        }
    }

    /// What follows from a trial.
    fn note_trial(&mut self, said: Said, verdict: Verdict, now: Timestamp) -> Option<Verdict> {
        let tripped = self.tripped.as_mut()?;
        match said {
            Said::Succeeded => {
                (self.tripped, self.tried) = (None, None);
                self.recent.clear();
                self.is_changed = true;
                None
            }
            // It was none: the next worker may have another.
            Said::HandedBack => {
                tripped.next_trial = tripped.next_trial.min(now);
                self.is_changed = true;
                None
            }
            Said::Failed(cause) if cause == tripped.cause => match verdict {
                Verdict::Retry { .. } => Some(verdict),
                Verdict::Die { reason: Reason::Exhausted } => Some(Verdict::Retry { due: tripped.next_trial.max(now) }),
                // That it will never succeed it said itself.
                Verdict::Succeed | Verdict::HandBack | Verdict::Die { .. } | Verdict::Cancel => None,
            },
            Said::Failed(_) | Said::Nothing => None,
        }
    }
}

/// Whether an attempt was claimed since its queue is stopped. What ran before says nothing of how things stand now.
fn is_trial(conn: &Connection, lease: Lease, breaker: &Breaker) -> rusqlite::Result<bool> {
    let Some(tripped) = &breaker.tripped else { return Ok(false) };
    let mut query = conn.prepare_cached("select started_at from job where id = :id")?;
    let claimed_at: Timestamp = query.query_row(named_params! { ":id": lease.job }, |row| row.get(0))?;
    Ok(claimed_at > tripped.since)
}

/// Every breaker, with its queue.
pub(super) const ALL_SQL: &str = "select queue_id, queue.name as queue, queue.settings, recent, tripped_at, exit_code,
      signal, body, n_failures, n_attempts, next_trial_at, tried_priority, tried_id
    from breaker join queue on queue.id = queue_id";

/// A breaker from the columns of [`ALL_SQL`]; `None` where its queue has none any more.
pub(super) fn breaker(row: &Row<'_>) -> rusqlite::Result<Option<(i64, Breaker)>> {
    let settings = row::settings(row)?;
    let Some(rule) = settings.breaker.flatten() else { return Ok(None) };
    let recent: Vec<u8> = row.get("recent")?;
    let recent = recent.chunks_exact(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
    let breaker = Breaker {
        queue: row.get("queue")?,
        rule,
        every: settings.breaker_probe.unwrap_or(Defaults::BREAKER_PROBE),
        group_by: settings.group_by.flatten(),
        recent: recent.collect(),
        tripped: tripped(row)?,
        tried: row.get::<_, Option<i64>>("tried_priority")?.zip(row.get("tried_id")?),
        is_changed: false,
    };
    Ok(Some((row.get("queue_id")?, breaker)))
}

/// How a queue is stopped, from the columns of [`ALL_SQL`].
fn tripped(row: &Row<'_>) -> rusqlite::Result<Option<Tripped>> {
    let Some(since) = row.get("tripped_at")? else { return Ok(None) };
    let cause = Cause { exit_code: row.get("exit_code")?, signal: row.get("signal")?, text: row.get("body")? };
    let (n_failures, n_attempts) = (row.get("n_failures")?, row.get("n_attempts")?);
    Ok(Some(Tripped { since, cause, n_failures, n_attempts, next_trial: row.get("next_trial_at")? }))
}

fn write(conn: &Connection, queue_id: i64, breaker: &Breaker) -> rusqlite::Result<()> {
    let recent: Vec<u8> = breaker.recent.iter().flat_map(|one| one.to_be_bytes()).collect();
    let tripped = breaker.tripped.as_ref();
    let sql = "update breaker
        set recent = :recent, tripped_at = :tripped_at, exit_code = :exit_code, signal = :signal, body = :body,
            n_failures = :n_failures, n_attempts = :n_attempts, next_trial_at = :next_trial_at,
            tried_priority = :tried_priority, tried_id = :tried_id
        where queue_id = :queue_id";
    conn.prepare_cached(sql)?.execute(named_params! {
        ":queue_id": queue_id,
        ":recent": recent,
        ":tripped_at": tripped.map(|tripped| tripped.since),
        ":exit_code": tripped.and_then(|tripped| tripped.cause.exit_code),
        ":signal": tripped.and_then(|tripped| tripped.cause.signal),
        ":body": tripped.map(|tripped| tripped.cause.text.as_str()),
        ":n_failures": tripped.map(|tripped| tripped.n_failures),
        ":n_attempts": tripped.map(|tripped| tripped.n_attempts),
        ":next_trial_at": tripped.map(|tripped| tripped.next_trial),
        ":tried_priority": breaker.tried.map(|(priority, _)| priority),
        ":tried_id": breaker.tried.map(|(_, id)| id),
    })?;
    Ok(())
}

/// Which queues are stopped, and how.
pub(super) fn all_tripped(conn: &Connection) -> rusqlite::Result<BTreeMap<i64, Tripped>> {
    if !Annex::Breakers.is_in(conn)? {
        return Ok(BTreeMap::new());
    }
    let breakers = Breakers::read(conn)?.all.into_iter();
    Ok(breakers.filter_map(|(queue_id, breaker)| Some((queue_id, breaker.tripped?))).collect())
}

/// Lets a queue go on; answers whether it was stopped.
pub(super) fn close(conn: &Connection, queue_id: i64) -> rusqlite::Result<bool> {
    if !Annex::Breakers.is_in(conn)? {
        return Ok(false);
    }
    let sql = "update breaker
        set recent = x'', tripped_at = null, exit_code = null, signal = null, body = null, n_failures = null,
            n_attempts = null, next_trial_at = null, tried_priority = null, tried_id = null
        where queue_id = :id and tripped_at is not null";
    Ok(conn.prepare_cached(sql)?.execute(named_params! { ":id": queue_id })? > 0)
}

/// Makes or removes the breaker of a queue whose settings were changed. Where they tell causes apart in another way,
/// what was counted means nothing any more.
pub(super) fn follow_settings(
    conn: &Connection,
    queue_id: i64,
    (old, new): (&QueueSettings, &QueueSettings),
) -> rusqlite::Result<()> {
    let (had, has) = (old.breaker.flatten().is_some(), new.breaker.flatten().is_some());
    if has && !had {
        Annex::Breakers.build(conn)?;
        let sql = "insert or replace into breaker (queue_id, recent) values (:id, x'')";
        conn.execute(sql, named_params! { ":id": queue_id })?;
    } else if has && old.group_by != new.group_by {
        conn.execute("update breaker set recent = x'' where queue_id = :id", named_params! { ":id": queue_id })?;
    } else if had && !has {
        forget_queue(conn, queue_id)?;
    }
    Ok(())
}

/// Forgets what was known of a queue that is removed, or has no breaker any more.
pub(super) fn forget_queue(conn: &Connection, queue_id: i64) -> rusqlite::Result<()> {
    if Annex::Breakers.is_in(conn)? {
        conn.execute("delete from breaker where queue_id = :id", named_params! { ":id": queue_id })?;
    }
    Ok(())
}
