//! The README says what is true: its tour is run, and its table of exit statuses is the one in the
//! code.
//!
//! A console block is a session. Lines that begin with `$ ` are typed (a backslash at the end goes on
//! to the next line), and what follows is what the terminal then shows. All blocks are one session in
//! one folder. `[..]` stands for anything in a line and `...` for any lines; times and lengths of
//! time are examples.

use snapbox::Data;

use crate::support::Sandbox;

const README: &str = include_str!("../../README.md");

/// What is typed at a prompt, and what is then shown.
struct Step {
    typed: String,
    shown: String,
}

/// A fenced block: its language, and its lines.
struct Block {
    language: &'static str,
    text: String,
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = README.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            blocks.push(Block { language, text });
        }
    }
    blocks
}

fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for line in block.lines() {
        if goes_on {
            let step = steps.last_mut().expect("what goes on has begun");
            step.typed.push_str(&format!("\n{line}"));
            goes_on = line.ends_with('\\');
        } else if let Some(typed) = line.strip_prefix("$ ") {
            steps.push(Step { typed: typed.to_owned(), shown: String::new() });
            goes_on = typed.ends_with('\\');
        } else {
            let step = steps.last_mut().expect("a block begins with a prompt");
            step.shown.push_str(&format!("{line}\n"));
        }
    }
    steps
}

/// Runs what is typed in one session; answers what each step showed, stdout and stderr as they came.
fn run(queue: &Sandbox, steps: &[Step]) -> Vec<String> {
    const MARK: char = '\x1e';
    // The mark gives the status on, so that `$?` is that of the step before.
    let mut script =
        format!("exec 2>&1\nmark() {{ local status=$?; printf '\\{:o}'; return $status; }}\n", MARK as u32);
    for step in steps {
        script.push_str(&format!("{}\nmark\n", step.typed));
    }
    queue.write("session", script);
    let mut command = queue.command("bash");
    // The session names its queue itself, as a reader would.
    let output = command.env_remove("QCTL_DB").arg("session").output().expect("bash starts");
    let shown = String::from_utf8(output.stdout).expect("text");
    let mut shown: Vec<String> = shown.split(MARK).map(str::to_owned).collect();
    assert_eq!(shown.pop().as_deref(), Some(""), "the session broke off");
    assert_eq!(shown.len(), steps.len(), "every step was run");
    shown
}

/// Puts `[..]` where the README has an example of a time or of a length of time.
fn without_times(text: &str) -> String {
    let line = |line: &str| {
        line.split(' ')
            .map(|words| words.split('\t').map(word).collect::<Vec<_>>().join("\t"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

fn word(word: &str) -> &str {
    let is_made_of =
        |text: &str, others: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || others.contains(c));
    let is_clock = word.len() == 8 && word.matches(':').count() == 2 && is_made_of(word, ":");
    let is_instant = word.len() == 25 && word.as_bytes()[10] == b'T' && is_made_of(word, "-+:T");
    let number = word.trim_end_matches(';').trim_end_matches('s').trim_end_matches('m');
    let is_length = number.len() < word.trim_end_matches(';').len() && is_made_of(number, ".");
    match (is_clock || is_instant, is_length) {
        (true, _) => "[..]",
        (_, true) if word.ends_with(';') => "[..];",
        (_, true) => "[..]",
        (false, false) => word,
    }
}

#[test]
fn the_tour_runs_as_the_readme_shows_it() {
    let queue = Sandbox::new();
    let steps: Vec<Step> =
        blocks().iter().filter(|block| block.language == "console").flat_map(|block| steps(&block.text)).collect();
    let shown = run(&queue, &steps);
    let claim = snapbox::Assert::new().normalize_paths(false);
    let mut wrong = String::new();
    for (step, shown) in steps.iter().zip(shown) {
        // Output that does not end its line is shown as if it did.
        let shown = if shown.is_empty() || shown.ends_with('\n') { shown } else { shown + "\n" };
        let expected = Data::text(without_times(&step.shown));
        if let Err(difference) = claim.try_eq(Some(&step.typed), Data::text(shown), expected) {
            wrong.push_str(&difference.to_string());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_set_up_is_two_lines_and_its_first_job_runs() {
    let blocks = blocks();
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
    let languages: Vec<&str> = blocks().iter().map(|block| block.language).collect();
    assert!(languages.iter().all(|language| ["console", "sh", "text"].contains(language)), "{languages:?}");
    let n_passed_over = languages.iter().filter(|language| **language == "text").count();
    assert_eq!(README.matches("<!-- No console block: ").count(), n_passed_over);
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
    let of_commands = "run: the command could not be executed, was not found, died of signal n";
    known.push(("126, 127, 128+n".to_owned(), of_commands.to_owned()));
    assert_eq!(rows, known);
}
