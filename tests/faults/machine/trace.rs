//! A disk whose writes and syncs fail, one after the other: `strace` lets the call of one's choice fail.

use std::collections::BTreeMap;

use super::tell;
use crate::dose::Dose;
use crate::support::{Output, Sandbox, is_possible};

/// The calls that make something last.
const CALLS: [&str; 5] = ["pwrite64", "fdatasync", "fsync", "ftruncate", "write"];

/// A command that ran under strace, with what it called.
struct Traced {
    output: Output,
    trace: Vec<String>,
}

impl Traced {
    /// Runs qctl; `fault` is what strace is to inject, if anything.
    fn run(queue: &Sandbox, fault: Option<&str>, line: &str) -> Self {
        let inject = fault.map(|fault| format!("-e inject={fault}")).unwrap_or_default();
        let calls = CALLS.join(",");
        let output = queue.sh(&format!("exec strace -f -qq -y -o trace -e trace={calls} {inject} qctl {line}"));
        Self { output, trace: queue.read("trace").lines().map(str::to_owned).collect() }
    }

    /// How often each call was made, by whichever of its threads made it most often: strace counts for
    /// each of them.
    fn counts(&self) -> Vec<(&'static str, usize)> {
        let most = |call: &str| {
            let mut by_thread: BTreeMap<&str, usize> = BTreeMap::new();
            for line in self.trace.iter().filter(|line| line.contains(&format!(" {call}("))) {
                *by_thread.entry(line.split(' ').next().unwrap_or_default()).or_default() += 1;
            }
            by_thread.into_values().max().unwrap_or(0)
        };
        CALLS.into_iter().map(|call| (call, most(call))).collect()
    }

    /// Whether the last thing that was written to the log was synced, truly, before the id was printed.
    fn is_synced(&self) -> bool {
        let printed = self.trace.iter().position(|line| line.contains(" write(1<")).unwrap_or(self.trace.len());
        let before = &self.trace[..printed];
        let written = before.iter().rposition(|line| line.contains("pwrite64(") && line.contains("-wal>"));
        let is_true_sync = |line: &String| {
            line.contains("fdatasync(") && line.contains("-wal>") && line.contains("= 0") && !line.contains("INJECTED")
        };
        written.is_none_or(|written| before[written..].iter().any(is_true_sync))
    }

    fn story(&self) -> String {
        format!("{}\n{}", self.output.story(), self.trace.join("\n"))
    }
}

/// A command, from which state, and how it is seen whether it took effect.
struct Case {
    prepare: &'static str,
    line: &'static str,
    look: &'static str,
    /// What `look` prints before, and after.
    before_and_after: [&'static str; 2],
}

const SOME_JOBS: &str = "qctl push -Q first true; qctl push -Q first --max-attempts 1 false; qctl push -Q first true;
    qctl cancel 3; qctl push -Q first --delay 1h true; qctl work --max-jobs 2 -q; qctl retry 1";

const CASES: [Case; 6] = [
    Case { prepare: "", line: "push --key k true", look: "qctl list -Q default | wc -l", before_and_after: ["0", "1"] },
    Case {
        prepare: SOME_JOBS,
        line: "push --key k true",
        look: "qctl list -Q default | wc -l",
        before_and_after: ["0", "1"],
    },
    Case { prepare: "", line: "import lines", look: "qctl list -Q default | wc -l", before_and_after: ["0", "3"] },
    Case {
        prepare: SOME_JOBS,
        line: "import lines",
        look: "qctl list -Q default | wc -l",
        before_and_after: ["0", "3"],
    },
    Case {
        prepare: SOME_JOBS,
        line: "cancel 4",
        look: "qctl list -F state --limit 1",
        before_and_after: ["scheduled", "cancelled"],
    },
    Case {
        prepare: SOME_JOBS,
        line: "dlq requeue 2",
        look: "qctl list -s ready,dead -F id,state --reverse | tail -1 | tr '\\t' ' '",
        before_and_after: ["2 dead", "2 ready"],
    },
];

const LINES: &str =
    "{\"shell\":\"true\",\"key\":\"a\"}\n{\"shell\":\"true\",\"key\":\"b\"}\n{\"shell\":\"true\",\"key\":\"c\"}\n";

impl Case {
    /// A folder in which this was prepared, without anyone who has the queue open.
    fn folder(&self, queue: &Sandbox) {
        queue.sh("rm -rf queue.db* && if [ -e ready ]; then cp -a ready/. .; fi").succeeds();
    }

    fn look(&self, queue: &Sandbox) -> String {
        queue.sh(&format!("{} 2>/dev/null", self.look)).out().trim().to_owned()
    }

    /// Runs it with this fault and claims that nothing is said that is not so.
    fn fails_honestly(&self, queue: &Sandbox, fault: &str) -> Output {
        self.folder(queue);
        let traced = Traced::run(queue, Some(fault), self.line);
        let found = self.look(queue);
        let has_effect = found == self.before_and_after[1];
        let story = || format!("{fault}\nthen: {found}\n{}", traced.story());
        assert!(has_effect || found == self.before_and_after[0], "all or nothing\n{}", story());
        let (status, out) = (traced.output.status(), traced.output.out());
        if status == 0 {
            assert!(has_effect && traced.is_synced(), "{}", story());
        } else {
            assert!([74, 75, 78].contains(&status), "{}", story());
            assert!(fault.starts_with("write:") || out.is_empty(), "an id for what is not sure\n{}", story());
            let is_told = traced.output.err().starts_with("qctl: ") && traced.output.err().contains("hint: ");
            assert!(fault.starts_with("write:") || is_told, "{}", story());
            assert!(status != 75 || !has_effect, "75 means that nothing was written\n{}", story());
        }
        // The way out that the hint names: once more, with the same keys.
        queue.sh(&format!("qctl {}; true", self.line));
        assert_eq!(self.look(queue), self.before_and_after[1], "{}", story());
        queue.qctl("doctor --json -q");
        traced.output
    }
}

#[test]
fn whichever_write_or_sync_fails_nothing_is_said_that_is_not_so() {
    if !is_possible("strace -o /dev/null true") {
        return;
    }
    let dose = Dose::read();
    let mut chance = dose.chance();
    let (mut n_faults, mut by_status): (usize, BTreeMap<i32, usize>) = (0, BTreeMap::new());
    for case in &CASES {
        let queue = Sandbox::new();
        queue.write("lines", LINES);
        if !case.prepare.is_empty() {
            queue.sh(&format!("{}; mkdir ready; mv queue.db* ready", case.prepare)).succeeds();
        }
        case.folder(&queue);
        for (call, n) in Traced::run(&queue, None, case.line).counts() {
            for error in ["EIO", "ENOSPC"] {
                // Each sync, and of the writes as many as the dose allows, the last ones always.
                let n_tried = if call == "pwrite64" { 3 * dose.factor } else { 6 * dose.factor };
                let mut places: Vec<usize> = (1..=n).collect();
                chance.shuffle(&mut places);
                places.truncate(n_tried);
                places.extend(n.saturating_sub(2).max(1)..=n);
                places.sort_unstable();
                places.dedup();
                // And from some point on all of them, as when a disk is gone.
                let faults = places.iter().map(|n| format!("{call}:error={error}:when={n}"));
                let lasting = places.first().map(|n| format!("{call}:error={error}:when={n}+"));
                for fault in faults.chain(lasting) {
                    let output = case.fails_honestly(&queue, &fault);
                    n_faults += 1;
                    *by_status.entry(output.status()).or_default() += 1;
                }
            }
        }
    }
    assert!(by_status.contains_key(&74) && by_status.contains_key(&75));
    tell(&format!("failing writes and syncs: {n_faults} of {} commands, by status {by_status:?}", CASES.len()));
}

#[test]
fn after_a_failed_sync_the_log_is_folded_back_so_that_nobody_builds_on_what_may_be_lost() {
    if !is_possible("strace -o /dev/null true") {
        return;
    }
    let queue = Sandbox::new();
    queue.push("true");
    let failed = Traced::run(&queue, Some("fdatasync:error=EIO:when=1"), "push --key k true");
    failed
        .output
        .exits(74)
        .prints("")
        .says("queue.db-wal could not be confirmed")
        .says("hint: push again with the same --key");
    assert_eq!(queue.path("queue.db-wal").metadata().expect("a log").len(), 0);
    // It was there all the same, and the hint is true.
    queue.qctl("push --key k true").succeeds().prints("2\n");
    assert_eq!(queue.ids("ready"), [1, 2]);
}

/// How a worker fares whose calls of one kind fail from the nth on, or only then.
#[test]
fn a_worker_whose_writes_or_syncs_fail_stops_loudly_says_no_false_success_and_its_jobs_run_later() {
    if !is_possible("strace -f -o /dev/null true") {
        return;
    }
    let dose = Dose::read();
    let (mut n_faults, mut n_stopped) = (0, 0);
    let queue = Sandbox::new();
    for job in 1..=3 {
        queue.push(&format!("'echo $QCTL_JOB_ID >> runs; echo {job}'"));
    }
    queue.sh("mkdir ready; mv queue.db* ready").succeeds();
    let mut places: Vec<usize> = (1..=18).collect();
    dose.chance().shuffle(&mut places);
    places.truncate(6 * dose.factor);
    let writes = places.iter().map(|n| ("pwrite64", format!("{n}")));
    let syncs = (1..=3).map(|n| ("fdatasync", format!("{n}")));
    let lasting = [("fdatasync", "1+".to_owned()), ("pwrite64", "8+".to_owned()), ("fsync", "1+".to_owned())];
    for (call, when) in writes.chain(syncs).chain(lasting) {
        queue.sh("rm -rf queue.db* runs; cp -a ready/. .").succeeds();
        let fault = format!("{call}:error=EIO:when={when}");
        let worked = Traced::run(&queue, Some(&fault), "work --drain");
        n_faults += 1;
        let said: Vec<i64> = (1..=3).filter(|id| succeeded(&worked.output, *id)).collect();
        if call == "fdatasync" && when.starts_with('1') {
            assert!(said.is_empty() && worked.output.status() == 74, "{fault}\n{}", worked.story());
        }
        if worked.output.status() != 0 {
            n_stopped += 1;
            assert!([74, 78].contains(&worked.output.status()), "{fault}\n{}", worked.story());
            assert!(worked.output.err().contains("hint: "), "{fault}\n{}", worked.story());
        }
        for id in said {
            assert_eq!(queue.state(id), "succeeded", "{fault}\n{}", worked.story());
        }
        queue.qctl("work --drain -q").succeeds();
        assert_eq!(queue.ids("succeeded"), [1, 2, 3], "{fault}\n{}", worked.story());
        let runs = queue.read("runs");
        assert!((1..=3).all(|id| runs.lines().any(|line| line == id.to_string())), "{fault}\n{runs}");
    }
    assert!(n_stopped > 3);
    tell(&format!("failing disk under a worker: {n_faults} faults, {n_stopped} stopped it, no job lost"));
}

fn succeeded(worked: &Output, id: i64) -> bool {
    worked.err().lines().any(|line| line.contains(&format!("  {id}  default  succeeded")))
}
