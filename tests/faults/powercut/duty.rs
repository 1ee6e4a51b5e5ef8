//! What must be found after a power cut, by what had been acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use super::replay::{Found, Row};
use super::workload::{Fact, What};

/// What must be found, by what was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Duties {
    jobs: BTreeMap<i64, Duty>,
    paused: BTreeSet<String>,
    /// Steps that had begun, by job and name; whether they are to be recorded.
    steps: BTreeMap<(i64, String), bool>,
}

/// What must be found of a job.
#[derive(Clone, Debug, Default)]
struct Duty {
    now: Wish,
    /// What may be so as well, while a change is under way; `None` in it if that was never acknowledged.
    next: Option<Option<Wish>>,
}

#[derive(Clone, Debug, Default)]
struct Wish {
    command: String,
    /// In this state, if it is known that it cannot go on from there.
    state: Option<String>,
    priority: i64,
    is_gone: bool,
}

impl Duties {
    /// Takes in a fact; `later` are those that come after it.
    pub(super) fn learn(&mut self, fact: &Fact, later: &[(usize, Fact)]) {
        if let What::Paused(queue) = &fact.what {
            self.paused.insert(queue.clone());
            return;
        }
        if let What::Step { name, is_recorded } = &fact.what {
            self.steps.insert((fact.job, name.clone()), *is_recorded);
            return;
        }
        let duty = self.jobs.entry(fact.job).or_default();
        if fact.what == What::Begin {
            let next = later.iter().map(|(_, fact)| fact).find(|one| one.job == fact.job && one.what != What::Begin);
            duty.next = Some(next.map(|next| duty.now.after(&next.what)));
        } else {
            *duty = Duty { now: duty.now.after(&fact.what), next: None };
        }
    }

    /// What is not as it must be.
    pub(super) fn broken_by(&self, found: &Found) -> Option<String> {
        if found.is_missing {
            return (!self.jobs.is_empty() || !self.steps.is_empty()).then(|| "there is no queue any more".to_owned());
        }
        if let Some(queue) = self.paused.difference(&found.paused).next() {
            return Some(format!("the queue {queue} is no longer paused"));
        }
        let is_there = |step: &(i64, String), is_recorded: bool| match found.steps.get(step) {
            Some(state) => !is_recorded || state == "recorded",
            None => false,
        };
        if let Some((step, is_recorded)) = self.steps.iter().find(|(step, is_recorded)| !is_there(step, **is_recorded))
        {
            let must = if *is_recorded { "recorded" } else { "begun" };
            return Some(format!("step {step:?} is {:?}, and must be {must}", found.steps.get(step)));
        }
        self.jobs.iter().find_map(|(id, duty)| {
            let is_met = duty.now.is_met(found.jobs.get(id))
                || duty
                    .next
                    .as_ref()
                    .is_some_and(|next| next.as_ref().is_none_or(|next| next.is_met(found.jobs.get(id))));
            (!is_met).then(|| format!("job {id} is {:?}, and must be {duty:?}", found.jobs.get(id)))
        })
    }
}

impl Wish {
    fn after(&self, fact: &What) -> Self {
        let mut wish = self.clone();
        match fact {
            What::Queued(command) => wish.command.clone_from(command),
            What::Stands(state) => wish.state = Some(state.clone()).filter(|state| state != "ready"),
            What::Priority(priority) => wish.priority = *priority,
            What::Gone => wish.is_gone = true,
            What::Begin | What::Paused(_) | What::Step { .. } => (),
        }
        wish
    }

    fn is_met(&self, row: Option<&Row>) -> bool {
        let Some(row) = row else { return self.is_gone };
        let is_on_its_way = row.state != "cancelled" && (row.state != "dead" || row.command.starts_with("exit"));
        let is_known = self.command.is_empty() || row.command == self.command;
        let is_placed = self.state.as_ref().map_or(is_on_its_way, |state| row.state == *state);
        !self.is_gone && is_known && is_placed && row.priority == self.priority
    }
}
