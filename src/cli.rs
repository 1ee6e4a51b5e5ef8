//! The tree of verbs, the options that all have, and the way from one to the other.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use crate::command::{
    Answer, Ctx, backup, cancel, completions, delete, dlq, doctor, generate, help, import, inside, list, listen, logs,
    prune, publish, push, queue, retry, run, show, stats, step, subscription, systemd, topic, update, wait, r#where,
    why, work, workers,
};
use crate::config::{self, ColorChoice, Config, Global};
use crate::exit::Failure;

/// A durable job queue in one SQLite file, worked from the command line
///
/// Push commands into a queue; workers run them, retry what fails, and keep what never succeeds for
/// you to look at. No daemon, no broker: one file, any number of processes.
#[derive(clap::Parser, Debug)]
#[command(name = "qctl", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "\
Example:
  qctl push 'echo hello'     put a job into the queue
  qctl work --drain          run what is due
  qctl logs 1                see what it printed")]
struct Cli {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    verb: Verb,
}

/// The options that every verb has.
#[derive(clap::Args, Debug)]
struct GlobalOptions {
    /// The queue file [default: QCTL_DB, else qctl/queue.db in your data folder]
    #[arg(long, value_name = "PATH", global = true, display_order = 900)]
    db: Option<PathBuf>,
    /// Write one JSON document
    #[arg(long, global = true, display_order = 901)]
    json: bool,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, display_order = 902)]
    quiet: bool,
    /// When to paint
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto", display_order = 903)]
    color: ColorChoice,
}

/// The tree of one verb that scripts call in loops, and of no others: the whole tree takes longer to
/// build than a job to be stored.
#[derive(clap::Parser, Debug)]
struct Short<V: clap::Subcommand> {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    verb: V,
}

#[derive(clap::Subcommand, Debug)]
enum ShortPush {
    Push(push::Push),
}

#[derive(clap::Subcommand, Debug)]
enum ShortInside {
    #[command(name = "self")]
    Inside(inside::Inside),
}

#[derive(clap::Subcommand, Debug)]
enum ShortPublish {
    Publish(publish::Publish),
}

#[derive(clap::Subcommand, Debug)]
enum ShortStep {
    Step(step::Step),
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    #[command(aliases = ["add", "enqueue", "submit"])]
    Push(push::Push),
    Import(import::Import),
    Run(run::Run),
    Work(work::Work),
    #[command(name = "self")]
    Inside(inside::Inside),
    Step(step::Step),
    #[command(alias = "ls")]
    List(list::List),
    #[command(aliases = ["inspect", "describe"])]
    Show(show::Show),
    Logs(logs::Logs),
    /// `logs -f`
    #[command(hide = true)]
    Tail(logs::Logs),
    Wait(wait::Wait),
    Why(why::Why),
    Retry(retry::Retry),
    #[command(alias = "kill")]
    Cancel(cancel::Cancel),
    Update(update::Update),
    #[command(alias = "rm")]
    Delete(delete::Delete),
    Dlq(dlq::Dlq),
    /// `dlq requeue`
    #[command(hide = true)]
    Redrive(Box<dlq::Requeue>),
    Queue(queue::Queue),
    #[command(alias = "pub")]
    Publish(publish::Publish),
    #[command(alias = "sub")]
    Subscription(subscription::Subscription),
    Topic(topic::Topic),
    Listen(listen::Listen),
    #[command(alias = "status")]
    Stats(stats::Stats),
    Workers(workers::Workers),
    Where(r#where::Where),
    Prune(prune::Prune),
    Backup(backup::Backup),
    Help(help::Help),
    Systemd(systemd::Systemd),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    #[command(hide = true)]
    Generate(generate::Generate),
}

/// Runs qctl with these arguments, the first being its name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let (global, answer) = match parse(&args) {
        Ok(cli) => {
            let global = cli.global.into_global();
            let mut ctx = Ctx::new(Config::read(&global), config::ui(&global));
            let answer = run(cli.verb, &mut ctx);
            // The system takes back at once what would be given up piece by piece here. To the queue file it
            // is an end like any other.
            std::mem::forget(ctx);
            (global, answer)
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelp && verb_in(&args) == "qctl" => {
            let text = help::overview(&tree());
            let text = if wants_json(&args) { help::document("help", &text) } else { text.trim_end().to_owned() };
            // Whoever stops reading has read enough.
            let _ = config::ui(&Global::default()).print(&text);
            return ExitCode::SUCCESS;
        }
        Err(error) if !error.use_stderr() => {
            // Help and version are data, too.
            let _ = if wants_json(&args) {
                let key = if error.kind() == ErrorKind::DisplayVersion { "version" } else { "help" };
                config::ui(&Global::default()).print(&help::document(key, &error.to_string()))
            } else {
                error.print().map_err(Failure::from)
            };
            return ExitCode::SUCCESS;
        }
        Err(error) => (Global { is_json: wants_json(&args), ..Global::default() }, Err(bad_usage(&error, &args))),
    };
    match answer {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => {
            config::ui(&global).fail(&failure);
            ExitCode::from(failure.kind.code())
        }
    }
}

/// Reads the line. What a short tree does not take, the whole one explains.
fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let short = parse_short::<ShortPush>(args).or_else(|| parse_short::<ShortInside>(args));
    let short = short.or_else(|| parse_short::<ShortStep>(args)).or_else(|| parse_short::<ShortPublish>(args));
    short.map_or_else(|| Cli::try_parse_from(args), Ok)
}

fn parse_short<V: clap::Subcommand + Into<Verb>>(args: &[OsString]) -> Option<Cli> {
    let has_verb = args.iter().any(|arg| V::has_subcommand(&arg.to_string_lossy()));
    let Short { global, verb } = has_verb.then(|| Short::<V>::try_parse_from(args).ok()).flatten()?;
    Some(Cli { global, verb: verb.into() })
}

impl From<ShortPush> for Verb {
    fn from(ShortPush::Push(verb): ShortPush) -> Self {
        Self::Push(verb)
    }
}

impl From<ShortInside> for Verb {
    fn from(ShortInside::Inside(verb): ShortInside) -> Self {
        Self::Inside(verb)
    }
}

impl From<ShortPublish> for Verb {
    fn from(ShortPublish::Publish(verb): ShortPublish) -> Self {
        Self::Publish(verb)
    }
}

impl From<ShortStep> for Verb {
    fn from(ShortStep::Step(verb): ShortStep) -> Self {
        Self::Step(verb)
    }
}

/// The tree of verbs, for completion.
pub fn tree() -> clap::Command {
    Cli::command()
}

fn run(verb: Verb, ctx: &mut Ctx) -> Answer {
    match verb {
        Verb::Push(verb) => verb.run(ctx),
        Verb::Import(verb) => verb.run(ctx),
        Verb::Run(verb) => verb.run(ctx),
        Verb::Work(verb) => verb.run(ctx),
        Verb::Inside(verb) => verb.run(ctx),
        Verb::Step(verb) => verb.run(ctx),
        Verb::List(verb) => verb.run(ctx),
        Verb::Show(verb) => verb.run(ctx),
        Verb::Logs(verb) => verb.run(ctx),
        Verb::Tail(verb) => verb.following().run(ctx),
        Verb::Wait(verb) => verb.run(ctx),
        Verb::Why(verb) => verb.run(ctx),
        Verb::Retry(verb) => verb.run(ctx),
        Verb::Cancel(verb) => verb.run(ctx),
        Verb::Update(verb) => verb.run(ctx),
        Verb::Delete(verb) => verb.run(ctx),
        Verb::Dlq(verb) => verb.run(ctx),
        Verb::Redrive(verb) => verb.run(ctx),
        Verb::Queue(verb) => verb.run(ctx),
        Verb::Publish(verb) => verb.run(ctx),
        Verb::Subscription(verb) => verb.run(ctx),
        Verb::Topic(verb) => verb.run(ctx),
        Verb::Listen(verb) => verb.run(ctx),
        Verb::Stats(verb) => verb.run(ctx),
        Verb::Workers(verb) => verb.run(ctx),
        Verb::Where(verb) => verb.run(ctx),
        Verb::Prune(verb) => verb.run(ctx),
        Verb::Backup(verb) => verb.run(ctx),
        Verb::Help(verb) => verb.run(ctx, tree()),
        Verb::Systemd(verb) => verb.run(ctx),
        Verb::Doctor(verb) => verb.run(ctx),
        Verb::Completions(verb) => verb.run(ctx),
        Verb::Generate(verb) => verb.run(ctx, tree()),
    }
}

impl GlobalOptions {
    fn into_global(self) -> Global {
        Global { db: self.db, is_json: self.json, is_quiet: self.quiet, color: self.color }
    }
}

/// Whether a line that clap did not take asks for JSON; what follows `--` is not ours.
fn wants_json(args: &[OsString]) -> bool {
    args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json")
}

/// What clap found wrong, in one line, with what it suggests as the hint.
fn bad_usage(error: &clap::Error, args: &[OsString]) -> Failure {
    let help = format!("see {} --help", verb_in(args));
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage("no verb is given").hint(help);
    }
    let text = error.render().to_string();
    let mut lines =
        text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let first = lines.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    let (tips, rest): (Vec<&str>, Vec<&str>) =
        lines.filter(|line| !line.is_empty()).partition(|line| line.starts_with("tip: "));
    let message = std::iter::once(first.as_str()).chain(rest).collect::<Vec<_>>().join(" ");
    let tip = tips.first().map(|tip| tip.trim_start_matches("tip: ").to_owned());
    Failure::usage(message).hint(tip.unwrap_or(help))
}

/// The verb that is meant, with its verb, such as `qctl dlq list`.
fn verb_in(args: &[OsString]) -> String {
    let mut name = "qctl".to_owned();
    let mut verb = tree();
    for arg in args.iter().skip(1) {
        if let Some(found) = verb.find_subcommand(arg) {
            name = format!("{name} {}", found.get_name());
            verb = found.clone();
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        tree().debug_assert();
    }

    #[test]
    fn every_verb_stands_in_exactly_one_group_of_the_help() {
        let mut grouped: Vec<&str> = help::GROUPS.iter().flat_map(|(_, verbs)| verbs.iter()).copied().collect();
        grouped.sort_unstable();
        let tree = tree();
        let mut verbs: Vec<&str> =
            tree.get_subcommands().filter(|verb| !verb.is_hide_set()).map(clap::Command::get_name).collect();
        verbs.sort_unstable();
        assert_eq!(grouped, verbs);
    }
}
