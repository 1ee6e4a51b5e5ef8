//! Man pages and completion scripts are those that the binary writes.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::Sandbox;

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path()).expect("text");
            (entry.file_name().into_string().expect("a plain name"), text)
        })
        .collect()
}

#[test]
fn what_is_kept_is_what_the_binary_writes() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR"));
    let queue = Sandbox::new();
    queue.qctl("generate new").succeeds().prints("").says_nothing();
    for folder in ["man", "completions"] {
        let (new, old) = (files(&queue.path("new").join(folder)), files(&kept.join(folder)));
        let differing: Vec<&String> =
            new.keys().chain(old.keys()).filter(|name| new.get(*name) != old.get(*name)).collect();
        assert!(differing.is_empty(), "stale in {folder}: {differing:?}; write them anew: cargo run -- generate .");
    }
}

#[test]
fn every_man_page_renders_without_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let queue = Sandbox::new();
    assert!(files(&folder).len() > 15);
    for name in files(&folder).keys() {
        let page = folder.join(name);
        let output = queue.sh(&format!("man --warnings=all -l -E UTF-8 {} >/dev/null", page.display()));
        if output.err().contains("not found") {
            return; // a machine without man
        }
        output.succeeds().says_nothing();
    }
}

#[test]
fn every_page_of_a_verb_has_the_sections_that_people_look_for() {
    let pages = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("man"));
    for (name, page) in pages.iter().filter(|(name, _)| name.ends_with(".1")) {
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "FILES"]
        {
            assert!(
                page.contains(&format!(".SH \"{section}\"")) || page.contains(&format!(".SH {section}\n")),
                "{name}: {section}"
            );
        }
    }
    assert!(pages.contains_key("qctl-guarantees.7"));
}
