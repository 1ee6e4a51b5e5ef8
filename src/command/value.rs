//! What people type for durations, instants, policies and selections, and what it means.
//!
//! Every parser says in one line what is wrong and what would be right.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{ZonedDateTime, civil};

use super::key::{AUTO, Key};
use crate::clock::Timestamp;
use crate::job::{
    Backoff, BreakerRule, GroupName, GroupRule, IdRange, Jitter, JobId, NewJob, Order, QueueName, QueuePattern, Rate,
    StateKind, StepPath, TaskId, Tempo, Topic, TopicPattern,
};
use crate::render::field::Field;

/// A length of time: `90s`, `1h 30m`, `500ms`, `2d`.
///
/// Months and years are refused: they have no fixed length, and `1M` is nearly always a slip for
/// `1m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let units = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty());
    for unit in units {
        let is_vague =
            unit == "M" || unit == "y" || ["month", "year", "mon", "yr"].iter().any(|vague| unit.starts_with(vague));
        if is_vague {
            return Err(format!("{unit:?} has no fixed length; write days, such as 30d, or minutes, such as 1m"));
        }
    }
    humantime::parse_duration(text.trim())
        .map_err(|error| format!("{error}; write a duration such as 90s, 15m, 1h 30m"))
}

/// A length of time, or `none`.
pub(crate) fn duration_or_none(text: &str) -> Result<Limit, String> {
    if text == "none" { Ok(Limit(None)) } else { duration(text).map(|duration| Limit(Some(duration))) }
}

/// A length of time longer than nothing, or `none`: a limit of nothing would be taken for no limit.
pub(crate) fn positive_or_none(text: &str) -> Result<Limit, String> {
    match duration_or_none(text)? {
        Limit(Some(Duration::ZERO)) => Err("it must be longer than nothing; write none for no limit".to_owned()),
        limit => Ok(limit),
    }
}

/// A length of time that may be without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

/// A line for the shell, or `none`.
pub(crate) fn hook_line(text: &str) -> Result<HookLine, String> {
    match text.trim() {
        "" => Err("the command is empty; write none for no hook".to_owned()),
        "none" => Ok(HookLine(None)),
        _ => Ok(HookLine(Some(text.to_owned()))),
    }
}

/// A line for the shell, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HookLine(pub(crate) Option<String>);

/// A number of rows, or `none`: without limit.
pub(crate) fn rows_or_none(text: &str) -> Result<Rows, String> {
    match text {
        "none" => Ok(Rows(None)),
        text => match text.parse() {
            Ok(n @ 1..) => Ok(Rows(Some(n))),
            _ => Err("write a number from 1 on, or none".to_owned()),
        },
    }
}

/// A number of rows that may be without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows(pub(crate) Option<u64>);

/// A length of time longer than nothing.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(duration) }
}

/// An instant: RFC 3339, a local date and time, `HH:MM` (the next one), or `@SECONDS` since 1970.
pub(crate) fn instant(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Some(seconds) = text.strip_prefix('@') {
        let millis = seconds.parse::<f64>().ok().map(|seconds| seconds * 1000.0).filter(|millis| millis.is_finite());
        #[expect(clippy::cast_possible_truncation, reason = "a float saturates, and milliseconds are fine enough")]
        return millis
            .map(|millis| Timestamp::from_millis(millis as i64))
            .ok_or_else(|| format!("{seconds:?} is no number of seconds"));
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_millis(instant.as_millisecond()));
    }
    let instant = if is_time_of_day(text) {
        next(text, now, zone)
    } else {
        text.parse::<civil::DateTime>().ok().and_then(|local| local.to_zoned_datetime(zone.clone()).ok())
    };
    instant.map(|zoned| Timestamp::from_millis(zoned.timestamp().as_millisecond())).ok_or_else(|| {
        format!("{text:?} is no instant; write 2026-11-23T18:00:00Z, \"2026-11-23 18:00\", 18:00 or @1795000000")
    })
}

fn is_time_of_day(text: &str) -> bool {
    text.len() <= 8 && text.contains(':') && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
}

/// The next time that local clocks show this. In the hour that they show twice it may be the second one,
/// although clocks showed it before.
fn next(text: &str, now: Timestamp, zone: &TimeZone) -> Option<ZonedDateTime> {
    let time: civil::Time = text.parse().ok()?;
    let now = jiff::Timestamp::from_millisecond(now.as_millis()).ok()?;
    let today = now.to_zoned_datetime(zone.clone()).date();
    let tomorrow = today.tomorrow().ok();
    let shown = [Some(today), tomorrow]
        .into_iter()
        .flatten()
        .map(|day| zone.to_ambiguous_zoned_datetime(day.to_datetime(time)));
    let instants = shown.flat_map(|shown| [shown.clone().compatible(), shown.later()]);
    instants.filter_map(Result::ok).find(|zoned| zoned.timestamp() > now)
}

/// How pauses grow: `exp:BASE..CAP`, `fixed:D` or `list:D,D,…`.
pub(crate) fn backoff(text: &str) -> Result<Backoff, String> {
    let wrong = || "write exp:10s..1h, fixed:30s or list:1s,5s,1m".to_owned();
    let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
    match kind {
        "exp" => {
            let (base, cap) = rest.split_once("..").ok_or_else(wrong)?;
            let (base, cap) = (duration(base)?, duration(cap)?);
            if cap < base {
                return Err("the cap of a backoff is not below its base".to_owned());
            }
            Ok(Backoff::Exponential { base, cap })
        }
        "fixed" => duration(rest).map(Backoff::Fixed),
        "list" => rest.split(',').map(duration).collect::<Result<_, _>>().map(Backoff::List),
        _ => Err(wrong()),
    }
}

/// `none`, `half` or `full`.
pub(crate) fn jitter(text: &str) -> Result<Jitter, String> {
    match text {
        "none" => Ok(Jitter::None),
        "half" => Ok(Jitter::Half),
        "full" => Ok(Jitter::Full),
        _ => Err("write none, half or full".to_owned()),
    }
}

/// Exit statuses: `65`, `65,100-110`, or `none`.
pub(crate) fn codes(text: &str) -> Result<Codes, String> {
    if text == "none" {
        return Ok(Codes(Vec::new()));
    }
    text.split(',').map(one_code).collect::<Result<_, _>>().map(Codes)
}

/// A list of exit statuses and runs of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Codes(pub(crate) Vec<RangeInclusive<i32>>);

fn one_code(text: &str) -> Result<RangeInclusive<i32>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| text.trim().parse().ok().filter(|code| (1..=255).contains(code));
    match (code(first), code(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(format!("{text:?} is no exit status from 1 to 255; write 65 or 65,100-110")),
    }
}

/// A job number or a run of them: `42`, `3-7`.
pub(crate) fn ids(text: &str) -> Result<IdRange, String> {
    let wrong = || format!("{text:?} is no job number; write 42 or 3-7");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let id = |text: &str| text.parse().ok().and_then(JobId::new).ok_or_else(wrong);
    let (first, last) = (id(first)?, id(last)?);
    if first <= last { Ok(IdRange { first, last }) } else { Err(wrong()) }
}

/// A job number.
pub(crate) fn id(text: &str) -> Result<JobId, String> {
    text.parse().ok().and_then(JobId::new).ok_or_else(|| format!("{text:?} is no job number; write 42"))
}

/// At most so many.
pub(crate) fn limit(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write a number such as 50".to_owned())
}

/// A queue's name.
pub(crate) fn queue(text: &str) -> Result<QueueName, String> {
    QueueName::new(text).map_err(|error| error.to_string())
}

/// A queue's name or a pattern of names.
pub(crate) fn pattern(text: &str) -> Result<QueuePattern, String> {
    QueuePattern::new(text).map_err(|error| format!("{error}, or * for any"))
}

/// A state.
pub(crate) fn state(text: &str) -> Result<StateKind, String> {
    let known = StateKind::ALL.into_iter().find(|state| state.name() == text);
    known.ok_or_else(|| format!("write one of {}", StateKind::ALL.map(StateKind::name).join(", ")))
}

/// A field of a job.
pub(crate) fn field(text: &str) -> Result<Field, String> {
    Field::named(text).ok_or_else(|| format!("write some of {}", Field::names().collect::<Vec<_>>().join(", ")))
}

/// A topic.
pub(crate) fn topic(text: &str) -> Result<Topic, String> {
    Topic::new(text).map_err(|error| error.to_string())
}

/// A topic or a pattern of topics.
pub(crate) fn topics(text: &str) -> Result<TopicPattern, String> {
    TopicPattern::new(text).map_err(|error| error.to_string())
}

/// The name of a subscription, which a queue can have too.
pub(crate) fn subscription(text: &str) -> Result<QueueName, String> {
    QueueName::new(text).map_err(|_| "a subscription's name is 1 to 64 of A-Z a-z 0-9 . _ -".to_owned())
}

/// A rate: `10/s`, `600/m`, `1/h`.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    let vague = || "write a rate such as 10/s, 600/m or 1/h".to_owned();
    let (n, unit) = text.split_once('/').ok_or_else(vague)?;
    let per = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(vague()),
    };
    match n.parse() {
        Ok(n @ 1..=1_000_000) => Ok(Rate { n, per: Duration::from_secs(per) }),
        _ => Err(vague()),
    }
}

/// A rate that rises or falls: `1/s..50/s`, within five minutes unless `,10m` follows.
pub(crate) fn ramp(text: &str) -> Result<Tempo, String> {
    let wrong = || "write a ramp such as 1/s..50/s, or 1/s..50/s,10m".to_owned();
    let (rates, over) = text.split_once(',').map_or((text, None), |(rates, over)| (rates, Some(over)));
    let (from, to) = rates.split_once("..").ok_or_else(wrong)?;
    let over = over.map_or(Ok(RAMP), positive_duration)?;
    Ok(Tempo::Ramp { from: rate(from).map_err(|_| wrong())?, to: rate(to).map_err(|_| wrong())?, over })
}

/// How long a ramp takes that does not say so.
const RAMP: Duration = Duration::from_secs(5 * 60);

/// A share: `80` or `80%`, from 1 to 100.
pub(crate) fn percent(text: &str) -> Result<u8, String> {
    let n = text.strip_suffix('%').unwrap_or(text).parse().ok();
    n.filter(|n| (1..=100).contains(n)).ok_or_else(|| "write a share from 1 to 100, such as 80".to_owned())
}

/// A number of jobs, at least one.
pub(crate) fn jobs(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "write a number from 1 on".to_owned())
}

/// In which order: `oldest`, `newest` or `random`.
pub(crate) fn order(text: &str) -> Result<Order, String> {
    match text {
        "oldest" => Ok(Order::Oldest),
        "newest" => Ok(Order::Newest),
        "random" => Ok(Order::Random),
        _ => Err("write oldest, newest or random".to_owned()),
    }
}

/// The number of a task.
pub(crate) fn task(text: &str) -> Result<TaskId, String> {
    text.parse().ok().and_then(TaskId::new).ok_or_else(|| format!("{text:?} is no number of a task"))
}

/// A number of bytes, or `none`: without limit.
pub(crate) fn bytes_or_none(text: &str) -> Result<Rows, String> {
    if text == "none" {
        return Ok(Rows(None));
    }
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let power = match &text[digits.len()..] {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        _ => 9,
    };
    let bytes = digits.parse().ok().and_then(|n: u64| n.checked_mul(1024_u64.checked_pow(power)?));
    bytes
        .filter(|&n| n > 0 && power < 9)
        .map(|n| Rows(Some(n)))
        .ok_or_else(|| "write a size such as 512K, 64M or 2G, or none".to_owned())
}

/// The name of a group of dead jobs.
pub(crate) fn group(text: &str) -> Result<GroupName, String> {
    GroupName::new(text).map_err(|_| "a group's name is 1 to 64 of A-Z a-z 0-9 . _ -".to_owned())
}

/// A regular expression that says which dead jobs belong together, or `none`: the usual rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule(pub(crate) Option<GroupRule>);

/// One of those.
pub(crate) fn group_rule(text: &str) -> Result<Rule, String> {
    match text {
        "none" => Ok(Rule(None)),
        "" => Err("write a regular expression, or none".to_owned()),
        text => GroupRule::new(text).map(|rule| Rule(Some(rule))).map_err(|error| bad_regex(&error)),
    }
}

/// When a breaker stops a queue, or `none`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breaker(pub(crate) Option<BreakerRule>);

/// One of those: `20 of 50`.
pub(crate) fn breaker(text: &str) -> Result<Breaker, String> {
    if text == "none" {
        return Ok(Breaker(None));
    }
    let wrong = || {
        let most = BreakerRule::MAX_ATTEMPTS;
        format!("write how many of the last attempts, such as '20 of 50' (at most {most}), or none")
    };
    let (n_failures, n_attempts) = text.split_once(" of ").ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse().map_err(|_| wrong());
    let rule = BreakerRule::new(number(n_failures)?, number(n_attempts)?);
    rule.map(|rule| Breaker(Some(rule))).ok_or_else(wrong)
}

/// A length of time of a millisecond or more: that is how finely it is kept.
pub(crate) fn kept_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration < Duration::from_millis(1) { Err("it must be 1ms or longer".to_owned()) } else { Ok(duration) }
}

/// What is wrong with a regular expression, in one line: the whole text shows it with a mark below.
pub(crate) fn bad_regex(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    format!("no regular expression: {}", last.trim_start_matches("error: "))
}

/// A step as it is written: `order/mail#2`.
pub(crate) fn step(text: &str) -> Result<StepPath, String> {
    StepPath::parse(text).map_err(|error| error.to_string())
}

/// A label: `NAME=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if NewJob::is_label_name(name) => Ok((name.to_owned(), value.to_owned())),
        Some(_) => Err("a label's name is 1 to 64 of A-Z a-z 0-9 . _ -".to_owned()),
        None => Err("write NAME=VALUE".to_owned()),
    }
}

/// An idempotency key: `auto`, or a text that is not empty and has at most 255 bytes.
pub(crate) fn key(text: &str) -> Result<Key, String> {
    match text.len() {
        _ if text == AUTO => Ok(Key::Auto),
        0 => Err("a key is not empty; leave --key out for none".to_owned()),
        1..=255 => Ok(Key::Given(text.to_owned())),
        _ => Err("a key is at most 255 bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_no_duration() {
        for vague in ["1M", "1month", "2 months", "1y", "1year", "1h 1M"] {
            let error = duration(vague).expect_err(vague);
            assert!(error.contains("no fixed length"), "{vague}: {error}");
        }
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("5").is_err() && duration("").is_err() && duration("-1s").is_err());
    }

    #[test]
    fn an_instant_is_read_in_the_local_zone_unless_it_says_otherwise() {
        let zone = TimeZone::fixed(jiff::tz::Offset::from_hours(1).expect("a small offset"));
        let now = Timestamp::from_millis(1_795_000_000_000); // 2026-11-18 12:06:40 +01:00
        let read = |text| instant(text, now, &zone).map(crate::render::words::utc);
        let at = |text: &str| Ok(text.to_owned());
        assert_eq!(read("2026-11-23T18:00:00Z"), at("2026-11-23T18:00:00.000Z"));
        assert_eq!(read("2026-11-23T18:00:00+02:00"), at("2026-11-23T16:00:00.000Z"));
        assert_eq!(read("2026-11-23 18:00"), at("2026-11-23T17:00:00.000Z"));
        assert_eq!(read("18:00"), at("2026-11-18T17:00:00.000Z"));
        assert_eq!(read("12:00"), at("2026-11-19T11:00:00.000Z"));
        assert_eq!(read("@1795000000"), at("2026-11-18T11:06:40.000Z"));
        for wrong in ["tomorrow", "25:00", "@soon", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_of_day_that_clocks_show_twice_is_the_next_of_the_two() {
        let zone = TimeZone::get("Europe/Berlin").expect("zones are bundled");
        let read = |now: &str, text| {
            let now: jiff::Timestamp = now.parse().expect("an instant");
            instant(text, Timestamp::from_millis(now.as_millisecond()), &zone).map(crate::render::words::utc)
        };
        let at = |text: &str| Ok(text.to_owned());
        assert_eq!(read("2026-10-25T00:10:00Z", "02:30"), at("2026-10-25T00:30:00.000Z"));
        assert_eq!(read("2026-10-25T00:40:00Z", "02:30"), at("2026-10-25T01:30:00.000Z"));
        assert_eq!(read("2026-10-25T01:10:00Z", "02:30"), at("2026-10-25T01:30:00.000Z"));
        assert_eq!(read("2026-10-25T01:40:00Z", "02:30"), at("2026-10-26T01:30:00.000Z"));
        assert_eq!(read("2026-03-29T00:40:00Z", "02:30"), at("2026-03-29T01:30:00.000Z"), "clocks show 03:30 then");
    }

    #[test]
    fn a_backoff_is_one_of_three() {
        let secs = Duration::from_secs;
        assert_eq!(backoff("exp:1s..1m"), Ok(Backoff::Exponential { base: secs(1), cap: secs(60) }));
        assert_eq!(backoff("fixed:5s"), Ok(Backoff::Fixed(secs(5))));
        assert_eq!(backoff("list:1s,2s"), Ok(Backoff::List(vec![secs(1), secs(2)])));
        for wrong in ["", "5s", "exp:5s", "exp:1m..1s", "list:", "fixed:1M", "poly:1s"] {
            assert!(backoff(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn exit_statuses_and_ids_come_in_runs() {
        assert_eq!(codes("65,100-110"), Ok(Codes(vec![65..=65, 100..=110])));
        assert!(codes("0").is_err() && codes("256").is_err() && codes("9-3").is_err() && codes("").is_err());
        assert_eq!(ids("3-7").map(IdRange::len), Ok(5));
        assert!(ids("7-3").is_err() && ids("0").is_err() && ids("x").is_err());
    }
}
