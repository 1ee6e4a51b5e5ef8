//! Recorded steps that are forgotten, and the files of those that printed much.

use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::bench::{Bench, Open, job, moment, worker};
use super::recorded::{bytes, call, path};
use crate::job::{Claimed, JobId, Printed, QueueName, Retention, StateKind, StepEnd, StepOutput};
use crate::store::{self, Forgotten, Retried, Standing};

/// A job that does not run, with these steps on record: the outer ones of what has a slash are begun first.
fn with_steps<'o>(open: &'o Open, names: &[&str]) -> (Bench<'o>, JobId) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    for name in names {
        queue.does(&claimed, &call(name), name.as_bytes());
    }
    queue.hand_back(&claimed);
    (queue, claimed.lease.job)
}

fn reset(queue: &mut Bench<'_>, id: JobId, names: &[&str]) -> Forgotten {
    let paths: Vec<_> = names.iter().map(|name| path(name)).collect();
    queue.store.reset_steps(id, &paths).expect("an answer")
}

fn steps(names: &[&str]) -> Forgotten {
    Forgotten::Steps(names.iter().map(|name| path(name)).collect())
}

const NESTED: [&str; 6] = ["a", "order#2", "order#2/pay", "order#2/mail", "order#2/mail/send", "order"];

pub(crate) fn with_a_step_goes_what_is_inside_of_it_and_what_it_is_inside_of(open: &Open) {
    let (mut queue, id) = with_steps(open, &NESTED);
    assert_eq!(reset(&mut queue, id, &["order#2/mail"]), steps(&["order#2", "order#2/mail", "order#2/mail/send"]));
    assert_eq!(queue.step_names(id), ["a", "order#2/pay", "order"]);
    let claimed = queue.claim_one();
    queue.runs(&claimed, &call("order#2"));
    assert_eq!(queue.replays(&claimed, &call("order#2/pay")), b"order#2/pay");
    queue.runs(&claimed, &call("order#2/mail"));
}

pub(crate) fn steps_are_forgotten_all_or_none(open: &Open) {
    let (mut queue, id) = with_steps(open, &["a", "b", "c"]);
    assert_eq!(reset(&mut queue, id, &["a", "x", "b"]), Forgotten::NoStep(path("x")));
    assert_eq!(reset(&mut queue, id, &["a#2"]), Forgotten::NoStep(path("a#2")));
    let unknown = JobId::new(99).expect("a number");
    assert_eq!(reset(&mut queue, unknown, &["a"]), Forgotten::NoJob);
    let claimed = queue.claim_one();
    assert_eq!(reset(&mut queue, id, &["a"]), Forgotten::Running);
    assert_eq!(queue.step_names(id), ["a", "b", "c"]);
    queue.hand_back(&claimed);
    assert_eq!(reset(&mut queue, id, &[]), steps(&[]));
    assert_eq!(reset(&mut queue, id, &["c", "a"]), steps(&["a", "c"]));
    assert_eq!(queue.step_names(id), ["b"]);
}

pub(crate) fn a_retry_may_be_from_a_step_on(open: &Open) {
    for (from, left) in
        [("order#2/mail", &["a", "order#2/pay"][..]), ("order#2", &["a"]), ("order", &NESTED[..5]), ("a", &[])]
    {
        let (mut queue, id) = with_steps(open, &NESTED);
        let claimed = queue.claim_one();
        queue.bury(&claimed);
        let retried = queue.store.retry(id, &[StateKind::Dead], Some(&path(from)), queue.now);
        assert_eq!(retried.expect("an answer"), Retried::Ready);
        assert_eq!(queue.step_names(id), left, "from {from}");
        queue.assert_counters_agree();
    }
}

pub(crate) fn a_retry_from_a_step_that_is_not_there_is_none(open: &Open) {
    let (mut queue, id) = with_steps(open, &["a"]);
    let claimed = queue.claim_one();
    queue.bury(&claimed);
    let retried = queue.store.retry(id, &[StateKind::Dead], Some(&path("b")), queue.now);
    assert_eq!(retried.expect("an answer"), Retried::NoStep);
    assert_eq!((queue.state(id), queue.step_names(id)), (StateKind::Dead, vec!["a".to_owned()]));
    let retried = queue.store.retry(id, &[StateKind::Ready], Some(&path("a")), queue.now);
    assert_eq!(retried.expect("an answer"), Retried::WrongState(StateKind::Dead));
    assert_eq!(queue.step_names(id), ["a"]);
}

/// A queue with a job that runs and has come to a step that printed much, and the file of that.
fn with_file(open: &Open) -> (Bench<'_>, Claimed, String) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    let name = prints_much(&mut queue, &claimed, "big");
    (queue, claimed, name)
}

static MUCH: [u8; 300_000] = [b'\xfe'; 300_000];

/// A file that is whole and not on record.
fn sealed(queue: &Bench<'_>, claimed: &Claimed, key: &str) -> String {
    let mut file = queue.store.step_file(claimed.lease, key).expect("a file");
    for part in MUCH.chunks(100_000) {
        file.write(part).expect("room");
    }
    match file.seal().expect("it is on the disk") {
        Printed::File { name, bytes } if bytes == MUCH.len() as u64 => name,
        other => panic!("{other:?}"),
    }
}

fn prints_much(queue: &mut Bench<'_>, claimed: &Claimed, step: &str) -> String {
    let run = queue.runs(claimed, &call(step));
    let name = sealed(queue, claimed, &run.key);
    let end = StepEnd::Recorded(Printed::File { name: name.clone(), bytes: MUCH.len() as u64 });
    assert_eq!(queue.end_step(claimed, &run.path, &end), Standing::Held);
    name
}

/// Whether there is a file of this name anywhere in the folder.
fn is_there(folder: &Path, name: &str) -> bool {
    let entries = folder.read_dir().expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.into_iter().any(|path| path.ends_with(name) || (path.is_dir() && is_there(&path, name)))
}

pub(crate) fn a_step_that_printed_much_is_replayed_from_its_file(open: &Open) {
    let (mut queue, claimed, _) = with_file(open);
    let claimed = queue.try_again(&claimed);
    assert_eq!(queue.replays(&claimed, &call("big")), MUCH);
    assert_eq!(queue.output_of(claimed.lease.job, "big").as_deref(), Some(&MUCH[..]));
}

pub(crate) fn a_file_goes_with_its_step_and_with_its_job(open: &Open) {
    let (mut queue, claimed, name) = with_file(open);
    let id = claimed.lease.job;
    queue.hand_back(&claimed);
    let Some(StepOutput::File(mut read)) = queue.store.step_output(id, &path("big")).expect("an answer") else {
        panic!("it is in a file")
    };
    assert_eq!(reset(&mut queue, id, &["big"]), steps(&["big"]));
    assert!(!is_there(queue.folder(), &name));
    assert_eq!(read.metadata().expect("a file").nlink(), 0);
    read.seek(SeekFrom::Start(0)).expect("a file");
    assert_eq!(bytes(StepOutput::File(read)), MUCH, "whoever reads it reads on");

    let (mut queue, claimed, name) = with_file(open);
    let id = claimed.lease.job;
    queue.succeed(&claimed);
    assert!(is_there(queue.folder(), &name), "it is kept as long as the job");
    assert_eq!(queue.store.forget(&[id], &[StateKind::Succeeded]).expect("an answer"), [id]);
    assert!(!is_there(queue.folder(), &name) && queue.step_names(id).is_empty());

    let (mut queue, claimed, name) = with_file(open);
    queue.succeed(&claimed);
    queue.advance(1);
    let keep = Retention { before: Some(queue.now), max_rows: None };
    assert_eq!(queue.store.prune(&QueueName::default(), &keep, queue.now).expect("a portion"), 1);
    queue.store.make_durable().expect("it is synced");
    assert!(!is_there(queue.folder(), &name) && queue.step_names(claimed.lease.job).is_empty());
}

pub(crate) fn a_file_that_nobody_finished_is_gone(open: &Open) {
    let mut queue = Bench::new(open);
    let claimed = queue.start();
    let mut file = queue.store.step_file(claimed.lease, "unfinished").expect("a file");
    file.write(b"half").expect("room");
    let is_any = |queue: &Bench<'_>| is_there(queue.folder(), &format!("1-{}-unfinished", claimed.lease.token));
    assert!(is_any(&queue));
    drop(file);
    assert!(!is_any(&queue));
    assert_eq!(queue.output_of(claimed.lease.job, "unfinished"), None);
}

pub(crate) fn a_worker_that_enrolls_removes_files_that_no_attempt_can_come_to_need(open: &Open) {
    let (mut queue, claimed, kept) = with_file(open);
    let crashed = sealed(&queue, &claimed, "crashed");
    let enroll = |queue: &mut Bench<'_>| {
        let _ = queue.store.enroll(&worker(&[]), moment(queue.now)).expect("a worker on the books");
        queue.folder().to_owned()
    };
    let folder = enroll(&mut queue);
    assert!(is_there(&folder, &kept) && is_there(&folder, &crashed), "the attempt runs");
    queue.hand_back(&claimed);
    enroll(&mut queue);
    assert!(is_there(&folder, &kept) && !is_there(&folder, &crashed));
    let claimed = queue.claim_one();
    assert_eq!(queue.replays(&claimed, &call("big")), MUCH);
}

pub(crate) fn a_copy_has_the_files_of_its_steps(open: &Open) {
    let (mut queue, claimed, name) = with_file(open);
    queue.does(&claimed, &call("small"), b"small");
    queue.hand_back(&claimed);
    let id = claimed.lease.job;
    let copies = tempfile::tempdir().expect("a folder");
    let to = copies.path().join("copy.db");
    queue.store.back_up(&to).expect("a copy");
    assert!(is_there(copies.path(), &name));
    assert_eq!(reset(&mut queue, id, &["big", "small"]), steps(&["big", "small"]));
    let mut copy = store::open(&store::Target::Sqlite(to), store::Access::Existing).expect("the copy");
    for (step, printed) in [("big", &MUCH[..]), ("small", b"small")] {
        let output = copy.step_output(id, &path(step)).expect("an answer").expect("it is on record");
        assert!(bytes(output) == printed, "{step}");
    }
}

pub(crate) fn a_job_without_steps_has_none_to_forget(open: &Open) {
    let mut queue = Bench::new(open);
    let id = queue.push(job("a"));
    assert_eq!(reset(&mut queue, id, &[]), steps(&[]));
    assert_eq!(reset(&mut queue, id, &["a"]), Forgotten::NoStep(path("a")));
    assert_eq!(queue.step_names(id), [""; 0]);
}
