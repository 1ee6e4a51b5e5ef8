//! The units that have systemd run the workers of a queue.
//!
//! What a path may hold is more than a unit file takes as it is: `%` begins a specifier, `$` a
//! variable, and words are parted by spaces. Paths come in without control characters, which no
//! quoting brings through.

use std::time::Duration;

use serde_json::{Value, json};

/// A unit file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// What the units of a queue are made from. Paths are absolute.
#[derive(Clone, Copy, Debug)]
pub struct Workplace<'a> {
    /// The queue.
    pub queue: &'a str,
    /// The program.
    pub program: &'a str,
    /// The queue file.
    pub db: &'a str,
    /// The queue's flag.
    pub flag: &'a str,
    /// The flag of the queue of its hooks, which its worker serves too, where it can have one.
    pub hook_flag: Option<&'a str>,
    /// How many jobs run at the same time.
    pub n_slots: u16,
    /// How long running jobs get when the worker is stopped; none: as long as they take.
    pub grace: Option<Duration>,
    /// Whose worker it is, for the manager of the system; none for the user's own.
    pub user: Option<&'a str>,
}

/// From TERM to KILL, for jobs that say nothing else.
const KILL_AFTER: Duration = Duration::from_secs(10);

/// What the worker takes to hand back and leave after the last job has ended.
const MARGIN: Duration = Duration::from_secs(5);

/// How often a worker is started to see whether something falls due: time raises no flag.
const EVERY: Duration = Duration::from_secs(60);

/// How far ahead such a worker waits. Longer than the pause between two, so that nothing is late.
const AHEAD: Duration = Duration::from_secs(65);

/// A worker that stays.
pub fn staying(place: &Workplace<'_>) -> Vec<Unit> {
    let about = format!("qctl worker for queue {}", place.queue);
    let install = if place.user.is_some() { "multi-user.target" } else { "default.target" };
    let text = format!("{}\n[Install]\nWantedBy={install}\n", service(place, &about, ""));
    vec![named(place, "service", text)]
}

/// A worker that is started when its queue's flag is up, and one that looks after what falls due.
pub fn on_demand(place: &Workplace<'_>) -> Vec<Unit> {
    let queue = place.queue;
    let flags: String = std::iter::once(place.flag)
        .chain(place.hook_flag)
        .map(|flag| format!("PathExists={}\n", flag.replace('%', "%%")))
        .collect();
    let path = format!(
        "[Unit]\nDescription=qctl queue {queue} has something to do\n\n[Path]\n\
         # Raised by whoever makes a job ready, lowered by the worker before its last look.\n\
         {flags}\n[Install]\nWantedBy=paths.target\n"
    );
    let about = format!("qctl worker for queue {queue}, on demand");
    let ahead = AHEAD.as_secs();
    let timer = format!(
        "[Unit]\nDescription=qctl queue {queue} may have something due\n\n[Timer]\n\
         # Time raises no flag: the worker is started every minute too, and stays for what falls due\n\
         # within the next. It also finds what a crash left behind.\n\
         OnActiveSec=0\nOnUnitInactiveSec={}s\nAccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n",
        EVERY.as_secs()
    );
    vec![
        named(place, "path", path),
        named(place, "service", service(place, &about, &format!(" --drain --wait-due {ahead}s"))),
        named(place, "timer", timer),
    ]
}

fn named(place: &Workplace<'_>, kind: &str, text: String) -> Unit {
    Unit { name: format!("qctl-{}.{kind}", place.queue), text }
}

fn service(place: &Workplace<'_>, about: &str, rules: &str) -> String {
    let Workplace { queue, n_slots, .. } = place;
    let user = place.user.map(|user| format!("User={user}\n")).unwrap_or_default();
    let (program, db) = (word(place.program), word(place.db).replace('$', "$$"));
    let (grace, stop) = match place.grace {
        Some(grace) => {
            let stop = (grace + KILL_AFTER + MARGIN).as_millis().div_ceil(1000);
            (humantime::format_duration(grace).to_string().replace(' ', ""), format!("{stop}s"))
        }
        None => ("none".to_owned(), "infinity".to_owned()),
    };
    let linger = if place.user.is_some() {
        ""
    } else {
        "\n# A user's services run while the user is logged in; loginctl enable-linger keeps them."
    };
    format!(
        "[Unit]\nDescription={about}{linger}\n\
         # No limit to how often: every push to an idle queue may start it.\n\
         StartLimitIntervalSec=0\n\n[Service]\nType=exec\n{user}\
         ExecStart={program} --db {db} work --queue {queue} --jobs {n_slots} --grace {grace}{rules}\n\
         # TERM goes to the worker alone: it lets running jobs finish for --grace, then stops them and\n\
         # hands them back. What is left after that is killed. With jobs whose --kill-after is longer\n\
         # than {}s, make this longer too.\n\
         KillMode=mixed\nTimeoutStopSec={stop}\nRestart=on-failure\nRestartSec=5s\n\
         # A job that runs out of memory fails; the worker and the other jobs go on.\n\
         OOMPolicy=continue\n\
         # These hold for the jobs too, so they are yours to choose. The first keeps jobs from sudo and\n\
         # from sendmail.\n\
         #NoNewPrivileges=yes\n#PrivateTmp=yes\n#ProtectSystem=full\n",
        KILL_AFTER.as_secs()
    )
}

/// A word of a command line, as systemd reads it back. A `$` is left alone: in a program's path it
/// means nothing.
fn word(text: &str) -> String {
    let text = text.replace('%', "%%");
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:@,%$".contains(c);
    if text.chars().all(is_plain) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The units one after the other, each under its name.
pub fn listing(units: &[Unit]) -> String {
    let texts = units.iter().map(|Unit { name, text }| format!("# {name}\n{text}"));
    texts.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// The units as JSON has them.
pub fn json(units: &[Unit]) -> Value {
    units.iter().map(|Unit { name, text }| json!({ "name": name, "text": text })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Workplace<'_> = Workplace {
        queue: "mail",
        program: "/usr/bin/qctl",
        db: "/srv/q/queue.db",
        flag: "/srv/q/queue.db-wake/mail.ready",
        hook_flag: Some("/srv/q/queue.db-wake/mail.on-dead.ready"),
        n_slots: 4,
        grace: Some(Duration::from_secs(90)),
        user: None,
    };

    fn line<'t>(text: &'t str, name: &str) -> &'t str {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} is missing in\n{text}"))
    }

    #[test]
    fn a_stop_waits_for_the_grace_and_what_comes_after_it() {
        let text = &staying(&PLACE)[0].text;
        assert_eq!(line(text, "TimeoutStopSec="), "105s");
        assert!(line(text, "ExecStart=").ends_with("work --queue mail --jobs 4 --grace 1m30s"));
        let text = &staying(&Workplace { grace: None, ..PLACE })[0].text;
        assert_eq!(line(text, "TimeoutStopSec="), "infinity");
    }

    #[test]
    fn what_systemd_would_read_as_its_own_is_escaped() {
        let place = Workplace {
            program: "/opt/100% $q/qctl",
            db: r#"/srv/a "b" \ $c %h/queue.db"#,
            flag: "/srv/a b %h/mail.ready",
            ..PLACE
        };
        let units = on_demand(&place);
        assert_eq!(line(&units[0].text, "PathExists="), "/srv/a b %%h/mail.ready");
        assert!(units[0].text.contains("\nPathExists=/srv/q/queue.db-wake/mail.on-dead.ready\n\n[Install]"));
        let command = line(&units[1].text, "ExecStart=");
        let words = r#""/opt/100%% $q/qctl" --db "/srv/a \"b\" \\ $$c %%h/queue.db" work"#;
        assert!(command.starts_with(words), "{command}");
    }

    #[test]
    fn only_units_of_the_system_name_a_user() {
        let text = &staying(&Workplace { user: Some("deploy"), ..PLACE })[0].text;
        assert_eq!((line(text, "User="), line(text, "WantedBy=")), ("deploy", "multi-user.target"));
        let text = &staying(&PLACE)[0].text;
        assert!(!text.contains("User=") && text.contains("enable-linger"));
    }
}
