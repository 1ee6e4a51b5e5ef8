//! Recorded steps: what is run once, what again, and who may say that it is done.

use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::bench::{Bench, LEASE, Open, job, moment, uptime};
use crate::clock::Uptime;
use crate::job::{
    Begun, Claimed, JobId, OnUncertain, Outcome, Printed, Reason, State, StateKind, StepCall, StepEnd, StepOutput,
    StepPath, StepRefusal, StepRun, StepState, Verdict,
};
use crate::store::{Settled, Slept, Standing};

pub(super) fn path(text: &str) -> StepPath {
    StepPath::parse(text).expect("a path")
}

/// A call of a step, with a key that no other call has.
pub(super) fn call(name: &str) -> StepCall {
    static N_CALLS: AtomicU64 = AtomicU64::new(0);
    StepCall {
        path: path(name),
        is_repeated: false,
        on_uncertain: OnUncertain::Rerun,
        key: format!("key-{}", N_CALLS.fetch_add(1, Ordering::Relaxed)),
        command: "a hash".to_owned(),
        input: None,
    }
}

pub(super) fn repeated(name: &str) -> StepCall {
    StepCall { is_repeated: true, ..call(name) }
}

fn in_doubt(name: &str, on_uncertain: OnUncertain) -> StepCall {
    StepCall { on_uncertain, ..call(name) }
}

pub(super) fn bytes(output: StepOutput) -> Vec<u8> {
    match output {
        StepOutput::Bytes(bytes) => bytes,
        StepOutput::File(mut file) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).expect("its bytes");
            bytes
        }
    }
}

impl Bench<'_> {
    /// A new job, claimed.
    pub(super) fn start(&mut self) -> Claimed {
        self.push(job("a"));
        self.claim_one()
    }

    /// Ends the attempt and starts the next one.
    pub(super) fn try_again(&mut self, claimed: &Claimed) -> Claimed {
        self.hand_back(claimed);
        self.claim_one()
    }

    pub(super) fn hand_back(&mut self, claimed: &Claimed) {
        self.end(claimed, Outcome::Lost, Verdict::HandBack);
    }

    pub(super) fn begin(&mut self, claimed: &Claimed, call: &StepCall) -> Begun {
        self.store.begin_step(claimed.lease, call, self.now).expect("an answer")
    }

    /// Begins a step that must be run.
    pub(super) fn runs(&mut self, claimed: &Claimed, call: &StepCall) -> StepRun {
        match self.begin(claimed, call) {
            Begun::Run(run) => run,
            other => panic!("{} is to be run, not {other:?}", call.path),
        }
    }

    pub(super) fn end_step(&mut self, claimed: &Claimed, path: &StepPath, end: &StepEnd) -> Standing {
        self.store.end_step(claimed.lease, path, end, moment(self.now)).expect("an answer")
    }

    /// Runs a step that must be run, and has it print this.
    pub(super) fn does(&mut self, claimed: &Claimed, call: &StepCall, printed: &[u8]) -> StepRun {
        let run = self.runs(claimed, call);
        let end = StepEnd::Recorded(Printed::Bytes(printed.to_vec()));
        assert_eq!(self.end_step(claimed, &run.path, &end), Standing::Held);
        run
    }

    /// Runs a step that must be run, and has it fail.
    fn fails(&mut self, claimed: &Claimed, call: &StepCall) -> StepRun {
        let run = self.runs(claimed, call);
        assert_eq!(self.end_step(claimed, &run.path, &StepEnd::Failed(Some(3))), Standing::Held);
        run
    }

    /// What a step that must be on record printed.
    pub(super) fn replays(&mut self, claimed: &Claimed, call: &StepCall) -> Vec<u8> {
        match self.begin(claimed, call) {
            Begun::Recorded { output, .. } => bytes(output),
            other => panic!("{} is on record, not {other:?}", call.path),
        }
    }

    pub(super) fn refuses(&mut self, claimed: &Claimed, call: &StepCall) -> StepRefusal {
        match self.begin(claimed, call) {
            Begun::Refused(refusal) => refusal,
            other => panic!("{} is refused, not {other:?}", call.path),
        }
    }

    fn doubts(&mut self, claimed: &Claimed, call: &StepCall) -> StepRun {
        match self.begin(claimed, call) {
            Begun::Uncertain(run) => run,
            other => panic!("{} may have happened, not {other:?}", call.path),
        }
    }

    fn sets(&mut self, claimed: &Claimed, name: &str, value: &[u8]) -> Vec<u8> {
        match self.store.set_step(claimed.lease, &call(name), value, moment(self.now)).expect("an answer") {
            Begun::Recorded { output, .. } => bytes(output),
            other => panic!("{name} is on record, not {other:?}"),
        }
    }

    /// The steps of a job and how they stand.
    pub(super) fn steps(&mut self, id: JobId) -> Vec<(String, StepState)> {
        let steps = self.store.steps(id).expect("the steps");
        steps.into_iter().map(|step| (step.path.to_string(), step.state)).collect()
    }

    pub(super) fn step_names(&mut self, id: JobId) -> Vec<String> {
        self.steps(id).into_iter().map(|(name, _)| name).collect()
    }

    /// What is on record of a step.
    pub(super) fn output_of(&mut self, id: JobId, name: &str) -> Option<Vec<u8>> {
        self.store.step_output(id, &path(name)).expect("an answer").map(bytes)
    }

    fn lease_until(&mut self) -> Uptime {
        let workers = self.store.workers().expect("the workers");
        workers.into_iter().find(|worker| worker.id == self.worker).expect("it is on the books").lease_until
    }
}

pub(crate) fn a_step_is_run_once_and_replayed_with_its_bytes_in_every_later_attempt(open: &Open) {
    let mut queue = Bench::new(open);
    let mut claimed = queue.start();
    let printed = b"\0one\ntwo \xff without an end of line";
    let _ = (queue.does(&claimed, &call("one"), printed), queue.does(&claimed, &call("none"), b""));
    for _ in 0..3 {
        claimed = queue.try_again(&claimed);
        assert_eq!(queue.replays(&claimed, &call("one")), printed);
        assert_eq!(queue.replays(&claimed, &call("none")), b"");
    }
    assert_eq!(queue.output_of(claimed.lease.job, "one").as_deref(), Some(&printed[..]));
    assert_eq!(queue.output_of(claimed.lease.job, "two"), None);
    let other = queue.start();
    queue.does(&other, &call("one"), b"another job, another step");
}

pub(crate) fn the_key_of_a_step_is_the_same_each_time_that_it_is_run(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    let id = claimed.lease.job;
    let key = queue.fails(&claimed, &call("a")).key;
    assert_eq!(queue.fails(&claimed, &call("a")).key, key, "in the same attempt");
    let claimed = queue.try_again(&claimed);
    assert_eq!(queue.runs(&claimed, &call("a")).key, key, "in the next, that failed");
    let claimed = queue.try_again(&claimed);
    assert_eq!(queue.runs(&claimed, &call("a")).key, key, "and where it may have happened");
    queue.bury(&claimed);
    let _ = queue.store.retry(id, &[StateKind::Dead], None, queue.now).expect("an answer");
    let claimed = queue.claim_one();
    assert_eq!(queue.does(&claimed, &call("a"), b"").key, key, "and where the job was put back");
    assert_eq!(queue.store.steps(id).expect("the steps")[0].key, key);
    queue.hand_back(&claimed);
    let _ = queue.store.reset_steps(id, &[path("a")]).expect("an answer");
    let claimed = queue.claim_one();
    assert_ne!(queue.runs(&claimed, &call("a")).key, key, "not where it is forgotten");
}

pub(crate) fn a_step_that_failed_is_run_again_also_in_the_same_attempt(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    let id = claimed.lease.job;
    queue.fails(&claimed, &call("a"));
    assert_eq!(queue.steps(id), [("a".to_owned(), StepState::Failed { exit_code: Some(3) })]);
    assert_eq!(queue.output_of(id, "a"), None);
    queue.fails(&claimed, &call("a"));
    let claimed = queue.try_again(&claimed);
    queue.does(&claimed, &call("a"), b"at last");
    assert_eq!(queue.steps(id), [("a".to_owned(), StepState::Recorded { bytes: 7 })]);
    let claimed = queue.try_again(&claimed);
    assert_eq!(queue.replays(&claimed, &call("a")), b"at last");
}

pub(crate) fn an_attempt_comes_to_a_step_once(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    queue.runs(&claimed, &call("a"));
    assert_eq!(queue.refuses(&claimed, &call("a")), StepRefusal::Underway);
    let end = StepEnd::Recorded(Printed::Bytes(Vec::new()));
    assert_eq!(queue.end_step(&claimed, &path("a"), &end), Standing::Held);
    assert_eq!(queue.refuses(&claimed, &call("a")), StepRefusal::Twice);
    let claimed = queue.try_again(&claimed);
    queue.replays(&claimed, &call("a"));
    assert_eq!(queue.refuses(&claimed, &call("a")), StepRefusal::Twice, "where it was replayed, too");
}

pub(crate) fn repeated_steps_are_numbered_in_their_order_in_each_attempt(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    let id = claimed.lease.job;
    for (name, printed) in [("mail", b"1"), ("mail#2", b"2"), ("mail#3", b"3")] {
        assert_eq!(queue.does(&claimed, &repeated("mail"), printed).path, path(name));
    }
    let claimed = queue.try_again(&claimed);
    for printed in [b"1", b"2", b"3"] {
        assert_eq!(queue.replays(&claimed, &repeated("mail")), printed);
    }
    assert_eq!(queue.runs(&claimed, &repeated("mail")).path, path("mail#4"));
    assert_eq!(queue.runs(&claimed, &repeated("mail")).path, path("mail#5"), "beside one that is underway");
    let claimed = queue.try_again(&claimed);
    assert_eq!(queue.replays(&claimed, &repeated("mail")), b"1");
    assert_eq!(queue.step_names(id), ["mail", "mail#2", "mail#3", "mail#4", "mail#5"]);
}

pub(crate) fn a_repeated_step_that_failed_keeps_its_number(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    queue.does(&claimed, &repeated("mail"), b"1");
    let failed = queue.fails(&claimed, &repeated("mail"));
    assert_eq!(failed.path, path("mail#2"));
    assert_eq!(queue.fails(&claimed, &repeated("mail")), failed);
    let claimed = queue.try_again(&claimed);
    assert_eq!(queue.replays(&claimed, &repeated("mail")), b"1");
    assert_eq!(queue.does(&claimed, &repeated("mail"), b"2"), failed);
    assert_eq!(queue.runs(&claimed, &repeated("mail")).path, path("mail#3"));
}

pub(crate) fn what_is_inside_of_a_step_that_is_begun_again_is_come_to_anew(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    let (outer, beside) = (call("order#2"), call("order#2b"));
    queue.does(&claimed, &beside, b"");
    queue.runs(&claimed, &outer);
    queue.does(&claimed, &call("order#2/pay"), b"paid");
    queue.does(&claimed, &repeated("order#2/mail"), b"1");
    queue.does(&claimed, &repeated("order#2/mail"), b"2");
    assert_eq!(queue.end_step(&claimed, &outer.path, &StepEnd::Failed(None)), Standing::Held);
    queue.runs(&claimed, &outer);
    assert_eq!(queue.replays(&claimed, &call("order#2/pay")), b"paid");
    assert_eq!(queue.replays(&claimed, &repeated("order#2/mail")), b"1");
    assert_eq!(queue.replays(&claimed, &repeated("order#2/mail")), b"2");
    assert_eq!(queue.refuses(&claimed, &beside), StepRefusal::Twice, "what is beside it is not");
}

pub(crate) fn under_a_lost_lease_no_step_is_begun_or_recorded(open: &Open) {
    let mut queue = Bench::new(open);
    let stale = queue.start();
    let id = stale.lease.job;
    queue.runs(&stale, &call("a"));
    queue.hand_back(&stale);
    let speak = |queue: &mut Bench<'_>| {
        let before = queue.steps(id);
        assert_eq!(queue.refuses(&stale, &call("b")), StepRefusal::Lost);
        let end = StepEnd::Recorded(Printed::Bytes(b"late".to_vec()));
        assert_eq!(queue.end_step(&stale, &path("a"), &end), Standing::Lost);
        assert_eq!(queue.end_step(&stale, &path("a"), &StepEnd::Failed(None)), Standing::Lost);
        let set = queue.store.set_step(stale.lease, &call("v"), b"x", moment(queue.now)).expect("an answer");
        assert!(matches!(set, Begun::Refused(StepRefusal::Lost)), "{set:?}");
        assert_eq!(queue.sleeps(&stale, 1), Slept::Refused(StepRefusal::Lost));
        assert_eq!(queue.steps(id), before);
    };
    speak(&mut queue);
    assert_eq!(queue.steps(id), [("a".to_owned(), StepState::Uncertain)]);
    let claimed = queue.claim_one();
    queue.runs(&claimed, &call("a"));
    speak(&mut queue);
    assert_eq!(queue.steps(id), [("a".to_owned(), StepState::Running)], "the other attempt's");
    queue.succeed(&claimed);
    speak(&mut queue);
}

pub(crate) fn of_a_job_that_was_taken_away_no_step_is_recorded(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    queue.runs(&claimed, &call("a"));
    let mut other = queue.beside();
    other.now = queue.now.plus(LEASE + Duration::from_secs(1));
    let until = moment(other.now).uptime.plus(LEASE);
    let _ = other.store.renew(other.worker, &[], until, moment(other.now)).expect("an answer");
    assert!(other.store.take_away(claimed.lease, uptime(other.now)).expect("an answer"));
    assert_eq!(queue.refuses(&claimed, &call("b")), StepRefusal::Lost);
    let end = StepEnd::Recorded(Printed::Bytes(Vec::new()));
    assert_eq!(queue.end_step(&claimed, &path("a"), &end), Standing::Lost);
    assert_eq!(queue.output_of(claimed.lease.job, "a"), None);
}

pub(crate) fn who_is_to_be_stopped_begins_no_step_and_may_say_what_it_has_done(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    let id = claimed.lease.job;
    queue.runs(&claimed, &call("a"));
    let _ = queue.store.cancel(id, queue.now).expect("an answer");
    assert_eq!(queue.refuses(&claimed, &call("b")), StepRefusal::Cancelled);
    assert_eq!(queue.sleeps(&claimed, 1), Slept::Refused(StepRefusal::Cancelled));
    let end = StepEnd::Recorded(Printed::Bytes(b"done".to_vec()));
    assert_eq!(queue.end_step(&claimed, &path("a"), &end), Standing::CancelRequested);
    assert_eq!(queue.output_of(id, "a").as_deref(), Some(&b"done"[..]));
}

pub(crate) fn a_step_that_may_have_happened_is_dealt_with_as_was_asked(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    let id = claimed.lease.job;
    let run = queue.runs(&claimed, &call("a"));
    let claimed = queue.try_again(&claimed);
    assert_eq!(queue.doubts(&claimed, &in_doubt("a", OnUncertain::Ask)), run);
    assert_eq!(queue.doubts(&claimed, &in_doubt("a", OnUncertain::Ask)), run, "asked as often as one likes");
    assert_eq!(queue.steps(id), [("a".to_owned(), StepState::Uncertain)]);
    assert_eq!(queue.runs(&claimed, &in_doubt("a", OnUncertain::Rerun)), run);
    let claimed = queue.try_again(&claimed);
    assert_eq!(queue.doubts(&claimed, &in_doubt("a", OnUncertain::Ask)), run);
    let found = StepEnd::Recorded(Printed::Bytes(b"it did".to_vec()));
    assert_eq!(queue.end_step(&claimed, &run.path, &found), Standing::Held);
    assert_eq!(queue.refuses(&claimed, &call("a")), StepRefusal::Twice);
    let claimed = queue.try_again(&claimed);
    assert_eq!(queue.replays(&claimed, &call("a")), b"it did");
}

pub(crate) fn a_job_is_dead_for_a_step_that_may_have_happened_once_its_attempt_ends(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    let id = claimed.lease.job;
    let run = queue.runs(&claimed, &in_doubt("a", OnUncertain::Fail));
    let claimed = queue.try_again(&claimed);
    assert_eq!(queue.doubts(&claimed, &in_doubt("a", OnUncertain::Fail)), run);
    assert_eq!(queue.state(id), StateKind::Running, "not before");
    let ending = queue.ending(&claimed, Outcome::Succeeded, Verdict::Succeed);
    assert!(matches!(queue.settle(ending), Settled::AsWished(_)));
    assert_eq!(queue.job(id).state, State::Dead { at: queue.now, reason: Reason::Uncertain });
    assert_eq!(queue.steps(id), [("a".to_owned(), StepState::Uncertain)], "whoever finds out decides");
    queue.assert_counters_agree();
}

pub(crate) fn a_step_is_for_its_input_and_tells_of_another_command(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    let with = |input: &str| StepCall { input: Some(input.to_owned()), ..call("a") };
    queue.fails(&claimed, &with("x"));
    queue.does(&claimed, &with("y"), b"of y");
    let claimed = queue.try_again(&claimed);
    for other in [with("x"), call("a")] {
        assert_eq!(queue.refuses(&claimed, &other), StepRefusal::OtherInput);
    }
    assert_eq!(queue.replays(&claimed, &with("y")), b"of y", "the input of the run that was recorded");
    let mut is_other = |command: &str| {
        let claimed = queue.start();
        queue.does(&claimed, &call("b"), b"");
        let claimed = queue.try_again(&claimed);
        match queue.begin(&claimed, &StepCall { command: command.to_owned(), ..call("b") }) {
            Begun::Recorded { is_other_command, .. } => is_other_command,
            other => panic!("{other:?}"),
        }
    };
    assert!(!is_other("a hash") && is_other("another"));
}

pub(crate) fn the_first_value_that_is_set_stays(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    assert_eq!(queue.sets(&claimed, "v", b"first\0"), b"first\0");
    assert_eq!(queue.sets(&claimed, "v", b"second"), b"first\0", "in the same attempt");
    let claimed = queue.try_again(&claimed);
    assert_eq!(queue.sets(&claimed, "v", b"third"), b"first\0");
    assert_eq!(queue.output_of(claimed.lease.job, "v").as_deref(), Some(&b"first\0"[..]));
    queue.runs(&claimed, &call("w"));
    let set = queue.store.set_step(claimed.lease, &call("w"), b"x", moment(queue.now)).expect("an answer");
    assert!(matches!(set, Begun::Refused(StepRefusal::Underway)), "{set:?}");
    let claimed = queue.try_again(&claimed);
    assert_eq!(queue.sets(&claimed, "w", b"known by now"), b"known by now", "it may have happened; now it has");
}

pub(crate) fn steps_are_listed_in_the_order_in_which_they_were_first_begun(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    let id = claimed.lease.job;
    queue.fails(&claimed, &call("z"));
    queue.runs(&claimed, &call("b"));
    queue.does(&claimed, &call("a"), b"four");
    queue.sets(&claimed, "v", b"");
    let started_at = queue.now;
    queue.advance(5);
    let claimed = queue.try_again(&claimed);
    queue.runs(&claimed, &call("z"));
    let recorded = |bytes| StepState::Recorded { bytes };
    let states = [StepState::Running, StepState::Uncertain, recorded(4), recorded(0)];
    let expected: Vec<(String, StepState)> = ["z", "b", "a", "v"].map(str::to_owned).into_iter().zip(states).collect();
    assert_eq!(queue.steps(id), expected);
    let steps = queue.store.steps(id).expect("the steps");
    assert_eq!((steps[0].started_at, steps[0].token, steps[0].ended_at), (queue.now, claimed.lease.token, None));
    assert_eq!((steps[2].started_at, steps[2].ended_at), (started_at, Some(started_at)));
    assert!(queue.store.steps(JobId::new(99).expect("a number")).expect("an answer").is_empty());
}

pub(crate) fn the_end_of_a_step_prolongs_the_lease_of_its_worker_and_never_shortens_it(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    queue.advance(20);
    queue.does(&claimed, &call("a"), b"");
    let prolonged = uptime(queue.now).plus(LEASE);
    assert_eq!(queue.lease_until(), prolonged);
    queue.advance(1);
    queue.fails(&claimed, &call("b"));
    assert_eq!(queue.lease_until(), prolonged.plus(Duration::from_secs(1)));
    let far = uptime(queue.now).plus(10 * LEASE);
    let _ = queue.store.renew(queue.worker, &[], far, moment(queue.now)).expect("an answer");
    queue.does(&claimed, &call("c"), b"");
    queue.sets(&claimed, "v", b"");
    assert_eq!(queue.lease_until(), far);
}
