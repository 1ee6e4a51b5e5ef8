//! The vocabulary: what a job is, where it stands, how an attempt ended.
//!
//! Plain values that every other room speaks. Nothing here knows SQL, the command line, the public
//! JSON, paths of the queue, or what time it is.

mod attempt;
mod breaker;
mod cause;
mod event;
mod excess;
mod filter;
mod group;
mod hook;
mod id;
mod letter;
mod new;
mod pace;
mod release;
mod state;
mod step;
mod task;
mod topic;
mod wish;

pub use attempt::{Attempt, Chunk, Outcome, Report, Settlement, Stream, Usage, Verdict};
pub use breaker::{BreakerNews, BreakerRule, Tripped};
pub use event::{Event, StopReason};
pub use excess::Excess;
pub use filter::{Filter, JobChange, Page, Pattern, Queue, QueueSettings, Retention, Tally};
pub use group::{Cause, Group, GroupName, GroupRule};
pub use hook::Hook;
pub use id::{BadName, IdRange, JobId, Lease, QueueName, QueuePattern, Token, WorkerId};
pub use letter::{DropId, DropRecord, Letter, Part, Past, Restored, Revision};
pub use new::{Backoff, Command, Context, Defaults, Due, EnvVars, Jitter, KeyRule, Labels, NewJob, OnDuplicate, Terms};
pub use pace::{Histogram, Pace};
pub use release::Tempo;
pub use state::{Claimed, Ending, Job, Reason, State, StateKind};
pub use step::{
    BadStep, Begun, OnUncertain, Printed, Step, StepCall, StepEnd, StepOutput, StepPath, StepRefusal, StepRun,
    StepState,
};
pub use task::{Fates, Order, Phase, Plan, Relapse, Revival, Skip, Task, TaskId, TaskReport, Trial};
pub use topic::{
    Backlog, BadTopic, Delivery, EventId, LogRetention, NewEvent, NewSubscription, ONE, REST, Rate, StartAt,
    Subscription, Topic, TopicEvent, TopicPattern, TopicTally, Where,
};
pub use wish::{Granted, Heed, Progress, Wish, message, unheeded};
