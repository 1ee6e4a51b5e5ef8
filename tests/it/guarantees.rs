//! Every promise of `qctl help guarantees` names the tests that prove it, and these are there.

use std::path::Path;

use crate::support::Sandbox;

/// The sources of the tests of a kind, as one text.
fn sources(folder: &str) -> String {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&std::fs::read_to_string(path).expect("a source"));
            }
        }
    }
    text
}

/// Whether this folder has a file or folder of the modules that a test is named with.
fn has_module(folder: &str, modules: &[&str]) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(modules.join("/"));
    modules.is_empty() || path.is_dir() || path.with_extension("rs").exists()
}

#[test]
fn every_promise_names_tests_and_each_is_there() {
    let page = Sandbox::new().qctl("help guarantees").succeeds().out();
    let (_, promises) = page.split_once("What is promised\n\n").expect("promises");
    let (promises, _) = promises.split_once("\nWhat is not promised").expect("an end of them");
    let mut n_promises = 0;
    let mut is_proven = true;
    for paragraph in promises.trim_end().split("\n\n") {
        if !paragraph.starts_with("    ") {
            assert!(is_proven, "the promise before this one names no test: {paragraph}");
            (n_promises, is_proven) = (n_promises + 1, false);
            continue;
        }
        is_proven = true;
        for line in paragraph.lines() {
            let (kind, name) = line.trim().split_once(' ').expect("a kind and a name");
            let folder = match kind {
                "lib" => "src",
                "it" => "tests/it",
                "faults" => "tests/faults",
                other => panic!("{other} is no kind of test"),
            };
            let words: Vec<&str> = name.split("::").collect();
            let (test, modules) = words.split_last().expect("a name");
            assert!(has_module(folder, modules), "{line}: there is no such module");
            assert!(sources(folder).contains(&format!("fn {test}(")), "{line}: there is no such test");
        }
    }
    assert!(is_proven && n_promises >= 12, "{n_promises} promises");
}

/// The names of the tests of faults in the files of these folders.
fn tests_of_faults(files: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    for file in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults").join(file).with_extension("rs");
        let text = std::fs::read_to_string(path).expect("a source");
        for test in text.split("#[test]\n").skip(1) {
            let (_, name) = test.split_once("fn ").expect("a function");
            let (name, _) = name.split_once('(').expect("its parameters");
            names.push(format!("faults {}::{name}", file.replace('/', "::")));
        }
    }
    names
}

#[test]
fn every_test_that_breaks_events_or_steps_stands_under_what_it_proves() {
    let page = Sandbox::new().qctl("help guarantees").succeeds().out();
    let files = [
        "events/publishing",
        "events/catching_up",
        "events/verbs",
        "events/storm",
        "steps",
        "steps/doubt",
        "steps/storm",
        "powercut/events",
        "powercut/steps",
    ];
    let tests = tests_of_faults(&files);
    assert!(tests.len() >= 14, "{tests:?}");
    // Those of the tests themselves prove nothing of qctl.
    let is_own =
        |name: &str| name.contains("::the_check_of_the_storm_") || name.ends_with("::the_folder_lies_beside_the_queue");
    for test in tests.iter().filter(|name| !is_own(name)) {
        assert!(page.lines().any(|line| line.trim() == test), "{test} is not named");
    }
}
