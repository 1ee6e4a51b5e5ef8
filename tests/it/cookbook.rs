//! The cookbook works: each of its sections is a session of its own, in a folder of its own.

use crate::support::session::{self, Block};
use crate::support::{Sandbox, is_possible};

const COOKBOOK: &str = include_str!("../../docs/cookbook.md");

fn sections() -> Vec<Vec<Block>> {
    let mut sections: Vec<Vec<Block>> = Vec::new();
    for block in session::blocks(COOKBOOK) {
        match sections.last_mut() {
            Some(blocks) if blocks[0].section == block.section => blocks.push(block),
            _ => sections.push(vec![block]),
        }
    }
    sections
}

#[test]
fn every_recipe_runs_as_the_cookbook_shows_it() {
    let mut wrong = String::new();
    for blocks in sections() {
        if blocks[0].needs.is_none_or(is_possible) {
            let differs = session::play(&Sandbox::new(), &blocks);
            if !differs.is_empty() {
                wrong.push_str(&format!("## {}\n{differs}", blocks[0].section));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_section_has_something_that_is_run() {
    assert!(sections().len() >= 10);
    for blocks in sections() {
        assert!(blocks.iter().any(|block| block.language == "console"), "{}", blocks[0].section);
    }
}

#[test]
fn every_block_is_run_or_says_why_it_cannot_be() {
    for Block { language, text, why_not, .. } in session::blocks(COOKBOOK) {
        assert!((language == "console") != why_not.is_some(), "{language}: {text}");
    }
}

/// The commands of qctl in a line of text: the words of each.
fn commands(line: &str) -> Vec<Vec<&str>> {
    let ends = ["  ", ", ", "&&", "||", "|", ";", ">"];
    let starts = line.match_indices("qctl ").filter(|(at, _)| !line[..*at].ends_with('/'));
    let rests = starts.map(|(at, _)| &line[at + 5..]);
    let commands = rests.map(|rest| &rest[..ends.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len())]);
    commands.map(|command| command.split_whitespace().take_while(|word| *word != "--").collect()).collect()
}

#[test]
fn a_command_that_is_only_shown_is_one_that_qctl_knows() {
    let queue = Sandbox::new();
    let blocks = session::blocks(COOKBOOK).into_iter().filter(|block| block.language == "text");
    let lines: Vec<&str> = blocks.flat_map(|block| block.text.leak().lines()).collect();
    let commands: Vec<Vec<&str>> = lines.into_iter().flat_map(commands).collect();
    assert!(commands.len() > 40);
    for words in commands {
        let n_verbs = if ["queue", "dlq"].contains(&words[0]) { 2 } else { 1 };
        let help = queue.qctl(&format!("{} --help", words[..n_verbs].join(" "))).succeeds().out();
        let known: Vec<&str> = help.split([' ', ',', '\n']).collect();
        for option in words.iter().filter(|word| word.starts_with('-')) {
            assert!(known.contains(option), "{option} in {words:?}");
        }
    }
}

#[test]
fn every_block_of_yaml_is_yaml() {
    if !is_possible("python3 -c 'import yaml'") {
        return;
    }
    let queue = Sandbox::new();
    let blocks = session::blocks(COOKBOOK).into_iter().filter(|block| block.language == "yaml");
    for (n, block) in blocks.enumerate() {
        queue.write("block.yaml", &block.text);
        let output =
            queue.sh("python3 -c 'import sys, yaml; assert isinstance(yaml.safe_load(sys.stdin), dict)' < block.yaml");
        assert_eq!(output.err(), "", "block {n}");
    }
}
