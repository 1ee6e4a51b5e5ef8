//! `qctl self`: what a job says of itself, from inside.
//!
//! It says nothing on stderr when all went well: the last line there is what is told of a failed attempt.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use super::{Answer, Ctx, lease, value};
use crate::exit::{Exit, Failure};
use crate::job::{self, GroupName, Lease, Wish};
use crate::render::json;
use crate::store::Standing;
use crate::ui::Format;

/// Say from inside a job what is to become of it, and how far it is
///
/// The job is the one whose command this is called by, however deep: its environment says which. What
/// is asked for is done when the command ends, and of several the last counts. It is forgotten where the
/// command did not come to its end: where it was cancelled or handed back, or its worker died. Once the
/// job is another's, everything is refused with status 4; outside a job, with status 2.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl self snooze 10m || exit; exit 0       not ready yet: run me again in ten minutes
  qctl self bury 'no such customer'; exit    I will never succeed
  qctl self progress 40 'resizing'           seen in show and list
  qctl self retry-after 90s; exit 1          the service said when to come again")]
pub(crate) struct Inside {
    #[command(subcommand)]
    word: Word,
}

#[derive(clap::Subcommand, Debug)]
enum Word {
    Snooze(Snooze),
    Bury(Bury),
    Progress(Progress),
    RetryAfter(RetryAfter),
}

/// Run me again some time after I have ended, uncounted
///
/// Whatever the exit status is, the attempt is not one of the job's attempts; how often a job has
/// snoozed is counted apart. Being stopped by the time limit is a failure all the same.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl self snooze 10m
  [ -e /srv/inbox/ready ] || { qctl self snooze 1m; exit; }")]
struct Snooze {
    /// How long after the end of the command
    #[arg(value_name = "D", value_parser = value::positive_duration)]
    pause: Duration,
}

/// Do not run me again: I will never succeed
///
/// When the command has ended the job is dead, reason buried, whatever the exit status is, 0 included;
/// also where the time limit ends it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl self bury
  qctl self bury \"no customer $1\"
  qctl self bury --group no-customer \"no customer $1\"")]
struct Bury {
    /// The group of dead jobs to be in [default: that of the exit status and the message]
    #[arg(long, value_name = "NAME", value_parser = value::group)]
    group: Option<GroupName>,
    /// What is told of it [default: the last line of stderr, else what happened]
    #[arg(value_name = "MESSAGE")]
    message: Option<OsString>,
}

/// Say how far along I am
///
/// It holds at once, and until the next attempt starts.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl self progress 40
  qctl self progress 40% 'frame 1200 of 3000'
  qctl list -s running -F id,progress")]
struct Progress {
    /// 0 to 100
    #[arg(value_name = "PCT", value_parser = percent)]
    percent: u8,
    /// What is being done
    #[arg(value_name = "MSG")]
    message: Option<OsString>,
}

/// If I fail, try again after this long
///
/// It takes the place of the next backoff, jitter and all, and of nothing else: whether there is another
/// attempt is up to --max-attempts and --dead-on as ever.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  qctl self retry-after 90s
  qctl self retry-after \"${seconds}s\"; exit 1")]
struct RetryAfter {
    /// How long after the end of the command
    #[arg(value_name = "D", value_parser = value::duration)]
    pause: Duration,
}

impl Inside {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let lease = lease::own(ctx)?;
        let (said, standing) = match self.word {
            Word::Progress(Progress { percent, message }) => {
                let progress = job::Progress { percent, message: kept(message) };
                ("progress", ctx.store()?.note_progress(lease, &progress)?)
            }
            Word::Snooze(Snooze { pause }) => wish(ctx, lease, &Wish::Snooze(pause))?,
            Word::Bury(Bury { group, message }) => wish(ctx, lease, &Wish::Bury { message: kept(message), group })?,
            Word::RetryAfter(RetryAfter { pause }) => wish(ctx, lease, &Wish::RetryAfter(pause))?,
        };
        match standing {
            // Who is to be stopped may still say something; what it asks for does not count then.
            Standing::Held | Standing::CancelRequested => {}
            Standing::Lost => {
                return Err(lease::lost(lease));
            }
        }
        if ctx.ui.format == Format::Json {
            ctx.ui.print(&json::said(lease, said))?;
        }
        Ok(Exit::Done)
    }
}

fn wish(ctx: &mut Ctx, lease: Lease, wish: &Wish) -> Result<(&'static str, Standing), Failure> {
    Ok((wish.name(), ctx.store()?.wish(lease, wish)?))
}

fn kept(message: Option<OsString>) -> Option<String> {
    message.and_then(|message| job::message(message.as_bytes()))
}

/// A share: `40` or `40%`.
fn percent(text: &str) -> Result<u8, String> {
    match text.strip_suffix('%').unwrap_or(text).parse() {
        Ok(percent @ 0..=100) => Ok(percent),
        _ => Err("write a whole number from 0 to 100".to_owned()),
    }
}
