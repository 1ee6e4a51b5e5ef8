//! The pictures of the README are screens of real runs: drawn anew by each test run, and compared with
//! those that are kept in `docs/pictures`.
//!
//! What no two runs have in common, such as how long a command took, is left out of the comparison, and a
//! picture that differs in nothing else is left as it is. To draw those anew that are stale, or not yet
//! there:
//!
//! ```sh
//! SNAPSHOTS=overwrite cargo test --test it pictures
//! ```
//!
//! Another picture is another line in [`PICTURES`], and what it should show another job in [`morning`].

use std::path::{Path, PathBuf};

use snapbox::Data;
use snapbox::data::DataFormat;

use crate::support::{Running, Sandbox};

/// The pictures, with what is typed for them.
const PICTURES: &[(&str, &str)] =
    &[("list", "qctl list"), ("show", "qctl show 1"), ("dlq", "qctl dlq list"), ("stats", "qctl stats")];

/// As wide as the README shows without making it smaller, and higher than anything that is drawn.
const SIZE: (u16, u16) = (88, 60);

/// A morning on which this and that went wrong, and a worker that still runs.
///
/// Lengths of time that are shown lie well within a minute, so that they do not depend on how fast this
/// machine is.
fn morning() -> (Sandbox, Running) {
    let mut queue = Sandbox::new();
    queue.set_clock("2026-03-02T09:00:20Z");
    write_commands(&queue);
    queue.push("-Q mail --max-attempts 3 --backoff fixed:30m --jitter none -l customer=8841 -- ./send-invoice 8841");

    // The machine goes down while the first attempt hangs, and comes back 40 minutes later.
    queue.advance("5m 20s");
    queue.write("smtp-is-silent", "");
    let worker = queue.start("work -Q mail");
    queue.wait_until("the invoice is being sent", || queue.path("sending").exists());
    worker.dies();
    std::fs::remove_file(queue.path("smtp-is-silent")).expect("it is there");
    for pause in ["40m 20s", "31m", "31m"] {
        queue.advance(pause);
        queue.qctl("work -Q mail --drain").succeeds();
    }

    queue.push("-Q imports --dead-on 65 -- ./import-orders march.csv");
    queue.push("tar -czf photos.tar.gz photos");
    queue.push("-Q feeds --backoff fixed:3h --jitter none -- ./fetch-rates EUR");
    queue.qctl("work --drain").succeeds();
    queue.push("-Q media -- ./transcode talk.mov");
    let worker = queue.start("work -Q media --grace 0s");
    queue.wait_until("the film is being transcoded", || queue.path("transcoding").exists());
    queue.advance("25m");
    queue.push("-Q media -- ./transcode interview.mov");
    queue.push("-Q reports --delay 8h -- ./report --weekly --for 'the board'");
    queue.push("-Q media -- ./transcode old.avi");
    queue.qctl("cancel 8").succeeds();
    queue.advance("1h 20m 30s");
    (queue, worker)
}

fn write_commands(queue: &Sandbox) {
    let commands = [
        (
            "send-invoice",
            "touch sending; [ ! -e smtp-is-silent ] || exec sleep 300\necho 'no route to host' >&2; exit 75",
        ),
        ("import-orders", "echo 'line 17: no price' >&2; exit 65"),
        ("fetch-rates", "echo 'HTTP 503' >&2; exit 22"),
        ("transcode", "touch transcoding; exec sleep 300"),
    ];
    for (name, script) in commands {
        queue.write(name, format!("#!/bin/sh\n{script}\n"));
    }
    queue.sh("chmod +x send-invoice import-orders fetch-rates transcode && mkdir photos").succeeds();
}

/// What a terminal shows after this line, with its colours.
fn screen(queue: &Sandbox, line: &str) -> String {
    let mut bash = queue.terminal(SIZE, "PS1='$ ' exec bash --norc --noprofile -i");
    bash.runs(line);
    let screen = bash.screen().contents_formatted_basic();
    let screen = screen.trim_end().trim_end_matches('$').trim_end();
    // A temporary folder has another name each time.
    let folder = queue.db().parent().expect("it is in a folder").display().to_string();
    screen.replace(&folder, "/home/anna/shop")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures")
}

/// A picture without what no two runs have in common, and without the space that this takes.
fn without_what_varies(svg: &str) -> String {
    let line = |line: &str| {
        line.replace('<', " <").replace('>', "> ").split_whitespace().map(word).collect::<Vec<_>>().join(" ")
    };
    // The first line is as wide as the longest of the screen.
    svg.lines().skip(1).map(|text| line(text) + "\n").collect()
}

/// Puts a mark for a time of day, an instant, a number with a decimal, a length of less than an hour.
fn word(word: &str) -> &str {
    let bare = word.trim_end_matches([',', ';']);
    let is_made_of = |text: &str, others: &str| text.chars().all(|c| c.is_ascii_digit() || others.contains(c));
    let is_clock = bare.len() == 8 && is_made_of(bare, ":");
    let is_instant = bare.len() == 25 && is_made_of(bare, "-:+T");
    let number = bare.trim_end_matches('s').trim_end_matches('m');
    let is_number =
        !number.is_empty() && is_made_of(number, ".") && (number.len() < bare.len() || number.contains('.'));
    if is_clock || is_instant || is_number { "[..]" } else { word }
}

#[test]
fn the_pictures_are_what_a_terminal_shows_now() {
    let (queue, worker) = morning();
    let claim = snapbox::Assert::new().normalize_paths(false).action_env(snapbox::assert::DEFAULT_ACTION_ENV);
    let mut stale = String::new();
    for (name, line) in PICTURES {
        let new = Data::text(screen(&queue, line)).coerce_to(DataFormat::TermSvg);
        let kept = Data::read_from(&folder().join(format!("{name}.svg")), Some(DataFormat::TermSvg));
        let is_same = |kept: String| without_what_varies(&kept) == without_what_varies(&new.to_string());
        if !kept.render().is_some_and(is_same)
            && let Err(difference) = claim.try_eq(Some(name), new, kept)
        {
            stale.push_str(&difference.to_string());
        }
    }
    worker.stops().succeeds();
    assert!(stale.is_empty(), "{stale}");
}

#[test]
fn every_picture_that_the_readme_shows_is_drawn_here_and_has_words() {
    let readme = include_str!("../../README.md");
    let shown: Vec<(&str, &str)> = readme
        .split("![")
        .skip(1)
        .filter_map(|image| image.split_once("](docs/pictures/"))
        .map(|(words, rest)| (words, rest.split(".svg)").next().unwrap_or_default()))
        .collect();
    assert!(!shown.is_empty());
    for (words, name) in shown {
        assert!(PICTURES.iter().any(|(drawn, _)| *drawn == name), "{name} is not drawn");
        assert!(!words.is_empty(), "{name} has no words for those who do not see it");
    }
    for entry in std::fs::read_dir(folder()).expect("a folder of pictures") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        assert!(PICTURES.iter().any(|(drawn, _)| *drawn == name), "{} is not drawn", path.display());
    }
}
