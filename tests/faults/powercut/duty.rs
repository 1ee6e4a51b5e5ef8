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
    events: BTreeSet<i64>,
    /// What jobs have said that they deliver.
    deliveries: BTreeMap<i64, (String, i64)>,
    /// The first event of each subscription.
    subscriptions: BTreeMap<String, i64>,
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
        if let What::Delivers(name, event) = &fact.what {
            self.deliveries.insert(fact.job, (name.clone(), *event));
            return;
        }
        if let What::Event(id) = fact.what {
            self.events.insert(id);
            return;
        }
        if let What::Subscribed { name, first } = &fact.what {
            self.subscriptions.insert(name.clone(), *first);
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
            let is_none = self.jobs.is_empty() && self.steps.is_empty() && self.events.is_empty();
            return (!is_none).then(|| "there is no queue any more".to_owned());
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
        if let Some(loss) = self.undelivered(found) {
            return Some(loss);
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

    /// What is not known of events that were published and of subscriptions to them.
    fn undelivered(&self, found: &Found) -> Option<String> {
        if let Some(event) = self.events.difference(&found.events).next() {
            return Some(format!("event {event} is gone"));
        }
        let is_other = |(id, of): &(&i64, &(String, i64))| found.deliveries.get(id) != Some(of);
        if let Some((id, of)) = self.deliveries.iter().find(is_other) {
            return Some(format!("job {id} ran for {of:?}, and is there for {:?}", found.deliveries.get(id)));
        }
        for (name, first) in &self.subscriptions {
            let Some(next) = found.subscriptions.get(name) else {
                return Some(format!("subscription {name} is gone"));
            };
            let is_delivered = |event| found.deliveries.values().any(|one| *one == (name.clone(), event));
            let is_known = |event: &i64| is_delivered(*event) || next.is_some_and(|next| next <= *event);
            if let Some(event) = self.events.range(first..).find(|event| !is_known(event)) {
                return Some(format!("event {event} was not delivered to {name}, and will not be: {next:?}"));
            }
        }
        None
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
            What::Begin
            | What::Paused(_)
            | What::Step { .. }
            | What::Delivers(..)
            | What::Event(_)
            | What::Subscribed { .. } => (),
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
