//! Dead letters that go elsewhere, what was replaced in them, and what was dropped.
//!
//! A line of `dlq export` is what `import` reads: what it says of a job is exact, byte for byte. What is text stands
//! there as text, everything else in base64 under a name that ends in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Look, json, plain, table, words};
use crate::clock::Timestamp;
use crate::job::{Command, DropRecord, Due, EnvVars, GroupName, JobId, Letter, Part, Past, Revision, Terms};

/// A dead job as a line that `import` takes.
pub fn line(id: JobId, letter: &Letter) -> String {
    let (job, past) = (&letter.job, &letter.past);
    let mut value = Map::new();
    let mut set = |name: &str, fact: Value| drop(value.insert(name.to_owned(), fact));
    set("v", 1.into());
    set("id", id.get().into());
    set("queue", job.queue.as_str().into());
    match &job.command {
        None => {}
        Some(Command::Shell(line)) => exact(&mut set, "shell", line),
        Some(Command::Program(words)) => match texts(words) {
            Some(texts) => set("command", texts.into()),
            None => set("command_base64", words.iter().map(|word| STANDARD.encode(word)).collect()),
        },
    }
    if let Some(payload) = &job.payload {
        exact(&mut set, "payload", payload);
    }
    if let Some(rule) = &job.key {
        set("key", rule.key.as_str().into());
        set("key_until", rule.held_until.map(words::utc).into());
    }
    set("priority", job.priority.into());
    set("max_attempts", job.max_attempts.into());
    set("labels", json!(job.labels));
    exact(&mut set, "cwd", &job.context.cwd);
    variables(&mut set, "env", &job.env);
    variables(&mut set, "kept_env", &job.context.env);
    terms(&mut set, &job.context.terms);
    tell_past(&mut set, past, (job.due, job.expires_at));
    Value::Object(value).to_string()
}

/// Takes a name and what stands under it.
type Set<'a> = dyn FnMut(&str, Value) + 'a;

/// Bytes as they are, where they are text, else in base64.
fn exact(set: &mut Set<'_>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => set(name, text.into()),
        Err(_) => set(&format!("{name}_base64"), STANDARD.encode(bytes).into()),
    }
}

fn texts(words: &[Vec<u8>]) -> Option<Vec<&str>> {
    words.iter().map(|word| std::str::from_utf8(word).ok()).collect()
}

/// Variables by their names, where that says all: else each as `NAME=value` in base64.
fn variables(set: &mut Set<'_>, name: &str, env: &EnvVars) {
    let mut map = Map::new();
    let is_exact = env.iter().all(|(name, value)| match (std::str::from_utf8(name), std::str::from_utf8(value)) {
        (Ok(name), Ok(value)) => map.insert(name.to_owned(), value.into()).is_none(),
        _ => false,
    });
    if is_exact {
        set(name, map.into());
    } else {
        let pair = |(name, value): &(Vec<u8>, Vec<u8>)| STANDARD.encode([name, b"=".as_slice(), value].concat());
        set(&format!("{name}_base64"), env.iter().map(pair).collect());
    }
}

fn terms(set: &mut Set<'_>, terms: &Terms) {
    let codes = if terms.dead_on.is_empty() { "none".to_owned() } else { words::codes(&terms.dead_on) };
    set("backoff", words::backoff(&terms.backoff).into());
    set("jitter", words::jitter(terms.jitter).into());
    set("dead_on", codes.into());
    set("timeout", terms.timeout.map_or("none".to_owned(), words::exact).into());
    set("kill_after", words::exact(terms.kill_after).into());
}

fn tell_past(set: &mut Set<'_>, past: &Past, (due, expires_at): (Due, Option<Timestamp>)) {
    let last = past.last.as_ref();
    let progress = past.progress.as_ref().map(|at| json!({ "percent": at.percent, "message": at.message }));
    let of = past.delivery.as_ref();
    set("reason", past.reason.name().into());
    set("outcome", last.map(|last| last.outcome.name()).into());
    set("exit_code", last.and_then(|last| last.exit_code).into());
    set("signal", last.and_then(|last| last.signal).into());
    set("error", last.and_then(|last| last.error.as_deref()).into());
    set("attempt", past.attempt.into());
    set("crashes", past.crashes.into());
    set("snoozes", past.snoozes.into());
    set("created_at", words::utc(past.created_at).into());
    set("run_at", if let Due::At(at) = due { words::utc(at).into() } else { Value::Null });
    set("started_at", past.started_at.map(words::utc).into());
    set("died_at", words::utc(past.died_at).into());
    set("expires_at", expires_at.map(words::utc).into());
    set("progress", progress.into());
    set("holds_key", past.holds_key.into());
    set("group", past.group.as_ref().map(GroupName::as_str).into());
    set("topic", of.map(|of| of.topic.as_str()).into());
    set("event_id", of.map(|of| of.event.get()).into());
    set("subscription", of.map(|of| of.subscription.as_str()).into());
}

/// Adds what was replaced in a job, the first time first, where anything was.
pub fn set_revisions(value: &mut Value, revisions: &[Revision]) {
    if !revisions.is_empty() {
        value["revisions"] = self::revisions(revisions);
    }
}

fn revisions(revisions: &[Revision]) -> Value {
    let one = |revision: &Revision| {
        let mut value = json!({ "at": words::utc(revision.at), "what": what(&revision.old) });
        match &revision.old {
            Part::Payload(None) => value["payload"] = Value::Null,
            Part::Payload(Some(bytes)) => {
                exact(&mut |name, fact| value[name] = fact, "payload", bytes);
            }
            Part::Command(old) => {
                let (command, argv, is_shell) = json::command(old.as_ref());
                value["command"] = command.into();
                value["argv"] = argv.into();
                value["shell"] = is_shell.into();
                for (name, exact) in json::exact_command(old.as_ref()) {
                    value[name] = exact;
                }
            }
        }
        value
    };
    revisions.iter().map(one).collect()
}

/// The word for what was replaced.
fn what(part: &Part) -> &'static str {
    match part {
        Part::Payload(_) => "payload",
        Part::Command(_) => "command",
    }
}

/// What was replaced in a job, for people: a line for each, behind what else there is to say of it.
pub fn revised(id: JobId, revisions: &[Revision], look: &Look) -> String {
    let line = |revision: &Revision| {
        format!(
            "\n  {:<9} {}",
            "replaced",
            format_args!("the {}, {}", what(&revision.old), words::local(revision.at, look))
        )
    };
    let lines: String = revisions.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}; what it was: qctl show {id} --json") }
}

/// What was dropped, as public JSON.
pub fn drops_json(drops: &[DropRecord]) -> String {
    let one =
        |drop: &DropRecord| json!({ "undo": drop.id.get(), "dropped_at": words::utc(drop.at), "jobs": drop.n_jobs });
    json::document("drops", drops.iter().map(one).collect())
}

/// `undo dropped_at jobs`.
pub fn drops_plain(drops: &[DropRecord], look: &Look) -> String {
    plain::lines(drops.iter().map(|drop| [drop.id.to_string(), words::local(drop.at, look), drop.n_jobs.to_string()]))
}

/// What was dropped, for people.
pub fn drops_table(drops: &[DropRecord], look: &Look) -> String {
    let row = |drop: &DropRecord| {
        let age = format!("{} ago", words::age(look.now.since(drop.at)));
        vec![drop.id.to_string(), age, words::count(drop.n_jobs, "job")]
    };
    table::fit(&[("UNDO", 0), ("DROPPED", 0), ("JOBS", 0)], drops.iter().map(row).collect(), look)
}
