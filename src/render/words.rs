//! The words for times, states and sizes.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::{Look, text};
use crate::clock::Timestamp;
use crate::job::{
    Backoff, Cause, Jitter, Job, JobId, Labels, LogRetention, Progress, Queue, Reason, State, StateKind, Tripped,
};

/// RFC 3339 in UTC, with milliseconds: the time of the JSON.
pub fn utc(at: Timestamp) -> String {
    zoned(at, &TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// RFC 3339 in local time, with its offset: the time of plain output.
pub fn local(at: Timestamp, look: &Look) -> String {
    zoned(at, &(look.zone)()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The time of day, local.
pub fn clock(at: Timestamp, look: &Look) -> String {
    zoned(at, &(look.zone)()).strftime("%H:%M:%S").to_string()
}

/// An instant for people: in local time and in UTC.
pub fn both(at: Timestamp, look: &Look) -> String {
    let here = zoned(at, &(look.zone)()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
    format!("{here} ({})", zoned(at, &TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
}

/// What lies beyond the years 0 to 9999, the only ones that RFC 3339 can write, is told as their first or
/// last day.
fn zoned(at: Timestamp, zone: &TimeZone) -> jiff::ZonedDateTime {
    const YEAR_0: jiff::Timestamp = jiff::Timestamp::constant(-62_167_132_800, 0); // 0000-01-02
    let millis = at.as_millis();
    let last = if millis < 0 { YEAR_0 } else { jiff::Timestamp::MAX };
    let instant = jiff::Timestamp::from_millisecond(millis).unwrap_or(last).max(YEAR_0);
    instant.to_zoned_datetime(zone.clone())
}

/// A length of time in at most two units, rounded down: `402ms`, `1.9s`, `3m 12s`, `2d 4h`.
pub fn length(duration: Duration) -> String {
    let (secs, millis) = (duration.as_secs(), duration.subsec_millis());
    match secs {
        0 => format!("{millis}ms"),
        1..=9 => format!("{secs}.{}s", millis / 100),
        10..=59 => format!("{secs}s"),
        60..=3599 => two(secs / 60, "m", secs % 60, "s"),
        3600..=86_399 => two(secs / 3600, "h", secs % 3600 / 60, "m"),
        _ => two(secs / 86_400, "d", secs % 86_400 / 3600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit} {small}{small_unit}") }
}

/// A length of time for a column of ages: whole seconds are fine enough.
pub fn age(duration: Duration) -> String {
    if duration < Duration::from_secs(60) { format!("{}s", duration.as_secs()) } else { length(duration) }
}

/// A length of time to the millisecond, as it could be given back: `1h 30m`, `500ms`.
pub fn exact(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    let mut words = Vec::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if millis >= size {
            words.push(format!("{}{unit}", millis / size));
            millis %= size;
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

/// A size: `71 B`, `4.0 KiB`, `1.0 GiB`.
pub fn bytes(n: u64) -> String {
    if n < 1024 {
        return format!("{n} B");
    }
    let mut tenths = u128::from(n) * 10;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, larger);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// `1 job`, `2 jobs`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// How attempts of one cause ended: `exit 1`, `signal 9`, or nothing.
pub fn end_of(cause: &Cause) -> String {
    match (cause.exit_code, cause.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => String::new(),
    }
}

/// What keeps workers from a queue, in a word: `paused`, or `tripped` by its breaker.
pub fn stop(queue: &Queue) -> Option<&'static str> {
    let paused = queue.paused_at.map(|_| "paused");
    paused.or(queue.tripped.as_ref().map(|_| "tripped"))
}

/// Why a queue is stopped by its breaker: `20 of the last 50 attempts failed with exit 1: no route to *`.
pub fn tripped(tripped: &Tripped) -> String {
    let (end, error) = (end_of(&tripped.cause), text::safe(tripped.cause.text.as_bytes()));
    // Of an attempt that said nothing it is told how it ended.
    let is_told = end.is_empty() || error.is_empty() || error.starts_with("exit ") || error.starts_with("signal ");
    let what = if !is_told {
        format!("{end}: {error}")
    } else if end.is_empty() {
        error
    } else {
        end
    };
    format!("{} of the last {} attempts failed with {what}", tripped.n_failures, tripped.n_attempts)
}

/// Job numbers, parted by commas.
pub fn ids(ids: &[JobId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Labels as they are given on the command line.
pub fn labels(labels: &Labels) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{}={}", text::safe(name.as_bytes()), text::safe(value.as_bytes())))
        .collect();
    labels.join(" ")
}

/// A state, and how long it lasts or will last.
pub fn state(state: &State, now: Timestamp) -> String {
    let name = state.kind().name();
    match state {
        State::Running { since, cancel_requested: false, .. } => format!("{name} {}", age(now.since(*since))),
        State::Running { cancel_requested: true, .. } => "running, cancelled".to_owned(),
        State::Scheduled { due } | State::Retrying { due } if *due > now => {
            format!("{name} in {}", age(due.since(now)))
        }
        State::Dead { reason, .. } => format!("{name}, {}", reason.name()),
        State::Blocked
        | State::Ready { .. }
        | State::Scheduled { .. }
        | State::Retrying { .. }
        | State::Succeeded { .. }
        | State::Cancelled { .. } => name.to_owned(),
    }
}

/// How far along: `40%`, `40%, resizing`.
pub fn progress(progress: &Progress) -> String {
    let Progress { percent, message } = progress;
    message
        .as_ref()
        .map_or_else(|| format!("{percent}%"), |message| format!("{percent}%, {}", text::safe(message.as_bytes())))
}

/// What the last attempt of a job died of: `exit 111`, `signal 9`, else its outcome or reason.
pub fn end(job: &Job) -> String {
    let reason = if let State::Dead { reason, .. } = job.state { reason.name() } else { job.state.kind().name() };
    match &job.last {
        Some(ending) => match (ending.exit_code, ending.signal) {
            (Some(code), _) if code != 0 => format!("exit {code}"),
            (_, Some(signal)) => format!("signal {signal}"),
            (Some(_) | None, None) => ending.outcome.name().to_owned(),
        },
        None => reason.to_owned(),
    }
}

/// Why a job is dead, in a few words.
pub fn reason(reason: Reason, job: &Job) -> String {
    match reason {
        Reason::Exhausted => format!("dead after {}", count(job.attempt as usize, "attempt")),
        Reason::Permanent => format!("dead: {} is final", end(job)),
        Reason::Crashed => format!("dead: its worker died {} times in a row", job.crashes),
        Reason::Expired => "dead: not started in time".to_owned(),
        Reason::Buried => "dead: it said so itself".to_owned(),
        Reason::Uncertain => "dead: a step may or may not have happened".to_owned(),
    }
}

/// Why a job is not put back whose key another holds: one that was pushed since, or one that was put back before it.
pub fn key_taken(id: JobId, state: StateKind, holder: JobId) -> String {
    let holds = if holder > id { "is newer and holds its key" } else { "holds its key by now" };
    format!("job {id} stays {}: job {holder} {holds}", state.name())
}

/// What was set for how long events are kept: `3d, 1000 events, 2 GiB`; nothing where nothing was.
pub fn log_retention(of: LogRetention) -> String {
    let limit = |set: Option<Option<u64>>, words: fn(u64) -> String| {
        set.map(|limit| limit.map_or("no limit".to_owned(), words))
    };
    let events = |n: u64| count(usize::try_from(n).unwrap_or(usize::MAX), "event");
    let keep = of.keep.map(|keep| keep.map_or("for ever".to_owned(), exact));
    let set = [keep, limit(of.rows, events), limit(of.bytes, bytes)];
    set.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A backoff as it is given on the command line.
pub fn backoff(backoff: &Backoff) -> String {
    let tight = |duration: Duration| exact(duration).replace(' ', "");
    match backoff {
        Backoff::Exponential { base, cap } => format!("exp:{}..{}", tight(*base), tight(*cap)),
        Backoff::Fixed(pause) => format!("fixed:{}", tight(*pause)),
        Backoff::List(pauses) => {
            let pauses: Vec<String> = pauses.iter().copied().map(tight).collect();
            format!("list:{}", pauses.join(","))
        }
    }
}

/// A jitter as it is given on the command line.
pub const fn jitter(jitter: Jitter) -> &'static str {
    match jitter {
        Jitter::None => "none",
        Jitter::Half => "half",
        Jitter::Full => "full",
    }
}

/// Exit statuses as they are given on the command line.
pub fn codes(codes: &[std::ops::RangeInclusive<i32>]) -> String {
    let one = |codes: &std::ops::RangeInclusive<i32>| match (codes.start(), codes.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    codes.iter().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_two_units_at_most() {
        let words: Vec<String> =
            [402, 1_999, 30_200, 72_000, 7_200_000, 100_000_000].map(|ms| length(Duration::from_millis(ms))).into();
        assert_eq!(words, ["402ms", "1.9s", "30s", "1m 12s", "2h", "1d 3h"]);
        assert_eq!(exact(Duration::from_millis(5_400_500)), "1h 30m 500ms");
    }

    #[test]
    fn sizes_have_one_decimal() {
        assert_eq!([71, 4096, 1 << 30, 1_048_575].map(bytes), ["71 B", "4.0 KiB", "1.0 GiB", "1023.9 KiB"]);
    }

    #[test]
    fn the_json_time_is_utc_with_milliseconds() {
        assert_eq!(utc(Timestamp::from_millis(1_795_000_000_042)), "2026-11-18T11:06:40.042Z");
        assert_eq!(utc(Timestamp::from_millis(-99_000_000_000_000)), "0000-01-02T00:00:00.000Z");
        assert_eq!(utc(Timestamp::from_millis(i64::MIN)), "0000-01-02T00:00:00.000Z");
        assert_eq!(utc(Timestamp::from_millis(i64::MAX)), "9999-12-30T22:00:00.999Z");
    }
}
