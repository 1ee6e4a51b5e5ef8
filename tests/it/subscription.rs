//! Subscriptions over their life: where they begin, how they catch up, pause, rewind and go.

use serde_json::{Value, json};

use crate::support::Sandbox;

/// The subscription as `show --json` has it.
#[track_caller]
fn subscription(queue: &Sandbox, name: &str) -> Value {
    queue.qctl(&format!("subscription show {name} --json")).succeeds().json()["subscription"].clone()
}

/// A queue with so many events of topic `t`.
fn with_events(n: usize) -> Sandbox {
    let queue = Sandbox::new();
    queue.sh(&format!("for n in $(seq {n}); do qctl publish t --payload $n; done")).succeeds();
    queue
}

/// What is typed to have a subscription write its events to a file of its name.
fn add(name: &str, more: &str) -> String {
    format!("subscription add {name} t {more} -- 'echo $QCTL_EVENT_ID >>{name}'")
}

/// The events that a subscription has run, in their order.
fn ran(queue: &Sandbox, name: &str) -> String {
    queue.qctl("work -j 1 --drain").succeeds();
    queue.read(name).replace('\n', " ").trim_end().to_owned()
}

#[test]
fn a_new_subscription_begins_where_it_asks_to() {
    let mut queue = with_events(3);
    queue.advance("2h");
    queue.sh("qctl publish t; qctl publish t").succeeds();
    for (name, from, expected) in [
        ("plain", "", ""),
        ("new", "--from new", ""),
        ("all", "--from all", "1 2 3 4 5"),
        ("event", "--from 3", "3 4 5"),
        ("hour", "--from 1h", "4 5"),
        ("day", "--from 24h", "1 2 3 4 5"),
    ] {
        queue.qctl(&add(name, from)).succeeds();
        assert_eq!(ran(&queue, name), expected, "{from}");
    }
    queue.qctl("publish t").succeeds();
    assert_eq!(ran(&queue, "plain"), "6");
    assert_eq!([ran(&queue, "event"), ran(&queue, "hour")], ["3 4 5 6", "4 5 6"]);
}

#[test]
fn a_rewound_subscription_gets_again_what_was_published_from_there_on() {
    let mut queue = with_events(2);
    queue.qctl(&add("a", "--from all")).succeeds();
    queue.qctl(&add("b", "--from all")).succeeds();
    queue.advance("1h");
    queue.qctl("publish t").succeeds();
    assert_eq!(ran(&queue, "a"), "1 2 3");
    queue.qctl("subscription rewind a --to 2").succeeds().prints("");
    assert_eq!(ran(&queue, "a"), "1 2 3 2 3");
    queue
        .qctl("subscription rewind a --to 10m --json")
        .succeeds()
        .prints("{\"v\":1,\"subscription\":\"a\",\"outcome\":\"rewound\"}\n");
    assert_eq!(ran(&queue, "a"), "1 2 3 2 3 3");
    queue.qctl("subscription rewind a --to all").succeeds();
    queue.qctl("subscription rewind a --to new").succeeds();
    assert_eq!(ran(&queue, "a"), "1 2 3 2 3 3", "nothing of what it would have got");
    assert_eq!(ran(&queue, "b"), "1 2 3");
}

#[test]
fn a_worker_delivers_a_backlog_at_its_rate_while_new_events_go_to_the_others() {
    let mut queue = with_events(5);
    queue.qctl(&add("slow", "--from all --rate 1/h")).succeeds();
    queue.qctl(&add("quick", "")).succeeds();
    queue.qctl("publish t").succeeds();
    for expected in ["1", "1 2", "1 2 3", "1 2 3 4", "1 2 3 4 5", "1 2 3 4 5 6"] {
        let worker = queue.start("work");
        queue.wait_for_lines("slow", expected.split(' ').count());
        worker.stops().succeeds();
        assert_eq!(queue.read("slow").split_whitespace().collect::<Vec<_>>().join(" "), expected);
        assert_eq!(queue.read("quick"), "6\n");
        queue.advance("1h");
    }
    assert_eq!(
        (&subscription(&queue, "slow")["rate"], &subscription(&queue, "slow")["lag"]),
        (&Value::Null, &json!(0))
    );
    queue.qctl("publish t").succeeds();
    assert_eq!(ran(&queue, "slow"), "1 2 3 4 5 6 7", "it has caught up");
}

#[test]
fn a_worker_is_no_quicker_with_a_backlog_than_its_rate() {
    let queue = with_events(30);
    let started = queue.uptime();
    queue.qctl(&add("a", "--from all --rate 20/s")).succeeds();
    let worker = queue.start("work -j 1");
    queue.wait_for_lines("a", 30);
    let took = queue.uptime().since(started);
    worker.stops().succeeds();
    assert!(took.as_millis() >= 450, "ten were to wait for half a second: {took:?}");
}

#[test]
fn a_paused_subscription_gets_later_what_was_published_meanwhile() {
    let queue = Sandbox::new();
    queue.qctl(&add("a", "")).succeeds();
    queue.qctl("publish t").succeeds();
    queue.qctl("subscription pause a").succeeds().prints("");
    queue.qctl("publish t").succeeds();
    assert_eq!(ran(&queue, "a"), "", "its queue rests with it");
    let shown = subscription(&queue, "a");
    assert_eq!((&shown["paused"], &shown["lag"], &shown["next_event"]), (&json!(true), &json!(1), &json!(2)));
    let worker = queue.start("work -j 1");
    queue.qctl("subscription resume a").succeeds();
    queue.wait_for_lines("a", 2);
    worker.stops().succeeds();
    assert_eq!((queue.read("a").as_str(), &subscription(&queue, "a")["paused"]), ("1\n2\n", &json!(false)));
    for verb in ["pause", "resume", "remove", "show"] {
        queue.qctl(&format!("subscription {verb} nobody")).exits(3).says("there is no subscription nobody");
    }
    queue.qctl("subscription rewind nobody --to all").exits(3).says("there is no subscription nobody");
}

#[test]
fn the_same_subscription_once_more_does_nothing_and_another_of_its_name_is_refused() {
    let queue = with_events(2);
    queue.qctl(&add("a", "--from all")).succeeds();
    assert_eq!(ran(&queue, "a"), "1 2");
    queue
        .qctl(&format!("--json {}", add("a", "--from all")))
        .succeeds()
        .prints("{\"v\":1,\"subscription\":\"a\",\"outcome\":\"existing\"}\n");
    assert_eq!(ran(&queue, "a"), "1 2");
    for other in
        ["subscription add a t -- true", &add("a", "--max-attempts 3"), &add("a", "-Q other"), &add("a", "--where n=1")]
    {
        queue.qctl(other).exits(4).says("there is another subscription a");
    }
    assert_eq!(queue.qctl("queue list").out().lines().count(), 1);
}

#[test]
fn a_queue_that_gets_events_is_not_deleted_and_nothing_is_lost() {
    let queue = Sandbox::new();
    queue.qctl(&add("a", "")).succeeds();
    queue.qctl("queue delete a --yes").exits(4).says("subscription a delivers to a");
    queue.qctl("publish t").succeeds();
    queue.qctl("queue delete a --yes").exits(4);
    assert_eq!(ran(&queue, "a"), "1");
    queue.qctl("subscription remove a").succeeds().prints("");
    queue.qctl("publish t").succeeds();
    assert_eq!(ran(&queue, "a"), "1");
    assert_eq!(queue.state(1), "succeeded", "what it was delivered stays");
    queue.qctl("delete 1").succeeds();
    queue.qctl("queue delete a --yes").succeeds();
}

#[test]
fn settings_of_the_queue_that_are_changed_later_count_for_later_events() {
    let queue = Sandbox::new();
    queue.qctl("subscription add a t -- true").succeeds();
    queue.qctl("subscription add own t -Q a --max-attempts 9 --timeout 3s -- true").succeeds();
    queue.qctl("publish t").succeeds();
    queue.qctl("queue set a --max-attempts 2 --timeout 7s --priority 4").succeeds();
    queue.qctl("publish t").succeeds();
    queue.qctl("publish t --lazy").succeeds();
    queue.qctl("work --drain").succeeds();
    let of = |id| {
        let shown = queue.qctl(&format!("show {id}")).succeeds().out();
        let timeout = ["none", "3s", "7s"].into_iter().find(|length| shown.contains(&format!("timeout {length}")));
        let job = queue.job(id);
        (job["max_attempts"].as_i64(), job["priority"].as_i64(), timeout)
    };
    assert_eq!([of(1), of(2)], [(Some(5), Some(0), Some("none")), (Some(9), Some(0), Some("3s"))]);
    for id in [3, 5] {
        assert_eq!([of(id), of(id + 1)], [(Some(2), Some(4), Some("7s")), (Some(9), Some(4), Some("3s"))]);
    }
}

#[test]
fn a_delivery_that_a_handler_runs_is_told_of_without_a_blank_at_the_end() {
    let queue = Sandbox::new();
    queue.qctl("subscription add a t").succeeds();
    queue.qctl("publish t").succeeds();
    let told = queue.qctl("work --drain -Q a -- true").succeeds().err();
    assert!(told.contains("attempt 1/5\n") && told.lines().all(|line| line.trim_end() == line), "{told}");
}

#[test]
fn a_subscription_shows_under_which_terms_its_jobs_run_and_who_says_so() {
    let queue = Sandbox::new();
    let own = "--backoff list:5s,1m --timeout 90s --max-attempts 9 --priority -3 --dead-on 64-78";
    queue.qctl(&format!("subscription add a t -Q mail {own} --where plan=pro --cwd / -- ./send.sh")).succeeds();
    queue.qctl("queue set mail --timeout 7s --jitter none").succeeds();
    let shown = queue.qctl("subscription show a").succeeds().out();
    for line in [
        "where\tplan=pro",
        "cwd\t/",
        "max-attempts\t9",
        "backoff\tlist:5s,1m",
        "jitter\tnone (of the queue)",
        "timeout\t1m 30s",
        "kill-after\t10s (default)",
        "dead-on\t64-78",
        "priority\t-3",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    assert!(!shown.contains("keep"), "{shown}");
    let shown =
        queue.qctl("subscription show a --json").succeeds().gives("subscription").json()["subscription"].clone();
    assert_eq!(
        shown["terms"],
        json!({
            "max_attempts": "9", "backoff": "list:5s,1m", "jitter": "none", "timeout": "1m 30s", "kill_after": "10s",
            "dead_on": "64-78", "priority": "-3",
        })
    );
    assert_eq!(shown["own_terms"], json!(["max_attempts", "backoff", "timeout", "dead_on", "priority"]));
    assert_eq!(shown["cwd"], "/");
    let again = "--backoff 'list:5s,1m' --timeout '1m 30s' --max-attempts 9 --priority -3 --dead-on 64-78";
    queue.sh(&format!("qctl subscription add a t -Q mail {again} --where plan=pro --cwd / -- ./send.sh")).succeeds();
}

#[test]
fn a_delivery_runs_where_and_as_its_subscription_was_made() {
    let queue = Sandbox::new();
    queue.sh("mkdir sub && cd sub && KEPT=1 qctl subscription add a t --env KEPT --env SET=2 --env 'QCTL_X=3' -- 'echo $PWD $KEPT $SET >>../a'").succeeds();
    queue.qctl("subscription add words t -- sh -c 'echo \"$0 $1\" >>words' 'one word' '$two'").succeeds();
    queue.qctl("publish t").succeeds();
    queue.qctl("work --drain").succeeds();
    let line = queue.read("a");
    assert!(line.ends_with("/sub 1 2\n"), "{line}");
    assert_eq!(queue.read("words"), "one word $two\n");
}

#[test]
fn subscriptions_are_listed_by_name_and_those_of_a_topic_told() {
    let queue = Sandbox::new();
    queue.qctl("subscription list").exits(3);
    queue.qctl("subscription add b 'order.*' -Q slow -- ./b 1").succeeds();
    queue.qctl("subscription add a '>'").succeeds();
    queue.qctl("subscription add c order -- true").succeeds();
    queue.qctl("publish order.new --lazy").succeeds();
    queue.qctl("subscription pause b").succeeds();
    queue
        .qctl("subscription list")
        .succeeds()
        .prints("a\t>\ta\t\t1\t\nb\torder.*\tslow\tpaused\t1\t./b 1\nc\torder\tc\t\t0\ttrue\n");
    queue.qctl("topic test order.new").succeeds().prints("a\t>\ta\t\t1\t\nb\torder.*\tslow\tpaused\t1\t./b 1\n");
    let told = queue.qctl("topic test order --json").succeeds().json();
    let names: Vec<&Value> = told["subscriptions"].as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["a", "c"]);
    queue.qctl("topic test 'order.*'").exits(2);
}

#[test]
fn a_condition_that_is_given_twice_is_refused_and_none_is_lost() {
    let queue = Sandbox::new();
    let twice = queue.qctl("subscription add eu 'order.*' --where region=eu --where region=us -- true").exits(2);
    assert!(twice.err().contains("--where region is given twice"), "{}", twice.story());
    queue.push("true");
    assert_eq!(queue.qctl("subscription list").succeeds().out(), "");
}
