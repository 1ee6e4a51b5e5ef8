//! qctl is killed at every system call that it makes, one at a time: in a push, in an import, in a
//! worker's whole cycle (claim, start, capture, settle, fold back the log), and, in samples, in the other
//! verbs that write.
//!
//! In the usual dose every call of a push is swept, and of the longer ones as many as fit a minute, spread
//! evenly from a place that the seed draws. Every call of all of them:
//!
//! ```sh
//! QCTL_FAULTS_DOSE=100 cargo test --release --test faults killing -- --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::dose::Dose;
use crate::strike::{self, Struck, may_trace};
use crate::support::{Sandbox, is_possible};

/// How many runs are under way at once.
const N_THREADS: usize = 2;

/// How many calls of a worker are swept in the usual dose.
const N_IN_WORK: usize = 60;

/// How many calls of an import, and of each other verb.
const N_ELSEWHERE: usize = 12;

/// Tries each point in turn, some at once; answers who made the fatal calls, and how many.
pub(crate) fn sweep(
    points: &BTreeSet<usize>,
    is_tried: impl Fn(usize) -> Option<String> + Sync,
) -> BTreeMap<String, usize> {
    let points: Vec<usize> = points.iter().copied().collect();
    let (next, killed) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..N_THREADS {
            scope.spawn(|| {
                while let Some(&point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(who) = is_tried(point) {
                        *killed.lock().expect("no thread panics with it").entry(who).or_insert(0) += 1;
                    }
                }
            });
        }
    });
    killed.into_inner().expect("no thread panics with it")
}

#[expect(clippy::print_stdout, reason = "the figures are what the test is run for")]
pub(crate) fn tell(what: &str, n_points: usize, n_calls: usize, killed: &BTreeMap<String, usize>) {
    let by: Vec<String> = killed.iter().map(|(who, n)| format!("{who} {n}")).collect();
    let n_killed: usize = killed.values().sum();
    println!(
        "faults: kill anywhere: {n_killed} kills at {n_points} points in {what} (of {n_calls}); by {}",
        by.join(", ")
    );
}

/// The queue opens, is whole inside, and its counters agree with its rows.
pub(crate) fn is_sound(queue: &Sandbox, struck: &Struck) {
    queue.qctl("list").succeeds();
    let file = rusqlite::Connection::open(queue.db()).expect("the file");
    let verdict: String = file.query_row("pragma integrity_check", [], |row| row.get(0)).expect("a verdict");
    assert_eq!(verdict, "ok", "{struck:?}");
    let sql = "select count(*) from (
          select queue_id, what, n from counter where queue_id > 0 and n <> 0
          except select queue_id, state, count(*) from job group by 1, 2
        )";
    let n_wrong: i64 = file.query_row(sql, [], |row| row.get(0)).expect("a number");
    assert_eq!(n_wrong, 0, "counters that lie: {struck:?}");
}

/// Whether there is a queue at all: a kill may come before one is made.
fn there_is_a_queue(queue: &Sandbox) -> bool {
    !queue.qctl("list").err().contains("there is no queue")
}

#[test]
fn a_push_that_is_killed_at_any_call_lost_nothing_that_it_printed() {
    if !may_trace() {
        return;
    }
    let n_calls = [false, true].map(|is_there| {
        let push = |point| push_is_killed(is_there, point);
        let last = push(usize::MAX).n_calls;
        let points = (1..=last).collect();
        let killed = sweep(&points, |point| push(point).who);
        tell(if is_there { "push to a queue" } else { "push that makes the queue" }, last, last, &killed);
        last
    });
    assert!(n_calls.iter().all(|&n| n > 100), "a push makes so many calls: {n_calls:?}");
}

/// Kills a push, into a queue that `is_there` or a new one; pushes the same again.
fn push_is_killed(is_there: bool, point: usize) -> Struck {
    let queue = Sandbox::new();
    if is_there {
        assert_eq!(queue.push("true"), 1);
    }
    let push = "push --key once --payload abc 'cat >> done'";
    let struck = strike::at(&queue, push, point);
    assert!(!is_there || queue.state(1) == "ready", "what was there is still there");
    if let Ok(id) = struck.out.trim().parse::<i64>() {
        assert_eq!(queue.state(id), "ready", "what was printed is there: {struck:?}");
    }
    if there_is_a_queue(&queue) {
        is_sound(&queue, &struck);
    }
    // Whoever is not sure pushes again, and there is one job.
    let id: i64 = queue.qctl(push).succeeds().out().trim().parse().expect("an id");
    assert_eq!(id, if is_there { 2 } else { 1 }, "{struck:?}");
    is_sound(&queue, &struck);
    if point.is_multiple_of(10) {
        queue.qctl("work --drain").succeeds();
        assert_eq!(queue.read("done"), "abc", "{struck:?}");
    }
    struck
}

#[test]
fn an_import_that_is_killed_at_any_call_is_there_whole_or_not_at_all() {
    if !may_trace() {
        return;
    }
    let dose = Dose::read();
    let lines: String = (0..30).map(|n| format!("{{\"command\":[\"true\"],\"queue\":\"q{}\"}}\n", n % 3)).collect();
    let import = |point| {
        let queue = Sandbox::new();
        queue.push("true");
        queue.write("lines", &lines);
        let struck = strike::at(&queue, "import lines", point);
        is_sound(&queue, &struck);
        let n_there = queue.ids("ready").len() - 1;
        assert!(n_there == 0 || n_there == 30, "{n_there} are there: {struck:?}");
        assert!(struck.out.is_empty() || n_there == 30, "{struck:?}");
        struck
    };
    let last = import(usize::MAX).n_calls;
    let points = strike::spread(last, 2 * N_ELSEWHERE * dose.factor, &mut dose.chance());
    let killed = sweep(&points, |point| import(point).who);
    tell("import", points.len(), last, &killed);
}

/// What each job runs. Another run of the same job that is still there, in whatever process, holds its lock.
const JOB: &str = "\
    exec 9> lock.$QCTL_JOB_ID
    flock -n 9 || echo overlap $QCTL_JOB_ID $QCTL_TOKEN >> log
    echo start $QCTL_JOB_ID $QCTL_TOKEN >> log
    case $QCTL_JOB_ID in
      1) sleep 0.1 ;;
      2) [ $QCTL_ATTEMPT = 2 ] || exit 3 ;;
      3) head -c 200000 /dev/zero | tr '\\0' x ;;
      4) cat > got.$QCTL_TOKEN ;;
    esac
    echo end $QCTL_JOB_ID $QCTL_TOKEN >> log";

/// A queue with a job that takes a while, one that fails first, one that prints much and one with a payload.
fn queue_of_jobs() -> Sandbox {
    let queue = Sandbox::new();
    queue.write("job", JOB);
    let payload = "p".repeat(100_000);
    queue.write(
        "jobs",
        format!(
            "{{\"command\":[\"sh\",\"job\"]}}
            {{\"command\":[\"sh\",\"job\"],\"max_attempts\":2,\"backoff\":\"fixed:1ms\"}}
            {{\"command\":[\"sh\",\"job\"]}}
            {{\"command\":[\"sh\",\"job\"],\"payload\":\"{payload}\"}}\n"
        ),
    );
    queue.qctl("import jobs").succeeds();
    queue
}

const WORK: &str = "work --drain --wait-due 5s -j 2";

#[test]
fn a_worker_that_is_killed_at_any_call_leaves_all_to_the_next() {
    if !may_trace() || !is_possible("flock --version") {
        return;
    }
    let dose = Dose::read();
    let last = strike::count(&queue_of_jobs(), WORK);
    let points = strike::spread(last, N_IN_WORK * dose.factor, &mut dose.chance());
    let killed = sweep(&points, |point| worker_is_killed(point).who);
    tell("work", points.len(), last, &killed);
    assert!(killed.values().sum::<usize>() * 10 >= points.len() * 8, "most workers were killed: {killed:?}");
}

fn worker_is_killed(point: usize) -> Struck {
    let queue = queue_of_jobs();
    let struck = strike::at(&queue, WORK, point);
    is_sound(&queue, &struck);
    queue.qctl(WORK).succeeds();
    let log = queue.read("log");
    assert!(!log.contains("overlap"), "{log}\n{struck:?}");
    assert_eq!(queue.ids("succeeded"), [1, 2, 3, 4], "{log}\n{struck:?}");
    for id in 1..=4 {
        let job = queue.job(id);
        let outcomes: Vec<&str> =
            job["attempts"].as_array().expect("attempts").iter().filter_map(|one| one["outcome"].as_str()).collect();
        let of = |outcome: &str| outcomes.iter().filter(|&&one| one == outcome).count();
        let story = || format!("job {id}: {outcomes:?}\n{log}\n{struck:?}");
        let n_failures = usize::from(id == 2);
        assert_eq!((of("failed"), of("succeeded")), (n_failures, 1), "{}", story());
        assert!(of("lost") <= 1 && outcomes.last() == Some(&"succeeded"), "{}", story());
        assert_eq!(job["attempt"], 1 + n_failures, "a crash costs no attempt: {}", story());
        let was_said = struck.err.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(1) == Some(&id.to_string().as_str()) && words.get(3) == Some(&"succeeded")
        });
        assert!(!was_said || of("lost") == 0, "what was told as done is not done again: {}", story());
    }
    assert_eq!(queue.qctl("logs 3").succeeds().bytes().len(), 2 * 65536, "{struck:?}");
    assert!(queue.sh("cat got.* | tr -d p").succeeds().bytes().is_empty(), "payloads are whole: {struck:?}");
    is_sound(&queue, &struck);
    struck
}

/// A queue in which each verb has something to do: jobs 1 and 2 wait, 3 is dead, 4 is done.
fn queue_of_all_sorts() -> Sandbox {
    let queue = Sandbox::new();
    for line in ["-Q slow --delay 1h true", "-Q slow --delay 1h true", "--max-attempts 1 false", "true"] {
        queue.push(line);
    }
    queue.qctl("work --drain").succeeds();
    queue
}

#[test]
fn any_other_verb_that_is_killed_has_done_all_or_nothing() {
    if !may_trace() {
        return;
    }
    let dose = Dose::read();
    for (verb, read) in [
        ("cancel 1 2", "list -F id,state"),
        ("retry 3", "list -F id,state,attempt"),
        ("dlq requeue 3", "list -F id,state,attempt"),
        ("queue pause slow", "queue list"),
        ("prune --older-than 0s", "list -F id,state"),
    ] {
        let look = |queue: &Sandbox| queue.qctl(read).succeeds().out();
        let undone = look(&queue_of_all_sorts());
        let done = {
            let queue = queue_of_all_sorts();
            queue.qctl(verb).succeeds();
            look(&queue)
        };
        assert_ne!(done, undone);
        let run = |point| {
            let queue = queue_of_all_sorts();
            let struck = strike::at(&queue, verb, point);
            is_sound(&queue, &struck);
            let found = look(&queue);
            // Of two jobs that are cancelled each is a change of its own.
            let is_half = verb.starts_with("cancel") && found.contains("1\tcancelled");
            assert!(found == done || found == undone || is_half, "{found}\n{struck:?}");
            struck
        };
        let last = run(usize::MAX).n_calls;
        let points = strike::spread(last, N_ELSEWHERE * dose.factor, &mut dose.chance());
        let killed = sweep(&points, |point| run(point).who);
        tell(verb, points.len(), last, &killed);
    }
}

#[test]
fn a_backup_that_is_killed_leaves_no_half_file_under_its_name() {
    if !may_trace() {
        return;
    }
    let dose = Dose::read();
    let run = |point| {
        let queue = queue_of_all_sorts();
        let struck = strike::at(&queue, "backup copy.db", point);
        is_sound(&queue, &struck);
        let has_copy = queue.path("copy.db").exists();
        if !has_copy {
            queue.qctl("backup copy.db").succeeds();
        }
        let copy = rusqlite::Connection::open(queue.path("copy.db")).expect("a file");
        let verdict: String = copy.query_row("pragma integrity_check", [], |row| row.get(0)).expect("a verdict");
        let n_jobs: i64 = copy.query_row("select count(*) from job", [], |row| row.get(0)).expect("a number");
        assert_eq!((verdict.as_str(), n_jobs), ("ok", 4), "{struck:?}");
        struck
    };
    let last = run(usize::MAX).n_calls;
    let points = strike::spread(last, 2 * N_ELSEWHERE * dose.factor, &mut dose.chance());
    let killed = sweep(&points, |point| run(point).who);
    tell("backup", points.len(), last, &killed);
}
