//! Steps that let time pass.

use std::time::Duration;

use super::bench::{Bench, Open};
use super::recorded::call;
use crate::clock::Timestamp;
use crate::job::{Claimed, Outcome, Reason, State, StateKind, StepRefusal, StepState, Verdict};
use crate::store::{Settled, Slept};

impl Bench<'_> {
    pub(super) fn sleeps(&mut self, claimed: &Claimed, secs: u64) -> Slept {
        let until = self.in_secs(secs);
        self.store.sleep_step(claimed.lease, &call("sleep"), until, self.now).expect("an answer")
    }
}

pub(crate) fn a_sleep_lasts_until_the_time_of_its_first_call_and_is_passed_over_then(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    let id = claimed.lease.job;
    let until = queue.in_secs(100);
    assert_eq!(queue.sleeps(&claimed, 100), Slept::Until(until));
    assert_eq!(queue.refuses(&claimed, &call("a")), StepRefusal::Asleep);
    assert_eq!(queue.sleeps(&claimed, 1), Slept::Refused(StepRefusal::Asleep));
    assert_eq!(queue.steps(id), [("sleep".to_owned(), StepState::Sleeping { until })]);
    // An attempt that ends otherwise than by itself does not forget until when.
    let claimed = retried(&mut queue, &claimed, until);
    queue.now = until.minus(Duration::from_secs(1));
    let _ = queue.store.retry(id, &[StateKind::Retrying], None, queue.now).expect("an answer");
    let early = queue.claim_one();
    assert_ne!(early.lease, claimed.lease);
    assert_eq!(queue.sleeps(&early, 100), Slept::Until(until));
    retried(&mut queue, &early, until);
    queue.now = until;
    let claimed = queue.claim_one();
    assert_eq!(queue.sleeps(&claimed, 100), Slept::Passed);
    assert_eq!(queue.steps(id), [("sleep".to_owned(), StepState::Recorded { bytes: 0 })]);
    let second = queue.in_secs(50);
    assert_eq!(queue.sleeps(&claimed, 50), Slept::Until(second), "each is one of its own");
    retried(&mut queue, &claimed, second);
    queue.now = second;
    let claimed = queue.claim_one();
    assert_eq!([queue.sleeps(&claimed, 100), queue.sleeps(&claimed, 50)], [Slept::Passed, Slept::Passed]);
    assert_eq!(queue.sleeps(&claimed, 0), Slept::Passed, "and one of no time is none");
    assert_eq!(queue.step_names(id), ["sleep", "sleep#2", "sleep#3"]);
}

/// Ends an attempt that sleeps; the job is due then, and no attempt is counted.
fn retried(queue: &mut Bench<'_>, claimed: &Claimed, due: Timestamp) -> Claimed {
    let ending = queue.ending(claimed, Outcome::Failed, Verdict::Die { reason: Reason::Exhausted });
    assert!(matches!(queue.settle(ending), Settled::AsWished(_)));
    let job = queue.job(claimed.lease.job);
    assert_eq!((job.state, job.attempt), (State::Retrying { due }, 0));
    claimed.clone()
}
