//! For GitHub Actions: annotations, which its runner reads from the log, and the summary of a step.
//!
//! What the runner takes for a command was read from its source (`ActionCommand.cs`): a line that
//! begins with `::` once white space is passed over, and `##[` anywhere in a line.

use super::Look;
use super::waited::{Totals, Waited};
use super::words;

/// How many errors a step may show; the service drops what comes after.
const MAX_ANNOTATIONS: usize = 10;

/// Errors that are shown on the page of the run, a line each.
pub fn annotations(failed: &[Waited], n_failed: usize, look: &Look) -> Vec<String> {
    let shown = &failed[..failed.len().min(MAX_ANNOTATIONS)];
    let mut lines: Vec<String> = shown.iter().map(|waited| annotation(waited, look)).collect();
    if n_failed > shown.len() {
        // Not an annotation: it would be dropped.
        lines.push(format!("and {} without an annotation", words::count(n_failed - shown.len(), "more job")));
    }
    lines
}

fn annotation(waited: &Waited, look: &Look) -> String {
    let command = waited.short_command(look);
    let mut title = format!("job {} {}", waited.id, waited.state());
    if !command.is_empty() {
        title.push_str(&format!(": {command}"));
    }
    format!("::error title={}::{}", property(&title), message(&waited.error()))
}

fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

/// A line of which the runner takes nothing for a command, wherever in it others' words stand. It
/// must begin with qctl's own.
pub fn inert(line: &str) -> String {
    line.replace("##[", "##\\x5b")
}

/// The summary of a step: how many came to which end, and those that did not succeed.
pub fn summary(totals: &Totals, failed: &[Waited], more: &str) -> String {
    let Totals { n_succeeded, n_failed, n_pending } = *totals;
    let n_jobs = words::count(n_succeeded + n_failed + n_pending, "job");
    let mut text = format!(
        "### qctl waited for {n_jobs}\n\n| succeeded | failed | not done |\n| ---: | ---: | ---: |\n| {n_succeeded} | {n_failed} | {n_pending} |\n\n"
    );
    for waited in failed {
        text.push_str(&failure(waited));
    }
    if n_failed > failed.len() {
        text.push_str(&format!("and {} more: {}\n\n", n_failed - failed.len(), code(more)));
    }
    text
}

fn failure(waited: &Waited) -> String {
    let mut text = format!("**Job {}** {}", waited.id, waited.state());
    if let Some(job) = &waited.job {
        text.push_str(&format!(" in queue {}: {}", code(job.queue.as_str()), code(&waited.error())));
    }
    text.push_str("\n\n");
    let command = waited.command();
    if !command.is_empty() {
        text.push_str(&block(&command));
    }
    if !waited.tail.is_empty() {
        text.push_str(&block(&waited.tail.join("\n")));
    }
    text
}

/// Text that stands in a line as it is. Within its marks nothing means anything, and the spaces that
/// part it from them are not shown.
fn code(text: &str) -> String {
    let marks = "`".repeat(longest_run(text) + 1);
    format!("{marks} {text} {marks}")
}

/// Lines that stand as they are: nothing in them ends the block.
fn block(lines: &str) -> String {
    let fence = "`".repeat((longest_run(lines) + 1).max(3));
    format!("{fence}text\n{lines}\n{fence}\n\n")
}

/// How many backticks follow each other at the most.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_message_or_a_property_is_escaped() {
        assert_eq!(message("100%\r\n: a,b"), "100%25%0D%0A: a,b");
        assert_eq!(property("100%\r\n: a,b"), "100%25%0D%0A%3A a%2Cb");
    }

    #[test]
    fn no_older_command_survives_within_a_line() {
        assert_eq!(inert("    | a ##[add-mask]b ###[x]"), "    | a ##\\x5badd-mask]b ###\\x5bx]");
    }

    #[test]
    fn nothing_breaks_out_of_a_block_or_out_of_code() {
        assert_eq!(block("a"), "```text\na\n```\n\n");
        assert_eq!(block("````\nb `"), "`````text\n````\nb `\n`````\n\n");
        assert_eq!(code("echo `date`"), "`` echo `date` ``");
    }
}
