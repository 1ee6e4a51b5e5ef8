//! What the bench was asked to do; the only place that reads its environment.

use std::time::Duration;

use crate::trouble::{Outcome, Trouble};

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    groups: Vec<String>,
    /// Only name the groups.
    pub(crate) is_listing: bool,
    /// Repeat less: to see that everything works, not to quote.
    pub(crate) is_quick: bool,
    /// Write what `instructions` counted as what is expected from now on.
    pub(crate) is_renewing: bool,
    /// How long `log` pushes and works.
    pub(crate) log_time: Duration,
}

impl Options {
    /// Reads the arguments; `known` are the names of the groups.
    pub(crate) fn read<'k>(arguments: &[String], known: impl Iterator<Item = &'k str>) -> Outcome<Self> {
        let known: Vec<&str> = known.collect();
        let log_time = Duration::from_secs(log_seconds()?);
        let mut options = Self { groups: Vec::new(), is_listing: false, is_quick: false, is_renewing: false, log_time };
        for argument in arguments {
            match argument.as_str() {
                "--list" => options.is_listing = true,
                "--quick" => options.is_quick = true,
                "--renew" => options.is_renewing = true,
                // What cargo itself adds.
                "--bench" => (),
                name if known.contains(&name) => options.groups.push(name.to_owned()),
                other => return Err(Trouble::failed(format!("no group {other}; there are {}", known.join(", ")))),
            }
        }
        Ok(options)
    }

    /// Whether this group is to be measured: it was named, or none was.
    pub(crate) fn wants(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|name| name == group)
    }

    /// How often something is done: `full` times, or `quick` times where that is enough.
    pub(crate) fn times(&self, full: usize, quick: usize) -> usize {
        if self.is_quick { quick } else { full }
    }

    /// How many seconds something takes: `full`, or `quick` where that is enough.
    pub(crate) fn seconds(&self, full: u64, quick: u64) -> Duration {
        Duration::from_secs(if self.is_quick { quick } else { full })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where the bench reads its environment")]
fn log_seconds() -> Outcome<u64> {
    let Some(text) = std::env::var_os("QCTL_BENCH_LOG_SECONDS") else { return Ok(60) };
    let seconds = text.to_str().and_then(|text| text.parse().ok());
    seconds.ok_or_else(|| Trouble::failed("QCTL_BENCH_LOG_SECONDS is not a number of seconds"))
}

/// The folders in which programs are looked for, as the shell that started the bench has them.
#[expect(clippy::disallowed_methods, reason = "this is where the bench reads its environment")]
pub(crate) fn path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned())
}
