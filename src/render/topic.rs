//! Events, topics and subscriptions as public JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::detail::{self, Whose};
use super::{json, words};
use crate::job::{LogRetention, QueueSettings, Rate, Subscription, TopicEvent, TopicTally};

/// An event as a document of its own. A payload that is not UTF-8 stands in `payload_base64`, and `payload` is null then.
pub fn event(event: &TopicEvent) -> Value {
    let text = event.payload.as_deref().map(std::str::from_utf8);
    let mut value = json!({
        "v": 1,
        "id": event.id.get(),
        "topic": event.topic.as_str(),
        "key": event.key,
        "labels": event.labels,
        "published_at": words::utc(event.published_at),
        "payload": text.and_then(Result::ok),
    });
    if let (Some(Err(_)), Some(bytes)) = (text, &event.payload) {
        value["payload_base64"] = STANDARD.encode(bytes).into();
    }
    value
}

/// A subscription. Its command is told as that of a job.
pub fn subscription(of: &Subscription) -> Value {
    let (command, argv, is_shell) = json::command(of.command.as_ref());
    let mut value = json!({
        "name": of.name.as_str(),
        "pattern": of.pattern.as_str(),
        "where": of.only,
        "queue": of.queue.as_str(),
        "paused": of.paused_at.is_some(),
        "lag": of.lag,
        "next_event": of.next.map(crate::job::EventId::get),
        "behind_since": of.behind_since.map(words::utc),
        "rate": of.rate.map(rate),
        "command": command,
        "argv": argv,
        "shell": is_shell,
        "created_at": words::utc(of.created_at),
    });
    for (name, exact) in json::exact_command(of.command.as_ref()) {
        value[name] = exact;
    }
    value
}

/// A subscription to a queue with these settings, with the terms of its jobs.
pub fn subscription_with_terms(of: &Subscription, queue: &QueueSettings) -> Value {
    let mut value = subscription(of);
    value["cwd"] = String::from_utf8_lossy(&of.cwd).into();
    let name = |name: &str| name.replace('-', "_");
    let terms = || detail::terms(&of.own, queue);
    value["terms"] = terms().map(|(option, held, _)| (name(option), Value::from(held))).collect();
    value["own_terms"] = terms().filter(|(.., whose)| *whose == Whose::Own).map(|(option, ..)| name(option)).collect();
    value
}

/// A rate as it is written.
pub fn rate(rate: Rate) -> String {
    match rate.per.as_secs() {
        60 => format!("{}/m", rate.n),
        3600 => format!("{}/h", rate.n),
        _ => format!("{}/s", rate.n),
    }
}

/// A topic. What was not set is null, and what has no limit is `"none"`.
pub fn topic(of: &TopicTally) -> Value {
    let LogRetention { keep, rows, bytes } = of.keep;
    let limit = |set: Option<Option<u64>>| set.map(|limit| limit.map_or(Value::from("none"), Value::from));
    json!({
        "name": of.name,
        "events": of.events,
        "bytes": of.bytes,
        "last_at": of.last_at.map(words::utc),
        "keep_ms": keep.map(|keep| keep.map_or(Value::from("none"), |keep| crate::clock::millis(keep).into())),
        "keep_rows": limit(rows),
        "keep_bytes": limit(bytes),
    })
}
