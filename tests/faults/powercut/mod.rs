//! What was acknowledged survives a power cut at any moment.
//!
//! The system calls of real workloads are recorded with strace ([`workload`], [`trace`]) and replayed on
//! a disk that keeps only what it must ([`disk`]). What it may have kept after each call is laid out and
//! opened with the real binary ([`replay`]); then everything must be there that had been acknowledged by
//! then. So that a harness that sees nothing cannot pass, the same is done with syncs left out, and a
//! loss has to be found.

mod disk;
mod duty;
mod events;
mod replay;
mod steps;
mod trace;
mod workload;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Mutex, PoisonError, mpsc};

use self::disk::{Deaf, Disk, Fate, Fates, Image};
use self::duty::Duties;
use self::replay::{Bench, Found};
use self::trace::{Deed, Step, Trace};
use self::workload::{DISK, Fact, LONE, QUEUE, Recording, SAID, Syncs, Workload};
use crate::dose::Dose;
use crate::support::{Sandbox, is_possible};

/// How many states of each workload are drawn at random, for a dose of one.
const N_DRAWN: usize = 350;

/// A worker finishes what was left in one of so many states.
const THOROUGH: usize = 40;

/// A moment of a recording at which the power was cut, and what that left.
#[derive(Debug)]
struct Cut {
    step: usize,
    /// Which state it left.
    key: u64,
    how: String,
}

/// A recording that is replayed.
struct Replay<'t> {
    trace: &'t Trace,
    facts: Vec<(usize, Fact)>,
    sandbox: &'t Sandbox,
    deaf: Deaf,
    stride: usize,
}

/// What came of a replay.
#[derive(Debug, Default)]
struct Report {
    n_calls: usize,
    n_states: usize,
    n_distinct: usize,
    /// The first violation, after how many states, and how it was come by.
    violation: Option<(usize, String)>,
}

impl Replay<'_> {
    /// Cuts the power at each moment and judges what is left.
    fn run(&self, chance: fastrand::Rng, n_drawn: usize) -> Report {
        let mut cuts = Vec::new();
        let found = self.look_at_all(|look| cuts = self.cuts(chance.clone(), n_drawn, look));
        let violation = self.judge_all(&cuts, &found);
        if let Some((n, _)) = violation {
            let worst = cuts[n].key;
            self.cuts(chance, n_drawn, &mut |key, image| {
                if key == worst {
                    replay::lay_out(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("power-cut"), image);
                }
            });
        }
        Report {
            n_calls: self.trace.calls.len(),
            n_states: cuts.len(),
            n_distinct: found.len(),
            violation: violation.map(|(n, what)| (n + 1, format!("{what}\n{}", self.story(&cuts[n])))),
        }
    }

    /// Lets `produce` hand over states, each once, and looks at them on both cores.
    fn look_at_all(&self, produce: impl FnOnce(&mut dyn FnMut(u64, &Image))) -> HashMap<u64, Found> {
        let (sender, receiver) = mpsc::sync_channel::<(u64, bool, Image)>(2);
        let receiver = Mutex::new(receiver);
        let found = Mutex::new(HashMap::new());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let (receiver, found) = (&receiver, &found);
                scope.spawn(move || {
                    let bench = Bench::new(self.sandbox);
                    loop {
                        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok((key, is_thorough, image)) = next else { return };
                        let outcome = bench.look(&image, is_thorough);
                        found.lock().unwrap_or_else(PoisonError::into_inner).insert(key, outcome);
                    }
                });
            }
            let mut n = 0;
            produce(&mut |key, image| {
                n += 1;
                sender.send((key, n % THOROUGH == 0, image.clone())).expect("someone looks");
            });
            drop(sender);
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes through the recording and lists every cut; hands each state over once.
    fn cuts(&self, mut chance: fastrand::Rng, n_drawn: usize, look: &mut dyn FnMut(u64, &Image)) -> Vec<Cut> {
        let mut disk = Disk::new(self.trace, &self.sandbox.path(DISK), self.deaf);
        let moments = self.moments();
        let share = n_drawn as f64 / moments.len().max(1) as f64;
        let mut seen = BTreeSet::new();
        let mut cuts = Vec::new();
        for (n, step) in self.trace.steps.iter().enumerate() {
            match *step {
                Step::Begin(call) => disk.begin(call),
                Step::End(call) => disk.end(call),
            };
            if !moments.contains(&n) {
                continue;
            }
            let mut cut = |how: String, fates: &Fates, rest: &Fate| {
                let key = disk.key(fates, rest);
                if seen.insert(key) {
                    look(key, &disk.image(fates, rest));
                }
                cuts.push(Cut { step: n, key, how });
            };
            cut("everything had got there".to_owned(), &Fates::new(), &Fate::Kept);
            cut("nothing had got there that was not synced".to_owned(), &Fates::new(), &Fate::Lost);
            let n_here = share as usize + usize::from(chance.f64() < share.fract());
            for _ in 0..n_here {
                let fates = draw(&disk, &mut chance);
                cut(format!("of what was not synced this had got there: {fates:?}"), &fates, &Fate::Lost);
            }
        }
        cuts
    }

    /// The steps after which the power is cut: those that change what may be left or what must be.
    fn moments(&self) -> BTreeSet<usize> {
        let mut disk = Disk::new(self.trace, &self.sandbox.path(DISK), self.deaf);
        let mut moments: BTreeSet<usize> = self.facts.iter().map(|&(step, _)| step).collect();
        let mut n_writes = 0;
        for (n, step) in self.trace.steps.iter().enumerate() {
            let (changes, call) = match *step {
                Step::Begin(call) => (disk.begin(call), call),
                Step::End(call) => (disk.end(call), call),
            };
            let is_write = matches!(self.trace.calls[call].deed, Deed::Write { .. });
            n_writes += usize::from(changes && is_write);
            if changes && (!is_write || n_writes % self.stride == 0) {
                moments.insert(n);
            }
        }
        moments
    }

    /// Judges every cut, in order; answers the first that lost something.
    fn judge_all(&self, cuts: &[Cut], found: &HashMap<u64, Found>) -> Option<(usize, String)> {
        let mut duties = Duties::default();
        let mut n_known = 0;
        for (n, cut) in cuts.iter().enumerate() {
            while self.facts.get(n_known).is_some_and(|&(step, _)| step <= cut.step) {
                duties.learn(&self.facts[n_known].1, &self.facts[n_known + 1..]);
                n_known += 1;
            }
            let found = &found[&cut.key];
            let complaint = found.complaints.first().cloned();
            if let Some(complaint) = complaint.or_else(|| duties.broken_by(found)) {
                return Some((n, complaint));
            }
        }
        None
    }

    /// How a cut came about, for people.
    fn story(&self, cut: &Cut) -> String {
        let call = |step: &Step| match *step {
            Step::Begin(call) | Step::End(call) => format!("{step:?} {}", told(&self.trace.calls[call])),
        };
        let before: Vec<String> = self.trace.steps[cut.step.saturating_sub(20)..=cut.step].iter().map(call).collect();
        format!(
            "{}\nbefore the power was cut, at step {}:\n{}\nwhat was left is in {}/power-cut",
            cut.how,
            cut.step,
            before.join("\n"),
            env!("CARGO_TARGET_TMPDIR")
        )
    }
}

/// A call on a line.
fn told(call: &trace::Call) -> String {
    let deed = match &call.deed {
        Deed::Write { path, offset, bytes } => format!("write {} at {offset:?}: {} bytes", path.display(), bytes.len()),
        deed => format!("{deed:?}"),
    };
    format!("{} {deed}", call.pid)
}

/// Draws what becomes of all that is pending.
fn draw(disk: &Disk<'_>, chance: &mut fastrand::Rng) -> Fates {
    let tearing = [0.0, 0.0, 0.2, 1.0][chance.usize(..4)];
    let fates = disk.pending().into_iter().map(|(node, n)| {
        // A node by itself may keep all, nothing, what came first, all but one, or anything.
        let style = chance.u8(..6);
        let border = chance.usize(..=n);
        let keeping = [0.1, 0.5, 0.9][chance.usize(..3)];
        let fates = (0..n).map(|nth| {
            let is_kept = match style {
                0 => true,
                1 => false,
                2 => nth < border,
                3 => nth != border,
                _ => chance.f64() < keeping,
            };
            let n_sectors = disk.sectors(node, nth);
            match is_kept {
                false => Fate::Lost,
                true if n_sectors > 0 && chance.f64() < tearing => {
                    Fate::Torn((0..n_sectors).map(|_| chance.bool()).collect())
                }
                true => Fate::Kept,
            }
        });
        (node, fates.collect())
    });
    fates.collect()
}

/// Whether what is recorded here can be.
fn can_record() -> bool {
    is_possible("strace --seccomp-bpf -f -qq -y -o /dev/null -e trace=fsync true")
}

/// Replays what was recorded on a disk on which the syncs of some paths come to nothing.
fn replay(workload: &Workload, recording: &Recording, deaf: Deaf, (dose, n_drawn): (Dose, usize)) -> Report {
    let Recording { sandbox, trace } = recording;
    let facts = workload::facts(trace);
    assert!(!facts.is_empty(), "nothing was acknowledged in {:?}", workload.name);
    let replay = Replay { trace, facts, sandbox, deaf, stride: workload.stride };
    replay.run(dose.chance(), n_drawn * dose.factor)
}

/// How often a log was begun.
fn n_logs(trace: &Trace) -> usize {
    let is_header =
        |call: &&trace::Call| matches!(&call.deed, Deed::Write { path, offset: Some(0), .. } if is_log(path));
    trace.calls.iter().filter(is_header).count()
}

fn is_nothing(_: &Path, _: bool) -> bool {
    false
}

fn is_log(path: &Path) -> bool {
    path.to_string_lossy().ends_with("-wal")
}

/// When a log is folded into it; without those before, none would ever be made.
fn is_queue(path: &Path, has_log: bool) -> bool {
    has_log && path.ends_with(QUEUE)
}

fn is_folder(path: &Path, _: bool) -> bool {
    !path.to_string_lossy().contains("queue.db")
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures of the run")]
fn what_was_acknowledged_survives_a_power_cut_at_any_moment() {
    if !can_record() {
        return;
    }
    let dose = Dose::read();
    let mut sum = Report::default();
    for workload in &workload::ALL {
        let recording = workload.record(Syncs::Made);
        // The second header goes over frames of the first log, or is in an emptied one.
        assert!(n_logs(&recording.trace) > 1, "the log was never begun anew in {:?}", workload.name);
        let report = replay(workload, &recording, is_nothing, (dose, N_DRAWN));
        if let Some((_, violation)) = report.violation {
            panic!("{} (seed {}): {violation}", workload.name, dose.seed);
        }
        sum.n_calls += report.n_calls;
        sum.n_states += report.n_states;
        sum.n_distinct += report.n_distinct;
    }
    let silent = replay(&LONE, &LONE.record(Syncs::LeftOut), is_nothing, (dose, 0));
    let (caught, _) = silent.violation.expect("a qctl that does not sync loses something, and that is seen");
    println!(
        "faults: power cut: {} workloads, {} operations, {} states replayed ({} distinct), \
         control caught after {caught} states",
        workload::ALL.len(),
        sum.n_calls,
        sum.n_states,
        sum.n_distinct
    );
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures of the run")]
fn each_kind_of_sync_is_needed_and_it_is_seen_where_one_is_missing() {
    if !can_record() {
        return;
    }
    let dose = Dose::read();
    let recording = LONE.record(Syncs::Made);
    let kinds: [(&str, Deaf); 3] =
        [("the log", |path, _| is_log(path)), ("the queue file", is_queue), ("folders", is_folder)];
    for (what, deaf) in kinds {
        let report = replay(&LONE, &recording, deaf, (dose, N_DRAWN));
        let (caught, loss) = report.violation.unwrap_or_else(|| panic!("without syncs of {what} nothing is lost"));
        let loss = loss.lines().next().unwrap_or_default();
        println!("faults: power cut: without syncs of {what} a loss is found after {caught} states: {loss}");
    }
}

#[test]
fn a_push_syncs_once_whether_a_worker_is_there_or_not() {
    if !can_record() {
        return;
    }
    let recording = workload::STEADY.record(Syncs::Made);
    let n_syncs = |word: &str| {
        let calls = &recording.trace.calls;
        let is_said = |call: &&trace::Call| matches!(&call.deed, Deed::Write { path, .. } if path.ends_with(format!("{SAID}/push.{word}")));
        let pid = calls.iter().find(is_said).expect("it was acknowledged").pid;
        let is_sync = |call: &&trace::Call| {
            call.pid == pid
                && matches!(&call.deed, Deed::Sync { path, .. } if path.starts_with(recording.sandbox.path(DISK)))
        };
        calls.iter().filter(is_sync).count()
    };
    // The folder above and its own folder, for which two names were made; the queue file, with its
    // journal, as it turns to a log; the log's header; each time with the folder; the commit.
    assert_eq!(n_syncs("first"), 10);
    for word in ["lone-1", "lone-2", "lone-3", "attended-1", "attended-2", "attended-3"] {
        assert_eq!(n_syncs(word), 1, "{word}");
    }
    // After the log was folded to nothing its header is new, and the folder is synced with it.
    assert_eq!(n_syncs("after"), 4);
}
