//! The page that compares qctl with its peers claims nothing of them without saying where it stands.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../docs/comparison.md");

/// The names of the footnotes in a text that are not being defined there.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let names = text.split("[^").skip(1).filter_map(|rest| rest.split_once(']'));
    names.filter(|(_, rest)| !rest.starts_with(": ")).map(|(name, _)| name)
}

#[test]
fn every_claim_about_a_peer_has_its_source() {
    let (_, section) = PAGE.split_once("\n## Feature by feature\n").expect("a table");
    let (table, _) = section.split_once("\n## ").expect("another section after it");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).collect();
    assert!(rows.len() > 20);
    for row in &rows[1..] {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 7, "{row}");
        for claim in cells[2..].iter().flat_map(|cell| cell.split(';')).map(str::trim) {
            assert!(claim == "–" || claim.contains("[^"), "no source: {claim:?} in {row}");
        }
    }
}

#[test]
fn every_footnote_is_used_and_every_source_is_named() {
    let used: BTreeSet<&str> = references(PAGE).collect();
    let defined: Vec<&str> =
        PAGE.lines().filter_map(|line| Some(line.strip_prefix("[^")?.split_once("]: ")?.0)).collect();
    assert_eq!(used, defined.iter().copied().collect());
    assert_eq!(used.len(), defined.len(), "one is defined twice");
}
