//! The README says what is true: its tour is run, and its table of exit statuses is the one in the
//! code. All its console blocks are one session in one folder.

use crate::support::Sandbox;
use crate::support::session::{self, Block};

const README: &str = include_str!("../../README.md");

#[test]
fn the_tour_runs_as_the_readme_shows_it() {
    let wrong = session::play(&Sandbox::new(), &session::blocks(README));
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_set_up_is_two_lines_and_its_first_job_runs() {
    let blocks = session::blocks(README);
    let set_up: Vec<&Block> = blocks.iter().filter(|block| block.language == "sh").collect();
    let [set_up] = set_up.as_slice() else { panic!("one block of set-up") };
    let lines: Vec<&str> = set_up.text.lines().collect();
    let [install, test] = lines.as_slice() else { panic!("two lines of set-up") };
    assert_eq!(*test, "cargo test --locked");
    let first_job = install.strip_prefix("cargo install --path . --locked && ").expect("it installs first");
    queue_at_home().sh(&format!("unset QCTL_DB; {first_job}")).succeeds().prints("1\nhello\n").says("succeeded");
}

fn queue_at_home() -> Sandbox {
    Sandbox::new()
}

#[test]
fn every_block_is_run_or_says_that_it_is_not() {
    for Block { language, text, why_not, .. } in session::blocks(README) {
        let is_run = ["console", "sh"].contains(&language);
        assert!(is_run || (language == "text" && why_not.is_some()), "{language}: {text}");
    }
}

#[test]
fn the_exit_statuses_are_those_of_the_code() {
    let (_, section) = README.split_once("\n## Exit status\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("another section after it");
    let rows: Vec<(String, String)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "))
        .map(|(status, meaning)| (status.to_owned(), meaning.replace('`', "")))
        .skip(2)
        .collect();
    let mut known: Vec<(String, String)> =
        qctl::exit::STATUSES.iter().map(|(status, meaning)| (status.to_string(), (*meaning).to_owned())).collect();
    let of_commands = "run, step: the command could not be executed, was not found, died of signal n";
    known.push(("126, 127, 128+n".to_owned(), of_commands.to_owned()));
    assert_eq!(rows, known);
}
