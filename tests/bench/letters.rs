//! How long people wait who look through a hundred thousand dead jobs, choose some and send them back.
//!
//! The jobs died of six causes, in the words of the programs that fail so, and differ in what such words differ in.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::options::Options;
use crate::place::{Place, succeed};
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::{Samples, time};
use crate::trouble::{Outcome, Trouble};

/// What they died of, with holes for what varies, the exit status, and how many of a hundred.
const CAUSES: [(&str, u32, usize); 6] = [
    ("error[E0308]: mismatched types in /build/{}/src/main.rs:{}:5", 101, 30),
    ("curl: (7) Failed to connect to 10.0.{}.7 port 8443 after {} ms: Connection refused", 7, 25),
    ("rsync error: some files could not be transferred (code 23) at main.c({}) [sender=3.2.7] id {}", 23, 20),
    ("requests.exceptions.HTTPError: 503 Server Error for url: https://api.example.com/v1/orders/{}?try={}", 1, 15),
    ("OSError: [Errno 28] No space left on device: '/srv/cache/{}/{}.tmp'", 1, 7),
    ("worker {}: gave up after {}.5s: deadline exceeded", 124, 3),
];

/// How many jobs are dead; a hundredth of them for a quick look.
const N_DEAD: usize = 100_000;

/// What looks, and changes nothing. GROUP is that of the second cause, JOB some job.
const LOOKS: [&str; 17] = [
    "dlq groups",
    "dlq groups --grep refused",
    "dlq groups --since 1h",
    "dlq list",
    "dlq list -Q mail",
    "dlq list --group GROUP",
    "dlq list --grep deadline",
    "dlq list --grep nothing.like.it",
    "dlq list --exit-code 124 --since 1h",
    "list -s dead --grep nothing.like.it",
    "dlq show JOB",
    "dlq check --max-count 1000000 --max-age 1000d --new-group 1m",
    "dlq requeue --group GROUP --dry-run",
    "dlq requeue --all --dry-run",
    "dlq drop --grep deadline --dry-run",
    "retry --grep deadline --dry-run",
    "dlq tasks",
];

/// What changes something, each time in a copy of its own.
const CHANGES: [&str; 5] = [
    "dlq requeue JOB",
    "dlq requeue --grep deadline --limit 5",
    "dlq requeue --group GROUP --sample 5 --rate 50/s --detach",
    "dlq drop --exit-code 124",
    "dlq drop JOB",
];

/// What changes many at once, for information.
const MASSES: [&str; 3] = ["dlq requeue --group GROUP", "dlq requeue --all", "dlq drop --all"];

/// How long a command may take, in milliseconds.
const BAR: Bar = Bar::AtMost(50.0);

pub(crate) fn rows(table: &mut Table, options: &Options) {
    match fill(if options.is_quick { N_DEAD / 100 } else { N_DEAD }) {
        Ok((place, group)) => {
            let spell = |words: &str| words.replace("GROUP", &group).replace("JOB", "777");
            for words in LOOKS {
                table.add(words, look(&place, words, &spell(words), options));
            }
            for (changes, bar) in [(&CHANGES[..], BAR), (&MASSES[..], Bar::None)] {
                for words in changes {
                    table.add(words, change(&place, words, &spell(words), options).map(|row| row(bar)));
                }
            }
        }
        Err(trouble) => table.add("dead jobs", Err(trouble)),
    }
}

/// A queue with that many dead jobs, and the group of those that could not connect.
fn fill(n: usize) -> Outcome<(Place, String)> {
    let place = Place::new()?;
    let mut lines = String::new();
    let shares: Vec<usize> = CAUSES.iter().enumerate().flat_map(|(nth, &(.., share))| vec![nth; share]).collect();
    for id in 1..=n {
        let (text, code, _) = CAUSES[shares[id * 7919 % 100]];
        let error = text.replacen("{}", &(id * 31 % 997).to_string(), 1).replacen("{}", &(id * 7).to_string(), 1);
        let job = serde_json::json!({
            "v": 1, "queue": "mail", "shell": format!("./deliver --order {id}"), "max_attempts": 5, "attempt": 5,
            "reason": "exhausted", "outcome": "failed", "exit_code": code, "error": error,
            "died_at": format!("@{}", 1_790_000_000 + id),
        });
        let _ = writeln!(lines, "{job}");
    }
    std::fs::write(place.path("dead.jsonl"), lines)?;
    succeed(&mut place.qctl(&["import", "--as-dead", "dead.jsonl"]))?;
    let groups = succeed(&mut place.qctl(&["dlq", "groups"]))?;
    if groups.lines().count() != CAUSES.len() {
        return Err(Trouble::failed(format!("six causes are not six groups:\n{groups}")));
    }
    let group = groups.lines().find(|line| line.contains("curl")).and_then(|line| line.split('\t').next());
    let group = group.ok_or_else(|| Trouble::failed("the group of curl is not there"))?.to_owned();
    // What is not yet folded back would be read again by each command.
    let folded = rusqlite::Connection::open(place.path("queue.db"))
        .and_then(|conn| conn.execute_batch("pragma wal_checkpoint(truncate)"));
    folded.map_err(|error| Trouble::failed(error.to_string()))?;
    std::fs::copy(place.path("queue.db"), place.path("whole.db"))?;
    Ok((place, group))
}

fn look(place: &Place, name: &str, words: &str, options: &Options) -> Outcome<Row> {
    let run = || time(&mut place.qctl(&words.split(' ').collect::<Vec<_>>()));
    run()?;
    let mut samples = Samples::default();
    for _ in 0..options.times(20, 3) {
        samples.add(run()?);
    }
    Ok(Row::figure(name, millis(samples.median()), Unit::Millis, BAR).ours(samples.described()))
}

fn change(place: &Place, name: &str, words: &str, options: &Options) -> Outcome<impl FnOnce(Bar) -> Row> {
    let mut samples = Samples::default();
    let db = place.path("copy.db");
    for _ in 0..options.times(9, 2) {
        for end in ["-wal", "-shm", "-lock"] {
            remove(Path::new(&format!("{}{end}", db.display())))?;
        }
        std::fs::copy(place.path("whole.db"), &db)?;
        std::fs::File::open(&db)?.sync_all()?;
        samples.add(time(place.qctl(&words.split(' ').collect::<Vec<_>>()).env("QCTL_DB", &db))?);
    }
    let name = name.to_owned();
    Ok(move |bar| Row::figure(name, millis(samples.median()), Unit::Millis, bar).ours(samples.described()))
}

fn remove(path: &Path) -> Outcome<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
