//! Which subscriptions are behind, and what of it is wrong. Judged from facts that were gathered before.

use std::time::Duration;

use super::shell_words;
use super::work::{LONG_PAUSE, LONG_WAIT};
use crate::clock::Timestamp;
use crate::job::{Backlog, EventId, LogRetention, Queue, StateKind, Subscription, Topic, TopicTally};
use crate::render::{Finding, words};

/// What is forgotten within this time, or within [`LATE`] of the time that it is kept, is to be cared for now.
const SOON: Duration = Duration::from_secs(86_400);

/// The last part of the time that an event is kept.
const LATE: u32 = 4;

/// A subscription that has still to get events.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    /// Which one.
    pub(super) of: Subscription,
    /// The first event on record from where it stands.
    pub(super) first: EventId,
    /// What of each topic it has still to get.
    pub(super) backlog: Vec<Backlog>,
}

/// What is known of the subscriptions.
#[derive(Debug)]
pub(super) struct Facts {
    /// The present.
    pub(super) now: Timestamp,
    /// Each that has still to get events.
    pub(super) behind: Vec<Behind>,
    /// Topics and rules.
    pub(super) topics: Vec<TopicTally>,
    /// Every queue.
    pub(super) queues: Vec<Queue>,
    /// How this queue file is named on the command line.
    pub(super) qctl: String,
}

impl Facts {
    /// What of it is wrong.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.behind.iter().filter_map(|behind| self.finding(behind)).collect()
    }

    /// A subscription that gets nothing, or too little, and for too long or at the price of losing events.
    fn finding(&self, behind: &Behind) -> Option<Finding> {
        let (of, first) = (&behind.of, behind.first);
        let lost = of.next.filter(|next| *next < first).map(|next| lost(next, first));
        let left = self.time_left(of).into_iter().chain(self.room_left(behind)).filter(|_| of.lag > 0);
        // What is the next to go at once before what may take a while, else in this order.
        let left = left.min_by_key(|left| !left.is_over);
        if lost.is_none() && !self.is_stuck(of, left.is_some()) {
            return None;
        }
        let name = &of.name;
        let mut message = match of.behind_since {
            Some(since) => format!(
                "subscription {name} is behind by {}, the oldest published {} ago",
                words::count(usize::try_from(of.lag).unwrap_or(usize::MAX), "event"),
                words::length(self.now.since(since))
            ),
            None => format!("subscription {name} has nothing left to get"),
        };
        let (why, mut cure) = self.why(of);
        message.push_str(&why);
        if let Some(lost) = lost {
            message.push_str(&lost);
        } else if let Some(left) = left {
            message.push_str(&left.message);
            let [topics, option, value] = left.setting;
            let setting = shell_words(["topic", "set", &topics, &option]);
            cure.push_str(&format!("; to keep them longer: {} {setting} {value}", self.qctl));
        }
        Some(Finding::new("behind", message, cure))
    }

    /// Whether it does not come on as it should.
    fn is_stuck(&self, of: &Subscription, is_short_of_time: bool) -> bool {
        let Some(since) = of.behind_since else { return false };
        let waits = self.now.since(since.max(of.created_at));
        match of.paused_at {
            Some(at) => self.now.since(at) > LONG_PAUSE || is_short_of_time,
            None if self.is_served(of) => of.rate.is_none() && waits > LONG_WAIT,
            None => waits > LONG_WAIT || is_short_of_time,
        }
    }

    fn queue(&self, of: &Subscription) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.name == of.queue)
    }

    fn is_served(&self, of: &Subscription) -> bool {
        self.queue(of).is_some_and(|queue| queue.n_workers > 0)
    }

    /// Why it is behind, and what would change it.
    fn why(&self, of: &Subscription) -> (String, String) {
        let (name, queue, qctl) = (&of.name, &of.queue, &self.qctl);
        let handler = if of.command.is_none() { " -- HANDLER" } else { "" };
        if let Some(at) = of.paused_at {
            let why = format!("; it has been paused for {}", words::length(self.now.since(at)));
            return (why, format!("{qctl} subscription resume {name}"));
        }
        if !self.is_served(of) {
            return (format!("; no live worker serves its queue {queue}"), format!("{qctl} work -Q {queue}{handler}"));
        }
        if self.queue(of).is_some_and(|queue| queue.paused_at.is_some()) {
            return (format!("; its queue {queue} is paused"), format!("{qctl} queue resume {queue}"));
        }
        let n = |state| self.queue(of).map_or(0, |queue| queue.tally.get(state));
        if n(StateKind::Retrying) > n(StateKind::Ready) {
            return (
                format!("; too many jobs of its queue {queue} have failed and wait to be tried again"),
                format!("find out why: {qctl} list -Q {queue} -s retrying"),
            );
        }
        (
            format!("; its queue {queue} is worked, and too much waits in it"),
            format!(
                "{qctl} work -Q {queue} -j N{handler}, or find out why its jobs take so long: {qctl} stats {queue}"
            ),
        )
    }

    /// How long the oldest event that it has still to get is kept, where that is soon over.
    fn time_left(&self, of: &Subscription) -> Option<Left> {
        let age = self.now.since(of.behind_since?);
        let topics =
            self.topics.iter().filter(|topic| topic.events > 0).filter_map(|topic| Topic::new(&topic.name).ok());
        let kept =
            topics.filter(|topic| of.pattern.matches(topic)).filter_map(|topic| self.kept(&topic).keep.flatten());
        let keep = kept.min()?;
        let left = keep.saturating_sub(age);
        (left <= SOON.min(keep / LATE)).then(|| Left {
            is_over: left.is_zero(),
            message: match left {
                Duration::ZERO => "; the oldest will be forgotten next".to_owned(),
                left => format!("; the oldest will be forgotten in {}", words::length(left)),
            },
            setting: [of.pattern.to_string(), "--keep".to_owned(), "D".to_owned()],
        })
    }

    /// How much more may be published before the oldest event of a topic that it has still to get is forgotten to
    /// make room, where that is not much.
    fn room_left(&self, behind: &Behind) -> Vec<Left> {
        let left_of = |backlog: &Backlog| {
            let topic = &backlog.topic;
            let LogRetention { rows, bytes, .. } = self.kept(topic);
            let rows = rows.flatten().map(|rows| (rows, rows.saturating_sub(backlog.events), "--keep-rows"));
            let bytes = bytes.flatten().map(|bytes| (bytes, bytes.saturating_sub(backlog.bytes), "--keep-bytes"));
            let limits = rows.into_iter().chain(bytes).filter(|(limit, left, _)| *left <= limit / u64::from(LATE));
            let left = limits.map(|(_, left, option)| Left {
                is_over: left == 0,
                message: match (left, option) {
                    (0, _) => format!("; the oldest of {topic} will be forgotten next"),
                    (left, "--keep-rows") => format!("; the oldest of {topic} will be forgotten after {left} more"),
                    (left, _) => format!("; the oldest of {topic} will be forgotten after {} more", words::bytes(left)),
                },
                setting: [topic.to_string(), option.to_owned(), "N".to_owned()],
            });
            left.collect::<Vec<_>>()
        };
        behind.backlog.iter().filter(|backlog| backlog.events > 0).flat_map(left_of).collect()
    }

    fn kept(&self, topic: &Topic) -> LogRetention {
        LogRetention::set_for(topic, &self.topics).or(LogRetention::DEFAULT)
    }
}

/// What is left until the oldest event that a subscription has still to get is forgotten.
struct Left {
    /// Nothing is.
    is_over: bool,
    message: String,
    /// What keeps it longer: the topics, the option of `topic set`, and what stands for its value.
    setting: [String; 3],
}

/// That some of the log is gone before it got there. What of it was for it nobody can tell any more.
fn lost(next: EventId, first: EventId) -> String {
    match first.get() - 1 {
        last if last == next.get() => format!("; event {next}, where it stood, is forgotten by now"),
        last => format!("; events {next} to {last} are forgotten by now, and what of them was for it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Command, Labels, QueueName, QueueSettings, Rate, Tally, TopicPattern};

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
    const HOUR: u64 = 3600;
    const DAY: u64 = 86_400;

    fn ago(secs: u64) -> Timestamp {
        NOW.minus(Duration::from_secs(secs))
    }

    fn event(id: i64) -> EventId {
        EventId::new(id).expect("positive")
    }

    fn name(text: &str) -> QueueName {
        QueueName::new(text).expect("a name")
    }

    /// One that stands at event 7 and is three events behind, for so long.
    fn behind(secs: u64) -> Subscription {
        Subscription {
            name: name("audit"),
            pattern: TopicPattern::new(">").expect("a pattern"),
            only: Labels::new(),
            queue: name("slow"),
            command: Some(Command::Shell(b"true".to_vec())),
            cwd: b"/".to_vec(),
            own: QueueSettings::default(),
            paused_at: None,
            next: Some(event(7)),
            rate: None,
            created_at: ago(30 * DAY),
            lag: 3,
            behind_since: Some(ago(secs)),
        }
    }

    fn topic(keep: Option<u64>) -> TopicTally {
        let keep = LogRetention { keep: keep.map(|secs| Some(Duration::from_secs(secs))), ..LogRetention::default() };
        TopicTally { name: "order".to_owned(), events: 3, bytes: 0, last_at: None, keep }
    }

    fn facts(of: Subscription, n_workers: usize) -> Facts {
        let queue = Queue {
            name: name("slow"),
            paused_at: None,
            tripped: None,
            settings: QueueSettings::default(),
            tally: Tally::default(),
            oldest_ready: None,
            n_workers,
            served_until: None,
        };
        let behind = vec![Behind { of, first: event(7), backlog: Vec::new() }];
        Facts { now: NOW, behind, topics: vec![topic(None)], queues: vec![queue], qctl: "qctl".to_owned() }
    }

    /// What is said, and the cure.
    fn said(facts: &Facts) -> Option<(String, String)> {
        facts.findings().into_iter().next().map(|finding| (finding.message, finding.hint))
    }

    #[test]
    fn one_that_nobody_serves_is_behind_after_an_hour() {
        assert_eq!(said(&facts(behind(HOUR), 0)), None);
        let (message, cure) = said(&facts(behind(2 * HOUR), 0)).expect("a finding");
        assert_eq!(
            message,
            "subscription audit is behind by 3 events, the oldest published 2h ago; no live worker serves its queue slow"
        );
        assert_eq!(cure, "qctl work -Q slow");
        let bare = Subscription { command: None, ..behind(2 * HOUR) };
        assert_eq!(said(&facts(bare, 0)).expect("a finding").1, "qctl work -Q slow -- HANDLER");
        let new = Subscription { created_at: ago(60), ..behind(2 * HOUR) };
        assert_eq!(said(&facts(new, 0)), None, "it was made a minute ago, of older events");
    }

    #[test]
    fn one_that_is_served_is_behind_where_too_much_waits_and_not_where_a_rate_was_asked_for() {
        let (message, cure) = said(&facts(behind(2 * HOUR), 1)).expect("a finding");
        assert!(message.ends_with("its queue slow is worked, and too much waits in it"), "{message}");
        assert!(cure.starts_with("qctl work -Q slow -j N"), "{cure}");
        let mut failing = facts(behind(2 * HOUR), 1);
        failing.queues[0].tally.add(StateKind::Retrying, 10_000);
        let (message, cure) = said(&failing).expect("a finding");
        assert!(
            message.ends_with("too many jobs of its queue slow have failed and wait to be tried again"),
            "{message}"
        );
        assert_eq!(cure, "find out why: qctl list -Q slow -s retrying");
        let rate = Some(Rate { n: 1, per: Duration::from_secs(1) });
        assert_eq!(said(&facts(Subscription { rate, ..behind(6 * DAY + 23 * HOUR) }, 1)), None);
        let mut paused = facts(behind(2 * HOUR), 1);
        paused.queues[0].paused_at = Some(ago(HOUR));
        assert_eq!(said(&paused).expect("a finding").1, "qctl queue resume slow");
    }

    #[test]
    fn a_pause_is_told_after_a_day() {
        let paused = |secs| Subscription { paused_at: Some(ago(secs)), ..behind(secs) };
        assert_eq!(said(&facts(paused(DAY), 0)), None);
        let (message, cure) = said(&facts(paused(DAY + HOUR), 1)).expect("a finding");
        assert!(message.ends_with("; it has been paused for 1d 1h"), "{message}");
        assert_eq!(cure, "qctl subscription resume audit");
    }

    #[test]
    fn what_will_be_forgotten_soon_is_told_sooner() {
        let short = |secs, keep| Facts { topics: vec![topic(Some(keep))], ..facts(behind(secs), 0) };
        assert_eq!(said(&short(2000, HOUR)), None);
        let (message, cure) = said(&short(3000, HOUR)).expect("a finding");
        assert!(message.ends_with("; the oldest will be forgotten in 10m"), "{message}");
        assert_eq!(cure, "qctl work -Q slow; to keep them longer: qctl topic set '>' --keep D");
        assert!(said(&short(HOUR, HOUR)).expect("a finding").0.ends_with("will be forgotten next"));
        assert!(!said(&facts(behind(5 * DAY), 0)).expect("a finding").0.contains("forgotten"));
        assert!(said(&facts(behind(6 * DAY + HOUR), 0)).expect("a finding").0.ends_with("forgotten in 23h"));
    }

    /// One of which so much is kept of a topic, and that has still to get so much of it, published a minute ago.
    fn limited(keep: LogRetention, (events, bytes): (u64, u64)) -> Facts {
        let topic = Topic::new("order").expect("a topic");
        let mut facts = facts(behind(60), 0);
        facts.topics[0].keep = keep;
        facts.behind[0].backlog = vec![Backlog { topic, events, bytes }];
        facts
    }

    #[test]
    fn what_will_be_forgotten_to_make_room_is_told_before() {
        let rows = LogRetention { rows: Some(Some(100)), ..LogRetention::default() };
        assert_eq!(said(&limited(rows, (74, 1 << 40))), None);
        let (message, cure) = said(&limited(rows, (75, 0))).expect("a finding");
        assert!(message.ends_with("; the oldest of order will be forgotten after 25 more"), "{message}");
        assert_eq!(cure, "qctl work -Q slow; to keep them longer: qctl topic set order --keep-rows N");
        for n in [100, 300] {
            let (message, _) = said(&limited(rows, (n, 0))).expect("a finding");
            assert!(message.ends_with("; the oldest of order will be forgotten next"), "{message}");
        }
        let bytes = LogRetention { bytes: Some(Some(8192)), ..rows };
        assert_eq!(said(&limited(bytes, (3, 4096))), None);
        let (message, cure) = said(&limited(bytes, (3, 7168))).expect("a finding");
        assert!(message.ends_with("; the oldest of order will be forgotten after 1.0 KiB more"), "{message}");
        assert!(cure.ends_with("qctl topic set order --keep-bytes N"), "{cure}");
        let (message, _) = said(&limited(bytes, (80, 9000))).expect("a finding");
        assert!(message.ends_with("forgotten next"), "what is over before what is nearly so: {message}");
        let mut served = limited(rows, (99, 0));
        served.queues[0].n_workers = 1;
        assert_eq!(said(&served), None, "a worker is at it");
    }

    #[test]
    fn what_is_forgotten_already_is_told_even_where_nothing_is_left() {
        let lost = |first, lag| {
            let of = Subscription { lag, behind_since: (lag > 0).then(|| ago(60)), ..behind(60) };
            let behind = vec![Behind { of: of.clone(), first: event(first), backlog: Vec::new() }];
            Facts { behind, ..facts(of, 0) }
        };
        let said = |first, lag| said(&lost(first, lag)).expect("a finding").0;
        assert!(said(8, 1).ends_with("; event 7, where it stood, is forgotten by now"), "{}", said(8, 1));
        assert!(said(11, 0).starts_with("subscription audit has nothing left to get; no live"), "{}", said(11, 0));
        assert!(said(11, 0).ends_with("; events 7 to 10 are forgotten by now, and what of them was for it"));
    }
}
