//! What a long history and a long backlog cost: a turn of a worker, and what people look at.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use qctl::store::Access;

use crate::history::{self, Size};
use crate::options::Options;
use crate::place::Place;
use crate::table::{Bar, Row, Table, Unit};
use crate::timing::{Samples, now, time};
use crate::trouble::Outcome;
use crate::turns::Runner;

/// How many turns are taken on one queue before it is the other's.
const BLOCK: usize = 100;

/// What has a bar: what people and shells ask again and again.
const LOOKS: [&str; 9] = [
    "stats",
    "list",
    "dlq list",
    "show JOB",
    "why JOB",
    "complete show",
    "complete cancel",
    "complete dlq requeue",
    "complete push -Q",
];

/// What is for information.
const MORE_LOOKS: [&str; 11] = [
    "stats --since 1h",
    "list -s dead",
    "list -s ready",
    "list -s running",
    "list -s scheduled",
    "list -s cancelled",
    "list -Q queue-17",
    "list -Q queue-17 -s dead",
    "list -l build=481",
    "queue list",
    "workers",
];

pub(crate) fn rows(table: &mut Table, options: &Options) {
    // For a quick look a hundredth of the jobs has to do; that `doctor` can vouch for.
    let share = if options.is_quick { 100 } else { 1 };
    let made = Place::new().and_then(|place| {
        let (large, small) = (place.path("large.db"), place.path("small.db"));
        history::fill(&large, &Size::LARGE.divided_by(share))?;
        history::fill(&small, &Size::SMALL)?;
        if share > 1 {
            history::vouch(&large)?;
            history::vouch(&small)?;
        }
        Ok((place, large, small))
    });
    let what = "a turn with 22 million jobs in 200 queues against 10,000 alone";
    match made {
        Ok((place, large, small)) => {
            table.add_all(what, turns(what, [&large, &small], options.times(2000, 400)));
            let job = Size::LARGE.divided_by(share).middle();
            for (looks, bar) in [(&LOOKS[..], Bar::AtMost(50.0)), (&MORE_LOOKS[..], Bar::None)] {
                for look in looks {
                    let words = look.replace("JOB", &job.to_string());
                    table.add(&words, self::look((&place, &large), &words, options).map(|row| row(bar)));
                }
            }
        }
        Err(trouble) => table.add(what, Err(trouble)),
    }
}

/// Takes `n` turns on each queue, a block on the one and a block on the other.
fn turns(what: &str, queues: [&PathBuf; 2], n: usize) -> Outcome<Vec<Row>> {
    let mut runners = Vec::new();
    for queue in queues {
        runners.push((Runner::new(queue, Access::Existing)?, Samples::default(), Samples::default()));
    }
    // The first block meets an empty cache.
    for block in 0..=n.div_ceil(BLOCK) {
        for (runner, bare, durable) in &mut runners {
            for _ in 0..BLOCK {
                let started = now();
                runner.turn()?;
                let took = now() - started;
                runner.sync()?;
                if block > 0 {
                    bare.add(took);
                    durable.add(now() - started);
                }
            }
            runner.tidy()?;
        }
    }
    for (runner, ..) in &mut runners {
        runner.leave()?;
    }
    let [(_, large, large_durable), (_, small, small_durable)] =
        <[_; 2]>::try_from(runners).unwrap_or_else(|_| unreachable!("there are two queues"));
    Ok(vec![
        Row::ratio(what, &large, &small, Bar::AtMost(1.5)),
        Row::ratio("the same with its sync", &large_durable, &small_durable, Bar::None),
    ])
}

/// How long a verb takes on that queue, as a process: the median after the first time.
fn look((place, db): (&Place, &Path), words: &str, options: &Options) -> Outcome<impl FnOnce(Bar) -> Row> {
    let run = || time(command(place, words).env("QCTL_DB", db));
    let first = run()?;
    let mut samples = Samples::default();
    for _ in 0..options.times(20, 5) {
        samples.add(run()?);
    }
    let name = words.strip_prefix("complete ").map_or_else(|| words.to_owned(), |words| format!("{words} <Tab>"));
    let text = format!("{}, first {:.1} ms", samples.described(), millis(first));
    Ok(move |bar| Row::figure(name, millis(samples.median()), Unit::Millis, bar).ours(text))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// qctl with these words, or as a shell calls it to have the next one completed.
fn command(place: &Place, words: &str) -> Command {
    let Some(words) = words.strip_prefix("complete ") else {
        return place.qctl(&words.split(' ').collect::<Vec<_>>());
    };
    let words: Vec<&str> = words.split(' ').collect();
    let mut command = place.qctl(&["--", "qctl"]);
    command.envs([("COMPLETE", "bash"), ("_CLAP_IFS", "\n"), ("_CLAP_COMPLETE_SPACE", "false")]);
    command.env("_CLAP_COMPLETE_INDEX", (words.len() + 1).to_string());
    command.env("_CLAP_COMPLETE_COMP_TYPE", "9").args(words).arg("").stdin(Stdio::null());
    command
}
