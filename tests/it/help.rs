//! Help: every verb in its group, topics, and where to find more.

use crate::support::Sandbox;

#[test]
fn the_overview_is_the_same_however_one_asks() {
    let queue = Sandbox::new();
    let help = queue.qctl("help").succeeds().says_nothing().out();
    for line in ["--help", "-h"] {
        assert_eq!(queue.qctl(line).succeeds().says_nothing().out(), help);
    }
    for part in ["\nPut work in\n  push ", "\nTopics (qctl help TOPIC)\n", "\nOptions of every verb\n", "Example"] {
        assert!(help.contains(part), "{part:?} in {help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    assert!(!queue.db().exists());
}

#[test]
fn a_verb_is_explained_also_by_another_name_and_with_its_verb() {
    let queue = Sandbox::new();
    let of_push = queue.qctl("help push").succeeds().out();
    assert_eq!(of_push.trim_end(), queue.qctl("push --help").succeeds().out().trim_end());
    assert_eq!(queue.qctl("help enqueue").succeeds().out(), of_push);
    assert!(queue.qctl("help queue set").succeeds().out().contains("--keep-rows"));
    queue.qctl("help nothing").exits(2).says("there is no verb or topic nothing").says("hint: see qctl help");
}

/// Whether a line is no wider than prose should be; what is to be copied is as long as it is.
fn fits(line: &str) -> bool {
    line.starts_with("    ") || line.chars().count() <= 112
}

#[test]
fn every_topic_is_a_text_and_the_statuses_are_those_of_the_code() {
    let queue = Sandbox::new();
    for topic in ["cron", "ci", "guarantees"] {
        let text = queue.qctl(&format!("help {topic}")).succeeds().out();
        assert!(text.lines().count() > 10 && text.lines().all(fits), "{text}");
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("man/qctl-{topic}.7"));
        assert!(page.exists());
    }
    let statuses = queue.qctl("help exit-status").succeeds().out();
    for (status, meaning) in qctl::exit::table() {
        let line = statuses.lines().find(|line| line.trim_start().starts_with(&format!("{status} ")));
        assert!(line.is_some_and(|line| line.ends_with(meaning)), "{status}: {statuses}");
    }
    assert!(queue.qctl("help --json").succeeds().json()["help"].as_str().is_some_and(|text| text.contains("push")));
}
