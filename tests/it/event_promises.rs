//! What is promised of events, each as `qctl help guarantees` says it.

use crate::support::Sandbox;

/// The events of which jobs of a queue are the deliveries, the oldest job first.
fn delivered(queue: &Sandbox, to: &str) -> Vec<i64> {
    let output = queue.qctl(&format!("list -Q {to} --reverse --limit 1000 -F event_id")).succeeds();
    output.out().lines().map(|line| line.parse().expect("a delivery")).collect()
}

#[test]
fn an_event_and_its_deliveries_are_there_together_or_not_at_all() {
    let queue = Sandbox::new();
    for name in ["a", "b", "c"] {
        queue.qctl(&format!("subscription add {name} order.* true")).succeeds();
    }
    let conn = rusqlite::Connection::open(queue.db()).expect("the queue");
    // The last of the three cannot be made.
    let trigger = "create trigger no before insert on job when new.subscription = 'c'
        begin select raise(abort, 'no'); end";
    conn.execute_batch(trigger).expect("a trigger");
    queue.qctl("publish order.created --payload x").prints("");
    queue.qctl("listen > --from all --no-follow").succeeds().prints("");
    assert!(queue.qctl("list").succeeds().out().is_empty());
    conn.execute_batch("drop trigger no").expect("it was there");
    queue.qctl("publish order.created --payload x").succeeds().prints("1\n");
    for name in ["a", "b", "c"] {
        assert_eq!(delivered(&queue, name), [1]);
    }
}

#[test]
fn each_event_comes_once_and_in_order_whoever_makes_the_delivery() {
    let queue = Sandbox::new();
    let publish = |n: usize, options: &str| {
        for _ in 0..n {
            queue.qctl(&format!("publish order.created {options}")).succeeds();
        }
    };
    publish(3, "");
    queue.qctl("subscription add log order.* --from all 'echo $QCTL_EVENT_ID >>log'").succeeds();
    publish(3, "");
    queue.qctl("work --drain -q").succeeds();
    publish(3, "");
    publish(3, "--lazy");
    publish(3, "");
    queue.qctl("subscription pause log").succeeds();
    publish(3, "");
    queue.qctl("work --drain -q").succeeds();
    queue.qctl("subscription resume log").succeeds();
    publish(3, "");
    queue.qctl("work --drain -q").succeeds();
    let ran: Vec<i64> = queue.read("log").lines().map(|line| line.parse().expect("an event")).collect();
    assert_eq!(ran, (1..=21).collect::<Vec<_>>());
}

#[test]
fn an_event_comes_again_only_from_where_a_subscription_was_rewound_to() {
    let queue = Sandbox::new();
    queue.qctl("subscription add log order.* true").succeeds();
    queue.qctl("subscription add other order.* true").succeeds();
    for _ in 0..4 {
        queue.qctl("publish order.created").succeeds();
    }
    queue.qctl("work --drain -q").succeeds();
    queue.qctl("subscription rewind log --to 3").succeeds();
    queue.qctl("work --drain -q").succeeds();
    queue.qctl("publish order.created").succeeds();
    assert_eq!(delivered(&queue, "log"), [1, 2, 3, 4, 3, 4, 5]);
    assert_eq!(delivered(&queue, "other"), [1, 2, 3, 4, 5]);
}

#[test]
fn a_subscription_that_fails_is_no_concern_of_the_others() {
    let queue = Sandbox::new();
    queue.qctl("subscription add bad order.* --max-attempts 2 --backoff fixed:10ms false").succeeds();
    queue.qctl("subscription add good order.* true").succeeds();
    queue.qctl("publish order.created").succeeds();
    queue.qctl("work --drain --wait-due 1m -q").succeeds();
    queue.qctl("list -F queue,state,attempt").succeeds().prints("good\tsucceeded\t1\nbad\tdead\t2\n");
    queue.qctl("dlq list -Q good").succeeds().prints("");
    queue.qctl("dlq requeue -Q bad").succeeds();
    queue.qctl("work --drain --wait-due 1m -q").succeeds();
    queue.qctl("list -F queue,state,attempt").succeeds().prints("good\tsucceeded\t1\nbad\tdead\t2\n");
}

#[test]
fn a_delivery_has_its_payload_also_when_the_log_has_forgotten_the_event() {
    let mut queue = Sandbox::new();
    queue.qctl("subscription add log order.* cat").succeeds();
    queue.qctl("topic set order.* --keep 10m").succeeds();
    queue.qctl("publish order.created --payload text").succeeds();
    queue.advance("1h");
    queue.qctl("prune").succeeds();
    queue.qctl("listen > --from all --no-follow").succeeds().prints("");
    queue.qctl("work --drain -q").succeeds();
    queue.qctl("logs 1").succeeds().prints("text");
}

#[test]
fn a_key_is_published_once_in_a_day() {
    let mut queue = Sandbox::new();
    queue.qctl("subscription add log order.* true").succeeds();
    queue.qctl("publish order.created --key k").succeeds().prints("1\n");
    queue.qctl("publish order.created --key k").succeeds().prints("1\n");
    queue.qctl("publish order.moved --key k").succeeds().prints("2\n");
    queue.advance("23h 59m");
    queue.qctl("topic set > --keep 1m").succeeds();
    queue.qctl("prune").succeeds();
    queue.qctl("publish order.created --key k").succeeds().prints("1\n");
    queue.advance("2m");
    queue.qctl("publish order.created --key k").succeeds().prints("3\n");
    assert_eq!(delivered(&queue, "log"), [1, 2, 3]);
}
