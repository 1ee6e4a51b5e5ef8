//! Options of whatever chooses jobs by how they ended.

use std::ops::RangeInclusive;

use clap_complete::ArgValueCandidates;

use super::value::{self, Codes};
use super::{Ctx, complete};
use crate::exit::Failure;
use crate::job::{Filter, Group, GroupName, Pattern, QueueName, Reason};
use crate::render::words;

/// How the jobs ended.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Ending {
    /// Only dead jobs of this group: see qctl dlq groups
    #[arg(long = "group", value_name = "G", value_parser = value::group, add = ArgValueCandidates::new(complete::groups))]
    pub(crate) groups: Vec<GroupName>,
    /// Only jobs that are dead for this reason: exhausted, permanent, crashed, expired, buried, uncertain
    #[arg(long = "reason", value_name = "R", value_delimiter = ',', value_parser = reason)]
    pub(crate) reasons: Vec<Reason>,
    /// Only jobs whose last attempt exited like this: 1, or 65,100-110
    #[arg(long, value_name = "CODES", value_parser = value::codes)]
    pub(crate) exit_code: Option<Codes>,
    /// Only jobs with this regular expression in their last error or their command
    #[arg(long, value_name = "RE", value_parser = pattern)]
    pub(crate) grep: Option<Pattern>,
}

/// Why a job is dead.
fn reason(text: &str) -> Result<Reason, String> {
    let names = Reason::ALL.map(Reason::name).join(", ");
    Reason::ALL.into_iter().find(|reason| reason.name() == text).ok_or_else(|| format!("write one of {names}"))
}

/// A regular expression.
fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|error| value::bad_regex(&error))
}

impl Ending {
    /// Whether anything is asked for.
    pub(crate) fn is_any(&self) -> bool {
        !self.groups.is_empty() || !self.reasons.is_empty() || self.exit_code.is_some() || self.grep.is_some()
    }

    /// The options with their values, as they were typed.
    pub(crate) fn options(&self) -> Vec<(&'static str, String)> {
        let groups = self.groups.iter().map(|group| ("--group", group.to_string()));
        let reasons = self.reasons.iter().map(|reason| ("--reason", reason.name().to_owned()));
        let exit_code = self.exit_code.iter().map(|Codes(codes)| ("--exit-code", words::codes(codes)));
        let grep = self.grep.iter().map(|pattern| ("--grep", pattern.as_str().to_owned()));
        groups.chain(reasons).chain(exit_code).chain(grep).collect()
    }

    /// Adds what is asked for to a filter.
    ///
    /// # Errors
    ///
    /// Not found, where a group is not there or has no dead jobs; usage, where several queues have one of that name.
    pub(crate) fn narrow(&self, ctx: &mut Ctx, filter: Filter) -> Result<Filter, Failure> {
        self.check_groups(ctx, &filter.queues)?;
        Ok(Filter {
            groups: self.groups.clone(),
            reasons: self.reasons.clone(),
            exit_codes: self.exit_codes().to_vec(),
            text: self.grep.clone(),
            ..filter
        })
    }

    /// The exit statuses.
    pub(crate) fn exit_codes(&self) -> &[RangeInclusive<i32>] {
        self.exit_code.as_ref().map_or(&[], |Codes(codes)| codes)
    }

    fn check_groups(&self, ctx: &mut Ctx, queues: &[QueueName]) -> Result<(), Failure> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let filter = Filter { queues: queues.to_vec(), ..Filter::default() };
        let known = ctx.store()?.groups(&filter)?;
        for name in &self.groups {
            match known.iter().filter(|group| group.name == *name).collect::<Vec<&Group>>()[..] {
                [] => {
                    let message = format!("no dead jobs are in a group {name}");
                    return Err(Failure::not_found(message).hint("see which groups there are: qctl dlq groups"));
                }
                [_] => {}
                [one, other, ..] => {
                    let message = format!("a group {name} is in queue {} and in queue {}", one.queue, other.queue);
                    return Err(Failure::usage(message).hint("say which is meant with -Q"));
                }
            }
        }
        Ok(())
    }
}
