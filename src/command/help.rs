//! `qctl help`: what there is, grouped by what people want to do, and pages on matters of several verbs.
//!
//! Hand-written, because clap lists verbs in one heap. A test holds that each verb stands in one group.

use clap_complete::ArgValueCandidates;
use clap_complete::CompletionCandidate;

use super::{Answer, Ctx};
use crate::exit::{self, Exit, Failure};
use crate::render::json;
use crate::ui::Format;

/// Explain a verb or a topic
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl help                 every verb, by what it is for
  qctl help push            the same as qctl push --help
  qctl help exit-status     a topic: exit-status, cron, ci, guarantees")]
pub(crate) struct Help {
    /// A verb, such as `queue set`, or a topic
    #[arg(value_name = "VERB|TOPIC", add = ArgValueCandidates::new(words))]
    words: Vec<String>,
}

/// The verbs by what people want to do.
pub(crate) const GROUPS: [(&str, &[&str]); 7] = [
    ("Put work in", &["push", "import", "run"]),
    ("Do the work", &["work", "self", "step", "systemd"]),
    ("Tell many", &["publish", "subscription", "topic", "listen"]),
    ("See how it goes", &["list", "show", "logs", "wait", "why", "stats", "workers"]),
    ("Change what is queued", &["cancel", "retry", "update", "delete", "dlq"]),
    ("Keep the queues", &["queue", "where", "doctor", "prune", "backup"]),
    ("Find out more", &["help", "completions"]),
];

/// Texts that belong to no single verb, with what they are about.
pub(crate) const TOPICS: [(&str, &str, &str); 4] = [
    ("exit-status", "what the exit statuses mean", ""),
    ("cron", "work that is started by cron", include_str!("topic/cron.txt")),
    ("ci", "pipelines that wait for jobs", include_str!("topic/ci.txt")),
    ("guarantees", "what holds whatever breaks", include_str!("topic/guarantees.txt")),
];

impl Help {
    pub(crate) fn run(self, ctx: &mut Ctx, mut tree: clap::Command) -> Answer {
        let text = match &self.words[..] {
            [] => overview(&tree),
            [word] if TOPICS.iter().any(|(topic, ..)| topic == word) => topic(word),
            words => {
                tree.build();
                let verb = find(&tree, words).ok_or_else(|| {
                    Failure::usage(format!("there is no verb or topic {}", words.join(" "))).hint("see qctl help")
                })?;
                verb.clone().render_long_help().to_string()
            }
        };
        match ctx.ui.format {
            Format::Json => ctx.ui.print(&document("help", &text))?,
            Format::Table | Format::Plain => ctx.ui.print(text.trim_end())?,
        }
        Ok(Exit::Done)
    }
}

/// A text as a document of one key.
pub(crate) fn document(key: &str, text: &str) -> String {
    json::document(key, text.trim_end().into())
}

/// The verb that these words lead to, also by another name.
fn find<'t>(tree: &'t clap::Command, words: &[String]) -> Option<&'t clap::Command> {
    words.iter().try_fold(tree, |verb, word| verb.find_subcommand(word))
}

/// Every verb in a line, in its group.
pub(crate) fn overview(tree: &clap::Command) -> String {
    let about = tree.get_about().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("{about}\n\nUsage: qctl [options] VERB ...\n");
    for (title, verbs) in GROUPS {
        text.push_str(&format!("\n{title}\n"));
        for name in verbs {
            let about = tree.find_subcommand(name).and_then(clap::Command::get_about);
            text.push_str(&format!("  {name:<13} {}\n", about.map(ToString::to_string).unwrap_or_default()));
        }
    }
    text.push_str("\nTopics (qctl help TOPIC)\n");
    for (topic, about, _) in TOPICS {
        text.push_str(&format!("  {topic:<13} {about}\n"));
    }
    text.push_str("\nOptions of every verb\n");
    for option in tree.get_arguments().filter(|option| !option.is_hide_set()) {
        let short = option.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
        let long = option.get_long().unwrap_or_default();
        let value = if option.get_action().takes_values() {
            option.get_value_names().into_iter().flatten().map(|name| format!(" {name}")).collect()
        } else {
            String::new()
        };
        let about = option.get_help().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("  {:<17}{about}\n", format!("{short}--{long}{value}")));
    }
    let examples = tree.get_after_help().map(ToString::to_string).unwrap_or_default();
    text.push_str(&format!("\n{examples}\n\nMore on a verb: qctl help VERB, man qctl-VERB\n"));
    text
}

fn topic(name: &str) -> String {
    let Some((_, about, text)) = TOPICS.iter().find(|(topic, ..)| *topic == name) else { return String::new() };
    if name == "exit-status" {
        let rows = exit::table().into_iter().map(|(status, meaning)| format!("  {status:<18} {meaning}\n"));
        return format!("EXIT STATUS: {about}\n\n{}", rows.collect::<String>());
    }
    (*text).to_owned()
}

/// Candidates for completion.
fn words() -> Vec<CompletionCandidate> {
    let verbs = GROUPS.iter().flat_map(|(_, verbs)| verbs.iter()).copied();
    verbs.chain(TOPICS.iter().map(|(topic, ..)| *topic)).map(CompletionCandidate::new).collect()
}
