//! The house keeps its shape: arrows point down, and each thing has its place.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Sandbox;

/// Which rooms each room may use. What is not named may not be used.
const ARROWS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("job", &["clock"]),
    ("policy", &["clock", "job"]),
    ("store", &["clock", "job"]),
    ("process", &[]),
    ("signal", &[]),
    ("wake", &[]),
    ("worker", &["clock", "job", "policy", "store", "process", "signal", "wake"]),
    ("render", &["clock", "job"]),
    ("exit", &["store", "worker"]),
    ("ui", &["exit", "render"]),
    ("config", &["clock", "job", "render", "store", "ui"]),
    (
        "command",
        &["clock", "config", "exit", "job", "policy", "process", "render", "signal", "store", "ui", "wake", "worker"],
    ),
    ("cli", &["command", "config", "exit"]),
];

/// The files in which `unsafe` is allowed.
const UNSAFE: &[&str] = &["process/handle.rs", "process/reap.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file, with its path below `src`.
fn sources() -> Vec<(String, String)> {
    let mut folders = vec![root().join("src")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root().join("src")).expect("it is below src").display().to_string();
                sources.push((name, fs::read_to_string(&path).expect("a source")));
            }
        }
    }
    sources.sort();
    sources
}

fn room(name: &str) -> &str {
    name.split(['/', '.']).next().expect("a name")
}

/// The lines that are code, tests and comments left out.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().expect("a first part");
    code.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The rooms that a line names: `crate::job::…` or `use crate::{job, store}`.
fn named(line: &str) -> Vec<String> {
    let names = line.split("crate::").skip(1);
    names
        .map(|rest| rest.trim_start_matches("r#").chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

#[test]
fn arrows_point_down() {
    for (name, text) in sources().iter().filter(|(name, _)| !["main.rs", "lib.rs"].contains(&name.as_str())) {
        let (_, allowed) =
            ARROWS.iter().find(|(known, _)| *known == room(name)).unwrap_or_else(|| panic!("{name} is in no room"));
        for used in code(text).flat_map(named).filter(|used| used != room(name)) {
            assert!(allowed.contains(&used.as_str()), "{name} uses {used}");
        }
        assert!(!code(text).any(|line| line.contains("crate::{")), "{name}: name one room in each use");
    }
}

#[test]
fn the_arrow_table_itself_points_down() {
    for (n, (name, allowed)) in ARROWS.iter().enumerate() {
        for used in *allowed {
            assert!(
                ARROWS[..n].iter().any(|(below, _)| below == used),
                "{name} would use {used}, which is not below it"
            );
        }
    }
}

#[test]
fn only_the_store_knows_sql() {
    let words = ["insert into ", "delete from ", "update job", " from job", "pragma ", "rusqlite"];
    for (name, text) in sources().iter().filter(|(name, _)| !name.starts_with("store/sqlite")) {
        for line in code(text) {
            assert!(!words.iter().any(|word| line.contains(word)), "{name}: {line}");
        }
    }
}

#[test]
fn only_one_room_starts_processes_and_only_named_files_are_unsafe() {
    for (name, text) in sources() {
        for line in code(&text) {
            let starts = line.contains("process::Command") || line.contains("Stdio") || line.contains("Command::new(&");
            assert!(!starts || name.starts_with("process/"), "{name}: {line}");
            assert!(!line.contains("unsafe {") || UNSAFE.contains(&name.as_str()), "{name}: {line}");
        }
    }
}

#[test]
fn no_file_is_a_drawer_and_each_says_what_it_is_for() {
    for (name, text) in sources() {
        for drawer in ["util", "helper", "common", "misc"] {
            assert!(!name.contains(drawer), "{name}");
        }
        assert!(text.starts_with("//! "), "{name} does not say what it is for");
        let n_lines = code(&text).count();
        assert!(n_lines <= 420, "{name} has {n_lines} lines of code");
    }
}

#[test]
fn every_verb_has_a_file_a_man_page_and_a_test() {
    let tests: String = fs::read_dir(root().join("tests/it"))
        .expect("the tests")
        .filter_map(|entry| fs::read_to_string(entry.expect("an entry").path()).ok())
        .collect();
    let help = Sandbox::new().qctl("--help").succeeds().out();
    let (verbs, _) = help.split_once("\nTopics ").expect("topics after the verbs");
    let verbs: BTreeSet<&str> =
        verbs.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    assert!(verbs.len() >= 22, "{verbs:?}");
    for verb in verbs {
        assert!(root().join(format!("src/command/{verb}.rs")).exists(), "{verb} has no file");
        assert!(root().join(format!("man/qctl-{verb}.1")).exists(), "{verb} has no man page");
        let is_tested = [format!("qctl(\"{verb}"), format!("qctl {verb}"), format!("\"{verb} ")]
            .iter()
            .any(|use_| tests.contains(use_));
        assert!(is_tested, "{verb} has no test");
    }
}

#[test]
fn no_test_file_is_forgotten() {
    let main = fs::read_to_string(root().join("tests/it/main.rs")).expect("main.rs");
    for entry in fs::read_dir(root().join("tests/it")).expect("the tests") {
        let name = entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(name == "main" || main.contains(&format!("mod {name};")), "{name} is not in main.rs");
    }
}
