//! Events, the topics they are published to, and the subscriptions that get them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::filter::QueueSettings;
use super::id::QueueName;
use super::new::{Command, Context, EnvVars, Labels};
use crate::clock::Timestamp;

/// The number of an event in its queue file: positive, rising in the order of publication, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(i64);

impl EventId {
    /// The event of this number; `None` unless it is positive.
    pub const fn new(id: i64) -> Option<Self> {
        if id > 0 { Some(Self(id)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A topic: 1 to 16 tokens parted by dots, of 1 to 255 bytes together, without spaces, `*` and `>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

/// Which topics are meant: as a topic, but a token may be `*`, which is any one, and the last may be `>`, which
/// is one or more of any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicPattern(Arc<str>);

/// A text that is no topic or pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTopic {
    /// It is empty or too long.
    #[error("a topic has 1 to {MAX_TOPIC} bytes")]
    Length,
    /// It has too many tokens.
    #[error("a topic has at most {MAX_TOKENS} tokens, parted by dots")]
    Depth,
    /// Nothing stands between two dots, or before or after one.
    #[error("a topic has no empty token, such as between two dots")]
    Empty,
    /// It has a character that it cannot have.
    #[error("a topic has no spaces and no control characters")]
    Character,
    /// It would be a pattern.
    #[error("`*` and `>` stand for tokens in patterns, and in no topic")]
    Wild,
    /// A wildcard that is not a whole token, or `>` that is not the last.
    #[error("in a pattern `*` is a whole token, and `>` a whole token and the last")]
    Wildcard,
}

/// The longest topic, in bytes.
const MAX_TOPIC: usize = 255;

/// The most tokens of a topic.
const MAX_TOKENS: usize = 16;

/// The pattern's token for any one.
pub const ONE: &str = "*";

/// The pattern's token for one or more.
pub const REST: &str = ">";

fn check(text: &str) -> Result<(), BadTopic> {
    if text.is_empty() || text.len() > MAX_TOPIC {
        return Err(BadTopic::Length);
    }
    if text.split('.').count() > MAX_TOKENS {
        return Err(BadTopic::Depth);
    }
    if text.split('.').any(str::is_empty) {
        return Err(BadTopic::Empty);
    }
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) { Err(BadTopic::Character) } else { Ok(()) }
}

impl Topic {
    /// Takes `text` as a topic.
    ///
    /// # Errors
    ///
    /// [`BadTopic`].
    pub fn new(text: &str) -> Result<Self, BadTopic> {
        check(text)?;
        if text.contains(['*', '>']) { Err(BadTopic::Wild) } else { Ok(Self(text.into())) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TopicPattern {
    /// Takes `text` as a pattern.
    ///
    /// # Errors
    ///
    /// [`BadTopic`].
    pub fn new(text: &str) -> Result<Self, BadTopic> {
        check(text)?;
        let n_tokens = text.split('.').count();
        let is_misplaced = |(place, token): (usize, &str)| {
            (token.contains(['*', '>']) && token.len() > 1) || (token == REST && place + 1 < n_tokens)
        };
        if text.split('.').enumerate().any(is_misplaced) { Err(BadTopic::Wildcard) } else { Ok(Self(text.into())) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `topic` is meant.
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut wanted = self.0.split('.');
        let mut tokens = topic.tokens();
        loop {
            match (wanted.next(), tokens.next()) {
                (None, None) => return true,
                (Some(REST), Some(_)) => return true,
                (Some(ONE), Some(_)) => {}
                (Some(wanted), Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
    }

    /// How it compares with others that match the same topic: the one that says more about it is greater. Token by
    /// token, a word says more than `*` and that more than `>`.
    pub fn rank(&self) -> Vec<u8> {
        let rank = |token| match token {
            REST => 0,
            ONE => 1,
            _ => 2,
        };
        self.0.split('.').map(rank).collect()
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event as it is published.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Where to.
    pub topic: Topic,
    /// Published once under this key: unique in its topic, not empty.
    pub key: Option<String>,
    /// Until when the key is held.
    pub key_until: Timestamp,
    /// Its labels, which its deliveries have too.
    pub labels: Labels,
    /// What subscribers get on their standard input.
    pub payload: Option<Vec<u8>>,
    /// Whether workers make the deliveries, and not whoever publishes.
    pub is_lazy: bool,
}

/// An event on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicEvent {
    /// Its number.
    pub id: EventId,
    /// Where it was published.
    pub topic: Topic,
    /// Its key.
    pub key: Option<String>,
    /// Its labels.
    pub labels: Labels,
    /// When it was published.
    pub published_at: Timestamp,
    /// What subscribers get on their standard input; `None`: nothing.
    pub payload: Option<Vec<u8>>,
}

/// Of which event and subscription a job is the delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The event.
    pub event: EventId,
    /// Its topic.
    pub topic: Topic,
    /// The name of the subscription, which may have been removed.
    pub subscription: String,
}

/// Which events a subscription gets, apart from its pattern: those that have each of these labels or, on the top
/// level of a payload that is a JSON object, fields.
pub type Where = Labels;

/// A subscription as it is made.
#[derive(Clone, Debug)]
pub struct NewSubscription {
    /// Its name, which is like a queue's.
    pub name: QueueName,
    /// Which topics it gets.
    pub pattern: TopicPattern,
    /// Which of their events.
    pub only: Where,
    /// The queue of its deliveries.
    pub queue: QueueName,
    /// What each runs; `None`: what the worker has for it.
    pub command: Option<Command>,
    /// Variables given for it.
    pub env: EnvVars,
    /// The working directory and the variables that are kept; its terms are those of `own` and the queue.
    pub context: Context,
    /// What it says of the things that a queue may set.
    pub own: QueueSettings,
    /// Which events it gets first.
    pub from: StartAt,
    /// At most so many of those that were published before.
    pub rate: Option<Rate>,
}

/// Where in the log one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// With what is published from now on.
    New,
    /// With the oldest that is on record.
    All,
    /// With this one, or the first after it.
    Event(EventId),
    /// With the first that was published then or later.
    Time(Timestamp),
}

/// So many in a stretch of time, both above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub n: u32,
    /// In how long.
    pub per: Duration,
}

/// The shortest time between two portions of what is delivered at a rate.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

impl Rate {
    /// How long after a portion the next one may come: as long as a whole number of them takes, or what is left over of
    /// each portion would add up to a much lower rate.
    pub fn pause(self) -> Duration {
        let (n, per) = (u128::from(self.n), self.per.as_millis());
        let in_shortest = (SHORTEST_PAUSE.as_millis() * n).div_ceil(per.max(1)).max(1);
        Duration::from_millis(u64::try_from((in_shortest * per).div_ceil(n.max(1))).unwrap_or(u64::MAX))
    }

    /// How large a portion may be that comes `since` the last one: nobody catches up on more than a second.
    pub fn portion(self, since: Duration) -> usize {
        let since = since.min(Duration::from_secs(1).max(self.pause()));
        let n = since.as_nanos() * u128::from(self.n) / self.per.as_nanos().max(1);
        usize::try_from(n).unwrap_or(usize::MAX).max(1)
    }
}

/// A subscription on record.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Its name.
    pub name: QueueName,
    /// Which topics it gets.
    pub pattern: TopicPattern,
    /// Which of their events.
    pub only: Where,
    /// The queue of its deliveries.
    pub queue: QueueName,
    /// What each runs.
    pub command: Option<Command>,
    /// Where.
    pub cwd: Vec<u8>,
    /// What it says of the things that a queue may set.
    pub own: QueueSettings,
    /// Since when it is paused, if it is.
    pub paused_at: Option<Timestamp>,
    /// The first event of those that are still to be delivered; `None`: there is none.
    pub next: Option<EventId>,
    /// At most so many of those.
    pub rate: Option<Rate>,
    /// When it was made.
    pub created_at: Timestamp,
    /// How many events of its topics are still to be delivered, those that are not for it included.
    pub lag: u64,
    /// When the oldest of those was published.
    pub behind_since: Option<Timestamp>,
}

/// What a subscription has still to get of a topic, those events that are not for it included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The topic.
    pub topic: Topic,
    /// How many events.
    pub events: u64,
    /// The bytes of their payloads.
    pub bytes: u64,
}

/// A topic that has events on record, or settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTally {
    /// Its name, or a pattern that has settings.
    pub name: String,
    /// How many events are on record.
    pub events: u64,
    /// The bytes of their payloads.
    pub bytes: u64,
    /// When the last one was published.
    pub last_at: Option<Timestamp>,
    /// What was set for it.
    pub keep: LogRetention,
}

/// How long events stay on record; `None`: what a pattern that says less of it has, else the default; `Some(None)`:
/// without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRetention {
    /// How long after their publication.
    pub keep: Option<Option<Duration>>,
    /// The newest so many of a topic.
    pub rows: Option<Option<u64>>,
    /// The newest of a topic whose payloads have so many bytes together.
    pub bytes: Option<Option<u64>>,
}

impl LogRetention {
    /// How long an event stays on record where nothing was set.
    pub const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);

    /// What holds where nothing was set: a week, and no other limit.
    pub const DEFAULT: Self = Self { keep: Some(Some(Self::KEEP)), rows: Some(None), bytes: Some(None) };

    /// What was set for a topic: by its own settings, then by those of the patterns among `rules` that it matches,
    /// the one that says most about it first.
    pub fn set_for(topic: &Topic, rules: &[TopicTally]) -> Self {
        let mut rules: Vec<(TopicPattern, Self)> = rules
            .iter()
            .filter(|rule| rule.keep != Self::default())
            .filter_map(|rule| Some((TopicPattern::new(&rule.name).ok()?, rule.keep)))
            .filter(|(pattern, _)| pattern.matches(topic))
            .collect();
        rules.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.rank()));
        rules.into_iter().fold(Self::default(), |set, (_, rule)| set.or(rule))
    }

    /// This, and where it says nothing, the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { keep: self.keep.or(other.keep), rows: self.rows.or(other.rows), bytes: self.bytes.or(other.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        TopicPattern::new(pattern).expect("a pattern").matches(&Topic::new(topic).expect("a topic"))
    }

    #[test]
    fn a_star_is_one_token_and_an_arrow_one_or_more() {
        assert!(matches("orders.created", "orders.created"));
        assert!(!matches("orders.created", "orders.created.eu") && !matches("orders.created.eu", "orders.created"));
        assert!(matches("orders.*", "orders.created") && matches("*.created", "orders.created"));
        assert!(!matches("orders.*", "orders") && !matches("orders.*", "orders.created.eu"));
        assert!(matches("orders.>", "orders.created") && matches("orders.>", "orders.created.eu"));
        assert!(!matches("orders.>", "orders") && matches(">", "orders"));
        assert!(matches("*.*.>", "a.b.c") && !matches("*.*.>", "a.b"));
    }

    #[test]
    fn what_is_no_topic_is_refused_with_the_reason() {
        let sixteen = vec!["a"; 16].join(".");
        assert!(Topic::new(&sixteen).is_ok() && Topic::new(&"x".repeat(255)).is_ok());
        for (text, why) in [
            ("", BadTopic::Length),
            (&"x".repeat(256), BadTopic::Length),
            (&format!("{sixteen}.a"), BadTopic::Depth),
            ("a..b", BadTopic::Empty),
            (".a", BadTopic::Empty),
            ("a b", BadTopic::Character),
            ("a.\u{7}", BadTopic::Character),
            ("a.*", BadTopic::Wild),
        ] {
            assert_eq!(Topic::new(text), Err(why), "{text:?}");
        }
        for text in ["a.b*", "a.>.b", ">.a", "a>"] {
            assert_eq!(TopicPattern::new(text), Err(BadTopic::Wildcard), "{text:?}");
        }
    }

    #[test]
    fn the_pattern_that_says_more_ranks_higher() {
        let mut patterns = [">", "a.b", "a.>", "*.b", "a.*"].map(|text| TopicPattern::new(text).expect("a pattern"));
        patterns.sort_by_key(TopicPattern::rank);
        assert_eq!(patterns.each_ref().map(TopicPattern::as_str), [">", "*.b", "a.>", "a.*", "a.b"]);
    }

    #[test]
    fn a_portion_is_what_the_rate_allows_and_never_more_than_a_second_of_it() {
        let rate = |n, secs| Rate { n, per: Duration::from_secs(secs) };
        assert_eq!(rate(100, 1).pause(), Duration::from_millis(50));
        assert_eq!(rate(100, 1).portion(Duration::from_millis(50)), 5);
        assert_eq!(rate(100, 1).portion(Duration::from_secs(3600)), 100);
        assert_eq!((rate(1, 60).pause(), rate(1, 60).portion(Duration::from_secs(60))), (Duration::from_secs(60), 1));
        assert_eq!(rate(1, 60).portion(Duration::ZERO), 1);
    }

    /// What is set for a name: how many seconds, and how many events.
    fn rule(name: &str, secs: Option<u64>, rows: Option<u64>) -> TopicTally {
        let keep = LogRetention { keep: secs.map(|n| Some(Duration::from_secs(n))), rows: rows.map(Some), bytes: None };
        TopicTally { name: name.to_owned(), events: 0, bytes: 0, last_at: None, keep }
    }

    #[test]
    fn of_the_rules_for_a_topic_the_one_that_says_more_counts_and_the_others_where_it_says_nothing() {
        let rules = [
            rule(">", Some(1), Some(10)),
            rule("order.>", Some(2), None),
            rule("order.*", None, Some(20)),
            rule("order.created", Some(3), None),
            rule("order.moved", None, None),
            rule("mail", Some(4), None),
        ];
        let kept = |topic: &str| {
            let kept = LogRetention::set_for(&Topic::new(topic).expect("a topic"), &rules);
            (kept.keep.flatten().map(|keep| keep.as_secs()), kept.rows.flatten(), kept.bytes)
        };
        assert_eq!(kept("order.created"), (Some(3), Some(20), None));
        assert_eq!(kept("order.moved"), (Some(2), Some(20), None));
        assert_eq!(kept("order.moved.far"), (Some(2), Some(10), None));
        assert_eq!(kept("user"), (Some(1), Some(10), None));
    }

    #[test]
    fn without_limit_is_a_rule_and_no_rule_is_none() {
        let mut rules = vec![rule(">", Some(1), None)];
        let topic = Topic::new("order").expect("a topic");
        rules
            .push(TopicTally { keep: LogRetention { keep: Some(None), ..rules[0].keep }, ..rule("order", None, None) });
        assert_eq!(LogRetention::set_for(&topic, &rules).keep, Some(None));
        assert_eq!(LogRetention::set_for(&topic, &[]), LogRetention::default());
        assert_eq!(LogRetention::set_for(&topic, &[]).or(LogRetention::DEFAULT), LogRetention::DEFAULT);
    }
}
