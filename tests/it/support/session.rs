//! Sessions in the documentation: what is typed there is run, and what is shown must be what comes.
//!
//! A console block is a session. Lines that begin with `$ ` are typed (a backslash at the end, or a
//! here-document, goes on to the next line), and what follows is what the terminal then shows. `[..]`
//! stands for anything in a line and `...` for any lines; times and lengths of time are examples.
//!
//! A block that is not run says why in a comment before it: `<!-- No console block: … -->`. A section
//! that does not work everywhere says what it takes: `<!-- Needs: COMMAND -->`, which must succeed.

use snapbox::Data;

use super::Sandbox;

/// A fenced block of a page.
#[derive(Debug)]
pub(crate) struct Block {
    /// Its language.
    pub(crate) language: &'static str,
    /// Its lines.
    pub(crate) text: String,
    /// The heading of its section.
    pub(crate) section: &'static str,
    /// Why it is not run, where the line before it says so.
    pub(crate) why_not: Option<&'static str>,
    /// What its section takes.
    pub(crate) needs: Option<&'static str>,
}

/// The blocks of a page, in order.
pub(crate) fn blocks(page: &'static str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut section, mut needs, mut why_not) = ("", None, None);
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            (section, needs) = (heading, None);
        } else if let Some(command) = comment(line, "Needs") {
            needs = Some(command);
        } else if let Some(reason) = comment(line, "No console block") {
            why_not = Some(reason);
        } else if let Some(language) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            blocks.push(Block { language, text, section, why_not: why_not.take(), needs });
        } else if !line.is_empty() {
            why_not = None;
        }
    }
    blocks
}

fn comment(line: &'static str, name: &str) -> Option<&'static str> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")?.strip_prefix(name)?.strip_prefix(": ")
}

/// What is typed at a prompt, and what is then shown.
struct Step {
    typed: String,
    shown: String,
}

fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = block.lines();
    while let Some(line) = lines.next() {
        if let Some(typed) = line.strip_prefix("$ ") {
            let mut typed = typed.to_owned();
            while typed.ends_with('\\') {
                typed.push_str(&format!("\n{}", lines.next().expect("what goes on has an end")));
            }
            if let Some((_, end)) = typed.clone().split_once("<<'") {
                let end = end.split('\'').next().expect("a first part");
                for line in lines.by_ref() {
                    typed.push_str(&format!("\n{line}"));
                    if line == end {
                        break;
                    }
                }
            }
            steps.push(Step { typed, shown: String::new() });
        } else {
            let step = steps.last_mut().expect("a block begins with a prompt");
            step.shown.push_str(&format!("{line}\n"));
        }
    }
    steps
}

/// Plays the console blocks as one session in this folder; answers where another thing came than is
/// shown, nothing where all is as shown.
pub(crate) fn play<'b>(queue: &Sandbox, blocks: impl IntoIterator<Item = &'b Block>) -> String {
    let consoles = blocks.into_iter().filter(|block| block.language == "console");
    let steps: Vec<Step> = consoles.flat_map(|block| steps(&block.text)).collect();
    let claim = snapbox::Assert::new().normalize_paths(false);
    let mut wrong = String::new();
    for (step, shown) in steps.iter().zip(run(queue, &steps)) {
        // Output that does not end its line is shown as if it did.
        let shown = if shown.is_empty() || shown.ends_with('\n') { shown } else { shown + "\n" };
        let expected = Data::text(without_times(&step.shown));
        if let Err(difference) = claim.try_eq(Some(&step.typed), Data::text(shown), expected) {
            wrong.push_str(&difference.to_string());
        }
    }
    wrong
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
    // The session names its queue itself, as a reader would, who has logged in.
    let output = command
        .env_remove("QCTL_DB")
        .env("XDG_RUNTIME_DIR", queue.path(""))
        .arg("session")
        .output()
        .expect("bash starts");
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
