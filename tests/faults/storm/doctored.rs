//! The checker sees what is wrong: a history in which all is well, doctored in one place at a time.

use qctl::job::{Outcome, Reason, StateKind};

use super::checker::{Duplicates, Violation, check};
use super::history::{Answer, Attempt, Deed, Entry, Fate, Glimpse, History, Job, Key, Kind, Push, Says, What};

/// Job 1 ran twice, its worker having been killed under it, and succeeded; job 2 failed and is dead.
fn sound() -> History {
    let mut history = History {
        pushes: vec![push(1, Kind::Sound), push(2, Kind::Doomed)],
        log: Entry::all("start 1 1 w1 t1\nstart 2 1 w2 t2\nfail 2 1 w2 t2\nstart 1 2 w2 t1\nend 1 2 w2 t1\n"),
        jobs: vec![
            job(1, StateKind::Succeeded, &[(1, Outcome::Lost), (2, Outcome::Succeeded)]),
            job(2, StateKind::Dead, &[(1, Outcome::Failed)]),
        ],
        ..History::default()
    };
    history.jobs[1].reason = Some(Reason::Exhausted);
    history.workers.insert("w1".to_owned(), Fate { was_killed: true, ..Fate::default() });
    history
}

fn push(n: i64, kind: Kind) -> Push {
    let (tag, queue) = (format!("t{n}"), "q".to_owned());
    Push { tag, kind, queue, key: None, batch: None, answer: Answer::Created(n) }
}

/// A job whose first attempt was worker `w1`'s and all others `w2`'s; of job 2 all are `w2`'s.
fn job(id: i64, state: StateKind, attempts: &[(i64, Outcome)]) -> Job {
    let attempt = |&(token, outcome)| Attempt {
        token,
        outcome: Some(outcome),
        exit_code: if outcome == Outcome::Failed { Some(1) } else { None },
        error: None,
        worker: if id == 1 && token == 1 { "w1" } else { "w2" }.to_owned(),
    };
    let attempts = attempts.iter().map(attempt).collect();
    Job { id, tag: format!("t{id}"), queue: "q".to_owned(), key: None, state, reason: None, attempts }
}

/// What the checker finds once `doctor` has been at the sound history.
fn found(doctor: impl FnOnce(&mut History)) -> Vec<Violation> {
    let mut history = sound();
    doctor(&mut history);
    check(&history).violations
}

fn says(history: &mut History, log: &str) {
    history.log = Entry::all(log);
}

fn put_back(history: &mut History, job: i64, at: usize) {
    history.deeds.push(Deed { job, what: What::PutBack, at });
}

#[test]
fn a_history_in_which_all_is_well_is_found_to_be_so() {
    let findings = check(&sound());
    assert_eq!(findings.violations, []);
    assert_eq!((findings.n_runs, findings.duplicates), (3, Duplicates::default()));
}

#[test]
fn a_job_that_is_not_there_is_lost() {
    let violations = found(|history| {
        history.jobs.remove(1);
        history.log.retain(|entry| entry.job == 1);
    });
    assert_eq!(violations, [Violation::Lost { job: 2, tag: "t2".to_owned() }]);
}

#[test]
fn a_job_of_a_push_that_was_killed_may_be_there_or_not() {
    let unknown = |history: &mut History| history.pushes[1].answer = Answer::Unknown;
    assert_eq!(found(unknown), []);
    let violations = found(|history| {
        unknown(history);
        history.jobs.remove(1);
        history.log.retain(|entry| entry.job == 1);
    });
    assert_eq!(violations, []);
}

#[test]
fn a_job_that_still_waits_in_the_end_is_unfinished() {
    let violations = found(|history| history.jobs[1].state = StateKind::Retrying);
    assert_eq!(violations, [Violation::Unfinished { job: 2, state: "retrying" }]);
}

#[test]
fn a_job_that_nobody_pushed_or_whose_push_was_refused_is_invented() {
    let invented = [Violation::Invented { job: 2, tag: "t2".to_owned() }];
    assert_eq!(found(|history| drop(history.pushes.remove(1))), invented);
    assert_eq!(found(|history| history.pushes[1].answer = Answer::Nothing), invented);
    assert_eq!(found(|history| history.pushes[1].queue = "other".to_owned()), invented);
    let mut twice = Vec::new();
    twice.extend(found(|history| {
        history.pushes[1].answer = Answer::Unknown;
        let twin = Job { id: 3, attempts: Vec::new(), state: StateKind::Cancelled, ..history.jobs[1].clone() };
        history.deeds.push(Deed { job: 3, what: What::Cancelled, at: 0 });
        history.jobs.push(twin);
    }));
    assert_eq!(twice, [Violation::Invented { job: 3, tag: "t2".to_owned() }]);
}

#[test]
fn a_run_of_a_job_that_is_not_there_is_invented() {
    let violations = found(|history| history.log.extend(Entry::all("start 9 1 w1 t9\n")));
    assert_eq!(violations, [Violation::Invented { job: 9, tag: "t9".to_owned() }]);
}

#[test]
fn an_import_of_which_a_line_is_missing_is_not_whole() {
    let violations = found(|history| {
        let batch = Some("b".to_owned());
        history.pushes[1].batch.clone_from(&batch);
        history.pushes.push(Push { batch, answer: Answer::Unknown, ..push(3, Kind::Sound) });
    });
    assert_eq!(violations, [Violation::HalfImported { batch: "b".to_owned(), n_queued: 1, n_lines: 2 }]);
}

/// Both pushes had the same key.
fn share_a_key(history: &mut History, outlasts_its_job: bool) {
    for (push, job) in history.pushes.iter_mut().zip(&mut history.jobs) {
        push.key = Some(Key { name: "k".to_owned(), outlasts_its_job });
        job.key = Some("k".to_owned());
    }
}

#[test]
fn a_key_that_two_jobs_hold_is_split() {
    let split = [Violation::KeySplit { key: "k".to_owned(), jobs: vec![1, 2] }];
    assert_eq!(found(|history| share_a_key(history, true)), split);
    assert_eq!(found(|history| share_a_key(history, false)), split, "the runs of both are mixed");
    let one_after_the_other = found(|history| {
        share_a_key(history, false);
        says(history, "start 1 1 w1 t1\nstart 1 2 w2 t1\nend 1 2 w2 t1\nstart 2 1 w2 t2\nfail 2 1 w2 t2\n");
    });
    assert_eq!(one_after_the_other, []);
}

#[test]
fn a_run_beside_another_is_an_overlap() {
    let log = "start 1 1 w1 t1\noverlap 1 2 w2 t1\nstart 1 2 w2 t1\nend 1 2 w2 t1\nstart 2 1 w2 t2\nfail 2 1 w2 t2\n";
    assert_eq!(found(|history| says(history, log)), [Violation::Overlap { job: 1, token: 2 }]);
}

#[test]
fn a_run_that_writes_after_the_next_has_begun_was_not_dead() {
    let log = "start 1 1 w1 t1\nstart 1 2 w2 t1\nend 1 1 w1 t1\nend 1 2 w2 t1\nstart 2 1 w2 t2\nfail 2 1 w2 t2\n";
    let violations = found(|history| says(history, log));
    assert_eq!(violations, [Violation::Overlap { job: 1, token: 1 }]);
}

#[test]
fn a_token_that_falls_or_comes_again_is_seen() {
    let log = "start 1 2 w2 t1\nend 1 2 w2 t1\nstart 1 1 w1 t1\nstart 2 1 w2 t2\nfail 2 1 w2 t2\n";
    let violations = found(|history| says(history, log));
    assert!(violations.contains(&Violation::TokenFell { job: 1, before: 2, after: 1 }), "{violations:?}");
    let log = "start 1 1 w1 t1\nstart 1 2 w2 t1\nstart 1 2 w2 t1\nend 1 2 w2 t1\nstart 2 1 w2 t2\nfail 2 1 w2 t2\n";
    let violations = found(|history| says(history, log));
    assert!(violations.contains(&Violation::TokenFell { job: 1, before: 2, after: 2 }), "{violations:?}");
}

#[test]
fn a_job_that_was_seen_to_end_in_two_ways_ended_twice_unless_it_was_put_back() {
    let glimpse = |state: &str, finished_at| Glimpse { job: 1, state: state.to_owned(), finished_at };
    let see = |history: &mut History| history.glimpses = vec![glimpse("dead", 5), glimpse("succeeded", 7)];
    assert_eq!(found(see), [Violation::EndedTwice { job: 1, n_ends: 2, n_put_back: 0 }]);
    let violations = found(|history| {
        see(history);
        put_back(history, 1, 0);
    });
    assert_eq!(violations, []);
}

/// Job 1 has succeeded in both attempts.
fn succeed_twice(history: &mut History) {
    history.jobs[0].attempts[0].outcome = Some(Outcome::Succeeded);
    says(history, "start 1 1 w1 t1\nend 1 1 w1 t1\nstart 1 2 w2 t1\nend 1 2 w2 t1\nstart 2 1 w2 t2\nfail 2 1 w2 t2\n");
}

#[test]
fn a_job_that_succeeds_twice_ended_twice_and_is_a_duplicate_unless_it_was_put_back() {
    let twice = Violation::EndedTwice { job: 1, n_ends: 2, n_put_back: 0 };
    assert_eq!(found(succeed_twice), [twice, Violation::UnexplainedDuplicate { job: 1, token: 1 }]);
    let mut history = sound();
    succeed_twice(&mut history);
    put_back(&mut history, 1, 30);
    let findings = check(&history);
    assert_eq!((findings.violations, findings.duplicates.n_put_back), (vec![], 1));
}

/// Job 1 had done its work when its first worker was lost.
fn be_lost_after_the_work(history: &mut History) {
    says(history, "start 1 1 w1 t1\nend 1 1 w1 t1\nstart 1 2 w2 t1\nend 1 2 w2 t1\nstart 2 1 w2 t2\nfail 2 1 w2 t2\n");
}

#[test]
fn work_done_twice_is_explained_by_a_worker_that_was_killed_or_silent_and_by_nothing_less() {
    let mut history = sound();
    be_lost_after_the_work(&mut history);
    let findings = check(&history);
    assert_eq!(
        (findings.violations, findings.duplicates),
        (vec![], Duplicates { n_killed: 1, ..Duplicates::default() })
    );

    history.workers.clear();
    let (job, token) = (1, 1);
    let lost = Violation::LostWithoutCause { job, token, worker: "w1".to_owned() };
    assert_eq!(check(&history).violations, [lost, Violation::UnexplainedDuplicate { job, token }]);

    history.jobs[0].attempts[0].error = Some("its worker fell silent".to_owned());
    let findings = check(&history);
    assert_eq!(
        (findings.violations, findings.duplicates),
        (vec![], Duplicates { n_silent: 1, ..Duplicates::default() })
    );
}

#[test]
fn work_done_twice_is_explained_by_a_worker_that_handed_it_back_only_where_it_was_told_to_leave() {
    let mut history = sound();
    be_lost_after_the_work(&mut history);
    history.jobs[0].attempts[0].outcome = Some(Outcome::Released);
    assert_eq!(check(&history).violations, [Violation::UnexplainedDuplicate { job: 1, token: 1 }]);
    history.workers.insert("w1".to_owned(), Fate { was_told_to_leave: true, ..Fate::default() });
    let findings = check(&history);
    assert_eq!((findings.violations, findings.duplicates.n_handed_back), (vec![], 1));
}

#[test]
fn an_end_that_nothing_leads_to_is_wrong() {
    let wrong = |job, kind, state, reason| [Violation::WrongEnd { job, kind, state, reason }];
    let violations = found(|history| history.jobs[1].reason = Some(Reason::Crashed));
    assert_eq!(violations, wrong(2, Kind::Doomed, "dead", Some("crashed")), "one worker was lost at most");
    let violations = found(|history| history.jobs[1].state = StateKind::Cancelled);
    assert_eq!(violations, wrong(2, Kind::Doomed, "cancelled", Some("exhausted")), "nobody cancelled it");
    let violations = found(|history| history.pushes[1].kind = Kind::Sound);
    assert_eq!(violations, wrong(2, Kind::Sound, "dead", Some("exhausted")), "it never fails");
}

#[test]
fn what_was_cancelled_does_not_start_again() {
    let cancelled = |what, at| move |history: &mut History| history.deeds.push(Deed { job: 1, what, at });
    let ran = [Violation::RanAfterCancel { job: 1, token: 2 }];
    assert_eq!(found(cancelled(What::Cancelled, 20)), ran);
    assert_eq!(found(cancelled(What::AskedToStop, 0)), ran);
    assert_eq!(found(cancelled(What::AskedToStop, 20)), [], "it may have been on its way");
    let violations = found(|history| {
        cancelled(What::Cancelled, 20)(history);
        put_back(history, 1, 25);
    });
    assert_eq!(violations, []);
}

#[test]
fn a_record_that_is_not_what_the_run_wrote_is_seen() {
    let violations = found(|history| history.jobs[1].attempts[0].outcome = Some(Outcome::Timeout));
    let misreported =
        |wrote: &[Says], recorded| Violation::Misreported { job: 2, token: 1, wrote: wrote.to_vec(), recorded };
    assert!(violations.contains(&misreported(&[Says::Start, Says::Fail], Some("timeout"))), "{violations:?}");
    let violations = found(|history| history.jobs[1].attempts.clear());
    assert!(violations.contains(&misreported(&[Says::Start, Says::Fail], None)), "{violations:?}");
    let violations = found(|history| history.log.retain(|entry| entry.job == 1));
    assert_eq!(violations, [misreported(&[], Some("failed"))], "it never ran");
    let violations = found(|history| history.jobs[1].attempts[0].exit_code = Some(2));
    assert_eq!(violations, [misreported(&[Says::Start, Says::Fail], Some("failed"))]);
}
