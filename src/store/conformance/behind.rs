//! Subscriptions that are behind: who catches up for them, in which order, how fast and how far.

use std::thread;
use std::time::Duration;

use super::bench::{Bench, Draft as _, Open, job, queue, serving};
use super::event::{EventDraft as _, SubscriptionDraft as _, event, event_id, pattern, rate, subscription};
use crate::job::{LogRetention, Outcome, StartAt, StateKind, Verdict};
use crate::store::Serving;

/// How much may wait in a queue before it gets no more.
const MAX_WAITING: usize = 10_000;

pub(crate) fn what_is_left_to_workers_is_delivered_by_those_that_serve_its_queue(open: &Open) {
    let mut bench = Bench::new(open);
    for name in ["a", "b"] {
        bench.subscribe(&subscription(name, "t"));
    }
    bench.publish(&event("t").payload(b"x").label("region", "eu").lazy());
    assert_eq!((bench.all().len(), bench.subscription("a").lag), (0, 1));
    assert_eq!(bench.subscription("a").behind_since, Some(bench.now));
    let turned = bench.turn(&[], &serving(&["a"], &[]), 1);
    assert_eq!(turned.promoted, [queue("a")]);
    let claimed = &turned.claimed[0];
    assert_eq!((claimed.payload.as_deref(), claimed.job.labels.len()), (Some(&b"x"[..]), 1));
    assert_eq!((bench.got("a"), bench.got("b")), (vec![1], vec![]));
    assert_eq!((bench.subscription("a").next, bench.subscription("b").next), (None, Some(event_id(1))));
    bench.deliver(&["*"]);
    assert_eq!((bench.got("a"), bench.got("b")), (vec![1], vec![1]));
    bench.assert_sound();
}

pub(crate) fn events_are_delivered_in_the_order_of_publication_whoever_does_it(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t.*"));
    bench.subscribe(&subscription("paused", "t.*"));
    bench.subscribe(&subscription("other", "t.2"));
    bench.store.pause_subscription(&queue("paused"), true, bench.now).expect("an answer");
    for round in 0..4 {
        bench.publish(&event("t.1"));
        bench.publish(&event("t.2").lazy());
        let behind = bench.publish(&event("t.3"));
        assert_eq!((behind.n_delivered, behind.n_left), (0, 2), "it waits behind the one before, in round {round}");
        bench.publish(&event("u"));
        if round % 2 == 1 {
            bench.deliver_all();
            assert_eq!(bench.publish(&event("t.1")).n_delivered, 1, "nothing is before it");
        }
    }
    bench.deliver_all();
    bench.store.pause_subscription(&queue("paused"), false, bench.now).expect("an answer");
    bench.publish(&event("t.4"));
    bench.deliver_all();
    let expected: Vec<i64> = (1..=19).filter(|id| ![4, 8, 13, 17].contains(id)).collect();
    assert_eq!(bench.got("a"), expected);
    assert_eq!(bench.got("paused"), expected);
    assert_eq!(bench.got("other"), [2, 6, 11, 15]);
    bench.assert_sound();
}

pub(crate) fn a_backlog_is_delivered_in_portions_and_each_event_once(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    bench.publish_many(1200, &event("t").payload(b"x").lazy());
    let (mut other, mut portions) = (bench.beside(), Vec::new());
    loop {
        let before = bench.got("a").len();
        let worker = if portions.len() % 2 == 0 { &mut bench } else { &mut other };
        let is_behind = worker.turn(&[], &Serving::default(), 0).is_behind;
        portions.push(bench.got("a").len() - before);
        if !is_behind {
            break;
        }
    }
    assert_eq!(portions.iter().sum::<usize>(), 1200);
    assert!(portions.iter().all(|&n| n <= 500), "{portions:?}");
    assert_eq!(bench.got("a"), (1..=1200).collect::<Vec<_>>());
    assert_eq!((bench.subscription("a").next, bench.subscription("a").lag), (None, 0));
    assert_eq!(bench.publish(&event("t")).n_delivered, 1);
    bench.assert_sound();
}

pub(crate) fn a_turn_delivers_no_more_however_many_subscriptions_are_behind(open: &Open) {
    let mut bench = Bench::new(open);
    let names: Vec<String> = (0..60).map(|n| format!("s{n}")).collect();
    for name in &names {
        bench.subscribe(&subscription(name, "t"));
    }
    bench.publish_many(120, &event("t"));
    let mut portions = Vec::new();
    loop {
        let before = bench.all_ready();
        let is_behind = bench.turn(&[], &Serving::default(), 0).is_behind;
        portions.push(bench.all_ready() - before);
        if !is_behind {
            break;
        }
        let of_each: Vec<usize> = names.iter().map(|name| bench.got(name).len()).collect();
        assert!(of_each.iter().all(|n| *n == of_each[0]), "to each its share: {of_each:?}");
    }
    assert_eq!(portions.iter().sum::<i64>(), 60 * 120);
    assert!(portions.iter().all(|&n| n <= 2500), "{portions:?}");
}

pub(crate) fn many_workers_and_publishers_deliver_each_event_once_and_in_order(open: &Open) {
    let mut bench = Bench::new(open);
    for name in ["a", "b"] {
        bench.subscribe(&subscription(name, "t"));
    }
    let publishers = [true, false].map(|is_lazy| (bench.beside(), is_lazy));
    let workers = [(); 3].map(|()| bench.beside());
    thread::scope(|scope| {
        let publishers = publishers.map(|(mut bench, is_lazy)| {
            scope.spawn(move || {
                let event = if is_lazy { event("t").lazy() } else { event("t") };
                bench.publish_many(150, &event);
            })
        });
        let workers = workers.map(|mut worker| {
            scope.spawn(move || {
                while worker.on_record().len() < 300 {
                    worker.deliver_all();
                }
                worker.deliver_all();
            })
        });
        publishers.into_iter().for_each(|thread| thread.join().expect("every publish succeeds"));
        workers.into_iter().for_each(|thread| thread.join().expect("every turn succeeds"));
    });
    for name in ["a", "b"] {
        assert_eq!(bench.got(name), (1..=300).collect::<Vec<_>>(), "by {name}");
    }
    bench.assert_sound();
}

pub(crate) fn a_log_of_other_topics_is_passed_over_in_portions(open: &Open) {
    let mut bench = Bench::new(open);
    bench.publish_many(5600, &event("other"));
    let last = bench.publish(&event("t")).id.get();
    bench.subscribe(&subscription("a", "t").from(StartAt::All));
    assert_eq!(bench.subscription("a").lag, 1);
    assert!(bench.turn(&[], &Serving::default(), 0).is_behind, "there is more to look at");
    assert_eq!(bench.got("a"), [0; 0]);
    bench.deliver_all();
    assert_eq!((bench.got("a"), bench.subscription("a").next), (vec![last], None));
}

pub(crate) fn a_new_subscription_begins_where_it_asks_to(open: &Open) {
    let mut bench = Bench::new(open);
    for _ in 0..5 {
        bench.publish(&event("t"));
        bench.publish(&event("other"));
        bench.advance(10);
    }
    let time = bench.now.minus(Duration::from_secs(20));
    let just_after = time.plus(Duration::from_millis(1));
    for (name, from, wanted) in [
        ("new", StartAt::New, &[][..]),
        ("all", StartAt::All, &[1, 3, 5, 7, 9]),
        ("event", StartAt::Event(event_id(5)), &[5, 7, 9]),
        ("between", StartAt::Event(event_id(6)), &[7, 9]),
        ("time", StartAt::Time(time), &[7, 9]),
        ("later", StartAt::Time(just_after), &[9]),
        ("now", StartAt::Time(bench.now), &[]),
    ] {
        bench.subscribe(&subscription(name, "t").from(from));
        bench.deliver_all();
        assert_eq!(bench.got(name), wanted, "{from:?}");
    }
    bench.publish(&event("t"));
    bench.deliver_all();
    for name in ["new", "all", "event", "between", "time", "later", "now"] {
        assert_eq!(bench.got(name).last(), Some(&11), "and {name} goes on with what comes");
    }
}

pub(crate) fn a_rewound_subscription_gets_again_what_was_published_from_there_on(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    bench.subscribe(&subscription("b", "t"));
    for _ in 0..4 {
        bench.publish(&event("t"));
        bench.advance(10);
    }
    let time = bench.now.minus(Duration::from_secs(10));
    let mut expected = vec![1, 2, 3, 4];
    for (to, again) in [
        (StartAt::Event(event_id(3)), &[3, 4][..]),
        (StartAt::Time(time), &[4]),
        (StartAt::All, &[1, 2, 3, 4]),
        (StartAt::New, &[]),
    ] {
        assert_eq!(bench.store.rewind(&queue("a"), to, None).expect("an answer"), Some(queue("a")));
        bench.deliver_all();
        expected.extend(again);
        assert_eq!(bench.got("a"), expected, "{to:?}");
    }
    assert_eq!(bench.got("b"), [1, 2, 3, 4], "that is no concern of others");
    assert_eq!(bench.store.rewind(&queue("c"), StartAt::All, None).expect("an answer"), None);
    bench.assert_sound();
}

pub(crate) fn rewound_to_what_is_new_a_subscription_passes_over_its_backlog(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    bench.publish_many(3, &event("t").lazy());
    bench.store.rewind(&queue("a"), StartAt::New, None).expect("an answer");
    bench.deliver_all();
    assert_eq!((bench.got("a"), bench.subscription("a").lag), (vec![], 0));
    bench.publish(&event("t"));
    assert_eq!(bench.got("a"), [4]);
}

pub(crate) fn a_backlog_is_delivered_at_its_rate(open: &Open) {
    let mut bench = Bench::new(open);
    bench.publish_many(300, &event("t"));
    bench.subscribe(&subscription("a", "t").from(StartAt::All).at_rate(rate(100, 1)));
    bench.subscribe(&subscription("slow", "t").from(StartAt::All).at_rate(rate(1, 60)));
    let mut seen = Vec::new();
    let started = bench.now;
    for pause in [0, 49, 1, 50, 200, 0, 2000, 3_600_000] {
        bench.now = bench.now.plus(Duration::from_millis(pause));
        let turned = bench.turn(&[], &Serving::default(), 0);
        assert!(!turned.is_behind, "another turn at once would bring nothing");
        seen.push((bench.got("a").len(), bench.got("slow").len(), turned.next_due.map(|due| due.since(bench.now))));
    }
    let ms = |ms| Some(Duration::from_millis(ms));
    let expected = [
        (100, 1, ms(50)),
        (100, 1, ms(1)),
        (105, 1, ms(50)),
        (110, 1, ms(50)),
        (130, 1, ms(50)),
        (130, 1, ms(50)),
        (230, 1, ms(50)),
        (300, 2, ms(60_000)),
    ];
    assert_eq!(seen, expected, "since {started:?}");
    assert_eq!(bench.got("a"), (1..=300).collect::<Vec<_>>());
    assert_eq!((bench.subscription("a").rate, bench.subscription("slow").rate), (None, Some(rate(1, 60))));
    bench.publish_many(3, &event("t"));
    assert_eq!(bench.got("a").len(), 303, "who has caught up gets the rest as it comes");
}

pub(crate) fn no_rate_is_missed_by_far_also_where_it_is_no_round_one(open: &Open) {
    for n in [7, 20, 30, 39, 100, 333] {
        let mut bench = Bench::new(open);
        bench.publish_many(n as usize * 4, &event("t"));
        bench.subscribe(&subscription("a", "t").from(StartAt::All).at_rate(rate(n, 1)));
        bench.deliver_all();
        let (started, first) = (bench.now, bench.got("a").len());
        let end = started.plus(Duration::from_secs(2));
        let due = |turned: crate::store::Turned| turned.next_due.filter(|&due| due <= end);
        while let Some(due) = due(bench.turn(&[], &Serving::default(), 0)) {
            bench.now = due;
        }
        let delivered = bench.got("a").len() - first;
        let expected = n as usize * 2;
        assert!(
            delivered * 10 >= expected * 9 && delivered <= expected + 1,
            "{delivered} in two seconds at {n} a second"
        );
    }
}

pub(crate) fn a_rewind_may_have_a_rate_and_new_events_wait_behind(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    bench.subscribe(&subscription("b", "t"));
    bench.publish_many(3, &event("t"));
    bench.deliver_all();
    bench.store.rewind(&queue("a"), StartAt::All, Some(rate(1, 1))).expect("an answer");
    let published = bench.publish(&event("t"));
    assert_eq!((published.n_delivered, published.n_left), (1, 1), "to the others it goes at once");
    for n in 1..=4 {
        bench.deliver_all();
        assert_eq!(bench.got("a")[3..], (1..=n).collect::<Vec<_>>());
        bench.advance(1);
    }
    assert_eq!((bench.got("b"), bench.subscription("a").rate), (vec![1, 2, 3, 4], None));
}

pub(crate) fn a_clock_that_was_set_back_holds_up_no_backlog_without_a_rate(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    bench.publish_many(1, &event("t").lazy());
    bench.deliver_all();
    bench.now = bench.now.minus(Duration::from_secs(3600));
    bench.publish_many(1, &event("t").lazy());
    bench.deliver_all();
    assert_eq!(bench.got("a"), [1, 2]);
}

pub(crate) fn a_queue_in_which_much_waits_gets_no_more_until_there_is_room(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    bench.subscribe(&subscription("b", "t"));
    bench.push_all(vec![job("x").on("a"); MAX_WAITING - 10]);
    for n in 0..30 {
        let published = bench.publish(&event("t"));
        assert_eq!((published.n_delivered, published.n_left), if n < 10 { (2, 0) } else { (1, 1) });
    }
    bench.deliver_all();
    assert_eq!((bench.got("a").len(), bench.got("b").len()), (10, 30));
    assert_eq!(bench.queue("a").tally.get(StateKind::Ready), MAX_WAITING as i64);
    let turned = bench.turn(&[], &serving(&["a"], &[]), 7);
    assert_eq!((turned.claimed.len(), bench.got("a").len()), (7, 10));
    bench.deliver_all();
    assert_eq!((bench.got("a").len(), bench.queue("a").tally.get(StateKind::Ready)), (17, MAX_WAITING as i64));
    while bench.got("a").len() < 30 {
        assert_eq!(bench.turn(&[], &serving(&["a"], &[]), 5).claimed.len(), 5);
    }
    assert_eq!(bench.got("a"), (1..=30).collect::<Vec<_>>());
    bench.turn(&[], &serving(&["a"], &[]), 100);
    assert_eq!(bench.publish(&event("t")).n_delivered, 2, "at once again");
    assert!(bench.store.strays().expect("a look").is_empty());
}

pub(crate) fn jobs_that_wait_to_be_tried_again_or_for_their_time_take_up_room_and_the_dead_do_not(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    let later = bench.in_secs(100);
    bench.push_all(vec![job("x").on("a").due(later); MAX_WAITING - 3]);
    bench.publish_many(3, &event("t"));
    assert_eq!((bench.got("a"), bench.publish(&event("t")).n_left), (vec![1, 2, 3], 1));
    let claimed = bench.claim(3);
    let soon = bench.in_secs(10);
    let failed = claimed.iter().map(|one| bench.ending(one, Outcome::Failed, Verdict::Retry { due: soon }));
    let failed: Vec<_> = failed.collect();
    bench.turn(&failed, &Serving::default(), 0);
    bench.deliver_all();
    assert_eq!((bench.got("a").len(), bench.queue("a").tally.get(StateKind::Retrying)), (3, 3));
    bench.advance(10);
    for one in bench.claim(3) {
        bench.bury(&one);
    }
    bench.deliver_all();
    assert_eq!((bench.got("a").len(), bench.queue("a").tally.get(StateKind::Dead)), (4, 3));
    assert!(bench.store.strays().expect("a look").is_empty());
}

pub(crate) fn what_nobody_works_stays_behind_and_costs_the_others_nothing(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    bench.subscribe(&subscription("idle", "t"));
    bench.publish_many(3, &event("t").lazy());
    bench.deliver(&["a"]);
    let mut other = bench.beside();
    let version = other.store.version().expect("a number");
    for _ in 0..3 {
        let turned = bench.turn(&[], &serving(&["a"], &[]), 0);
        assert_eq!((turned.is_behind, turned.next_due), (false, None));
    }
    assert_eq!(other.store.version().expect("a number"), version, "nothing was written");
    assert_eq!((bench.got("idle"), bench.subscription("idle").lag), (vec![], 3));
    bench.store.keep_events(&pattern(">"), keep_rows(1)).expect("set");
    assert_eq!(bench.store.prune_events(bench.now).expect("an answer"), 2, "it keeps nothing on record");
    assert_eq!((bench.on_record(), bench.subscription("idle").lag), (vec![3], 1));
    bench.publish(&event("t"));
    bench.deliver_all();
    assert_eq!(bench.got("idle"), [3, 4], "it gets what is there, in order");
    bench.assert_sound();
}

fn keep_rows(n: u64) -> LogRetention {
    LogRetention { rows: Some(Some(n)), ..LogRetention::default() }
}

pub(crate) fn a_backlog_that_was_forgotten_whole_is_none(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    bench.publish_many(3, &event("t").lazy());
    bench.advance(8 * 24 * 3600);
    assert_eq!(bench.store.prune_events(bench.now).expect("an answer"), 3);
    assert_eq!((bench.subscription("a").lag, bench.subscription("a").behind_since), (0, None));
    bench.deliver_all();
    assert_eq!((bench.got("a"), bench.subscription("a").next), (vec![], None));
    bench.publish(&event("t"));
    assert_eq!(bench.got("a"), [4]);
    bench.assert_sound();
}

pub(crate) fn who_waits_for_events_only_is_told_when_to_look(open: &Open) {
    let mut bench = Bench::new(open);
    bench.publish_many(2, &event("t"));
    bench.subscribe(&subscription("a", "t").from(StartAt::All).at_rate(rate(1, 10)));
    let turned = bench.turn(&[], &Serving::default(), 0);
    assert_eq!(turned.next_due, Some(bench.in_secs(10)));
    assert_eq!(bench.turn(&[], &serving(&["other"], &[]), 0).next_due, None);
    bench.push(job("x").due(bench.in_secs(5)));
    assert_eq!(bench.turn(&[], &Serving::default(), 0).next_due, Some(bench.in_secs(5)));
}
