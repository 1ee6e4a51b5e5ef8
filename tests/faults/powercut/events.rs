//! What was published survives a power cut, with all that it leads to: to each subscription it was delivered, or is
//! known to be still to be delivered, and it is delivered once.

use super::workload::{self, PUBLISHED, Syncs, What};
use super::{Recording, Replay, can_record, is_log, is_nothing, replay};
use crate::dose::Dose;

/// How many states are drawn at random, for a dose of one.
const N_DRAWN: usize = 150;

#[test]
#[expect(clippy::print_stdout, reason = "the figures of the run")]
fn an_event_that_was_published_and_its_deliveries_survive_a_power_cut_at_any_moment() {
    if !can_record() {
        return;
    }
    let dose = Dose::read();
    let recording = PUBLISHED.record(Syncs::Made);
    let report = replay(&PUBLISHED, &recording, is_nothing, (dose, N_DRAWN));
    if let Some((_, violation)) = report.violation {
        panic!("seed {}: {violation}", dose.seed);
    }
    println!(
        "faults: power cut: {}: {} operations, {} states replayed ({} distinct)",
        PUBLISHED.name, report.n_calls, report.n_states, report.n_distinct
    );
    for only in ["event", "subscription"] {
        let (caught, loss) = loss_without_syncs(&recording, only, dose);
        println!(
            "faults: power cut: without syncs of the log a loss of {only}s is found after {caught} states: {loss}"
        );
    }
}

/// Replays on a disk that does not sync the log, where nothing has to be found but what was said of these.
fn loss_without_syncs(recording: &Recording, only: &str, dose: Dose) -> (usize, String) {
    let Recording { sandbox, trace } = recording;
    let mut facts = workload::facts(trace);
    facts.retain(|(_, fact)| match fact.what {
        What::Event(_) => only == "event",
        What::Subscribed { .. } => only == "subscription",
        _ => false,
    });
    // Seven events of eight publishes, as one key is published twice.
    assert_eq!(facts.len(), if only == "event" { 8 } else { 4 }, "{facts:?}");
    // A loss is seen when something was said; between that few states have to be looked at.
    let replay = Replay { trace, facts, sandbox, deaf: |path, _| is_log(path), stride: 50 };
    let (caught, loss) = replay.run(dose.chance(), 0).violation.expect("without syncs something is lost");
    let loss = loss.lines().next().unwrap_or_default().to_owned();
    assert!(loss.starts_with(only) && loss.ends_with("is gone"), "{loss}");
    (caught, loss)
}
