//! Subscriptions themselves: making, listing, pausing and removing them, and what their queue has to do with it.

use std::time::Duration;

use super::bench::{Bench, Draft as _, Open, job, queue, serving};
use super::event::{EventDraft as _, SubscriptionDraft as _, event, event_id, rate, subscription, topic};
use crate::job::{Backoff, Command, NewSubscription, QueueSettings, StartAt, StateKind};
use crate::store::{Removed, Serving, Subscribed};

pub(crate) fn a_subscription_comes_back_as_it_was_made(open: &Open) {
    let mut bench = Bench::new(open);
    bench.publish_many(3, &event("order.new"));
    let new = subscription("b", "order.*").on("slow").only("region", "eu").at_rate(rate(5, 60));
    bench.subscribe(&new.from(StartAt::Event(event_id(2))));
    bench.subscribe(&NewSubscription { command: None, ..subscription("a", ">") });
    let all = bench.store.subscriptions().expect("the subscriptions");
    assert_eq!(all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a", "b"], "by name");
    let [a, b] = &all[..] else { panic!("two, not {all:?}") };
    assert_eq!((b.pattern.as_str(), b.queue.as_str()), ("order.*", "slow"));
    assert_eq!(b.only, [("region".to_owned(), "eu".to_owned())].into());
    assert_eq!(b.command, Some(Command::Shell("handle".into())));
    assert_eq!((b.paused_at, b.created_at), (None, bench.now));
    assert_eq!((b.next, b.rate, b.lag, b.behind_since), (Some(event_id(2)), Some(rate(5, 60)), 2, Some(bench.now)));
    assert_eq!((&a.command, a.next, a.lag, a.behind_since), (&None, None, 0, None));
    assert_eq!(bench.queue("slow").tally.get(StateKind::Ready), 0, "its queue is there");
}

pub(crate) fn the_same_subscription_once_more_changes_nothing(open: &Open) {
    let mut bench = Bench::new(open);
    bench.publish_many(3, &event("t"));
    let new = subscription("a", "t").from(StartAt::All);
    bench.subscribe(&new);
    bench.deliver_all();
    bench.advance(10);
    let elsewhere = new.clone().from(StartAt::New).at_rate(rate(1, 1));
    for again in [&new, &elsewhere] {
        assert_eq!(bench.store.subscribe(again, bench.now).expect("an answer"), Subscribed::Existing);
    }
    bench.deliver_all();
    assert_eq!((bench.got("a"), bench.subscription("a").next), (vec![1, 2, 3], None));
}

pub(crate) fn another_subscription_of_the_same_name_is_refused_and_nothing_is_done(open: &Open) {
    let mut bench = Bench::new(open);
    let new = subscription("a", "t");
    bench.subscribe(&new);
    let own = QueueSettings { priority: Some(1), ..QueueSettings::default() };
    let mut in_folder = new.clone();
    in_folder.context.cwd = b"/".to_vec();
    let others = [
        subscription("a", "*"),
        subscription("a", "t").on("elsewhere"),
        subscription("a", "t").only("region", "eu"),
        NewSubscription { command: None, ..new.clone() },
        NewSubscription { command: Some(Command::Shell("other".into())), ..new.clone() },
        NewSubscription { command: Some(Command::Program(vec![b"handle".to_vec()])), ..new.clone() },
        NewSubscription { own, ..new.clone() },
        NewSubscription { env: vec![(b"N".to_vec(), b"1".to_vec())], ..new.clone() },
        in_folder,
    ];
    for other in &others {
        assert_eq!(bench.store.subscribe(other, bench.now).expect("an answer"), Subscribed::Other, "{other:?}");
    }
    assert_eq!(bench.subscription("a").pattern.as_str(), "t");
    let queues: Vec<String> =
        bench.store.queues().expect("the queues").iter().map(|one| one.name.to_string()).collect();
    assert_eq!(queues, ["a"], "no queue is made for one that is refused");
}

pub(crate) fn a_removed_subscription_gets_nothing_more_and_what_it_got_stays(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    bench.publish(&event("t").payload(b"x"));
    bench.publish(&event("t").lazy());
    assert!(bench.store.unsubscribe(&queue("a")).expect("an answer"));
    assert!(!bench.store.unsubscribe(&queue("a")).expect("an answer"));
    let published = bench.publish(&event("t"));
    assert_eq!((published.n_delivered, published.n_left), (0, 0));
    bench.deliver_all();
    assert_eq!(bench.got("a"), [1], "what it was still to get it does not get");
    let claimed = bench.claim_of("a");
    assert_eq!(claimed.job.delivery.as_ref().expect("a delivery").subscription, "a");
    assert_eq!(claimed.payload.as_deref(), Some(&b"x"[..]));
    bench.subscribe(&subscription("a", "t"));
    bench.deliver_all();
    assert_eq!(bench.got("a"), [1], "a new one of that name begins anew");
    bench.assert_sound();
}

pub(crate) fn a_queue_stays_while_a_subscription_delivers_to_it(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("b", "t").on("q"));
    bench.subscribe(&subscription("a", "t").on("q"));
    let removed = |bench: &mut Bench<'_>| bench.store.remove_queue(&queue("q")).expect("an answer");
    assert_eq!(removed(&mut bench), Removed::Subscribed(queue("a")));
    bench.publish(&event("t"));
    assert!(matches!(removed(&mut bench), Removed::NotEmpty(_)));
    assert_eq!(bench.got("a"), [1]);
    let ids = bench.all();
    bench.store.forget(&ids, &StateKind::ALL).expect("an answer");
    for name in ["a", "b"] {
        assert!(matches!(removed(&mut bench), Removed::Subscribed(_)));
        assert!(bench.store.unsubscribe(&queue(name)).expect("an answer"));
    }
    assert_eq!(removed(&mut bench), Removed::Gone);
    bench.assert_sound();
}

pub(crate) fn a_paused_subscription_gets_later_what_was_published_meanwhile(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t"));
    bench.subscribe(&subscription("b", "t"));
    bench.publish(&event("t"));
    let pause = |bench: &mut Bench<'_>, name, is_paused| {
        bench.store.pause_subscription(&queue(name), is_paused, bench.now).expect("an answer")
    };
    assert_eq!((pause(&mut bench, "a", true), pause(&mut bench, "a", true)), (Some(true), Some(false)));
    assert_eq!(pause(&mut bench, "nobody", true), None);
    assert_eq!(bench.subscription("a").paused_at, Some(bench.now));
    let published = bench.publish(&event("t"));
    assert_eq!((published.n_delivered, published.n_left), (1, 1));
    let turned = bench.turn(&[], &serving(&["a"], &[]), 5);
    assert_eq!((turned.claimed.len(), turned.next_due, bench.got("a")), (0, None, vec![1]), "its queue rests too");
    assert_eq!((pause(&mut bench, "a", false), pause(&mut bench, "a", false)), (Some(true), Some(false)));
    let turned = bench.turn(&[], &serving(&["a"], &[]), 5);
    assert_eq!((turned.claimed.len(), bench.got("a"), bench.got("b")), (2, vec![1, 2], vec![1, 2]));
    assert_eq!(bench.subscription("a").paused_at, None);
}

pub(crate) fn a_pause_leaves_a_queue_alone_that_others_use_too(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t").on("q"));
    bench.subscribe(&subscription("shared", "t"));
    bench.subscribe(&subscription("guest", "t").on("shared"));
    for name in ["a", "shared"] {
        bench.store.pause_subscription(&queue(name), true, bench.now).expect("an answer");
    }
    assert_eq!((bench.queue("q").paused_at, bench.queue("shared").paused_at), (None, None));
    bench.publish(&event("t"));
    bench.deliver_all();
    assert_eq!((bench.got("a"), bench.got("shared"), bench.got("guest")), (vec![], vec![], vec![1]));
}

pub(crate) fn what_is_said_of_a_queue_counts_for_deliveries_from_then_on(open: &Open) {
    let mut bench = Bench::new(open);
    let own = QueueSettings { max_attempts: Some(9), ..QueueSettings::default() };
    bench.store.configure(&queue("q"), &mut |settings| settings.priority = Some(3)).expect("a change");
    bench.subscribe(&subscription("plain", "t").on("q"));
    bench.subscribe(&NewSubscription { own, ..subscription("own", "t").on("q") });
    bench.publish(&event("t"));
    let backoff = Backoff::Fixed(Duration::from_secs(7));
    let mut change = |settings: &mut QueueSettings| {
        (settings.priority, settings.max_attempts) = (Some(20), Some(2));
        settings.backoff = Some(backoff.clone());
    };
    bench.store.configure(&queue("q"), &mut change).expect("a change");
    bench.publish(&event("t"));
    bench.publish(&event("t").lazy());
    bench.deliver_all();
    let claimed = bench.turn(&[], &Serving::default(), 10).claimed;
    for (name, max_attempts) in [("plain", [5, 2, 2]), ("own", [9, 9, 9])] {
        let jobs = bench.deliveries(name);
        assert_eq!(jobs.iter().map(|job| job.priority).collect::<Vec<_>>(), [3, 20, 20], "of {name}");
        assert_eq!(jobs.iter().map(|job| job.max_attempts).collect::<Vec<_>>(), max_attempts, "of {name}");
        for (job, is_later) in jobs.iter().zip([false, true, true]) {
            let claimed = claimed.iter().find(|claimed| claimed.job.id == job.id).expect("all were claimed");
            assert_eq!(claimed.context.terms.backoff == backoff, is_later, "of {name}");
        }
    }
    bench.assert_sound();
}

pub(crate) fn a_delivery_runs_as_its_subscription_says(open: &Open) {
    let mut bench = Bench::new(open);
    let command = Command::Program(vec![b"handle".to_vec(), b"\xff".to_vec()]);
    let mut new = NewSubscription { command: Some(command.clone()), ..subscription("a", "t") };
    new.env = vec![(b"N".to_vec(), b"1".to_vec())];
    new.context.cwd = b"/srv".to_vec();
    bench.subscribe(&new);
    bench.subscribe(&NewSubscription { command: None, ..subscription("b", "t") });
    for event in [event("t"), event("t").lazy()] {
        bench.publish(&event);
        let claimed = bench.claim_of("a");
        assert_eq!((&claimed.job.command, &claimed.env), (&Some(command.clone()), &new.env));
        assert_eq!((&claimed.context.cwd, &claimed.context.env), (&new.context.cwd, &new.context.env));
    }
    assert_eq!(bench.claim_of("b").job.command, None, "that is the handler's");
}

pub(crate) fn two_subscriptions_may_share_a_queue_and_each_gets_its_own(open: &Open) {
    let mut bench = Bench::new(open);
    bench.subscribe(&subscription("a", "t.*").on("q"));
    bench.subscribe(&subscription("b", ">").on("q"));
    let published = bench.publish(&event("t.1"));
    assert_eq!((published.n_delivered, published.queues), (2, vec![queue("q"); 2]));
    bench.publish(&event("t.1").lazy());
    bench.deliver_all();
    assert_eq!((bench.got("a"), bench.got("b")), (vec![1, 2], vec![1, 2]));
    bench.push(job("x").on("q"));
    assert_eq!(bench.queue("q").tally.get(StateKind::Ready), 5);
    bench.assert_sound();
}

pub(crate) fn those_that_would_get_a_topic_are_told_by_name_with_how_they_stand(open: &Open) {
    let mut bench = Bench::new(open);
    for (name, topics) in [("z", "a.b"), ("m", "a.*"), ("a", ">"), ("x", "a")] {
        bench.subscribe(&subscription(name, topics).only("region", "eu"));
    }
    bench.publish_many(2, &event("a.b").label("region", "eu").lazy());
    bench.store.pause_subscription(&queue("m"), true, bench.now).expect("an answer");
    let found = bench.store.subscribed_to(&topic("a.b")).expect("an answer");
    let told: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.lag, one.paused_at.is_some())).collect();
    assert_eq!(told, [("a", 2, false), ("m", 2, true), ("z", 2, false)], "whatever they want of it");
    assert!(
        bench.store.subscribed_to(&topic("a.c.d.e")).expect("an answer").iter().all(|one| one.name.as_str() == "a")
    );
}
