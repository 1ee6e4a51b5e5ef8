//! Dead letters: dropped and brought back, put back with something replaced, told and taken in elsewhere.

use std::sync::Arc;
use std::time::Duration;

use super::bench::{Bench, Draft as _, Open, chunk, job, queue};
use super::event::{EventDraft as _, event, subscription};
use super::recorded::{call, path};
use crate::job::{
    Backoff, Chunk, Command, Context, DropId, EventId, Filter, Jitter, Job, JobId, Letter, NewJob, Part, Restored,
    StateKind, StepPath, Stream, Terms, Token,
};
use crate::store::{Buried, PushOutcome, Removed, Retried};

/// A job, its steps, its output, its payload, and who bears its label.
type Left = (Option<Job>, Vec<StepPath>, Vec<Chunk>, Option<Vec<u8>>, Vec<JobId>);

impl Bench<'_> {
    /// Pushes a job that dies at its first attempt, with output and a recorded step.
    fn die(&mut self, job: NewJob) -> JobId {
        let id = self.push(job);
        let claimed = self.claim_one();
        assert_eq!(claimed.lease.job, id);
        self.does(&claimed, &call("done"), b"result");
        self.print(&claimed, chunk(0, "bytes"));
        self.bury(&claimed);
        id
    }

    /// Drops jobs that are dead.
    fn drop_dead(&mut self, ids: &[JobId]) -> DropId {
        let dropped = self.store.drop_dead(ids, None, self.now).expect("a drop");
        assert_eq!(dropped.ids, ids);
        self.assert_sound();
        dropped.record.expect("they were dead")
    }

    /// Brings back all of a drop.
    /// Replaces a part of a dead job, and puts it back.
    fn retry_revised(&mut self, id: JobId, part: &Part, now: crate::clock::Timestamp) -> Retried {
        self.store.revise(&[(id, part)], now).expect("a change");
        self.store.retry(id, &[StateKind::Dead], None, now).expect("an answer")
    }

    fn restore(&mut self, drop: DropId) -> Vec<Restored> {
        let restored = self.store.restore(drop, self.now).expect("a portion");
        assert_eq!(self.store.restore(drop, self.now).expect("no more"), []);
        self.assert_sound();
        restored
    }

    /// All that a job left.
    fn all_of(&mut self, id: JobId) -> Left {
        let steps = self.store.steps(id).expect("the steps").into_iter().map(|step| step.path).collect();
        let output = self.store.output(id, Token::new(1), Stream::Stdout, 0).expect("the output");
        let labelled = Filter { labels: vec![("team".to_owned(), "x".to_owned())], ..Filter::default() };
        let job = self.store.job(id).expect("a look");
        (job, steps, output, self.store.payload(id).expect("a look"), self.find(&labelled))
    }

    fn letter(&mut self, id: JobId) -> Letter {
        self.store.letters(&[id]).expect("a look").pop().expect("it is dead").1
    }

    fn bury_all(&mut self, letters: Vec<Letter>) -> Vec<Buried> {
        let mut buried = Vec::new();
        self.store.bury_each(&mut letters.into_iter(), self.now, &mut |one| buried.push(one)).expect("taken in");
        self.assert_sound();
        buried
    }
}

fn whole(line: &str) -> NewJob {
    job(line).payload(b"\xff\0").label("team", "x").key("k")
}

pub(crate) fn what_was_dropped_comes_back_as_it_was(open: &Open) {
    let mut bench = Bench::new(open);
    let until = bench.in_secs(1000);
    let id = bench.die(whole("a").held_until(until));
    let other = bench.die(job("b"));
    let before = bench.all_of(id);
    let drop = bench.drop_dead(&[id]);
    assert_eq!(bench.all(), [other]);
    bench.advance(10);
    assert_eq!(bench.restore(drop), [Restored { id, holder: None }]);
    assert_eq!(bench.all_of(id), before);
    assert_eq!(bench.offer(job("c").key("k")).id, id, "it holds its key again");
    assert_eq!(bench.store.dead(&Filter::default(), 10).expect("a look"), [other, id]);
    assert_eq!(bench.store.drops().expect("a look"), [], "it is undone once");
    assert_eq!(bench.restore(drop), []);
}

pub(crate) fn a_dropped_job_is_nowhere(open: &Open) {
    let mut bench = Bench::new(open);
    let id = bench.die(whole("a"));
    let drop = bench.drop_dead(&[id]);
    let (found, steps, _, payload, labelled) = bench.all_of(id);
    assert_eq!((found, steps, payload, labelled), (None, Vec::new(), None, Vec::new()));
    assert_eq!((bench.store.context(id).expect("a look"), bench.all()), (None, Vec::new()));
    assert_eq!(bench.store.standing_of(&[id.into()]).expect("a look"), []);
    assert!(bench.store.step_output(id, &path("done")).expect("a look").is_none());
    assert_eq!(bench.store.dead(&Filter::default(), 10).expect("a look"), []);
    assert!(bench.store.letters(&[id]).expect("a look").is_empty());
    let now = bench.now;
    assert_eq!(bench.store.retry(id, &StateKind::ALL, None, now).expect("an answer"), Retried::Unknown);
    assert_eq!(bench.store.forget(&[id], &StateKind::ALL).expect("an answer"), []);
    let again = bench.store.drop_dead(&[id], None, now).expect("an answer");
    assert_eq!((again.ids, again.record), (Vec::new(), None));
    assert_eq!(bench.restore(drop).len(), 1);
}

pub(crate) fn a_job_comes_back_without_its_key_where_another_holds_it(open: &Open) {
    let mut bench = Bench::new(open);
    let until = bench.in_secs(1000);
    let id = bench.die(whole("a").held_until(until));
    let drop = bench.drop_dead(&[id]);
    let newer = bench.offer(job("b").key("k").held_until(until));
    assert_eq!(newer.outcome, PushOutcome::Created, "the key is free at once");
    assert_eq!(bench.restore(drop), [Restored { id, holder: Some(newer.id) }]);
    assert_eq!(bench.offer(job("c").key("k")).id, newer.id);
    let now = bench.now;
    assert_eq!(bench.store.retry(id, &[StateKind::Dead], None, now).expect("an answer"), Retried::KeyTaken(newer.id));
}

pub(crate) fn drops_are_listed_the_newest_first_and_one_may_come_in_portions(open: &Open) {
    let mut bench = Bench::new(open);
    let ids: Vec<JobId> = (0..4).map(|_| bench.die(job("a"))).collect();
    let waiting = bench.push(job("b"));
    let first = bench.drop_dead(&ids[..1]);
    let at = bench.now;
    bench.advance(5);
    let now = bench.now;
    let second = bench.store.drop_dead(&[waiting, ids[1]], None, now).expect("a drop");
    assert_eq!(second.ids, [ids[1]], "only what is dead");
    let more = bench.store.drop_dead(&ids[2..], second.record, now).expect("a drop");
    assert_eq!(more.record, second.record);
    let listed: Vec<_> = bench.store.drops().expect("a look").iter().map(|one| (one.id, one.at, one.n_jobs)).collect();
    let second = second.record.expect("one was dead");
    assert_eq!(listed, [(second, now, 3), (first, at, 1)]);
    assert_eq!(bench.restore(second).iter().map(|one| one.id).collect::<Vec<_>>(), ids[1..]);
    let third = bench.drop_dead(&ids[1..2]);
    assert!(third > second, "no number is given twice");
}

pub(crate) fn what_was_dropped_long_ago_is_forgotten_for_good(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("s", "t"));
    bench.publish(&event("t").payload(b"shared"));
    let claimed = bench.claim_of("s");
    bench.bury(&claimed);
    let old = [claimed.lease.job, bench.die(whole("a"))];
    bench.drop_dead(&old);
    bench.advance(60);
    let young = bench.die(job("b"));
    let drop = bench.drop_dead(&[young]);
    let before = bench.in_secs(0);
    assert_eq!(bench.store.forget_dropped(before).expect("a portion"), 2);
    assert_eq!(bench.store.forget_dropped(before).expect("no more"), 0);
    bench.assert_sound();
    assert_eq!(bench.store.drops().expect("a look").iter().map(|one| one.id).collect::<Vec<_>>(), [drop]);
    assert_eq!(bench.all_of(old[1]), (None, Vec::new(), Vec::new(), None, Vec::new()));
    assert_eq!(bench.restore(drop).len(), 1);
}

pub(crate) fn a_dropped_delivery_keeps_the_payload_of_its_event(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("s", "t"));
    bench.publish(&event("t").payload(b"shared"));
    let claimed = bench.claim_of("s");
    bench.bury(&claimed);
    let drop = bench.drop_dead(&[claimed.lease.job]);
    bench.advance(30 * 24 * 3600);
    let now = bench.now;
    assert_eq!(bench.store.prune_events(now).expect("a portion"), 1, "it is no longer on record");
    bench.assert_sound();
    assert_eq!(bench.restore(drop).len(), 1);
    assert_eq!(bench.store.payload(claimed.lease.job).expect("a look").as_deref(), Some(&b"shared"[..]));
    assert_eq!(bench.job(claimed.lease.job).delivery.map(|of| of.event), EventId::new(1));
}

pub(crate) fn a_queue_that_was_removed_is_made_anew_for_what_comes_back(open: &Open) {
    let mut bench = Bench::new(open);
    let id = bench.die(whole("a").on("old"));
    let drop = bench.drop_dead(&[id]);
    assert_eq!(bench.store.remove_queue(&queue("old")).expect("an answer"), Removed::Gone);
    bench.push(job("b").on("new"));
    bench.assert_sound();
    assert_eq!(bench.restore(drop).len(), 1);
    assert_eq!((bench.job(id).queue, bench.queue("old").tally.get(StateKind::Dead)), (queue("old"), 1));
}

pub(crate) fn what_is_replaced_when_a_job_is_put_back_is_kept(open: &Open) {
    let mut bench = Bench::new(open);
    let id = bench.die(whole("a"));
    let now = bench.now;
    let payload = Part::Payload(Some(b"new".to_vec()));
    assert_eq!(bench.retry_revised(id, &payload, now), Retried::Ready);
    let claimed = bench.claim_one();
    assert_eq!(claimed.payload.as_deref(), Some(&b"new"[..]));
    bench.bury(&claimed);
    bench.advance(9);
    let (now, command) = (bench.now, Command::Program(vec![b"x".to_vec(), b"\xff".to_vec()]));
    let part = Part::Command(Some(command.clone()));
    assert_eq!(bench.retry_revised(id, &part, now), Retried::Ready);
    assert_eq!(bench.job(id).command, Some(command));
    assert_eq!(
        bench.retry_revised(id, &part, now),
        Retried::WrongState(StateKind::Ready),
        "what does not wait for a decision is left alone"
    );
    let kept: Vec<Part> = bench.store.revisions(id).expect("a look").into_iter().map(|one| one.old).collect();
    let [old_payload, old_command] =
        [Part::Payload(Some(b"\xff\0".to_vec())), Part::Command(Some(Command::Shell("a".into())))];
    assert_eq!(kept, [old_payload, old_command]);
    bench.assert_sound();
    let claimed = bench.claim_one();
    bench.bury(&claimed);
    assert_eq!(bench.store.forget(&[id], &[StateKind::Dead]).expect("a drop"), [id]);
    assert!(bench.store.revisions(id).expect("a look").is_empty());
    bench.assert_sound();
}

pub(crate) fn a_replaced_payload_of_one_delivery_is_not_that_of_the_others(open: &Open) {
    let mut bench = Bench::new(open);
    for name in ["a", "b"] {
        bench.subscribe(&subscription(name, "t"));
    }
    bench.publish(&event("t").payload(b"shared"));
    let [one, other] = ["a", "b"].map(|name| bench.claim_of(name));
    bench.bury(&one);
    let now = bench.now;
    for text in ["mended", "mended again"] {
        let part = Part::Payload(Some(text.into()));
        assert_eq!(bench.retry_revised(one.lease.job, &part, now), Retried::Ready);
        let again = bench.claim_of("a");
        assert_eq!(again.payload.as_deref(), Some(text.as_bytes()));
        bench.bury(&again);
    }
    assert_eq!(bench.store.payload(other.lease.job).expect("a look").as_deref(), Some(&b"shared"[..]));
    assert_eq!(bench.store.forget(&[one.lease.job], &[StateKind::Dead]).expect("a drop").len(), 1);
    bench.assert_sound();
    assert_eq!(bench.store.payload(other.lease.job).expect("a look").as_deref(), Some(&b"shared"[..]));
}

pub(crate) fn what_is_told_of_a_dead_job_and_taken_in_elsewhere_is_told_alike(open: &Open) {
    let mut bench = Bench::new(open);
    let terms = Terms {
        backoff: Backoff::List(vec![Duration::from_millis(1500)]),
        jitter: Jitter::Full,
        dead_on: vec![1..=1, 64..=78],
        timeout: Some(Duration::from_secs(9)),
        kill_after: Duration::ZERO,
    };
    let context = Context { cwd: b"/\xff".to_vec(), env: vec![(b"PATH".to_vec(), b"\xfe".to_vec())], terms };
    let env = vec![(b"B".to_vec(), b"\xff=".to_vec()), (b"A".to_vec(), Vec::new())];
    let until = bench.in_secs(1000);
    let command = Some(Command::Program(vec![b"\xff".to_vec(), Vec::new()]));
    let odd = NewJob { command, context: Arc::new(context), env, ..whole("a").held_until(until).priority(7) };
    let ids = [bench.die(odd), bench.die(job("b").on("other"))];
    let letters: Vec<Letter> = ids.map(|id| bench.letter(id)).into();

    let mut elsewhere = Bench::new(open);
    elsewhere.advance(100);
    elsewhere.push(job("c"));
    let buried = elsewhere.bury_all(letters.clone());
    assert_eq!(buried.iter().map(|one| (one.id.get(), one.holder)).collect::<Vec<_>>(), [(2, None), (3, None)]);
    let again: Vec<Letter> = buried.iter().map(|one| elsewhere.letter(one.id)).collect();
    assert_eq!(format!("{again:?}"), format!("{letters:?}"));
    assert_eq!(elsewhere.offer(job("d").key("k")).id, buried[0].id, "it holds its key there");

    let twice = elsewhere.bury_all(letters);
    assert_eq!(twice[0].holder, Some(buried[0].id));
    let now = elsewhere.now;
    assert_eq!(elsewhere.store.retry(twice[1].id, &[StateKind::Dead], None, now).expect("an answer"), Retried::Ready);
    elsewhere.assert_sound();
}
