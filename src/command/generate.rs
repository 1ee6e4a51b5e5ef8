//! `qctl generate`, hidden: writes the man pages and the completion scripts that are kept in the
//! project. A test holds them in step.

use std::path::{Path, PathBuf};

use super::completions::Shell;
use super::help::TOPICS;
use super::{Answer, Ctx};
use crate::exit::{self, Exit, Failure};

/// Write the man pages and completion scripts
#[derive(clap::Args, Debug)]
pub(crate) struct Generate {
    /// Where to: `man` and `completions` are made there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// The date that the pages bear. Today's would make them differ from day to day.
const DATE: &str = "2026-11-24";

/// What qctl reads from its environment.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("QCTL_DB", "The queue file, where --db names none."),
    ("XDG_DATA_HOME", "Where user data lives; $HOME/.local/share if it is not set."),
    ("NO_COLOR", "Never paint, whatever its value."),
    ("CLICOLOR_FORCE, FORCE_COLOR", "Paint also where the output is no terminal, unless the value is 0."),
    ("LC_ALL, LC_CTYPE, LANG", "Where they do not say UTF-8, only ASCII is drawn."),
    (
        "GITHUB_ACTIONS, GITHUB_STEP_SUMMARY",
        "Where wait makes annotations and a summary of what failed; set by GitHub Actions.",
    ),
    ("TZ", "The zone in which local times are read and told."),
    ("COMPLETE", "The shell to answer a request for completion in; set by what `qctl completions` prints."),
];

/// What lies where.
const FILES: [(&str, &str); 5] = [
    ("$XDG_DATA_HOME/qctl/queue.db", "The queue, where neither --db nor QCTL_DB names one."),
    (
        "queue.db-wal, queue.db-shm",
        "The write-ahead log of the queue and its index. They belong to it: copy none alone.",
    ),
    ("queue.db-lock", "Locks by which workers are known to live."),
    (
        "queue.db-wake",
        "A folder of pipes by which processes wake each other, and of a file QUEUE.ready for each queue that has work to do.",
    ),
    ("queue.db-steps", "A folder of what steps printed beyond a megabyte. It belongs to the queue, as the log does."),
];

impl Generate {
    pub(crate) fn run(self, _ctx: &mut Ctx, tree: clap::Command) -> Answer {
        let unwritable = |error: std::io::Error| Failure::usage(format!("{}: {error}", self.dir.display()));
        write_pages(&self.dir.join("man"), tree).map_err(unwritable)?;
        write_scripts(&self.dir.join("completions")).map_err(unwritable)?;
        Ok(Exit::Done)
    }
}

fn write_scripts(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for (shell, name) in Shell::ALL {
        std::fs::write(dir.join(name), shell.script())?;
    }
    Ok(())
}

fn write_pages(dir: &Path, mut tree: clap::Command) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    tree.build();
    write_page(dir, &tree, "qctl", None)?;
    TOPICS.iter().filter(|(_, _, text)| !text.is_empty()).try_for_each(|topic| write_topic(dir, topic))
}

/// A page of section 7 for a topic of the help. In its text a line by itself without a full stop is a title, and
/// a paragraph that is indented by four blanks is kept as it is.
fn write_topic(dir: &Path, (name, about, text): &(&str, &str, &str)) -> std::io::Result<()> {
    let mut page = Page::default();
    let title = format!("QCTL-{}", name.to_uppercase());
    page.line(format!(".TH {title} 7 {DATE} \"qctl {}\" \"qctl manual\"", env!("CARGO_PKG_VERSION")));
    page.section("NAME");
    page.line(format!("{} \\- {}", roff(&format!("qctl-{name}")), roff(about)));
    page.section("DESCRIPTION");
    for paragraph in text.split("\n\n").skip(1) {
        let lines: Vec<&str> = paragraph.trim_end().lines().collect();
        match lines[..] {
            [one] if !one.starts_with(' ') && !one.ends_with(['.', ':']) => page.section(&one.to_uppercase()),
            [first, ..] if first.starts_with("    ") => {
                page.line(".PP\n.RS 2\n.nf");
                lines.iter().for_each(|line| page.text(line.trim_start()));
                page.line(".fi\n.RE");
            }
            _ => {
                page.line(".PP");
                lines.iter().for_each(|line| page.text(line.trim_start()));
            }
        }
    }
    page.section("SEE ALSO");
    page.text("qctl(1)");
    std::fs::write(dir.join(format!("qctl-{name}.7")), page.0)
}

/// One page for each verb, and for each verb of a verb.
fn write_page(dir: &Path, command: &clap::Command, name: &str, parent: Option<&str>) -> std::io::Result<()> {
    let verbs: Vec<&clap::Command> = command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() && (parent.is_none() || verb.get_name() != "help"))
        .collect();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = Page::default();
    page.line(format!(".TH {} 1 {DATE} \"qctl {}\" \"qctl manual\"", name.to_uppercase(), env!("CARGO_PKG_VERSION")));
    page.section("NAME");
    page.line(format!("{} \\- {}", roff(name), roff(&about)));
    page.section("SYNOPSIS");
    page.text(command.clone().render_usage().to_string().trim_start_matches("Usage: "));
    page.section("DESCRIPTION");
    page.prose(&command.get_long_about().map_or(about, ToString::to_string));
    page.options(command)?;
    let pages: Vec<(String, String)> = verbs
        .iter()
        .map(|verb| {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            (format!("{name}-{}(1)", verb.get_name()), about)
        })
        .collect();
    page.list("COMMANDS", &pages);
    page.after_help(&command.get_after_help().map(ToString::to_string).unwrap_or_default());
    let statuses = exit::table().into_iter().map(|(status, meaning)| (status, meaning.to_owned()));
    page.list("EXIT STATUS", &statuses.collect::<Vec<_>>());
    page.list("ENVIRONMENT", &ENVIRONMENT);
    page.list("FILES", &FILES);
    if let Some(parent) = parent {
        page.section("SEE ALSO");
        page.text(&format!("{parent}(1)"));
    }
    std::fs::write(dir.join(format!("{name}.1")), page.0)?;
    for verb in verbs {
        write_page(dir, verb, &format!("{name}-{}", verb.get_name()), Some(name))?;
    }
    Ok(())
}

/// A page in the language of man(7).
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.line(format!(".SH \"{title}\""));
    }

    fn text(&mut self, text: &str) {
        self.line(roff(text));
    }

    /// Paragraphs, parted by blank lines.
    fn prose(&mut self, text: &str) {
        for line in text.lines() {
            if line.is_empty() { self.line(".PP") } else { self.text(line) }
        }
    }

    /// Terms with what they mean; no section where there are none.
    fn list<T: AsRef<str>>(&mut self, title: &str, terms: &[(T, T)]) {
        if terms.is_empty() {
            return;
        }
        self.section(title);
        for (term, meaning) in terms {
            self.line(format!(".TP\n\\fB{}\\fR", roff(term.as_ref())));
            self.text(meaning.as_ref());
        }
    }

    fn options(&mut self, command: &clap::Command) -> std::io::Result<()> {
        let mut text = Vec::new();
        clap_mangen::Man::new(command.clone()).render_options_section(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        // Its preamble defines the apostrophe, and it breaks the line twice before possible values.
        let text = text.split_once(".SH ").map_or("", |(_, options)| options);
        self.0.push_str(".SH ");
        self.0.push_str(&text.replace("\n.br\n\n.br\n", "\n.br\n").replace("\\*(Aq", "\\(aq"));
        Ok(())
    }

    /// What follows the options in the help: text, examples, and indented lines as they are.
    fn after_help(&mut self, text: &str) {
        let mut is_verbatim = false;
        let mut has_section = false;
        for line in text.lines().filter(|line| !line.is_empty()) {
            let is_example = line.starts_with("  ");
            if is_example != is_verbatim {
                self.line(if is_example { ".PP\n.RS 2\n.nf" } else { ".fi\n.RE" });
                is_verbatim = is_example;
            }
            if line == "Example:" || line == "Examples:" {
                self.section("EXAMPLES");
                has_section = true;
                continue;
            }
            if !has_section {
                self.section("NOTES");
                has_section = true;
            }
            self.text(line.strip_prefix("  ").unwrap_or(line));
        }
        if is_verbatim {
            self.line(".fi\n.RE");
        }
    }
}

/// Text with what roff would take for its own made plain.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga");
    let text = text.replace('…', "...");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}
