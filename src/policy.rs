//! What follows from what happened: pure rules, no clock and no dice.
//!
//! `now` and `spread` (a number from 0 to 1 that the caller draws) come in as arguments, so the
//! same history always gets the same answer. The store records what is decided here and decides
//! nothing itself.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::job::{
    Backoff, Defaults, Granted, Jitter, Job, Outcome, QueueSettings, Reason, Report, Retention, State, Terms, Verdict,
    Wish,
};

/// How many workers in a row may die under a job before it is taken for their murderer.
///
/// One is chance and two bad luck; a job that takes down every worker that touches it would
/// otherwise go round for ever. Sidekiq's super_fetch draws the line at the same number.
pub const MAX_CRASHES: u32 = 3;

/// How long dead jobs that were dropped can be brought back. The help and the guide say "a day".
pub const UNDO: Duration = Duration::from_secs(24 * 3600);

/// How often a worker renews its lease, as a share of it: two beats may be missed.
const BEATS_PER_LEASE: u32 = 3;

/// What is done with a job whose attempt ended like this.
///
/// `job` is the job as it was claimed, so its `attempt` counts the one that ended.
pub fn verdict(job: &Job, terms: &Terms, ending: (Outcome, Option<i32>), now: Timestamp, spread: f64) -> Verdict {
    let (outcome, exit_code) = ending;
    match outcome {
        Outcome::Succeeded => Verdict::Succeed,
        Outcome::Cancelled => Verdict::Cancel,
        Outcome::Released => Verdict::HandBack,
        Outcome::Snoozed => Verdict::Retry { due: now },
        Outcome::Buried => Verdict::Die { reason: Reason::Buried },
        Outcome::Lost => after_loss(job),
        Outcome::Failed | Outcome::Timeout => {
            let is_final = exit_code.is_some_and(|code| terms.dead_on.iter().any(|codes| codes.contains(&code)));
            if is_final {
                Verdict::Die { reason: Reason::Permanent }
            } else if job.attempt >= job.max_attempts {
                Verdict::Die { reason: Reason::Exhausted }
            } else {
                Verdict::Retry { due: now.plus(pause(terms, job.attempt, spread)) }
            }
        }
    }
}

/// What an attempt that ended like this gets of what it asked for; `None`: nothing, `verdict` stands.
///
/// It must have come to its end: one that was lost, handed back or cancelled asked for nothing. Being
/// stopped for taking too long is a failure that no snooze undoes, or a job that hangs would go round for
/// ever uncounted; that it will never succeed, or not before some time, is as true as before.
pub fn heed(wish: &Wish, verdict: Verdict, report: &Report) -> Option<Granted> {
    let again = |pause| Verdict::Retry { due: report.ended_at.plus(pause) };
    match (report.outcome, wish) {
        (Outcome::Succeeded | Outcome::Failed, Wish::Snooze(pause)) => {
            Some(Granted { verdict: again(*pause), outcome: Outcome::Snoozed, error: None, group: None })
        }
        (Outcome::Succeeded | Outcome::Failed, Wish::Sleep(until)) => Some(Granted {
            verdict: Verdict::Retry { due: *until },
            outcome: Outcome::Snoozed,
            error: None,
            group: None,
        }),
        (Outcome::Succeeded | Outcome::Failed | Outcome::Timeout, Wish::Doubt(step)) => {
            let verdict = Verdict::Die { reason: Reason::Uncertain };
            let error = Some(format!("step {step} was begun before; it may or may not have happened"));
            Some(Granted { verdict, outcome: Outcome::Failed, error, group: None })
        }
        (Outcome::Succeeded | Outcome::Failed | Outcome::Timeout, Wish::Bury { message, group }) => {
            let message = message.clone().or_else(|| report.error.clone()).unwrap_or_else(|| "buried".to_owned());
            let verdict = Verdict::Die { reason: Reason::Buried };
            Some(Granted { verdict, outcome: Outcome::Buried, error: Some(message), group: group.clone() })
        }
        // Whether there is another attempt is not for it to say.
        (outcome @ (Outcome::Failed | Outcome::Timeout), Wish::RetryAfter(pause)) => match verdict {
            Verdict::Retry { .. } => {
                Some(Granted { verdict: again(*pause), outcome, error: report.error.clone(), group: None })
            }
            Verdict::Succeed | Verdict::HandBack | Verdict::Die { .. } | Verdict::Cancel => None,
        },
        (Outcome::Succeeded, Wish::RetryAfter(_))
        | (Outcome::Timeout, Wish::Snooze(_) | Wish::Sleep(_))
        | (Outcome::Lost | Outcome::Released | Outcome::Snoozed | Outcome::Buried | Outcome::Cancelled, _) => None,
    }
}

/// What is done with a running job whose worker is gone.
fn after_loss(job: &Job) -> Verdict {
    let is_cancelled = matches!(job.state, State::Running { cancel_requested: true, .. });
    if is_cancelled {
        Verdict::Cancel
    } else if job.crashes.saturating_add(1) >= MAX_CRASHES {
        Verdict::Die { reason: Reason::Crashed }
    } else {
        Verdict::HandBack
    }
}

/// The pause after the `failures`th failed attempt (1 is the first).
///
/// `spread` 1 gives the longest pause that the jitter allows, 0 the shortest.
pub fn pause(terms: &Terms, failures: u32, spread: f64) -> Duration {
    let full = full_pause(&terms.backoff, failures.max(1));
    let fixed_share = match terms.jitter {
        Jitter::None => 1.0,
        Jitter::Half => 0.5,
        Jitter::Full => 0.0,
    };
    // At the scale of centuries a float is off by more than the smallest unit.
    full.mul_f64(fixed_share + (1.0 - fixed_share) * spread.clamp(0.0, 1.0)).min(full)
}

fn full_pause(backoff: &Backoff, failures: u32) -> Duration {
    match backoff {
        Backoff::Exponential { base, cap } => {
            let factor = 2_u32.checked_pow(failures - 1).unwrap_or(u32::MAX);
            base.saturating_mul(factor).min(*cap)
        }
        Backoff::Fixed(pause) => *pause,
        Backoff::List(pauses) => {
            let nth = usize::try_from(failures - 1).unwrap_or(usize::MAX);
            pauses.get(nth).or(pauses.last()).copied().unwrap_or_default()
        }
    }
}

/// Which finished jobs of a queue with these settings are forgotten now.
pub fn retention(settings: &QueueSettings, now: Timestamp) -> Retention {
    Retention {
        before: settings.keep.unwrap_or(Some(Defaults::KEEP)).map(|keep| now.minus(keep)),
        max_rows: settings.keep_rows.unwrap_or(Some(Defaults::KEEP_ROWS)),
    }
}

/// How long a worker waits between two renewals of a lease of this length.
pub fn heartbeat(lease: Duration) -> Duration {
    (lease / BEATS_PER_LEASE).max(Duration::from_millis(50))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::job::{JobId, Labels, QueueName, Token};

    fn job(attempt: u32, max_attempts: u32, crashes: u32) -> Job {
        let now = Timestamp::from_millis(1_000);
        Job {
            id: JobId::new(1).expect("one is positive"),
            queue: QueueName::default(),
            command: None,
            state: State::Running {
                token: Token::new(1),
                worker: "w1".to_owned(),
                since: now,
                cancel_requested: false,
            },
            priority: 0,
            attempt,
            max_attempts,
            crashes,
            snoozes: 0,
            key: None,
            labels: Labels::new(),
            payload_bytes: 0,
            created_at: now,
            run_at: now,
            started_at: Some(now),
            expires_at: None,
            last: None,
            progress: None,
            delivery: None,
            group: None,
        }
    }

    fn terms(backoff: Backoff, jitter: Jitter) -> Terms {
        Terms { backoff, jitter, ..Terms::default() }
    }

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn exponential_pauses_double_up_to_their_cap() {
        let backoff = Backoff::Exponential { base: Duration::from_secs(10), cap: Duration::from_secs(60) };
        let terms = terms(backoff, Jitter::None);
        let pauses: Vec<u64> = (1..=5).map(|n| pause(&terms, n, 0.3).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 60, 60]);
        assert_eq!(pause(&terms, u32::MAX, 0.0).as_secs(), 60);
    }

    #[test]
    fn a_list_of_pauses_repeats_its_last() {
        let terms = terms(Backoff::List([1, 5].map(Duration::from_secs).to_vec()), Jitter::None);
        let pauses: Vec<u64> = (1..=4).map(|n| pause(&terms, n, 0.0).as_secs()).collect();
        assert_eq!(pauses, [1, 5, 5, 5]);
    }

    #[test]
    fn a_pause_of_centuries_is_no_longer_than_its_cap() {
        let cap = Duration::from_millis(11_111_111_111_110);
        assert_eq!(pause(&terms(Backoff::Fixed(cap), Jitter::Half), 1, 1.0), cap);
    }

    #[test]
    fn a_final_exit_status_kills_at_once_and_others_are_tried_again() {
        let terms = Terms { dead_on: vec![65..=65, 100..=110], ..Terms::default() };
        let die = Verdict::Die { reason: Reason::Permanent };
        assert_eq!(verdict(&job(1, 5, 0), &terms, (Outcome::Failed, Some(65)), NOW, 0.0), die);
        assert_eq!(verdict(&job(1, 5, 0), &terms, (Outcome::Failed, Some(104)), NOW, 0.0), die);
        let again = verdict(&job(1, 5, 0), &terms, (Outcome::Failed, Some(66)), NOW, 1.0);
        assert_eq!(again, Verdict::Retry { due: NOW.plus(Duration::from_secs(10)) });
    }

    #[test]
    fn the_last_attempt_exhausts_a_job() {
        let ending = (Outcome::Timeout, None);
        let verdict = verdict(&job(5, 5, 0), &Terms::default(), ending, NOW, 0.0);
        assert_eq!(verdict, Verdict::Die { reason: Reason::Exhausted });
    }

    /// The report of an attempt that ended like this at [`NOW`].
    fn report(outcome: Outcome, error: Option<&str>) -> Report {
        Report {
            outcome,
            exit_code: None,
            signal: None,
            error: error.map(str::to_owned),
            started_at: Timestamp::from_millis(1_000),
            ended_at: NOW,
            usage: None,
            stdout_bytes: 0,
            stderr_bytes: 0,
            is_truncated: false,
            worker: "w1".to_owned(),
        }
    }

    const PAUSE: Duration = Duration::from_secs(7);
    const EXHAUSTED: Verdict = Verdict::Die { reason: Reason::Exhausted };
    const BACKOFF: Verdict = Verdict::Retry { due: NOW };

    #[test]
    fn whoever_snoozes_is_run_again_whatever_the_exit_status() {
        let snoozed = Some(Granted {
            verdict: Verdict::Retry { due: NOW.plus(PAUSE) },
            outcome: Outcome::Snoozed,
            error: None,
            group: None,
        });
        let snooze = Wish::Snooze(PAUSE);
        assert_eq!(heed(&snooze, Verdict::Succeed, &report(Outcome::Succeeded, None)), snoozed);
        assert_eq!(heed(&snooze, BACKOFF, &report(Outcome::Failed, Some("exit 1"))), snoozed);
        assert_eq!(heed(&snooze, EXHAUSTED, &report(Outcome::Failed, Some("exit 1"))), snoozed);
        assert_eq!(heed(&snooze, BACKOFF, &report(Outcome::Timeout, Some("timed out"))), None);
    }

    #[test]
    fn whoever_buries_itself_is_dead_whatever_the_exit_status() {
        let told = |wish: &Wish, outcome, error| {
            let granted = heed(wish, Verdict::Succeed, &report(outcome, error)).expect("it is granted");
            assert_eq!(granted.verdict, Verdict::Die { reason: Reason::Buried });
            assert_eq!(granted.outcome, Outcome::Buried);
            granted.error.expect("something is told")
        };
        let said = Wish::Bury { message: Some("no such order".to_owned()), group: None };
        assert_eq!(told(&said, Outcome::Succeeded, None), "no such order");
        assert_eq!(told(&said, Outcome::Failed, Some("exit 1")), "no such order");
        assert_eq!(
            told(&Wish::Bury { message: None, group: None }, Outcome::Failed, Some("the last line")),
            "the last line"
        );
        assert_eq!(told(&Wish::Bury { message: None, group: None }, Outcome::Timeout, Some("timed out")), "timed out");
        assert_eq!(told(&Wish::Bury { message: None, group: None }, Outcome::Succeeded, None), "buried");
    }

    #[test]
    fn a_wished_pause_takes_the_place_of_the_backoff_and_of_nothing_else() {
        let wish = Wish::RetryAfter(PAUSE);
        for outcome in [Outcome::Failed, Outcome::Timeout] {
            let granted = heed(&wish, BACKOFF, &report(outcome, Some("no"))).expect("it is granted");
            let verdict = Verdict::Retry { due: NOW.plus(PAUSE) };
            assert_eq!(granted, Granted { verdict, outcome, error: Some("no".to_owned()), group: None });
            assert_eq!(heed(&wish, EXHAUSTED, &report(outcome, None)), None);
        }
        assert_eq!(heed(&wish, Verdict::Succeed, &report(Outcome::Succeeded, None)), None);
    }

    #[test]
    fn an_attempt_that_did_not_come_to_its_end_asked_for_nothing() {
        for outcome in [Outcome::Lost, Outcome::Released, Outcome::Cancelled] {
            for wish in [Wish::Snooze(PAUSE), Wish::Bury { message: None, group: None }, Wish::RetryAfter(PAUSE)] {
                assert_eq!(heed(&wish, Verdict::HandBack, &report(outcome, None)), None, "{outcome:?}");
            }
        }
    }

    #[test]
    fn the_third_lost_worker_in_a_row_is_the_jobs_fault() {
        let lost = (Outcome::Lost, None);
        let terms = Terms::default();
        assert_eq!(verdict(&job(1, 1, 1), &terms, lost, NOW, 0.0), Verdict::HandBack);
        assert_eq!(verdict(&job(1, 1, 2), &terms, lost, NOW, 0.0), Verdict::Die { reason: Reason::Crashed });
    }

    #[test]
    fn finished_jobs_are_kept_a_week_unless_their_queue_says_otherwise() {
        let day = Duration::from_secs(24 * 3600);
        let now = Timestamp::from_millis(1_000_000_000_000);
        let default = retention(&QueueSettings::default(), now);
        assert_eq!(default, Retention { before: Some(now.minus(7 * day)), max_rows: Some(100_000) });
        let own = QueueSettings { keep: Some(None), keep_rows: Some(Some(3)), ..QueueSettings::default() };
        assert_eq!(retention(&own, now), Retention { before: None, max_rows: Some(3) });
    }

    proptest! {
        #[test]
        fn a_pause_stays_within_its_jitter(base in 0_u64..1_000_000, cap in 0_u64..1_000_000, n in 0_u32..2_000, spread in -1.0_f64..2.0) {
            let backoff = Backoff::Exponential { base: Duration::from_millis(base), cap: Duration::from_millis(cap) };
            let full = pause(&terms(backoff.clone(), Jitter::None), n, spread);
            prop_assert!(full <= Duration::from_millis(cap));
            let half = pause(&terms(backoff.clone(), Jitter::Half), n, spread);
            prop_assert!(half <= full && half * 2 + Duration::from_nanos(2) >= full);
            prop_assert!(pause(&terms(backoff, Jitter::Full), n, spread) <= full);
        }
    }
}
