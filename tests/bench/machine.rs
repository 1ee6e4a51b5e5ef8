//! When and where the figures come from.

use std::path::Path;

use qctl::clock::{Clock as _, SystemClock};

use crate::options::Options;

/// A Markdown paragraph: date, kernel, processors, memory, file system, and how busy the machine was.
pub(crate) fn described(options: &Options) -> String {
    let now = jiff::Timestamp::from_millisecond(SystemClock::default().now().as_millis()).unwrap_or_default();
    let quick = if options.is_quick { " Few repetitions (`--quick`): not to be quoted." } else { "" };
    format!(
        "Measured {}, on Linux {}, {}, {} of memory; files on {}. Load average before the table was written: {}.{quick}\n",
        now.strftime("%F %H:%M UTC"),
        line("/proc/sys/kernel/osrelease"),
        processors(),
        memory(),
        file_system(Path::new(env!("CARGO_TARGET_TMPDIR"))),
        line("/proc/loadavg").split(' ').next().unwrap_or("unknown"),
    )
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

fn line(file: &str) -> String {
    read(file).trim().to_owned()
}

/// What follows the colon of the first line of this name.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

fn processors() -> String {
    let text = read("/proc/cpuinfo");
    let n = text.lines().filter(|line| line.starts_with("processor")).count();
    format!("{n} × {}", field(&text, "model name").unwrap_or(std::env::consts::ARCH))
}

fn memory() -> String {
    let text = read("/proc/meminfo");
    let kibibytes = field(&text, "MemTotal").and_then(|value| value.split(' ').next()?.parse::<f64>().ok());
    kibibytes
        .map_or_else(|| "unknown size".to_owned(), |kibibytes| format!("{:.1} GiB", kibibytes / f64::from(1 << 20)))
}

/// The type and the device of the mount with the longest path that leads here.
fn file_system(place: &Path) -> String {
    let text = read("/proc/self/mountinfo");
    let mounts = text.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let path = left.split(' ').nth(4)?;
        let mut right = right.split(' ');
        place.starts_with(path).then_some((path.len(), right.next()?, right.next()?))
    });
    let mount = mounts.max_by_key(|(length, _, _)| *length);
    mount.map_or_else(|| "an unknown file system".to_owned(), |(_, kind, device)| format!("{kind} ({device})"))
}
