//! Recorded requeues, for people and for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Look, plain, table, text, topic, words};
use crate::clock::{self, Timestamp};
use crate::job::{Fates, GroupName, Job, Phase, Revival, Skip, Task, TaskReport, Tempo, Trial};

/// A tempo as it is given on the command line; `None` where there is none.
pub fn tempo(tempo: Tempo) -> Option<String> {
    match tempo {
        Tempo::AtOnce => None,
        Tempo::Even(rate) => Some(topic::rate(rate)),
        Tempo::Ramp { from, to, over } => {
            let over = words::exact(over).replace(' ', "");
            Some(format!("{}..{},{over}", topic::rate(from), topic::rate(to)))
        }
    }
}

/// A task as public JSON.
pub fn json(task: &Task) -> Value {
    let Revival { to, delay, max_attempts, from_step } = &task.plan.revival;
    json!({
        "id": task.id.get(),
        "phase": task.phase.name(),
        "selection": task.plan.selection,
        "sample": task.plan.trial.map(|trial| trial.n),
        "if_ok": task.plan.trial.map(|trial| trial.if_ok),
        "rate": tempo(task.plan.tempo),
        "to": to.as_ref().map(|queue| queue.as_str()),
        "delay_ms": delay.map(clock::millis),
        "max_attempts": max_attempts,
        "from_step": from_step.as_ref().map(ToString::to_string),
        "jobs": task.n_jobs,
        "released": task.n_released,
        "skipped": task.n_skipped,
        "left": task.n_left(),
        "created_at": words::utc(task.created_at),
        "started_at": task.started_at.map(words::utc),
        "paused_at": task.paused_at.filter(|_| task.phase == Phase::Paused).map(words::utc),
        "ends_at": task.ends_at().map(words::utc),
        "ended_at": task.ended_at.map(words::utc),
    })
}

/// The same with what became of its jobs. `relapsed` has one job for each of the causes, in their order.
pub fn json_report(report: &TaskReport, relapsed: &[Job]) -> Value {
    let Fates { n_succeeded, n_relapsed, n_cancelled, n_forgotten, n_under_way } = report.fates;
    let mut value = json(&report.task);
    let skipped = |why: Skip| report.skipped.iter().find(|(known, _)| *known == why).map_or(0, |(_, n)| *n);
    value["skipped_because"] =
        Skip::ALL.into_iter().map(|why| (why.name().to_owned(), Value::from(skipped(why)))).collect();
    value["succeeded"] = n_succeeded.into();
    value["under_way"] = n_under_way.into();
    value["relapsed"] = n_relapsed.into();
    value["cancelled"] = n_cancelled.into();
    value["forgotten"] = n_forgotten.into();
    let relapses = report.relapses.iter().zip(relapsed);
    value["relapses"] = relapses
        .map(|(relapse, job)| {
            let group = job.group.as_ref().map(GroupName::as_str);
            json!({ "group": group, "error": table::error(job), "count": relapse.n, "sample_id": job.id.get() })
        })
        .collect();
    value
}

/// The tasks of `dlq tasks`.
pub fn table(tasks: &[Task], look: &Look) -> String {
    let rows = tasks.iter().map(|task| {
        vec![
            task.id.to_string(),
            task.phase.name().to_owned(),
            format!("{} of {}", task.n_released, task.n_jobs),
            task.n_skipped.to_string(),
            tempo(task.plan.tempo).unwrap_or_else(|| "-".to_owned()),
            words::age(look.now.since(task.created_at)),
            text::safe(task.plan.selection.as_bytes()),
        ]
    });
    let header = [("ID", 0), ("PHASE", 0), ("RELEASED", 0), ("SKIPPED", 3), ("RATE", 2), ("AGE", 1), ("SELECTION", 0)];
    table::fit(&header, rows.collect(), look)
}

/// `id phase jobs released skipped rate created_at selection` of each task.
pub fn plain(tasks: &[Task], look: &Look) -> String {
    let row = |task: &Task| {
        [
            task.id.to_string(),
            task.phase.name().to_owned(),
            task.n_jobs.to_string(),
            task.n_released.to_string(),
            task.n_skipped.to_string(),
            tempo(task.plan.tempo).unwrap_or_default(),
            words::local(task.created_at, look),
            text::safe(task.plan.selection.as_bytes()),
        ]
    };
    plain::lines(tasks.iter().map(row))
}

/// A task, as `dlq tasks show` gives it: name and value a line.
pub fn pairs(report: &TaskReport, relapsed: &[Job], look: &Look) -> Vec<(&'static str, String)> {
    let TaskReport { task, fates, .. } = report;
    let mut pairs = vec![
        ("task", task.id.to_string()),
        ("phase", phase(report)),
        ("selected", text::safe(task.plan.selection.as_bytes())),
    ];
    pairs.extend(task.plan.trial.map(|trial| ("sample", sample(trial))));
    pairs.extend(tempo(task.plan.tempo).map(|tempo| ("rate", tempo)));
    pairs.extend(revival(&task.plan.revival));
    pairs.push(("jobs", task.n_jobs.to_string()));
    pairs.push(("released", task.n_released.to_string()));
    pairs.push(("skipped", skipped(report).unwrap_or_else(|| "0".to_owned())));
    pairs.push(("succeeded", fates.n_succeeded.to_string()));
    pairs.push(("under way", fates.n_under_way.to_string()));
    pairs.push(("relapsed", fates.n_relapsed.to_string()));
    for (n, what) in [(fates.n_cancelled, "cancelled"), (fates.n_forgotten, "forgotten")] {
        pairs.extend((n > 0).then(|| (what, n.to_string())));
    }
    pairs.extend(causes(report, relapsed).into_iter().map(|cause| ("relapsed of", cause)));
    pairs.push(("recorded", words::local(task.created_at, look)));
    if let Some(at) = task.ended_at {
        pairs.push(("ended", words::local(at, look)));
    } else if let Some(at) = task.ends_at() {
        let left = words::age(at.since(look.now));
        pairs.push(("end", format!("expected {} (in {left})", words::local(at, look))));
    }
    pairs
}

fn phase(report: &TaskReport) -> String {
    let task = &report.task;
    match (task.phase, task.plan.trial) {
        (Phase::Stopped, Some(trial)) => format!("stopped: {}", verdict(report, trial)),
        (phase, _) => phase.name().to_owned(),
    }
}

fn sample(trial: Trial) -> String {
    format!("{}; {}", trial.n, then(trial))
}

fn then(trial: Trial) -> String {
    format!("the rest if {}% of it succeeds", trial.if_ok)
}

fn revival(how: &Revival) -> Vec<(&'static str, String)> {
    let pairs = [
        ("to", how.to.as_ref().map(ToString::to_string)),
        ("delay", how.delay.map(words::exact)),
        ("max attempts", how.max_attempts.map(|n| n.to_string())),
        ("from step", how.from_step.as_ref().map(ToString::to_string)),
    ];
    pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// `3: 2 not dead any more, 1 deleted`; `None` where none was.
fn skipped(report: &TaskReport) -> Option<String> {
    let why = |&(why, n): &(Skip, usize)| match why {
        Skip::NotDead => format!("{n} not dead any more"),
        Skip::KeyTaken => format!("{n} whose key another job holds"),
        Skip::NoStep => format!("{n} without the step"),
        Skip::Deleted => format!("{n} deleted"),
    };
    let why: Vec<String> = report.skipped.iter().map(why).collect();
    (report.task.n_skipped > 0).then(|| format!("{}: {}", report.task.n_skipped, why.join(", ")))
}

/// What jobs died of again: `12 of exit 111: connect: Connection refused (such as job 42, group 4f1c09ab)`.
pub fn causes(report: &TaskReport, relapsed: &[Job]) -> Vec<String> {
    let of_one = |(n, job): (usize, &Job)| {
        let group = job.group.as_ref().map_or(String::new(), |group| format!(", group {group}"));
        format!("{n} of {} (such as job {}{group})", table::error(job), job.id)
    };
    report.relapses.iter().map(|relapse| relapse.n).zip(relapsed).map(of_one).collect()
}

/// `3 of 5 in the sample succeeded, which is less than 100%`.
fn verdict(report: &TaskReport, trial: Trial) -> String {
    let task = &report.task;
    let n_succeeded = report.fates.n_succeeded;
    format!("{n_succeeded} of {} in the sample succeeded, which is less than {}%", task.n_sampled, trial.if_ok)
}

/// How a task stands, in a sentence.
pub fn sentence(report: &TaskReport, now: Timestamp) -> String {
    let TaskReport { task, fates, .. } = report;
    let id = task.id;
    let jobs = |n| words::count(n, "job");
    match (task.phase, task.plan.trial) {
        (Phase::Done, _) => {
            let skipped = skipped(report).map(|skipped| format!("; skipped {skipped}")).unwrap_or_default();
            format!("task {id} has requeued {}: {}{skipped}", jobs(task.n_released), words_of(*fates))
        }
        (Phase::Stopped, Some(trial)) => {
            let stays = if task.n_left() == 1 { "stays" } else { "stay" };
            format!("task {id} stopped: {}; {} {stays} dead", verdict(report, trial), jobs(task.n_left()))
        }
        (Phase::Stopped | Phase::Cancelled, _) => format!("task {id} was cancelled; {} left dead", jobs(task.n_left())),
        (Phase::Paused, _) => format!("task {id} is paused; go on: qctl dlq tasks resume {id}"),
        (Phase::Sampling, _) => format!("task {id} waits for its sample; watch it: qctl dlq tasks show {id}"),
        (Phase::Releasing, _) => {
            let tempo = tempo(task.plan.tempo).map(|tempo| format!(" at {tempo}")).unwrap_or_default();
            let end = task.ends_at().filter(|at| *at > now);
            let end = end.map(|at| format!(", in {}", words::length(at.since(now)))).unwrap_or_default();
            format!("task {id} requeues {}{tempo}{end}; watch it: qctl dlq tasks show {id}", jobs(task.n_left()))
        }
    }
}

/// `3 succeeded, 2 under way`; what is zero is left out.
fn words_of(fates: Fates) -> String {
    let parts = [
        (fates.n_succeeded, "succeeded"),
        (fates.n_under_way, "under way"),
        (fates.n_relapsed, "relapsed"),
        (fates.n_cancelled, "cancelled"),
        (fates.n_forgotten, "forgotten"),
    ];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// What a plan would do with so many jobs, in sentences.
pub fn prospect(trial: Option<Trial>, of: Tempo, n_jobs: usize) -> Vec<String> {
    let n_first = trial.map_or(0, |trial| trial.n.min(n_jobs));
    let first = trial.map(|trial| format!("a sample of {n_first} first; {}", then(trial)));
    let n_rest = n_jobs - n_first;
    let rest = tempo(of).filter(|_| n_rest > 0).map(|rate| {
        let takes = words::length(takes(of, n_rest));
        format!("{} at {rate}, which takes {takes}", words::count(n_rest, "job"))
    });
    first.into_iter().chain(rest).collect()
}

/// How long it takes to release so many.
pub fn takes(tempo: Tempo, n_jobs: usize) -> Duration {
    tempo.after((n_jobs as u64).saturating_sub(1))
}
