//! `qctl subscription add`

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use clap::builder::OsStringValueParser;
use clap_complete::ArgValueCandidates;

use super::done;
use crate::command::job_options::{command, cwd, named_variable};
use crate::command::term_options::TermOptions;
use crate::command::{Answer, Ctx, complete, value};
use crate::config;
use crate::exit::Failure;
use crate::job::{Context, NewSubscription, QueueName, Rate, Terms, TopicPattern, Where};
use crate::store::Subscribed;

/// Have a queue get the events of some topics
///
/// For each a job is queued that runs COMMAND, with the payload on its standard input, QCTL_TOPIC, QCTL_EVENT_ID
/// and QCTL_SUBSCRIPTION in its environment, and the labels of the event. Without COMMAND workers need a handler:
/// qctl work -Q NAME -- HANDLER.
///
/// Adding the same once more does nothing; a name that another subscription has is refused.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl subscription add welcome user.signed-up -- ./welcome.sh
  qctl subscription add audit '>' -Q slow --priority -10 --from all --rate 100/s -- ./audit.sh
  qctl subscription add eu-orders 'order.*' --where region=eu --max-attempts 20 -- ./ship.sh")]
pub(super) struct Add {
    /// Its name, and that of its queue
    #[arg(value_name = "NAME", value_parser = value::subscription)]
    name: QueueName,
    /// Which topics: * is one token, > is one or more at the end
    #[arg(value_name = "PATTERN", value_parser = value::topics)]
    pattern: TopicPattern,
    /// Another queue for its jobs, made on first use
    #[arg(short = 'Q', long, value_name = "QUEUE", value_parser = value::queue, add = ArgValueCandidates::new(complete::queues))]
    queue: Option<QueueName>,
    /// The first event that it gets: new, all, an event's id, or a time
    #[arg(long, value_name = "new|all|EVENT|T", default_value = "new")]
    from: String,
    /// Of what was published before, at most so many in a time: 100/s, 90/m, 5/h
    #[arg(long, value_name = "N/s", value_parser = value::rate)]
    rate: Option<Rate>,
    /// Only events with this label, or this field on the top level of a JSON payload; of several, each
    #[arg(long = "where", value_name = "K=V", value_parser = field)]
    only: Vec<(String, String)>,
    #[command(flatten)]
    terms: TermOptions,
    /// Copy a variable from here, or set it
    #[arg(long, value_name = "K|K=V")]
    env: Vec<OsString>,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// One argument is a shell command line; two or more are a program and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, value_parser = OsStringValueParser::new())]
    command: Vec<OsString>,
}

/// A field of a payload may have any name.
fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write NAME=VALUE".to_owned()),
    }
}

/// All of them have to hold, and one name has one value.
fn conditions(given: Vec<(String, String)>) -> Result<Where, Failure> {
    let mut conditions = Where::new();
    for (name, value) in given {
        if conditions.contains_key(&name) {
            return Err(Failure::usage(format!("--where {name} is given twice; of several conditions each must hold"))
                .hint("for one or the other: a subscription for each, with one queue: -Q"));
        }
        conditions.insert(name, value);
    }
    Ok(conditions)
}

impl Add {
    pub(super) fn run(self, ctx: &mut Ctx) -> Answer {
        let now = ctx.now();
        let new = NewSubscription {
            queue: self.queue.unwrap_or_else(|| self.name.clone()),
            from: ctx.event_from("--from", &self.from)?,
            name: self.name,
            pattern: self.pattern,
            only: conditions(self.only)?,
            command: command(self.command)?,
            env: self.env.iter().map(named_variable).collect::<Result<_, _>>()?,
            context: Context {
                cwd: cwd(self.cwd.as_deref())?.into_os_string().into_vec(),
                env: config::kept_variables(),
                terms: Terms::default(),
            },
            own: self.terms.settings(),
            rate: self.rate,
        };
        ctx.store_or_create()?;
        ctx.known_place(new.from)?;
        let outcome = match ctx.store()?.subscribe(&new, now)? {
            Subscribed::Created => {
                let handler = if new.command.is_none() { " -- HANDLER" } else { "" };
                ctx.ui.hint(format_args!(
                    "it gets {}; its jobs are run by: qctl work -Q {}{handler}",
                    new.pattern, new.queue
                ));
                "added"
            }
            Subscribed::Existing => {
                ctx.ui.hint(format_args!("{} is there already, and is the same", new.name));
                "existing"
            }
            Subscribed::Other => {
                return Err(Failure::refused(format!("there is another subscription {}", new.name)).hint(format!(
                    "qctl subscription show {}; to make it anew: qctl subscription remove {}",
                    new.name, new.name
                )));
            }
        };
        ctx.announce([&new.queue])?;
        done(ctx, &new.name, outcome)
    }
}
