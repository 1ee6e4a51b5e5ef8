//! The terms of a job and the settings of a queue as the JSON that their columns hold.
//!
//! The stored shapes are types of their own, so that a renamed field of the vocabulary cannot
//! change what is in a file. Durations are whole milliseconds. Nothing here knows SQLite.

use std::ops::RangeInclusive;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::job::{Backoff, BreakerRule, GroupRule, Hook, Jitter, QueueSettings, Terms};

/// Terms as their column.
pub(super) fn terms_column(terms: &Terms) -> String {
    serde_json::to_string(&StoredTerms::from(terms)).expect("numbers and lists are always JSON")
}

/// Terms from their column.
pub(super) fn terms(column: &str) -> serde_json::Result<Terms> {
    serde_json::from_str::<StoredTerms>(column).map(Terms::from)
}

/// Settings as their column.
pub(super) fn settings_column(settings: &QueueSettings) -> String {
    serde_json::to_string(&StoredSettings::from(settings)).expect("numbers and lists are always JSON")
}

/// Settings from their column.
pub(super) fn settings(column: &str) -> serde_json::Result<QueueSettings> {
    serde_json::from_str::<StoredSettings>(column).map(QueueSettings::from)
}

/// Terms as they are kept: durations in milliseconds.
#[derive(Serialize, Deserialize)]
struct StoredTerms {
    backoff: StoredBackoff,
    jitter: StoredJitter,
    dead_on: Vec<(i32, i32)>,
    timeout: Option<u64>,
    kill_after: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredBackoff {
    Exp(u64, u64),
    Fixed(u64),
    List(Vec<u64>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredJitter {
    None,
    Half,
    Full,
}

/// Settings as they are kept: what is absent is left to the default.
#[derive(Serialize, Deserialize)]
struct StoredSettings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backoff: Option<StoredBackoff>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jitter: Option<StoredJitter>,
    /// 0 is `none`: said, and without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kill_after: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dead_on: Option<Vec<(i32, i32)>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    /// 0 is `none`: said, and without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep: Option<u64>,
    /// 0 is `none`: said, and without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_rows: Option<u64>,
    /// Empty is `none`: said, and by the usual rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group_by: Option<String>,
    /// Failures, and attempts; none of either is `none`: said, and without a breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    breaker: Option<(usize, usize)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    breaker_probe: Option<u64>,
    /// An empty line is `none`: said, and nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_dead: Option<StoredHook>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_dead_every: Option<u64>,
    /// 0 is `none`: said, and without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_dead: Option<u64>,
    /// 0 is `none`: said, and without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_dead_rows: Option<u64>,
}

#[derive(Default, Serialize, Deserialize)]
struct StoredHook {
    line: String,
    cwd: StoredBytes,
    env: Vec<(StoredBytes, StoredBytes)>,
}

/// Bytes, which mostly are text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredBytes {
    Text(String),
    Other { base64: String },
}

impl Default for StoredBytes {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl From<&[u8]> for StoredBytes {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Other { base64: STANDARD.encode(bytes) },
        }
    }
}

impl From<StoredBytes> for Vec<u8> {
    fn from(stored: StoredBytes) -> Self {
        match stored {
            StoredBytes::Text(text) => text.into_bytes(),
            // What is none was not written by any qctl; the hook then fails where it is run, and says so.
            StoredBytes::Other { base64 } => STANDARD.decode(base64).unwrap_or_default(),
        }
    }
}

impl From<&Hook> for StoredHook {
    fn from(hook: &Hook) -> Self {
        let env = hook.env.iter().map(|(name, value)| (name.as_slice().into(), value.as_slice().into()));
        Self { line: hook.line.clone(), cwd: hook.cwd.as_slice().into(), env: env.collect() }
    }
}

impl From<StoredHook> for Hook {
    fn from(stored: StoredHook) -> Self {
        let env = stored.env.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { line: stored.line, cwd: stored.cwd.into(), env: env.collect() }
    }
}

fn to_ms(duration: Duration) -> u64 {
    u64::try_from(clock::millis(duration)).unwrap_or(0)
}

fn to_pairs(codes: &[RangeInclusive<i32>]) -> Vec<(i32, i32)> {
    codes.iter().map(|codes| (*codes.start(), *codes.end())).collect()
}

fn from_pairs(pairs: Vec<(i32, i32)>) -> Vec<RangeInclusive<i32>> {
    pairs.into_iter().map(|(first, last)| first..=last).collect()
}

impl From<&Terms> for StoredTerms {
    fn from(terms: &Terms) -> Self {
        Self {
            backoff: (&terms.backoff).into(),
            jitter: terms.jitter.into(),
            dead_on: to_pairs(&terms.dead_on),
            timeout: terms.timeout.map(to_ms),
            kill_after: to_ms(terms.kill_after),
        }
    }
}

impl From<StoredTerms> for Terms {
    fn from(stored: StoredTerms) -> Self {
        Self {
            backoff: stored.backoff.into(),
            jitter: stored.jitter.into(),
            dead_on: from_pairs(stored.dead_on),
            timeout: stored.timeout.map(Duration::from_millis),
            kill_after: Duration::from_millis(stored.kill_after),
        }
    }
}

impl From<&QueueSettings> for StoredSettings {
    fn from(settings: &QueueSettings) -> Self {
        Self {
            max_attempts: settings.max_attempts,
            backoff: settings.backoff.as_ref().map(Into::into),
            jitter: settings.jitter.map(Into::into),
            timeout: settings.timeout.map(|limit| limit.map_or(0, to_ms)),
            kill_after: settings.kill_after.map(to_ms),
            dead_on: settings.dead_on.as_deref().map(to_pairs),
            priority: settings.priority,
            keep: settings.keep.map(|limit| limit.map_or(0, to_ms)),
            keep_rows: settings.keep_rows.map(|limit| limit.unwrap_or(0)),
            group_by: settings
                .group_by
                .as_ref()
                .map(|rule| rule.as_ref().map_or(String::new(), |rule| rule.as_str().to_owned())),
            on_dead: settings.on_dead.as_ref().map(|hook| hook.as_ref().map(StoredHook::from).unwrap_or_default()),
            on_dead_every: settings.on_dead_every.map(to_ms),
            keep_dead: settings.keep_dead.map(|limit| limit.map_or(0, to_ms)),
            keep_dead_rows: settings.keep_dead_rows.map(|limit| limit.unwrap_or(0)),
            breaker: settings.breaker.map(|rule| rule.map_or((0, 0), |rule| (rule.n_failures(), rule.n_attempts()))),
            breaker_probe: settings.breaker_probe.map(to_ms),
        }
    }
}

impl From<StoredSettings> for QueueSettings {
    fn from(stored: StoredSettings) -> Self {
        let limit = |ms| (ms > 0).then(|| Duration::from_millis(ms));
        Self {
            max_attempts: stored.max_attempts,
            backoff: stored.backoff.map(Into::into),
            jitter: stored.jitter.map(Into::into),
            timeout: stored.timeout.map(limit),
            kill_after: stored.kill_after.map(Duration::from_millis),
            dead_on: stored.dead_on.map(from_pairs),
            priority: stored.priority,
            keep: stored.keep.map(limit),
            keep_rows: stored.keep_rows.map(|rows| (rows > 0).then_some(rows)),
            // A rule that a newer regular expression allowed is as good as none.
            group_by: stored.group_by.map(|rule| (!rule.is_empty()).then(|| GroupRule::new(rule).ok()).flatten()),
            on_dead: stored.on_dead.map(|hook| (!hook.line.is_empty()).then(|| hook.into())),
            on_dead_every: stored.on_dead_every.map(Duration::from_millis),
            keep_dead: stored.keep_dead.map(limit),
            keep_dead_rows: stored.keep_dead_rows.map(|rows| (rows > 0).then_some(rows)),
            breaker: stored.breaker.map(|(n_failures, n_attempts)| BreakerRule::new(n_failures, n_attempts)),
            breaker_probe: stored.breaker_probe.map(Duration::from_millis),
        }
    }
}

impl From<&Backoff> for StoredBackoff {
    fn from(backoff: &Backoff) -> Self {
        match backoff {
            Backoff::Exponential { base, cap } => Self::Exp(to_ms(*base), to_ms(*cap)),
            Backoff::Fixed(pause) => Self::Fixed(to_ms(*pause)),
            Backoff::List(pauses) => Self::List(pauses.iter().copied().map(to_ms).collect()),
        }
    }
}

impl From<StoredBackoff> for Backoff {
    fn from(stored: StoredBackoff) -> Self {
        match stored {
            StoredBackoff::Exp(base, cap) => {
                Self::Exponential { base: Duration::from_millis(base), cap: Duration::from_millis(cap) }
            }
            StoredBackoff::Fixed(pause) => Self::Fixed(Duration::from_millis(pause)),
            StoredBackoff::List(pauses) => Self::List(pauses.into_iter().map(Duration::from_millis).collect()),
        }
    }
}

impl From<Jitter> for StoredJitter {
    fn from(jitter: Jitter) -> Self {
        match jitter {
            Jitter::None => Self::None,
            Jitter::Half => Self::Half,
            Jitter::Full => Self::Full,
        }
    }
}

impl From<StoredJitter> for Jitter {
    fn from(stored: StoredJitter) -> Self {
        match stored {
            StoredJitter::None => Self::None,
            StoredJitter::Half => Self::Half,
            StoredJitter::Full => Self::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_and_settings_come_back_as_they_were() {
        let terms = Terms {
            backoff: Backoff::List([1, 2].map(Duration::from_secs).to_vec()),
            jitter: Jitter::Full,
            dead_on: vec![1..=1, 64..=78],
            timeout: Some(Duration::from_millis(1500)),
            kill_after: Duration::from_secs(3),
        };
        assert_eq!(super::terms(&terms_column(&terms)).expect("JSON"), terms);

        let settings = QueueSettings {
            max_attempts: Some(7),
            backoff: Some(Backoff::Fixed(Duration::from_secs(9))),
            timeout: Some(None),
            keep: Some(Some(Duration::from_secs(60))),
            keep_rows: Some(None),
            group_by: Some(Some(GroupRule::new(r"(\w+Error)").expect("a rule"))),
            on_dead: Some(Some(Hook {
                line: "./page".to_owned(),
                cwd: b"/srv/\xff".to_vec(),
                env: vec![(b"PATH".to_vec(), b"/bin".to_vec())],
            })),
            on_dead_every: Some(Duration::from_secs(60)),
            keep_dead: Some(None),
            keep_dead_rows: Some(Some(7)),
            breaker: Some(BreakerRule::new(20, 50)),
            breaker_probe: Some(Duration::from_secs(5)),
            ..QueueSettings::default()
        };
        assert_eq!(super::settings(&settings_column(&settings)).expect("JSON"), settings);
        let none = QueueSettings { on_dead: Some(None), ..QueueSettings::default() };
        assert_eq!(super::settings(&settings_column(&none)).expect("JSON"), none);
    }
}
