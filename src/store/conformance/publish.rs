//! Publishing: which subscriptions get an event, when, with what, and how often.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::bench::{Bench, Open, queue};
use super::event::{EventDraft as _, SubscriptionDraft as _, event, pattern, subscription, topic};
use crate::job::{Command, Filter, JobId, Page, StateKind, Topic, TopicPattern};
use crate::store::PublishOutcome;

pub(crate) fn each_subscription_to_a_topic_gets_its_events_as_jobs_of_its_own(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("mail", "user.*"));
    bench.subscribe(&subscription("audit", ">").on("slow"));
    bench.subscribe(&subscription("other", "order.>"));
    let published = bench.publish(&event("user.new").payload(b"{}\0\xff").label("region", "eu"));
    assert_eq!((published.id.get(), published.n_delivered, published.n_left), (1, 2, 0));
    assert_eq!(published.queues, [queue("mail"), queue("slow")]);
    for (name, of) in [("mail", "mail"), ("slow", "audit")] {
        let claimed = bench.claim_of(name);
        assert_eq!(claimed.payload.as_deref(), Some(&b"{}\0\xff"[..]));
        assert_eq!(claimed.job.command, Some(Command::Shell("handle".into())));
        assert_eq!(claimed.job.labels, [("region".to_owned(), "eu".to_owned())].into());
        let delivery = claimed.job.delivery.expect("a delivery");
        assert_eq!((delivery.event, delivery.topic.as_str()), (published.id, "user.new"));
        assert_eq!(delivery.subscription, of);
        let with_label = Filter { labels: vec![("region".to_owned(), "eu".to_owned())], ..Filter::default() };
        assert!(bench.find(&with_label).contains(&claimed.lease.job));
    }
    assert_eq!(bench.got("other"), [0; 0]);
    bench.assert_sound();
}

pub(crate) fn an_event_without_a_payload_is_not_one_with_an_empty_one(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", ">"));
    bench.publish(&event("t"));
    bench.publish(&event("t").payload(b""));
    assert_eq!([bench.claim_of("a").payload, bench.claim_of("a").payload], [None, Some(Vec::new())]);
}

pub(crate) fn without_a_subscription_an_event_is_on_record(open: &Open) {
    let mut bench = Bench::new(open);
    let until = bench.in_secs(9);
    let published = bench.publish(&event("user.new").payload(b"x").label("region", "eu").key("k", until));
    assert_eq!((published.n_delivered, published.n_left, published.queues), (0, 0, Vec::new()));
    let events = bench.store.events(published.id, 10).expect("the events");
    let [only] = &events[..] else { panic!("one event, not {events:?}") };
    assert_eq!((only.id, only.topic.as_str(), only.published_at), (published.id, "user.new", bench.now));
    assert_eq!((only.key.as_deref(), only.payload.as_deref()), (Some("k"), Some(&b"x"[..])));
    assert_eq!(only.labels, [("region".to_owned(), "eu".to_owned())].into());
}

pub(crate) fn what_becomes_of_one_delivery_is_no_concern_of_the_others(open: &Open) {
    let mut bench = Bench::new(open);
    for name in ["a", "b", "c"] {
        bench.subscribe(&subscription(name, "t"));
    }
    bench.publish(&event("t"));
    let (a, b) = (bench.claim_of("a"), bench.claim_of("b"));
    bench.bury(&a);
    bench.succeed(&b);
    let states = ["a", "b", "c"].map(|name| bench.deliveries(name)[0].state.kind());
    assert_eq!(states, [StateKind::Dead, StateKind::Succeeded, StateKind::Ready]);
    assert_eq!(bench.store.dead(&Filter::default(), 10).expect("a look"), [a.lease.job]);
    bench.assert_sound();
}

pub(crate) fn an_event_comes_with_all_of_its_deliveries_or_not_at_all(open: &Open) {
    let mut bench = Bench::new(open);
    let names: Vec<String> = (0..5).map(|n| format!("s{n}")).collect();
    for name in &names {
        bench.subscribe(&subscription(name, "t"));
    }
    let mut publisher = bench.beside();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            publisher.publish_many(100, &event("t").payload(b"x"));
            is_over.store(true, Ordering::Release);
        });
        loop {
            let is_last = is_over.load(Ordering::Acquire);
            let n_before = bench.on_record().len();
            let page = Page { after: None, limit: usize::MAX, oldest_first: true };
            let mut seen: BTreeMap<i64, usize> = BTreeMap::new();
            for job in bench.store.jobs(&Filter::default(), page).expect("every job") {
                *seen.entry(job.delivery.expect("a delivery").event.get()).or_default() += 1;
            }
            assert!(seen.values().all(|&n| n == names.len()), "a part of the deliveries: {seen:?}");
            assert!(seen.len() >= n_before, "an event without its deliveries");
            assert!(bench.on_record().len() >= seen.len(), "deliveries without their event");
            if is_last {
                break;
            }
        }
    });
    bench.assert_sound();
}

pub(crate) fn sixteen_subscriptions_get_an_event_at_once_and_seventeen_from_workers(open: &Open) {
    let mut bench = Bench::new(open);
    let names: Vec<String> = (1..=17).map(|n| format!("s{n}")).collect();
    for name in &names[..16] {
        bench.subscribe(&subscription(name, "t"));
    }
    let published = bench.publish(&event("t"));
    assert_eq!((published.n_delivered, published.n_left), (16, 0));
    bench.subscribe(&subscription(&names[16], "*"));
    let published = bench.publish(&event("t"));
    assert_eq!((published.n_delivered, published.n_left, published.queues.len()), (0, 17, 17));
    assert_eq!(bench.all().len(), 16, "only the event was written");
    bench.deliver_all();
    for name in &names[..16] {
        assert_eq!(bench.got(name), [1, 2]);
    }
    assert_eq!(bench.got("s17"), [2]);
    let published = bench.publish(&event("other"));
    assert_eq!((published.n_delivered, published.n_left), (1, 0), "those that have nothing to do with it do not count");
    bench.assert_sound();
}

type Conditions = &'static [(&'static str, &'static str)];

/// Each condition, and whether [`EVENTS`] have it.
const WHERE: &[(Conditions, [bool; 6])] = &[
    (&[], [true; 6]),
    (&[("region", "eu")], [true, true, false, false, false, false]),
    (&[("n", "17")], [false, true, false, false, false, false]),
    (&[("n", "17"), ("region", "eu")], [false, true, false, false, false, false]),
    (&[("n", "17"), ("region", "us")], [false; 6]),
    (&[("n", "1.5")], [false, false, true, false, false, false]),
    (&[("paid", "true")], [false, true, false, false, false, false]),
    (&[("paid", "false")], [false, false, true, false, false, false]),
    (&[("note", "null")], [false, true, false, false, false, false]),
    (&[("note", "")], [false, false, true, false, false, false]),
    (&[("deep", "x")], [false; 6]),
    (&[("list", "x")], [false; 6]),
    (&[("a b", "é")], [false, true, false, false, false, false]),
];

/// Payloads, and labels of the first two.
const EVENTS: [Option<&[u8]>; 6] = [
    None,
    Some(r#"{"n": 17, "paid": true, "note": null, "deep": {"deep": "x"}, "list": ["x"], "a b": "é"}"#.as_bytes()),
    Some(br#"{"n": 1.5, "paid": false, "note": ""}"#),
    Some(br#"["region", "eu"]"#),
    Some(b"{\"region\": \"eu\""),
    Some(b"\xff\xfe"),
];

pub(crate) fn a_subscription_may_want_only_events_with_some_labels_or_fields(open: &Open) {
    for is_lazy in [false, true] {
        let mut bench = Bench::new(open);
        for (n, (conditions, _)) in WHERE.iter().enumerate() {
            let new = subscription(&format!("s{n}"), "t");
            bench.subscribe(&conditions.iter().fold(new, |new, (name, value)| new.only(name, value)));
        }
        for (n, payload) in EVENTS.into_iter().enumerate() {
            let mut new = event("t");
            new.payload = payload.map(<[u8]>::to_vec);
            new.is_lazy = is_lazy;
            let new = if n == 0 { new.label("region", "eu") } else { new };
            let new = if n == 1 { new.label("region", "eu").label("other", "x") } else { new };
            bench.publish(&new);
        }
        bench.deliver_all();
        for (n, (conditions, wanted)) in WHERE.iter().enumerate() {
            let wanted: Vec<i64> = (1..).zip(wanted).filter(|(_, is)| **is).map(|(id, _)| id).collect();
            assert_eq!(bench.got(&format!("s{n}")), wanted, "{conditions:?}");
        }
        bench.assert_sound();
    }
}

pub(crate) fn a_label_and_a_field_of_one_name_may_both_be_what_is_wanted(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("label", "t").only("region", "eu"));
    bench.subscribe(&subscription("field", "t").only("region", "us"));
    bench.publish(&event("t").label("region", "eu").payload(br#"{"region": "us"}"#));
    assert_eq!((bench.got("label"), bench.got("field")), (vec![1], vec![1]));
}

pub(crate) fn who_wants_an_event_not_is_not_counted_and_not_behind(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("eu", "t").only("region", "eu"));
    bench.subscribe(&subscription("us", "t").only("region", "us"));
    let published = bench.publish(&event("t").label("region", "eu").lazy());
    assert_eq!((published.n_delivered, published.n_left, published.queues), (0, 1, vec![queue("eu")]));
    assert_eq!((bench.subscription("eu").next, bench.subscription("us").next), (Some(published.id), None));
}

pub(crate) fn a_key_publishes_one_event_in_its_topic_until_its_time(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", ">"));
    let until = bench.in_secs(100);
    let first = event("t").payload(b"x").label("region", "eu").key("k", until);
    let id = bench.publish(&first).id;
    let other_payload = first.clone().payload(b"y");
    let no_payload = crate::job::NewEvent { payload: None, ..first.clone() };
    let other_labels = first.clone().label("region", "us");
    for (again, differs) in [
        (&first, false),
        (&other_payload, true),
        (&no_payload, true),
        (&other_labels, true),
        (&first.clone().lazy(), false),
    ] {
        let published = bench.store.publish(again, bench.now).expect("an answer");
        assert_eq!((published.id, published.outcome), (id, PublishOutcome::Existing { differs }));
        assert_eq!((published.n_delivered, published.n_left, published.queues), (0, 0, Vec::new()));
    }
    let elsewhere = bench.publish(&event("u").key("k", until)).id;
    assert_eq!(bench.got("a"), [id.get(), elsewhere.get()], "each topic has keys of its own");
    bench.advance(99);
    let early = bench.store.publish(&first, bench.now).expect("an answer");
    assert_eq!(early.id, id);
    bench.advance(1);
    let until = bench.in_secs(100);
    let later = bench.publish(&event("t").key("k", until)).id;
    assert_eq!(bench.got("a"), [id, elsewhere, later].map(crate::job::EventId::get));
    let again = bench.store.publish(&event("t").key("k", until), bench.now).expect("an answer");
    assert_eq!(again.id, later);
    bench.assert_sound();
}

pub(crate) fn no_two_events_have_one_number_also_when_the_last_was_forgotten(open: &Open) {
    let mut bench = Bench::new(open);
    let last = bench.publish_many(3, &event("t"));
    bench.advance(8 * 24 * 3600);
    assert_eq!(bench.store.prune_events(bench.now).expect("an answer"), 3);
    assert_eq!((last, bench.publish(&event("t")).id.get()), (3, 4));
}

/// A topic of few tokens of few kinds, so that patterns often match.
fn token() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]", 1 => "[-/.-]?[ab0]".prop_map(|token| token.replace('.', "é")), 1 => Just("!".to_owned())]
}

fn any_topic() -> impl Strategy<Value = Topic> {
    proptest::collection::vec(token(), 1..5).prop_map(|tokens| topic(&tokens.join(".")))
}

fn any_pattern() -> impl Strategy<Value = TopicPattern> {
    let wild = prop_oneof![3 => token(), 2 => Just("*".to_owned())];
    (proptest::collection::vec(wild, 0..5), any::<bool>()).prop_map(|(mut tokens, has_rest)| {
        if has_rest || tokens.is_empty() {
            tokens.push(">".to_owned());
        }
        pattern(&tokens.join("."))
    })
}

pub(crate) fn a_topic_leads_to_the_subscriptions_whose_patterns_match_it(open: &Open) {
    let of_all = (proptest::collection::vec(any_pattern(), 0..25), proptest::collection::vec(any_topic(), 1..10));
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&of_all, |(patterns, topics)| {
        let mut bench = Bench::new(open);
        for (n, pattern) in patterns.iter().enumerate() {
            bench.subscribe(&subscription(&format!("s{n:02}"), pattern.as_str()));
        }
        for topic in topics {
            let matching = patterns.iter().enumerate().filter(|(_, pattern)| pattern.matches(&topic));
            let expected: Vec<String> = matching.map(|(n, _)| format!("s{n:02}")).collect();
            let found = bench.store.subscribed_to(&topic).expect("an answer");
            let found: Vec<String> = found.iter().map(|one| one.name.to_string()).collect();
            prop_assert_eq!(&found, &expected, "of {}", topic);
            let published = bench.publish(&event(topic.as_str()));
            prop_assert_eq!(published.n_delivered + published.n_left, expected.len());
        }
        Ok(())
    });
    outcome.expect("they agree");
}

pub(crate) fn a_topic_of_sixteen_tokens_is_found_by_each_way_to_write_it(open: &Open) {
    let mut bench = Bench::new(open);
    let deep = vec!["a"; 16].join(".");
    let stars = vec!["*"; 16].join(".");
    let alternating = ["a", "*"].repeat(8).join(".");
    let rest = format!("{}.>", ["*"; 15].join("."));
    for (n, text) in [&deep, &stars, &alternating, &rest, ">", &["*"; 15].join(".")].into_iter().enumerate() {
        bench.subscribe(&subscription(&format!("s{n}"), text));
    }
    let published = bench.publish(&event(&deep));
    assert_eq!(published.n_delivered, 5);
    assert_eq!(bench.got("s5"), [0; 0]);
}

pub(crate) fn deliveries_of_one_event_are_made_in_the_order_of_the_subscriptions(open: &Open) {
    let mut bench = Bench::new(open);
    for name in ["c", "a", "b"] {
        bench.subscribe(&subscription(name, ">").on("shared"));
    }
    bench.publish(&event("t"));
    let claimed: Vec<JobId> = bench.claim_ids();
    let of = |bench: &mut Bench<'_>, id| bench.job(id).delivery.expect("a delivery").subscription;
    let names: Vec<String> = claimed.into_iter().map(|id| of(&mut bench, id)).collect();
    assert_eq!(names, ["c", "a", "b"]);
}
