//! What a running attempt says of itself: what counts, how long, and who may speak.

use std::time::Duration;

use super::bench::{Bench, LEASE, Open, job, moment, uptime};
use crate::job::{Claimed, Granted, Outcome, Progress, Reason, Settlement, State, StateKind, Verdict, Wish, unheeded};
use crate::store::{Settled, Standing};

const PAUSE: Duration = Duration::from_secs(60);

fn progress(percent: u8, message: Option<&str>) -> Progress {
    Progress { percent, message: message.map(str::to_owned) }
}

impl Bench<'_> {
    /// Has a running attempt ask for something.
    fn wish(&mut self, claimed: &Claimed, wish: &Wish) -> Standing {
        self.store.wish(claimed.lease, wish).expect("an answer")
    }

    /// Ends an attempt well.
    fn settle_success(&mut self, claimed: &Claimed) -> Settled {
        let ending = self.ending(claimed, Outcome::Succeeded, Verdict::Succeed);
        self.settle(ending)
    }
}

pub(crate) fn a_settlement_applies_its_rule_to_the_last_wish_of_the_attempt(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    let claimed = queue.claim_one();
    for wish in [
        Wish::Bury { message: None, group: None },
        Wish::RetryAfter(PAUSE),
        Wish::Snooze(PAUSE),
        Wish::Bury { message: Some("no".to_owned()), group: None },
    ] {
        assert_eq!(queue.wish(&claimed, &wish), Standing::Held);
    }
    let verdict = Verdict::Die { reason: Reason::Buried };
    let granted = Granted { verdict, outcome: Outcome::Buried, error: Some("no".to_owned()), group: None };
    assert_eq!(queue.settle_success(&claimed), Settled::AsWished(granted));
    queue.assert_counters_agree();
    assert_eq!(queue.job(id).state, State::Dead { at: queue.now, reason: Reason::Buried });
    assert_eq!(queue.job(id).last.expect("an end").outcome, Outcome::Buried);
    let attempts = queue.store.attempts(id).expect("the attempts");
    let report = attempts[0].report.as_ref().expect("it ended");
    assert_eq!((report.outcome, report.error.as_deref(), report.exit_code), (Outcome::Buried, Some("no"), Some(0)));
}

pub(crate) fn a_wish_that_does_not_count_changes_nothing(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    let claimed = queue.claim_one();
    assert_eq!(queue.wish(&claimed, &Wish::Snooze(PAUSE)), Standing::Held);
    let ending = queue.ending(&claimed, Outcome::Succeeded, Verdict::Succeed);
    assert_eq!(queue.settle(Settlement { heed: unheeded, ..ending }), Settled::Recorded);
    assert_eq!(queue.state(id), StateKind::Succeeded);
    assert_eq!(queue.job(id).snoozes, 0);
}

pub(crate) fn a_snooze_is_counted_apart_from_the_attempts(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    for n_snoozes in 1..=7 {
        let claimed = queue.claim_one();
        assert_eq!(claimed.job.attempt, 1);
        assert_eq!(queue.wish(&claimed, &Wish::Snooze(PAUSE)), Standing::Held);
        assert!(matches!(queue.settle_success(&claimed), Settled::AsWished(_)));
        let due = queue.now.plus(PAUSE);
        let job = queue.job(id);
        assert_eq!((job.attempt, job.snoozes, job.state), (0, n_snoozes, State::Retrying { due }));
        assert!(queue.claim(1).is_empty(), "not before its time");
        queue.now = due;
    }
    let _ = queue.store.retry(id, &[StateKind::Retrying], None, queue.now).expect("an answer");
    assert_eq!(queue.job(id).snoozes, 0, "from zero, as its attempts");
}

pub(crate) fn a_wish_dies_with_its_attempt(open: &Open) {
    for outcome in [Some(Outcome::Lost), Some(Outcome::Released), None] {
        let mut queue = Bench::new(open);
        let id = queue.push(job("a"));
        let claimed = queue.claim_one();
        assert_eq!(queue.wish(&claimed, &Wish::Bury { message: None, group: None }), Standing::Held);
        match outcome {
            Some(outcome) => {
                let ending = queue.ending(&claimed, outcome, Verdict::HandBack);
                assert_eq!(queue.settle(Settlement { heed: unheeded, ..ending }), Settled::Recorded);
            }
            None => queue.return_untouched(&claimed),
        }
        let claimed = queue.claim_one();
        queue.succeed(&claimed);
        assert_eq!(queue.state(id), StateKind::Succeeded, "{outcome:?}");
    }
}

pub(crate) fn a_job_that_is_cancelled_is_not_run_again_for_a_wish(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    let claimed = queue.claim_one();
    let _ = queue.store.cancel(id, queue.now).expect("an answer");
    assert_eq!(queue.wish(&claimed, &Wish::Snooze(PAUSE)), Standing::CancelRequested);
    let Settled::AsWished(granted) = queue.settle_success(&claimed) else { panic!("it was not granted") };
    assert_eq!(granted.verdict, Verdict::Cancel);
    assert_eq!(queue.state(id), StateKind::Cancelled);
    queue.assert_counters_agree();
}

pub(crate) fn a_snoozed_job_does_not_expire(open: &Open) {
    let mut queue = Bench::new(open);
    let expires_at = Some(queue.in_secs(30));
    let id = queue.push(crate::job::NewJob { expires_at, ..job("a") });
    let claimed = queue.claim_one();
    assert_eq!(queue.wish(&claimed, &Wish::Snooze(PAUSE)), Standing::Held);
    assert!(matches!(queue.settle_success(&claimed), Settled::AsWished(_)));
    queue.advance(60);
    assert_eq!(queue.claim_ids(), [id], "it was started in time");
}

pub(crate) fn progress_is_seen_at_once_and_until_the_next_attempt(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    let claimed = queue.claim_one();
    assert_eq!(claimed.job.progress, None);
    for said in [progress(0, None), progress(100, Some("\u{1f99d} all but done"))] {
        assert_eq!(queue.store.note_progress(claimed.lease, &said).expect("an answer"), Standing::Held);
        assert_eq!(queue.job(id).progress, Some(said));
    }
    queue.end(&claimed, Outcome::Failed, Verdict::HandBack);
    assert_eq!(queue.job(id).progress.expect("it is kept").percent, 100);
    assert_eq!(queue.claim_one().job.progress, None);
    assert_eq!(queue.job(id).progress, None);
}

pub(crate) fn under_a_lost_lease_nothing_is_said(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    let stale = queue.claim_one();
    queue.end(&stale, Outcome::Lost, Verdict::HandBack);
    let say = |queue: &mut Bench<'_>| {
        assert_eq!(queue.wish(&stale, &Wish::Bury { message: None, group: None }), Standing::Lost);
        let said = queue.store.note_progress(stale.lease, &progress(1, None));
        assert_eq!(said.expect("an answer"), Standing::Lost);
    };
    say(&mut queue);
    let claimed = queue.claim_one();
    say(&mut queue);
    assert_eq!(queue.job(id).progress, None);
    queue.succeed(&claimed);
    say(&mut queue);
    assert_eq!(queue.state(id), StateKind::Succeeded);
    assert_eq!(queue.store.forget(&[id], &[StateKind::Succeeded]).expect("an answer"), [id]);
    say(&mut queue);
}

pub(crate) fn what_was_taken_away_says_nothing_any_more(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    let claimed = queue.claim_one();
    assert_eq!(queue.wish(&claimed, &Wish::Snooze(PAUSE)), Standing::Held);
    let mut other = queue.beside();
    other.now = queue.now.plus(LEASE + Duration::from_secs(1));
    let until = moment(other.now).uptime.plus(LEASE);
    let _ = other.store.renew(other.worker, &[], until, moment(other.now)).expect("an answer");
    assert!(other.store.take_away(claimed.lease, uptime(other.now)).expect("an answer"));
    assert_eq!(queue.wish(&claimed, &Wish::Bury { message: None, group: None }), Standing::Lost);
    assert_eq!(queue.store.note_progress(claimed.lease, &progress(1, None)).expect("an answer"), Standing::Lost);
    assert_eq!(queue.job(id).progress, None);
}
