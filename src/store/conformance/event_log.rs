//! The log of events: what is on record, for how long, and what goes with an event that is not.

use std::time::Duration;

use super::bench::{Bench, Open, queue};
use super::event::{EventDraft as _, SubscriptionDraft as _, event, event_id, pattern, subscription};
use crate::clock::Timestamp;
use crate::job::{LogRetention, NewEvent, StartAt, StateKind};
use crate::store;

const UNSET: LogRetention = LogRetention { keep: None, rows: None, bytes: None };
const DAY: u64 = 24 * 3600;

fn keep_for(secs: u64) -> LogRetention {
    LogRetention { keep: Some(Some(Duration::from_secs(secs))), ..UNSET }
}

fn keep_rows(n: u64) -> LogRetention {
    LogRetention { rows: Some(Some(n)), ..UNSET }
}

fn keep_bytes(n: u64) -> LogRetention {
    LogRetention { bytes: Some(Some(n)), ..UNSET }
}

impl Bench<'_> {
    fn keep(&mut self, topics: &str, keep: LogRetention) {
        self.store.keep_events(&pattern(topics), keep).expect("it is set");
    }

    /// Forgets all that is to be forgotten, as foreseen; answers what is still on record.
    fn prune(&mut self) -> Vec<i64> {
        let n_foreseen = self.store.prunable_events(usize::MAX, self.now).expect("a look");
        assert_eq!(self.store.prunable_events(1, self.now).expect("a look"), n_foreseen.min(1));
        let mut n_forgotten = 0;
        loop {
            match self.store.prune_events(self.now).expect("a portion") {
                0 => break,
                n => n_forgotten += n,
            }
        }
        assert_eq!(n_forgotten, n_foreseen, "what was foreseen is forgotten");
        self.assert_sound();
        self.on_record()
    }

    /// Each topic with its events and bytes on record.
    fn tallies(&mut self) -> Vec<(String, u64, u64)> {
        let topics = self.store.topics().expect("the topics");
        topics.into_iter().map(|topic| (topic.name, topic.events, topic.bytes)).collect()
    }
}

pub(crate) fn events_are_read_in_their_order_from_any_on(open: &Open) {
    let mut bench = Bench::new(open);
    for text in ["a", "b.c", "a"] {
        bench.publish(&event(text).payload(text.as_bytes()));
        bench.advance(10);
    }
    let mut read = |first, limit| {
        let events = bench.store.events(event_id(first), limit).expect("the events");
        events.iter().map(|event| (event.id.get(), event.topic.to_string())).collect::<Vec<_>>()
    };
    let all = [(1, "a".to_owned()), (2, "b.c".to_owned()), (3, "a".to_owned())];
    assert_eq!(read(1, 10), all);
    assert_eq!(read(1, 2), all[..2]);
    assert_eq!(read(2, 10), all[1..]);
    assert_eq!(read(4, 10), []);
}

pub(crate) fn a_place_in_the_log_is_the_first_event_from_there_on(open: &Open) {
    let mut bench = Bench::new(open);
    let place = |bench: &mut Bench<'_>, from| {
        let (first, last) = bench.store.event_from(from).expect("an answer");
        (first.get(), last)
    };
    let early = bench.now;
    for from in [StartAt::New, StartAt::All, StartAt::Event(event_id(7)), StartAt::Time(early)] {
        assert_eq!(place(&mut bench, from), (1, 0), "{from:?} before the first");
    }
    for _ in 0..3 {
        bench.publish(&event("t"));
        bench.advance(10);
    }
    let at = |secs| StartAt::Time(early.plus(Duration::from_secs(secs)));
    for (from, first) in
        [(StartAt::New, 4), (StartAt::All, 1), (StartAt::Event(event_id(2)), 2), (at(10), 2), (at(11), 3), (at(21), 4)]
    {
        assert_eq!(place(&mut bench, from), (first, 3), "{from:?}");
    }
    bench.keep(">", keep_rows(1));
    assert_eq!(bench.prune(), [3]);
    for (from, first) in [(StartAt::All, 3), (StartAt::Event(event_id(2)), 3), (StartAt::New, 4)] {
        assert_eq!(place(&mut bench, from), (first, 3), "{from:?} of what is left");
    }
}

pub(crate) fn topics_tell_what_they_have_on_record(open: &Open) {
    let mut bench = Bench::new(open);
    assert_eq!(bench.tallies(), []);
    bench.publish(&event("b").payload(b"123"));
    bench.publish(&event("a"));
    bench.advance(10);
    bench.publish(&event("b").payload(b"4567").lazy());
    assert_eq!(bench.tallies(), [("a".to_owned(), 1, 0), ("b".to_owned(), 2, 7)]);
    assert_eq!(bench.store.topics().expect("the topics")[1].last_at, Some(bench.now));
    bench.keep("b.>", keep_rows(5));
    let topics = bench.store.topics().expect("the topics");
    assert_eq!((topics[2].name.as_str(), topics[2].keep, topics[2].last_at), ("b.>", keep_rows(5), None));
    bench.keep("b", keep_bytes(4));
    assert_eq!(bench.prune(), [2, 3]);
    assert_eq!(bench.tallies()[1], ("b".to_owned(), 1, 4));
}

pub(crate) fn an_event_is_on_record_for_a_week_unless_something_is_set(open: &Open) {
    let mut bench = Bench::new(open);
    bench.publish(&event("t"));
    bench.publish(&event("log.a"));
    bench.publish(&event("log.b"));
    bench.keep("log.*", LogRetention { keep: Some(None), ..UNSET });
    bench.keep("log.b", keep_for(60));
    bench.advance(60);
    assert_eq!(bench.prune(), [1, 2, 3]);
    bench.advance(1);
    assert_eq!(bench.prune(), [1, 2]);
    bench.advance(7 * DAY - 61);
    assert_eq!(bench.prune(), [1, 2]);
    bench.advance(1);
    assert_eq!(bench.prune(), [2]);
    bench.advance(10_000 * DAY);
    assert_eq!(bench.prune(), [2], "for ever");
    assert_eq!(bench.tallies().iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["log.*", "log.a", "log.b"]);
}

pub(crate) fn of_a_topic_the_newest_events_are_kept_by_number_and_by_bytes(open: &Open) {
    let mut bench = Bench::new(open);
    for _ in 0..3 {
        bench.publish(&event("a").payload(b"12345"));
        bench.publish(&event("b").payload(b"12345"));
        bench.publish(&event("c"));
    }
    bench.keep("a", keep_rows(2));
    bench.keep("b", keep_bytes(10));
    bench.keep("c", keep_bytes(1));
    assert_eq!(bench.prune(), [3, 4, 5, 6, 7, 8, 9], "each topic by itself");
    bench.keep("b", keep_bytes(9));
    bench.keep("a", keep_rows(1));
    assert_eq!(bench.prune(), [3, 6, 7, 8, 9]);
    bench.publish(&event("b").payload(b"longer than nine bytes"));
    assert_eq!(bench.prune(), [3, 6, 7, 9], "also the last one, if it is larger by itself");
}

pub(crate) fn what_says_most_about_a_topic_counts_first_and_the_rest_fills_in(open: &Open) {
    let mut bench = Bench::new(open);
    bench.publish_many(3, &event("a.b").payload(b"12"));
    bench.publish_many(3, &event("a.c").payload(b"12"));
    bench.keep(">", keep_rows(1));
    bench.keep("*.b", keep_rows(0));
    bench.keep("a.*", keep_rows(2));
    bench.keep("a.>", LogRetention { bytes: Some(Some(1)), ..keep_rows(9) });
    bench.keep("a.b", LogRetention { bytes: Some(None), ..UNSET });
    assert_eq!(bench.prune(), [2, 3], "rows of a.*, and bytes of a.b and of a.>");
    bench.keep("a.b", LogRetention { bytes: Some(Some(2)), ..UNSET });
    assert_eq!(bench.prune(), [3]);
}

pub(crate) fn what_is_set_stays_until_it_is_set_anew(open: &Open) {
    let mut bench = Bench::new(open);
    bench.keep("a", keep_for(60));
    bench.keep("a", keep_rows(5));
    bench.keep("a", LogRetention { bytes: Some(None), ..UNSET });
    let set = |bench: &mut Bench<'_>| bench.store.topics().expect("the topics")[0].keep;
    let all = LogRetention { bytes: Some(None), keep: keep_for(60).keep, rows: Some(Some(5)) };
    assert_eq!(set(&mut bench), all);
    bench.keep("a", LogRetention { keep: Some(None), ..UNSET });
    assert_eq!(set(&mut bench), LogRetention { keep: Some(None), ..all });
}

pub(crate) fn an_event_is_on_record_for_as_long_as_it_holds_its_key(open: &Open) {
    let mut bench = Bench::new(open);
    let until = bench.in_secs(100);
    let keyed = event("t").key("k", until);
    bench.publish(&keyed);
    bench.publish_many(3, &event("t"));
    bench.keep("t", keep_rows(1));
    assert_eq!(bench.prune(), [1, 4]);
    bench.advance(99);
    assert_eq!(bench.prune(), [1, 4]);
    assert_eq!(bench.store.publish(&keyed, bench.now).expect("an answer").id, event_id(1));
    bench.advance(1);
    assert_eq!(bench.prune(), [4]);
    let later = bench.in_secs(100);
    assert_eq!(bench.publish(&event("t").key("k", later)).id, event_id(5), "its key is free");
}

pub(crate) fn an_event_with_deliveries_keeps_its_payload_until_the_last_of_them_is_forgotten(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    bench.subscribe(&subscription("b", "t"));
    bench.subscribe(&subscription("c", "t"));
    bench.store.pause_subscription(&queue("c"), true, bench.now).expect("an answer");
    bench.publish(&event("t").payload(b"precious"));
    let a = bench.claim_of("a");
    bench.succeed(&a);
    bench.advance(8 * DAY);
    assert_eq!(bench.prune(), [0; 0]);
    assert_eq!(bench.tallies(), [], "nothing of it is on record");
    bench.store.pause_subscription(&queue("c"), false, bench.now).expect("an answer");
    bench.deliver_all();
    assert_eq!(bench.got("c"), [0; 0], "nor delivered any more");
    let forget = |bench: &mut Bench<'_>, id| bench.store.forget(&[id], &StateKind::ALL).expect("an answer");
    assert_eq!(forget(&mut bench, a.lease.job), [a.lease.job]);
    bench.assert_sound();
    let b = bench.claim_of("b");
    assert_eq!(b.payload.as_deref(), Some(&b"precious"[..]));
    bench.bury(&b);
    let _ = bench.store.retry(b.lease.job, &[StateKind::Dead], None, bench.now).expect("an answer");
    let b = bench.claim_of("b");
    assert_eq!(b.payload.as_deref(), Some(&b"precious"[..]), "however often it is run");
    bench.succeed(&b);
    bench.assert_sound();
    bench.publish(&event("u"));
    bench.assert_sound();
    assert_eq!(forget(&mut bench, b.lease.job), [b.lease.job]);
    bench.assert_sound();
}

pub(crate) fn an_event_on_record_outlives_its_deliveries(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    bench.publish(&event("t").payload(b"x"));
    let claimed = bench.claim_of("a");
    bench.succeed(&claimed);
    bench.store.forget(&[claimed.lease.job], &StateKind::ALL).expect("an answer");
    bench.assert_sound();
    bench.subscribe(&subscription("later", "t").from(StartAt::All));
    assert_eq!(bench.claim_of("later").payload.as_deref(), Some(&b"x"[..]));
    bench.store.rewind(&queue("a"), StartAt::All, None).expect("an answer");
    assert_eq!(bench.claim_of("a").payload.as_deref(), Some(&b"x"[..]));
    bench.assert_sound();
}

pub(crate) fn events_are_forgotten_in_portions(open: &Open) {
    let mut bench = Bench::new(open);
    bench.publish_many(1200, &event("t"));
    bench.publish(&event("u"));
    bench.keep(">", keep_rows(1));
    assert_eq!(bench.store.prunable_events(700, bench.now).expect("a look"), 700);
    let mut portions = Vec::new();
    loop {
        match bench.store.prune_events(bench.now).expect("a portion") {
            0 => break,
            n => portions.push(n),
        }
    }
    assert_eq!(portions.iter().sum::<usize>(), 1199);
    assert!(portions.iter().all(|&n| n <= 500), "{portions:?}");
    assert_eq!(bench.prune(), [1200, 1201]);
}

pub(crate) fn a_time_far_away_and_a_clock_that_was_set_back_forget_nothing_too_early(open: &Open) {
    let mut bench = Bench::new(open);
    bench.publish(&event("t"));
    bench.keep("t", LogRetention { keep: Some(Some(Duration::MAX)), ..UNSET });
    let now = bench.now;
    bench.now = Timestamp::from_millis(0);
    assert_eq!(bench.prune(), [1]);
    bench.now = now;
    bench.advance(100 * DAY);
    assert_eq!(bench.prune(), [1]);
}

pub(crate) fn a_copy_has_the_events_and_subscriptions(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    let keyed: NewEvent = event("t").payload(b"x").key("k", bench.in_secs(100));
    bench.publish(&keyed);
    bench.publish(&event("t").lazy());
    bench.keep("t", keep_rows(7));
    let to = bench.folder().join("copy.db");
    bench.store.back_up(&to).expect("a copy");
    bench.publish(&event("t"));

    let mut copy = store::open(&store::Target::Sqlite(to), store::Access::Existing).expect("a queue");
    let events = copy.events(event_id(1), 10).expect("the events");
    assert_eq!(events, bench.store.events(event_id(1), 2).expect("the events"));
    assert_eq!(copy.subscriptions().expect("a look")[0].next, Some(event_id(2)));
    assert_eq!(copy.topics().expect("a look")[0].keep, keep_rows(7));
    assert_eq!(copy.publish(&keyed, bench.now).expect("an answer").id, event_id(1));
    assert_eq!(copy.examine().expect("a look"), [""; 0]);
}

pub(crate) fn a_queue_without_events_has_none_to_tell_of(open: &Open) {
    let mut bench = Bench::new(open);
    assert_eq!(bench.on_record(), [0; 0]);
    assert_eq!(bench.tallies(), []);
    assert!(bench.store.subscriptions().expect("an answer").is_empty());
    assert!(bench.store.subscribed_to(&super::event::topic("t")).expect("an answer").is_empty());
    assert!(!bench.store.unsubscribe(&queue("a")).expect("an answer"));
    assert_eq!(bench.store.pause_subscription(&queue("a"), true, bench.now).expect("an answer"), None);
    assert_eq!(bench.store.rewind(&queue("a"), StartAt::All, None).expect("an answer"), None);
    assert_eq!(bench.prune(), [0; 0]);
}
