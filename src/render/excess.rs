//! Dead jobs beyond the limits of their queue, and what is done about them.

use serde_json::{Value, json};

use super::words;
use crate::job::{Excess, QueueName};

/// Both in a sentence: `queue mail has 12 dead jobs, 2 more than its limit; the oldest died 40d ago, the limit is 30d`.
pub fn sentence(queue: &QueueName, excess: &Excess) -> String {
    let dead = words::count(usize::try_from(excess.n).unwrap_or(usize::MAX), "dead job");
    let more = excess.max.map_or(String::new(), |max| format!(", {} more than its limit", excess.n - max));
    let age = excess.max_age.map_or(String::new(), |max| {
        format!("; the oldest died {} ago, the limit is {}", words::age(excess.age), words::exact(max))
    });
    format!("queue {queue} has {dead}{more}{age}")
}

/// The command that cures it, of the qctl that is called like this. Nobody says for which of too many it is too late.
pub fn cure(qctl: &str, queue: &QueueName, excess: &Excess) -> String {
    match excess.max_age {
        Some(max) => format!("{qctl} dlq drop -Q {queue} --until {}", words::exact(max).replace(' ', "")),
        None => format!("{qctl} dlq groups -Q {queue}; then {qctl} dlq requeue, or drop, --group GROUP"),
    }
}

/// As a value of a queue; null where nothing is beyond a limit.
pub fn json(excess: Option<&Excess>) -> Value {
    let Some(excess) = excess else { return Value::Null };
    json!({
        "dead": excess.n,
        "max_dead": excess.max,
        "oldest_s": excess.age.as_secs(),
        "max_age_s": excess.max_age.map(|max| max.as_secs()),
    })
}
