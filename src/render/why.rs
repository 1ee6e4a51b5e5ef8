//! Why a job does not run, or what it did: in words, with the command that would change it.
//!
//! A rule for each state; of those that hold the one that must be dealt with first stands first.

use super::{Finding, Look, text, words};
use crate::clock::Timestamp;
use crate::job::{Command, Job, Outcome, Reason, State, StepPath, Tripped};

/// What surrounds a job.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Since when its queue is paused, if it is.
    pub is_paused_since: Option<Timestamp>,
    /// How its queue is stopped by its breaker, if it is.
    pub tripped: Option<Tripped>,
    /// Whether the subscription of the same name was paused, and the queue with it.
    pub is_paused_with_subscription: bool,
    /// When a worker last served its queue, as far as that is known.
    pub served_until: Option<Timestamp>,
    /// The live workers that serve its queue.
    pub servers: Vec<Server>,
    /// Whether the worker that runs it is dead.
    pub has_lost_its_worker: bool,
    /// The pause of `step sleep` that it is in, if it is in one.
    pub sleeps_in: Option<StepPath>,
    /// How many ready jobs of its queue go before it.
    pub n_ahead: usize,
    /// Whether there may be more.
    pub has_more_ahead: bool,
}

/// A live worker that serves a job's queue.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name.
    pub id: String,
    /// Whether it gives jobs to a handler.
    pub has_handler: bool,
    /// How many jobs it runs at the same time.
    pub n_slots: usize,
    /// How many it runs.
    pub n_running: usize,
}

/// Why the job stands where it stands; never nothing.
pub fn findings(job: &Job, around: &Surroundings, look: &Look) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &job.state {
        State::Blocked => findings.push(Finding::new("blocked", "it waits for something that must come first", "")),
        State::Scheduled { due } | State::Retrying { due } => {
            findings.extend(paused(job, around, look));
            findings.extend(tripped(job, around, look));
            findings.push(not_due(job, *due, around, look));
            findings.extend(unserved(job, around, look));
        }
        State::Ready { .. } => {
            findings.extend(paused(job, around, look));
            findings.extend(tripped(job, around, look));
            findings.extend(unserved(job, around, look));
            if findings.is_empty() {
                findings.push(in_line(job, around));
            }
        }
        State::Running { .. } => findings.push(running(job, around, look)),
        State::Succeeded { .. } | State::Dead { .. } | State::Cancelled { .. } => findings.push(over(job, look)),
    }
    findings
}

fn paused(job: &Job, around: &Surroundings, look: &Look) -> Option<Finding> {
    let since = around.is_paused_since?;
    let (queue, since) = (&job.queue, moment(since, look));
    // Whoever resumed the queue alone would get what waits in it, and nothing after that.
    if around.is_paused_with_subscription {
        let message = format!("its queue {queue} is paused with the subscription, since {since}");
        return Some(Finding::new("paused", message, format!("qctl subscription resume {queue}")));
    }
    let message = format!("its queue {queue} is paused, since {since}");
    Some(Finding::new("paused", message, format!("qctl queue resume {queue}")))
}

/// That its queue is stopped by its breaker.
fn tripped(job: &Job, around: &Surroundings, look: &Look) -> Option<Finding> {
    let tripped = around.tripped.as_ref()?;
    let (queue, since, why) = (&job.queue, moment(tripped.since, look), words::tripped(tripped));
    let trial = if tripped.next_trial > look.now {
        format!("one job is tried in {}", words::age(tripped.next_trial.since(look.now)))
    } else {
        "the next worker tries one job".to_owned()
    };
    let message = format!("its queue {queue} is stopped by its breaker, since {since}: {why}; {trial}");
    Some(Finding::new("breaker", message, format!("qctl queue resume {queue}")))
}

fn not_due(job: &Job, due: Timestamp, around: &Surroundings, look: &Look) -> Finding {
    let when = if due > look.now {
        format!("{}, in {}", words::both(due, look), words::age(due.since(look.now)))
    } else {
        format!("{}, which is now: the next worker makes it ready", words::both(due, look))
    };
    let hint = format!("qctl update {} --delay 0s", job.id);
    match &job.state {
        State::Retrying { .. } if has_snoozed(job) => match &around.sleeps_in {
            Some(step) => {
                let name = step.to_string();
                let message = format!("its step {} lets time pass until {when}", text::safe(name.as_bytes()));
                // Woken alone, it would come to the same pause and go back to sleep.
                let end = format!("qctl step set --job {} {} ''", job.id, quoted(name));
                Finding::new("snoozed", message, format!("{end} && {hint}"))
            }
            None => Finding::new("snoozed", format!("it asked to be run again later: snoozed until {when}"), hint),
        },
        State::Retrying { .. } => {
            let end = super::table::error(job);
            let message =
                format!("attempt {} of {} ended with {end}; it backs off until {when}", job.attempt, job.max_attempts);
            Finding::new("backing_off", message, hint)
        }
        _ => Finding::new("not_due", format!("it is not due before {when}"), hint),
    }
}

/// As one would type it to a shell.
fn quoted(word: String) -> String {
    text::command(Some(&Command::Program(vec![word.into_bytes()])))
}

fn has_snoozed(job: &Job) -> bool {
    job.last.as_ref().is_some_and(|last| last.outcome == Outcome::Snoozed)
}

/// That nobody is there who could run it.
fn unserved(job: &Job, around: &Surroundings, look: &Look) -> Option<Finding> {
    if around.servers.is_empty() {
        let since = match around.served_until {
            Some(at) => format!("; the last one left {}", moment(at, look)),
            None => String::new(),
        };
        let message = format!("no live worker serves its queue {}{since}", job.queue);
        let handler = if job.command.is_none() { " -- HANDLER" } else { "" };
        return Some(Finding::new("no_worker", message, format!("qctl work -Q {}{handler}", job.queue)));
    }
    let has_handler = around.servers.iter().any(|server| server.has_handler);
    if job.command.is_none() && !has_handler {
        let names: Vec<&str> = around.servers.iter().map(|server| server.id.as_str()).collect();
        let message = format!("it has no command, and no worker of its queue has a handler ({})", names.join(", "));
        return Some(Finding::new("no_handler", message, format!("qctl work -Q {} -- HANDLER", job.queue)));
    }
    None
}

fn in_line(job: &Job, around: &Surroundings) -> Finding {
    let n_slots: usize = around.servers.iter().map(|server| server.n_slots).sum();
    let n_running: usize = around.servers.iter().map(|server| server.n_running).sum();
    let ahead = match (around.n_ahead, around.has_more_ahead) {
        (0, _) => "it is the next of its queue".to_owned(),
        (n, true) => format!("more than {n} jobs of its queue go before it"),
        (1, false) => "1 job of its queue goes before it".to_owned(),
        (n, false) => format!("{n} jobs of its queue go before it"),
    };
    let workers = words::count(around.servers.len(), "worker");
    if n_running >= n_slots {
        let message =
            format!("{ahead}; {workers} with {} in all, and every slot is taken", words::count(n_slots, "slot"));
        Finding::new(
            "busy",
            message,
            format!("qctl work -Q {} -j N, or qctl update {} --priority N", job.queue, job.id),
        )
    } else {
        Finding::new(
            "in_line",
            format!("{ahead}; {workers}, {n_running} of {} taken", words::count(n_slots, "slot")),
            "",
        )
    }
}

fn running(job: &Job, around: &Surroundings, look: &Look) -> Finding {
    let State::Running { worker, since, cancel_requested, .. } = &job.state else {
        return Finding::new("running", "it runs", "");
    };
    let worker = text::safe(worker.as_bytes());
    let for_long = words::age(look.now.since(*since));
    if around.has_lost_its_worker {
        let message = format!("its worker {worker} died; the next worker takes it up");
        return Finding::new("worker_died", message, format!("qctl work -Q {}", job.queue));
    }
    if *cancel_requested {
        return Finding::new("stopping", format!("it was cancelled, and {worker} is stopping it"), "");
    }
    let far = job.progress.as_ref().map(|progress| format!(", {}", words::progress(progress))).unwrap_or_default();
    let message = format!("it runs, on {worker} for {for_long}, attempt {} of {}{far}", job.attempt, job.max_attempts);
    Finding::new("running", message, format!("qctl logs -f {}", job.id))
}

fn over(job: &Job, look: &Look) -> Finding {
    let at = job.state.finished_at().map(|at| moment(at, look)).unwrap_or_default();
    match &job.state {
        State::Dead { reason, .. } => {
            let end = super::table::error(job);
            let message = format!("{}, {at}; its last attempt ended with {end}", words::reason(*reason, job));
            let message = if job.last.is_none() { format!("{}, {at}", words::reason(*reason, job)) } else { message };
            let cure = match reason {
                // Put back as it is, it would come to the same step and be dead again.
                Reason::Uncertain => {
                    format!(
                        "find out; if it has not: qctl step reset {0} STEP; if it has: qctl step set --job {0} STEP OUTPUT; then qctl dlq requeue {0}",
                        job.id
                    )
                }
                _ => format!("qctl dlq show {0}, then qctl dlq requeue {0}", job.id),
            };
            Finding::new("dead", message, cure)
        }
        State::Cancelled { .. } => {
            Finding::new("cancelled", format!("it was cancelled, {at}"), format!("qctl retry {}", job.id))
        }
        _ => Finding::new("succeeded", format!("it succeeded, {at}"), ""),
    }
}

/// An instant and how long ago it was.
fn moment(at: Timestamp, look: &Look) -> String {
    format!("{} ({} ago)", words::local(at, look), words::age(look.now.since(at)))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::job::{Cause, Ending, JobId, Labels, QueueName, Reason, StateKind, Token};

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn look() -> Look {
        Look { width: 80, has_color: false, has_unicode: true, now: NOW, zone: || TimeZone::UTC }
    }

    fn earlier(secs: i64) -> Timestamp {
        Timestamp::from_millis(NOW.as_millis() - secs * 1000)
    }

    fn job(state: State) -> Job {
        let last = Ending { outcome: Outcome::Failed, exit_code: Some(3), signal: None, error: Some("no".to_owned()) };
        Job {
            id: JobId::new(7).expect("positive"),
            queue: QueueName::new("mail").expect("a name"),
            command: Some(Command::Shell(b"true".to_vec())),
            state,
            priority: 0,
            attempt: 2,
            max_attempts: 5,
            crashes: 0,
            snoozes: 0,
            key: None,
            labels: Labels::new(),
            payload_bytes: 0,
            created_at: earlier(100),
            run_at: earlier(100),
            started_at: None,
            expires_at: None,
            last: Some(last),
            progress: None,
            delivery: None,
            group: None,
        }
    }

    fn server(has_handler: bool, n_running: usize) -> Server {
        Server { id: "w1".to_owned(), has_handler, n_slots: 2, n_running }
    }

    fn codes(job: &Job, around: &Surroundings) -> Vec<&'static str> {
        findings(job, around, &look()).iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn each_state_has_its_reason() {
        let at = earlier(5);
        let token = Token::new(1);
        let running = |cancel_requested| State::Running { token, worker: "w1".to_owned(), since: at, cancel_requested };
        let states = [
            (State::Blocked, "blocked"),
            (running(false), "running"),
            (running(true), "stopping"),
            (State::Succeeded { at }, "succeeded"),
            (State::Dead { at, reason: Reason::Exhausted }, "dead"),
            (State::Cancelled { at }, "cancelled"),
        ];
        for (state, code) in states {
            assert_eq!(codes(&job(state), &Surroundings::default()), [code]);
        }
        let lost = Surroundings { has_lost_its_worker: true, ..Surroundings::default() };
        assert_eq!(codes(&job(running(false)), &lost), ["worker_died"]);
    }

    #[test]
    fn what_must_be_dealt_with_first_stands_first() {
        let ready = job(State::Ready { since: earlier(100) });
        let paused = Surroundings { is_paused_since: Some(earlier(60)), ..Surroundings::default() };
        assert_eq!(codes(&ready, &paused), ["paused", "no_worker"]);
        let cause = Cause { exit_code: Some(3), signal: None, text: "no".to_owned() };
        let (since, next_trial) = (earlier(5), earlier(-55));
        let tripped = Some(Tripped { since, cause, n_failures: 3, n_attempts: 4, next_trial });
        let both = Surroundings { tripped, ..paused };
        assert_eq!(codes(&ready, &both), ["paused", "breaker", "no_worker"]);
        let told = &findings(&ready, &both, &look())[1].message;
        assert!(told.ends_with(": 3 of the last 4 attempts failed with exit 3: no; one job is tried in 55s"), "{told}");
        let served = |server| Surroundings { servers: vec![server], ..Surroundings::default() };
        assert_eq!(codes(&ready, &served(server(false, 2))), ["busy"]);
        assert_eq!(codes(&ready, &served(server(false, 1))), ["in_line"]);
        let bare = Job { command: None, ..ready };
        assert_eq!(codes(&bare, &served(server(false, 0))), ["no_handler"]);
        assert_eq!(codes(&bare, &served(server(true, 0))), ["in_line"]);
        let later = State::Retrying { due: Timestamp::from_millis(NOW.as_millis() + 60_000) };
        assert_eq!(codes(&job(later.clone()), &served(server(false, 0))), ["backing_off"]);
        assert_eq!(later.kind(), StateKind::Retrying);
        let told = &findings(&job(later), &served(server(false, 0)), &look())[0];
        assert!(told.message.contains("exit 3: no") && told.message.ends_with("in 1m"), "{}", told.message);
    }
}
