//! Text from outside: what is read is what was written, and what is not read is refused with words.

use std::time::Duration;

use jiff::tz::TimeZone;
use qctl::clock::{Timestamp, millis};
use qctl::job::{Backoff, Command, NewJob, QueueName, QueuePattern, Terms};
use qctl::render::{text, words};
use qctl::{outside, policy};

/// A refusal says something. It may quote what was given: `ui` makes it safe.
fn is_told(refusal: &str) {
    assert!(!refusal.trim().is_empty(), "{refusal:?}");
}

/// A length of time that is accepted has a fixed length, and is read back from how it is shown.
pub(crate) fn duration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match outside::duration(text) {
        Err(refusal) => is_told(&refusal),
        Ok(length) => {
            let is_vague = |unit: &str| {
                ["M", "y"].contains(&unit) || unit.contains("mon") || unit.contains("yr") || unit.contains("ye")
            };
            assert!(!text.split(|c: char| !c.is_alphabetic()).any(is_vague), "{text:?} has no fixed length");
            let whole = Duration::from_millis(u64::try_from(millis(length)).expect("lengths are positive"));
            assert_eq!(outside::duration(&words::exact(whole)), Ok(whole), "{text:?}");
            let now = Timestamp::from_millis(1_795_000_000_000);
            assert!(now.plus(length) >= now && now.minus(length) <= now);
            assert!(!words::length(length).is_empty() && !words::age(length).is_empty());
        }
    }
}

/// Instants at which a clock is asked what the next 02:30 is: some time, and about the two changes to and
/// from daylight saving time in Berlin.
const NOWS: [&str; 5] = [
    "2026-11-18T11:06:40Z",
    "2026-03-29T00:40:00Z",
    "2026-10-25T00:10:00Z",
    "2026-10-25T00:40:00Z",
    "2026-10-25T01:20:00Z",
];

/// An instant that is accepted can be shown, and is read back from how it is shown. A time of day is that
/// of today or tomorrow and is not over. The first byte chooses the present and the zone.
pub(crate) fn instant(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let now: jiff::Timestamp = NOWS[usize::from(choice) % NOWS.len()].parse().expect("an instant");
    let now = Timestamp::from_millis(now.as_millisecond());
    let zone = if choice < 128 { "Europe/Berlin" } else { "America/St_Johns" };
    let zone = TimeZone::get(zone).expect("zones are bundled, or of the system");
    match outside::instant(text, now, &zone) {
        Err(refusal) => is_told(&refusal),
        Ok(at) => {
            let shown = words::utc(at);
            let is_writable = jiff::Timestamp::from_millisecond(at.as_millis()).is_ok() && !shown.starts_with("0000-");
            if is_writable {
                assert_eq!(outside::instant(&shown, now, &zone), Ok(at), "{text:?} is shown as {shown}");
            }
            let is_time_of_day = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
            if is_time_of_day {
                let ahead = at.since(now);
                assert!(!ahead.is_zero() && ahead <= Duration::from_secs(25 * 3600), "{text:?} is {shown}");
            }
        }
    }
}

/// Whatever else is read from a word: patterns and names of queues, job numbers, exit statuses, backoffs,
/// labels and keys. The text is taken for each of them.
pub(crate) fn pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (first, second) = text.split_once(' ').unwrap_or((text, text));
    patterns(first, second);
    match outside::ids(text) {
        Err(refusal) => is_told(&refusal),
        Ok(range) => assert!(range.first.get() > 0 && range.first <= range.last && !range.is_empty()),
    }
    match outside::codes(text) {
        Err(refusal) => is_told(&refusal),
        Ok(codes) => {
            assert!(codes.iter().all(|run| 1 <= *run.start() && run.start() <= run.end() && *run.end() <= 255))
        }
    }
    match outside::backoff(text) {
        Err(refusal) => is_told(&refusal),
        Ok(backoff) => pauses(backoff),
    }
    match outside::label(text) {
        Err(refusal) => is_told(&refusal),
        Ok((name, value)) => assert!(NewJob::is_label_name(&name) && format!("{name}={value}") == text),
    }
    match outside::key(text) {
        Err(refusal) => is_told(&refusal),
        Ok(key) => assert!(key == text && (1..=255).contains(&key.len())),
    }
}

/// A pattern means a queue if it does so by the simplest rule there is. A name means itself and no other.
fn patterns(pattern: &str, name: &str) {
    let queue = outside::queue(name);
    if let Err(refusal) = &queue {
        is_told(refusal);
    }
    match (outside::pattern(pattern), queue) {
        (Err(refusal), _) => is_told(&refusal),
        (Ok(pattern), Ok(queue)) => {
            let expected = means(pattern.as_str().as_bytes(), queue.as_str().as_bytes());
            assert_eq!(pattern.matches(&queue), expected, "{pattern:?} {queue:?}");
        }
        (Ok(pattern), Err(_)) => assert!(QueueName::new(name).is_err() && QueuePattern::new(pattern.as_str()).is_ok()),
    }
}

/// Which of the ends of `name` the pattern reaches, one byte of the pattern after the other.
fn means(pattern: &[u8], name: &[u8]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for &byte in pattern {
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            next[at] = if byte == b'*' {
                reached[at] || (at > 0 && next[at - 1])
            } else {
                at > 0 && reached[at - 1] && name[at - 1] == byte
            };
        }
        reached = next;
    }
    reached[name.len()]
}

/// No pause is longer than it was said to be, however often a job fails; and it is read back.
fn pauses(backoff: Backoff) {
    let longest = match &backoff {
        Backoff::Exponential { cap, .. } => *cap,
        Backoff::Fixed(pause) => *pause,
        Backoff::List(pauses) => pauses.iter().copied().max().unwrap_or_default(),
    };
    let terms = Terms { backoff: backoff.clone(), ..Terms::default() };
    for failures in [0, 1, 2, 31, 32, 33, u32::MAX] {
        let pause = policy::pause(&terms, failures, 1.0);
        assert!(pause <= longest, "{pause:?} after {failures}: {backoff:?}");
    }
    assert!(outside::backoff(&words::backoff(&backoff)).is_ok(), "{}", words::backoff(&backoff));
}

/// A line that is accepted makes a job that keeps every rule, and says what the line said.
pub(crate) fn import_line(bytes: &[u8]) {
    let jobs = outside::import_lines(bytes, Timestamp::from_millis(1_795_000_000_000));
    for job in &jobs {
        match job {
            Err(refusal) => is_told(refusal),
            Ok(job) => keeps_the_rules(job),
        }
    }
    if let (Ok(said), [Ok(job)]) = (serde_json::from_slice(bytes), &jobs[..]) {
        as_said(job, &said);
    }
}

fn keeps_the_rules(job: &NewJob) {
    let is_command = match &job.command {
        None => job.payload.is_some(),
        Some(Command::Shell(line)) => !line.trim_ascii().is_empty() && !line.contains(&0),
        Some(Command::Program(words)) => {
            words.first().is_some_and(|word| !word.is_empty()) && !words.iter().any(|word| word.contains(&0))
        }
    };
    assert!(is_command, "{:?}", job.command);
    assert!((-100..=100).contains(&job.priority) && (1..=1000).contains(&job.max_attempts));
    assert!(job.key.as_ref().is_none_or(|rule| (1..=255).contains(&rule.key.len())));
    assert!(job.labels.keys().all(|name| NewJob::is_label_name(name)));
    let is_variable = |name: &[u8]| !name.is_empty() && !name.contains(&b'=') && !name.contains(&0);
    assert!(job.env.iter().all(|(name, value)| is_variable(name) && !value.contains(&0)), "{:?}", job.env);
    assert!(!job.context.cwd.contains(&0) && job.context.cwd.starts_with(b"/"));
    assert!(!text::command(job.command.as_ref()).chars().any(char::is_control));
}

fn as_said(job: &NewJob, said: &serde_json::Value) {
    if let (Some(line), Some(Command::Shell(kept))) = (said["shell"].as_str(), &job.command) {
        assert_eq!(kept, line.as_bytes());
    }
    if let (Some(words), Some(Command::Program(kept))) = (said["command"].as_array(), &job.command) {
        let words: Vec<&[u8]> = words.iter().filter_map(|word| word.as_str()).map(str::as_bytes).collect();
        assert_eq!(*kept, words);
    }
    for name in ["queue", "payload", "key"] {
        let kept = match name {
            "queue" => Some(job.queue.as_str()),
            "payload" => job.payload.as_deref().and_then(|payload| std::str::from_utf8(payload).ok()),
            _ => job.key.as_ref().map(|rule| rule.key.as_str()),
        };
        if let Some(said) = said[name].as_str() {
            assert_eq!(kept, Some(said), "{name}");
        }
    }
}

/// Text that was made safe is one printable line, stays as it is when it is made safe again, and fits where
/// it is cut to fit. A terminal gets colours, line ends and tabs, and the same however the output arrives.
/// The first two bytes say how many columns there are and where a piece ends.
pub(crate) fn safe_text(bytes: &[u8]) {
    let [columns, split, rest @ ..] = bytes else { return };
    let safe = text::safe(rest);
    assert!(!safe.chars().any(char::is_control), "{safe:?}");
    assert_eq!(text::safe(safe.as_bytes()), safe, "it is safe already");
    if rest.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        assert_eq!(safe.as_bytes(), rest, "it was safe before");
    }
    let columns = usize::from(*columns);
    for has_unicode in [true, false] {
        let cut = text::cut(&safe, columns, has_unicode);
        assert!(text::width(&cut) <= columns && (has_unicode || cut.is_ascii()), "{cut:?} in {columns}");
        assert!(!cut.chars().any(char::is_control));
        assert_eq!(text::cut(&cut, columns, has_unicode), cut, "it fits already");
        if text::width(&safe) <= columns && (has_unicode || safe.is_ascii()) {
            assert_eq!(cut, safe, "there was room for it");
        }
    }
    let words: Vec<Vec<u8>> = rest.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    let line = text::command_line(&Command::Program(words.clone()));
    let read: Vec<Vec<u8>> = shlex::bytes::Shlex::new(&line).collect();
    assert_eq!(read, words, "a shell reads it back");
    terminal(rest, usize::from(*split));
}

fn terminal(output: &[u8], split: usize) {
    let shown = text::colors_only(output);
    let (plain, n_colors) = without_colors(&shown);
    for cell in plain.split(['\n', '\t']) {
        assert_eq!(text::safe(cell.as_bytes()), cell, "a terminal would obey it");
    }
    assert_eq!(text::leaves_paint(output).is_some(), n_colors > 0, "{shown:?}");
    let n = text::whole(&output[..split.min(output.len())]);
    let pieces = text::colors_only(&output[..n]) + &text::colors_only(&output[n..]);
    assert_eq!(pieces, shown, "a piece ended at {n}");
}

/// The text without sequences that paint, and how many there were.
fn without_colors(text: &str) -> (String, usize) {
    let mut plain = String::new();
    let mut n = 0;
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        let end = sequence.find(|c: char| !matches!(c, '0'..='9' | ';' | ':')).expect("a sequence ends");
        assert!(sequence[end..].starts_with('m'), "{sequence:?} does more than paint");
        n += 1;
        rest = &sequence[end + 1..];
    }
    plain.push_str(rest);
    (plain, n)
}
