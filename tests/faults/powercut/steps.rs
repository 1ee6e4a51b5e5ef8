//! What a job knows of its steps survives a power cut: that one has begun before anything of it can be seen, and
//! that it is over once `qctl step` has ended well.

use super::workload::{self, QUEUE, STEPPED, Syncs, What};
use super::{Deaf, Recording, Replay, Report, can_record, is_log, is_nothing, replay};
use crate::dose::Dose;

/// How many states are drawn at random, for a dose of one.
const N_DRAWN: usize = 120;

/// Replays what was recorded; nothing but what was said of steps has to be found.
fn replay_steps(recording: &Recording, deaf: Deaf, dose: Dose) -> Report {
    let Recording { sandbox, trace } = recording;
    let mut facts = workload::facts(trace);
    facts.retain(|(_, fact)| matches!(fact.what, What::Step { .. }));
    // Two jobs of four steps, of which one begins twice, and one is come to again when it is over.
    assert_eq!(facts.len(), 2 * (2 * 4 + 2), "{facts:?}");
    // A loss is seen when something was said; between that few states have to be looked at.
    let replay = Replay { trace, facts, sandbox, deaf, stride: 50 };
    replay.run(dose.chance(), 0)
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures of the run")]
fn a_step_that_happened_has_begun_on_record_and_one_that_ended_well_is_recorded_whenever_the_power_is_cut() {
    if !can_record() {
        return;
    }
    let dose = Dose::read();
    let recording = STEPPED.record(Syncs::Made);
    let report = replay(&STEPPED, &recording, is_nothing, (dose, N_DRAWN));
    if let Some((_, violation)) = report.violation {
        panic!("seed {}: {violation}", dose.seed);
    }
    println!(
        "faults: power cut: {}: {} operations, {} states replayed ({} distinct)",
        STEPPED.name, report.n_calls, report.n_states, report.n_distinct
    );
    let kinds: [(&str, Deaf); 3] = [
        ("the log", |path, _| is_log(path)),
        ("what a step printed", |path, _| path.parent().is_some_and(|folder| folder.ends_with(FOLDER))),
        ("its folder", |path, _| path.ends_with(FOLDER)),
    ];
    for (what, deaf) in kinds {
        let (caught, loss) = replay_steps(&recording, deaf, dose)
            .violation
            .unwrap_or_else(|| panic!("without syncs of {what} nothing is lost"));
        let loss = loss.lines().next().unwrap_or_default();
        assert!(loss.contains("step ("), "{loss}");
        println!("faults: power cut: without syncs of {what} a loss is found after {caught} states: {loss}");
    }
}

/// The folder of what steps printed.
const FOLDER: &str = "a/b/queue.db-steps";

#[test]
fn the_folder_lies_beside_the_queue() {
    assert_eq!(FOLDER, format!("{QUEUE}-steps"));
}
