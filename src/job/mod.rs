//! The vocabulary: what a job is, where it stands, how an attempt ended.
//!
//! Plain values that every other room speaks. Nothing here knows SQL, the command line, the public
//! JSON, paths of the queue, or what time it is.

mod attempt;
mod breaker;
mod cause;
mod event;
mod filter;
mod group;
mod id;
mod new;
mod pace;
mod state;
mod step;
mod topic;
mod wish;

pub use attempt::{Attempt, Chunk, Outcome, Report, Settlement, Stream, Usage, Verdict};
pub use breaker::{BreakerNews, BreakerRule, Tripped};
pub use event::{Event, StopReason};
pub use filter::{Filter, JobChange, Page, Pattern, Queue, QueueSettings, Retention, Tally};
pub use group::{Cause, Group, GroupName, GroupRule};
pub use id::{BadName, IdRange, JobId, Lease, QueueName, QueuePattern, Token, WorkerId};
pub use new::{Backoff, Command, Context, Defaults, Due, EnvVars, Jitter, KeyRule, Labels, NewJob, OnDuplicate, Terms};
pub use pace::{Histogram, Pace};
pub use state::{Claimed, Ending, Job, Reason, State, StateKind};
pub use step::{
    BadStep, Begun, OnUncertain, Printed, Step, StepCall, StepEnd, StepOutput, StepPath, StepRefusal, StepRun,
    StepState,
};
pub use topic::{
    Backlog, BadTopic, Delivery, EventId, LogRetention, NewEvent, NewSubscription, ONE, REST, Rate, StartAt,
    Subscription, Topic, TopicEvent, TopicPattern, TopicTally, Where,
};
pub use wish::{Granted, Heed, Progress, Wish, message, unheeded};
