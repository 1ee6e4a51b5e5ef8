//! A line of an import, and the job that it describes.
//!
//! What `qctl dlq export` writes is read here too: it is a job like any other, and beside it stands what became of
//! it, which is passed over unless the job is to be taken in dead.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::clock::Timestamp;
use crate::command::draft::Draft;
use crate::command::job_options::{cwd, set_variables};
use crate::command::key::Key;
use crate::command::value;
use crate::job::{Command, Due, Ending, EnvVars, Outcome, Past, Progress, QueueName, QueueSettings, Reason};

/// A job as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    command: Option<Vec<String>>,
    command_base64: Option<Vec<String>>,
    shell: Option<String>,
    shell_base64: Option<String>,
    queue: Option<String>,
    payload: Option<String>,
    payload_base64: Option<String>,
    key: Option<String>,
    /// That there is none is said by null.
    #[serde(default, deserialize_with = "said")]
    key_until: Option<Option<String>>,
    priority: Option<i32>,
    delay: Option<String>,
    at: Option<String>,
    max_attempts: Option<u32>,
    backoff: Option<String>,
    jitter: Option<String>,
    dead_on: Option<String>,
    timeout: Option<String>,
    kill_after: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    env: Option<Pairs>,
    env_base64: Option<Vec<String>>,
    kept_env: Option<Pairs>,
    kept_env_base64: Option<Vec<String>>,
    cwd: Option<PathBuf>,
    cwd_base64: Option<String>,
    // What became of it.
    reason: Option<String>,
    outcome: Option<String>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    error: Option<String>,
    attempt: Option<u32>,
    crashes: Option<u32>,
    snoozes: Option<u32>,
    created_at: Option<String>,
    run_at: Option<String>,
    started_at: Option<String>,
    died_at: Option<String>,
    expires_at: Option<String>,
    progress: Option<StoredProgress>,
    #[serde(default)]
    holds_key: bool,
    group: Option<String>,
    // What only says where it came from.
    v: Option<u8>,
    #[serde(rename = "id")]
    _id: Option<i64>,
    #[serde(rename = "topic")]
    _topic: Option<String>,
    #[serde(rename = "event_id")]
    _event_id: Option<i64>,
    #[serde(rename = "subscription")]
    _subscription: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredProgress {
    percent: u8,
    message: Option<String>,
}

/// Names and values in the order in which they stand.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Reading)
    }
}

fn said<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// What a line may rely on.
pub(super) struct Reader {
    pub(super) queue: QueueName,
    pub(super) cwd: PathBuf,
    pub(super) now: Timestamp,
    pub(super) zone: fn() -> TimeZone,
    /// The key of the lines that name none.
    pub(super) key: Option<Key>,
    /// Whether jobs are taken in dead: then it does not matter whether they could run here.
    pub(super) is_for_dead: bool,
}

/// A dead job as a line describes it.
pub(super) struct DeadDraft {
    pub(super) draft: Draft,
    pub(super) past: Past,
    pub(super) expires_at: Option<Timestamp>,
}

impl Reader {
    pub(super) fn draft(&self, line: &[u8]) -> Result<Draft, String> {
        if line.contains(&0) {
            return Err("a command holds no NUL".to_owned());
        }
        if line[0] == b'{' {
            self.draft_of(&mut record(line)?)
        } else {
            let mut draft = Draft::new(self.queue.clone(), Some(Command::Shell(line.to_vec())), self.cwd.clone());
            draft.key.clone_from(&self.key);
            Ok(draft)
        }
    }

    /// The dead job that a line describes, of which it must say what became.
    pub(super) fn dead(&self, line: &[u8]) -> Result<DeadDraft, String> {
        let unsaid = || "it does not say of what it died: reason and died_at are missing".to_owned();
        let mut record = if line[0] == b'{' { record(line)? } else { return Err(unsaid()) };
        let mut draft = self.draft_of(&mut record)?;
        let at = |text: Option<&str>| text.map(|text| value::instant(text, self.now, &(self.zone)())).transpose();
        let (Some(reason), Some(died_at)) = (&record.reason, at(record.died_at.as_deref())?) else {
            return Err(unsaid());
        };
        if let Some(run_at) = at(record.run_at.as_deref())? {
            draft.due = Due::At(run_at);
        }
        let outcome = record.outcome.as_deref().map(outcome).transpose()?;
        let last = outcome.map(|outcome| Ending {
            outcome,
            exit_code: record.exit_code,
            signal: record.signal,
            error: record.error.take(),
        });
        let count = |n, name| within(n, 0, MAX_COUNT, name).map(|n: Option<u32>| n.unwrap_or(0));
        let past = Past {
            created_at: at(record.created_at.as_deref())?.unwrap_or(died_at),
            started_at: at(record.started_at.as_deref())?,
            died_at,
            reason: self::reason(reason)?,
            last,
            attempt: count(record.attempt, "attempt")?,
            crashes: count(record.crashes, "crashes")?,
            snoozes: count(record.snoozes, "snoozes")?,
            progress: record.progress.take().map(progress).transpose()?,
            holds_key: record.holds_key,
            group: record.group.as_deref().map(value::group).transpose()?,
            delivery: None,
        };
        Ok(DeadDraft { draft, past, expires_at: at(record.expires_at.as_deref())? })
    }

    fn draft_of(&self, record: &mut Record) -> Result<Draft, String> {
        if record.v.is_some_and(|v| v != 1) {
            return Err("v: this qctl knows 1 only".to_owned());
        }
        let queue = record.queue.as_deref().map(value::queue).transpose()?.unwrap_or_else(|| self.queue.clone());
        let mut draft = Draft::new(queue, command(record)?, self.folder(record)?);
        draft.payload = payload(record.payload.take(), record.payload_base64.take())?;
        if draft.command.is_none() && draft.payload.is_none() && record.reason.is_none() {
            return Err("there is nothing to run: give command, shell or payload".to_owned());
        }
        draft.key = record.key.as_deref().map(value::key).transpose()?;
        if !self.is_for_dead {
            draft.key = draft.key.or_else(|| self.key.clone());
        }
        if let Some(until) = &record.key_until {
            let instant = |text: &String| value::instant(text, self.now, &(self.zone)());
            draft.key_until = Some(until.as_ref().map(instant).transpose()?);
        }
        draft.due = self.due(record.delay.as_deref(), record.at.as_deref())?;
        draft.env = variables("env", record.env.take(), record.env_base64.take())?.unwrap_or_default();
        draft.kept_env = variables("kept_env", record.kept_env.take(), record.kept_env_base64.take())?;
        let label = |(name, text): (String, String)| value::label(&format!("{name}={text}"));
        draft.labels = std::mem::take(&mut record.labels).into_iter().map(label).collect::<Result<_, _>>()?;
        draft.own = terms(record)?;
        Ok(draft)
    }

    /// The working directory of a job.
    fn folder(&self, record: &mut Record) -> Result<PathBuf, String> {
        let given = match (record.cwd.take(), record.cwd_base64.take()) {
            (None, None) => return Ok(self.cwd.clone()),
            (Some(path), None) => path,
            (None, Some(base64)) => OsString::from_vec(bytes("cwd_base64", &base64)?).into(),
            (Some(_), Some(_)) => return Err("cwd and cwd_base64 exclude each other".to_owned()),
        };
        if given.as_os_str().as_encoded_bytes().contains(&0) {
            return Err("cwd: a path holds no NUL".to_owned());
        }
        if self.is_for_dead && given.is_absolute() {
            return Ok(given);
        }
        cwd(Some(&given)).map_err(|failure| failure.message)
    }

    fn due(&self, delay: Option<&str>, at: Option<&str>) -> Result<Due, String> {
        match (delay, at) {
            (None, None) => Ok(Due::Now),
            (Some(delay), None) => Ok(Due::At(self.now.plus(value::duration(delay)?))),
            (None, Some(at)) => value::instant(at, self.now, &(self.zone)()).map(Due::At),
            (Some(_), Some(_)) => Err("delay and at exclude each other".to_owned()),
        }
    }
}

/// More attempts than any job has, and few enough for their column.
const MAX_COUNT: u32 = i32::MAX as u32;

fn record(line: &[u8]) -> Result<Record, String> {
    serde_json::from_slice(line).map_err(|error| plain_words(&error))
}

fn reason(text: &str) -> Result<Reason, String> {
    let known = Reason::ALL.into_iter().find(|reason| reason.name() == text);
    known.ok_or_else(|| format!("reason: write one of {}", Reason::ALL.map(Reason::name).join(", ")))
}

fn progress(at: StoredProgress) -> Result<Progress, String> {
    within(Some(at.percent), 0, 100, "percent")?;
    Ok(Progress { percent: at.percent, message: at.message })
}

fn outcome(text: &str) -> Result<Outcome, String> {
    let known = Outcome::ALL.into_iter().find(|outcome| outcome.name() == text);
    known.ok_or_else(|| format!("outcome: write one of {}", Outcome::ALL.map(Outcome::name).join(", ")))
}

/// What it says of the things that its queue may set.
fn terms(record: &Record) -> Result<QueueSettings, String> {
    Ok(QueueSettings {
        priority: within(record.priority, -100, 100, "priority")?,
        max_attempts: within(record.max_attempts, 1, 1000, "max_attempts")?,
        backoff: record.backoff.as_deref().map(value::backoff).transpose()?,
        jitter: record.jitter.as_deref().map(value::jitter).transpose()?,
        dead_on: record.dead_on.as_deref().map(value::codes).transpose()?.map(|codes| codes.0),
        timeout: record.timeout.as_deref().map(value::positive_or_none).transpose()?.map(|limit| limit.0),
        kill_after: record.kill_after.as_deref().map(value::duration).transpose()?,
        ..QueueSettings::default()
    })
}

fn command(record: &mut Record) -> Result<Option<Command>, String> {
    let words = |words: Vec<String>| Command::Program(words.into_iter().map(String::into_bytes).collect());
    let exact = |words: Vec<String>| -> Result<Vec<Vec<u8>>, String> {
        words.iter().map(|word| bytes("command_base64", word)).collect()
    };
    let given = [
        record.command.take().map(|given| Ok(words(given))),
        record.command_base64.take().map(|given| exact(given).map(Command::Program)),
        record.shell.take().map(|line| Ok(Command::Shell(line.into_bytes()))),
        record.shell_base64.take().map(|line| bytes("shell_base64", &line).map(Command::Shell)),
    ];
    let mut given = given.into_iter().flatten();
    let Some(command) = given.next().transpose()? else { return Ok(None) };
    if given.next().is_some() {
        return Err("command and shell exclude each other".to_owned());
    }
    let is_bad = match &command {
        Command::Program(words) => {
            words.first().is_none_or(Vec::is_empty) || words.iter().any(|word| word.contains(&0))
        }
        Command::Shell(line) => line.trim_ascii().is_empty() || line.contains(&0),
    };
    if is_bad { Err("the command is empty, or holds a NUL".to_owned()) } else { Ok(Some(command)) }
}

fn payload(text: Option<String>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => bytes("payload_base64", &base64).map(Some),
        (Some(_), Some(_)) => Err("payload and payload_base64 exclude each other".to_owned()),
    }
}

/// Variables by their names, or each as `NAME=value` in base64.
fn variables(what: &str, pairs: Option<Pairs>, base64: Option<Vec<String>>) -> Result<Option<EnvVars>, String> {
    let pair = |base64: String| {
        let pair = bytes(what, &base64)?;
        match pair.iter().position(|&byte| byte == b'=') {
            Some(at) if at > 0 && !pair.contains(&0) => Ok((pair[..at].to_vec(), pair[at + 1..].to_vec())),
            _ => Err(format!("{what}_base64: {base64} is no variable")),
        }
    };
    match (pairs, base64) {
        (None, None) => Ok(None),
        (Some(pairs), None) => set_variables(pairs.0).map(Some),
        (None, Some(base64)) => base64.into_iter().map(pair).collect::<Result<_, _>>().map(Some),
        (Some(_), Some(_)) => Err(format!("{what} and {what}_base64 exclude each other")),
    }
}

fn bytes(what: &str, base64: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(base64).map_err(|error| format!("{what}: {error}"))
}

fn within<N: PartialOrd + std::fmt::Display>(n: Option<N>, least: N, most: N, name: &str) -> Result<Option<N>, String> {
    match n {
        Some(n) if n < least || n > most => Err(format!("{name} is from {least} to {most}, not {n}")),
        n => Ok(n),
    }
}

/// A JSON error without its position, which is that in the one line and would be taken for the
/// file's.
fn plain_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.split(" at line ").next().unwrap_or_default();
    format!("{words} (column {})", error.column())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::command::draft::Finisher;
    use crate::job::{Backoff, Context, GroupName, Jitter, JobId, KeyRule, Letter, NewJob, OnDuplicate, Terms};
    use crate::render::letter::line;

    /// Bytes without NUL, mostly no text.
    fn word() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof!["[a-z \"\\\\\n]{0,5}".prop_map(String::into_bytes), prop::collection::vec(1..=255_u8, 0..6)]
    }

    fn full(word: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
        word.prop_map(|mut word| {
            word.insert(0, b'w');
            word
        })
    }

    fn command() -> impl Strategy<Value = Option<Command>> {
        let program = (full(word()), prop::collection::vec(word(), 0..3)).prop_map(|(program, mut words)| {
            words.insert(0, program);
            Command::Program(words)
        });
        prop::option::of(prop_oneof![full(word()).prop_map(Command::Shell), program])
    }

    fn env() -> impl Strategy<Value = EnvVars> {
        let name = full(word()).prop_map(|name| name.into_iter().filter(|&byte| byte != b'=').collect());
        prop::collection::vec((name, word()), 0..3)
    }

    fn pause() -> impl Strategy<Value = Duration> {
        (0..200_000_000_u64).prop_map(Duration::from_millis)
    }

    fn at() -> impl Strategy<Value = Timestamp> {
        (0..4_000_000_000_000_i64).prop_map(Timestamp::from_millis)
    }

    fn terms() -> impl Strategy<Value = Terms> {
        let backoff = prop_oneof![
            (pause(), pause()).prop_map(|(base, more)| Backoff::Exponential { base, cap: base + more }),
            pause().prop_map(Backoff::Fixed),
            prop::collection::vec(pause(), 1..3).prop_map(Backoff::List),
        ];
        let jitter = prop::sample::select(vec![Jitter::None, Jitter::Half, Jitter::Full]);
        let dead_on = prop::collection::vec((1..100, 0..100).prop_map(|(first, more)| first..=first + more), 0..3);
        let timeout = prop::option::of(pause().prop_map(|pause| pause + Duration::from_millis(1)));
        (backoff, jitter, dead_on, timeout, pause()).prop_map(|(backoff, jitter, dead_on, timeout, kill_after)| Terms {
            backoff,
            jitter,
            dead_on,
            timeout,
            kill_after,
        })
    }

    fn job() -> impl Strategy<Value = NewJob> {
        let key = ("[^a]{1,5}", prop::option::of(at())).prop_map(|(key, held_until)| KeyRule {
            key,
            held_until,
            on_duplicate: OnDuplicate::Return,
        });
        let labels = prop::collection::btree_map("[a-z.]{1,4}", ".{0,4}", 0..3);
        let payload = prop::option::of(prop::collection::vec(any::<u8>(), 0..6));
        let what = (command(), payload, env(), labels, prop::option::of(key));
        let how = (full(word()), env(), terms(), -100..=100, 1..=1000_u32);
        let when = (at(), prop::option::of(at()));
        (what, how, when).prop_map(
            |(
                (command, payload, env, labels, key),
                (folder, kept, terms, priority, max_attempts),
                (due, expires_at),
            )| NewJob {
                queue: QueueName::new("mail").expect("a name"),
                command,
                payload,
                key,
                priority,
                due: Due::At(due),
                expires_at,
                max_attempts,
                labels,
                env,
                context: Arc::new(Context { cwd: [b"/", folder.as_slice()].concat(), env: kept, terms }),
            },
        )
    }

    fn past() -> impl Strategy<Value = Past> {
        let last = (
            prop::sample::select(Outcome::ALL.to_vec()),
            any::<Option<i32>>(),
            any::<Option<i32>>(),
            any::<Option<String>>(),
        )
            .prop_map(|(outcome, exit_code, signal, error)| Ending { outcome, exit_code, signal, error });
        let progress =
            (0..=100_u8, any::<Option<String>>()).prop_map(|(percent, message)| Progress { percent, message });
        let when = (at(), prop::option::of(at()), at());
        let counts = (0..=MAX_COUNT, 0..=MAX_COUNT, 0..=MAX_COUNT);
        let why = (prop::sample::select(Reason::ALL.to_vec()), prop::option::of(last), prop::option::of(progress));
        let group = prop::option::of("[A-Za-z._-]{1,20}".prop_map(|name| GroupName::new(name).expect("a name")));
        (when, counts, why, any::<bool>(), group).prop_map(
            |(
                (created_at, started_at, died_at),
                (attempt, crashes, snoozes),
                (reason, last, progress),
                holds_key,
                group,
            )| {
                Past {
                    created_at,
                    started_at,
                    died_at,
                    reason,
                    last,
                    attempt,
                    crashes,
                    snoozes,
                    progress,
                    holds_key,
                    group,
                    delivery: None,
                }
            },
        )
    }

    fn reader(is_for_dead: bool) -> Reader {
        let (queue, cwd, now) = (QueueName::default(), PathBuf::from("/"), Timestamp::from_millis(5));
        Reader { queue, cwd, now, zone: || TimeZone::UTC, key: None, is_for_dead }
    }

    proptest! {
        #[test]
        fn whatever_is_exported_is_read_back_as_it_was((job, past) in (job(), past())) {
            let letter = Letter { job, past };
            let line = line(JobId::new(7).expect("a number"), &letter);
            prop_assert!(!line.contains('\n'));
            let DeadDraft { draft, past, expires_at } = reader(true).dead(line.as_bytes()).expect(&line);
            let mut job = Finisher::new(Timestamp::from_millis(5)).finish(draft);
            job.expires_at = expires_at;
            prop_assert_eq!(format!("{:?}", Letter { job, past }), format!("{letter:?}"), "{}", line);
        }
    }

    #[test]
    fn a_job_that_is_to_run_here_needs_its_folder_and_one_that_is_dead_does_not() {
        let line = br#"{"shell":"true","cwd":"/no/such/folder","reason":"expired","died_at":"@5"}"#;
        assert!(reader(false).draft(line).expect_err("no folder").contains("/no/such/folder"));
        assert_eq!(reader(true).dead(line).ok().map(|dead| dead.draft.cwd), Some("/no/such/folder".into()));
    }
}
