//! Publish and subscribe: an event becomes a job of each subscription, and of those alone.

use serde_json::{Value, json};

use crate::support::Sandbox;

/// Publishes with this line of arguments; answers the event's id.
#[track_caller]
fn publish(queue: &Sandbox, line: &str) -> i64 {
    let output = queue.qctl(&format!("publish {line}")).succeeds();
    output.out().trim().parse().unwrap_or_else(|_| panic!("no id\n{}", output.story()))
}

/// The jobs of a queue, the oldest first: `1 succeeded`.
fn jobs(queue: &Sandbox, name: &str) -> Vec<String> {
    let list = queue.qctl(&format!("list -Q {name} --reverse -F id,state")).succeeds().out();
    list.lines().map(|line| line.replace('\t', " ")).collect()
}

/// The events that the jobs of a queue are deliveries of, in the order of the jobs.
fn events(queue: &Sandbox, name: &str) -> Vec<i64> {
    let list = queue.qctl(&format!("list -Q {name} --reverse --limit 100000 --json")).succeeds().json();
    let jobs = list["jobs"].as_array().expect("a list").iter();
    jobs.map(|job| job["event_id"].as_i64().expect("a delivery")).collect()
}

#[test]
fn an_event_is_run_by_each_subscription_with_its_payload_and_its_name_in_the_environment() {
    let queue = Sandbox::new();
    let told = "echo $QCTL_SUBSCRIPTION $QCTL_TOPIC $QCTL_EVENT_ID $QCTL_QUEUE $(cat)";
    queue.qctl(&format!("subscription add welcome user.signed-up -- '{told} >>welcome'")).succeeds().prints("");
    queue.qctl(&format!("subscription add audit '>' -Q slow -- '{told} >>audit'")).succeeds();
    queue.qctl("subscription add orders 'order.>' -- 'echo no >>orders'").succeeds();
    queue.qctl("publish user.signed-up --payload '{\"id\":17}' -l region=eu").succeeds().prints("1\n");
    queue.qctl("publish user.left").succeeds().prints("2\n");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.read("welcome"), "welcome user.signed-up 1 welcome {\"id\":17}\n");
    let audit = "audit user.left 2 slow\naudit user.signed-up 1 slow {\"id\":17}\n";
    let mut lines: Vec<String> = queue.read("audit").lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert_eq!(lines.join("\n") + "\n", audit);
    assert!(!queue.path("orders").exists());
    let job = queue.job(1);
    assert_eq!(
        (&job["topic"], &job["event_id"], &job["subscription"], &job["labels"]),
        (&json!("user.signed-up"), &json!(1), &json!("welcome"), &json!({"region": "eu"}))
    );
}

#[test]
fn a_job_that_is_no_delivery_has_none_of_an_event_in_its_environment() {
    let queue = Sandbox::new();
    queue.qctl("subscription add outer t -- 'qctl push \"env >inner\"; env >outer'").succeeds();
    publish(&queue, "t");
    queue.qctl("work --drain").succeeds();
    for variable in ["QCTL_TOPIC", "QCTL_EVENT_ID", "QCTL_SUBSCRIPTION"] {
        let set = format!("\n{variable}=");
        assert!(queue.read("outer").contains(&set), "{variable}");
        let inner = format!("\n{}", queue.read("inner"));
        let value = inner.lines().find_map(|line| line.strip_prefix(&set[1..])).unwrap_or_default();
        assert_eq!(value, "", "{variable}");
    }
    assert_eq!(queue.job(2)["event_id"], Value::Null);
}

#[test]
fn each_way_to_give_a_payload_brings_it_to_the_subscriber_byte_for_byte() {
    let queue = Sandbox::new();
    queue.qctl("subscription add save t -- 'cat >got.$QCTL_EVENT_ID'").succeeds();
    queue.write("file", b"\0\xff\n");
    publish(&queue, "t --payload text");
    publish(&queue, "t --payload-file file");
    queue.qctl_fed("publish t --stdin", b"from\0a pipe").succeeds().prints("3\n");
    publish(&queue, "t");
    queue.qctl("work --drain").succeeds();
    let got = [1, 2, 3, 4].map(|id| std::fs::read(queue.path(format!("got.{id}"))).expect("it ran"));
    assert_eq!(got, [&b"text"[..], b"\0\xff\n", b"from\0a pipe", b""].map(<[u8]>::to_vec));
}

#[test]
fn a_subscription_without_a_command_is_for_a_worker_with_a_handler() {
    let queue = Sandbox::new();
    queue.qctl("subscription add mail t").succeeds();
    publish(&queue, "t --payload x");
    queue.qctl("work -Q mail --drain -- sh -c 'echo $QCTL_TOPIC $(cat) >got'").succeeds();
    assert_eq!(queue.read("got"), "t x\n");
}

#[test]
fn a_dead_letter_of_one_subscription_is_no_concern_of_the_others() {
    let queue = Sandbox::new();
    queue.qctl("subscription add bad t --max-attempts 1 -- 'echo bad >>ran; exit $(cat)'").succeeds();
    queue.qctl("subscription add good t -- 'echo good >>ran'").succeeds();
    publish(&queue, "t --payload 3");
    queue.qctl("work --drain").succeeds();
    assert_eq!(
        (jobs(&queue, "bad"), jobs(&queue, "good")),
        (vec!["1 dead".to_owned()], vec!["2 succeeded".to_owned()])
    );
    publish(&queue, "t --payload 0");
    queue.qctl("work --drain").succeeds();
    assert_eq!(jobs(&queue, "bad"), ["1 dead", "3 succeeded"]);
    queue.qctl("retry 1").succeeds();
    queue.qctl("work --drain").succeeds();
    let mut ran: Vec<String> = queue.read("ran").lines().map(str::to_owned).collect();
    ran.sort_unstable();
    assert_eq!(ran, ["bad", "bad", "bad", "good", "good"], "the others did not run again");
}

#[test]
fn a_worker_of_one_slot_sees_the_events_in_the_order_of_publication() {
    let queue = Sandbox::new();
    queue.qctl("subscription add log 't.>' -- 'echo $QCTL_EVENT_ID >>got'").succeeds();
    for n in 1..=12 {
        let lazy = if n % 3 == 0 { "--lazy" } else { "" };
        publish(&queue, &format!("t.{n} {lazy}"));
        if n == 6 {
            queue.qctl("work -j 1 --drain").succeeds();
        }
    }
    queue.qctl("work -j 1 --drain").succeeds();
    assert_eq!(
        queue.read("got").split_whitespace().collect::<Vec<_>>(),
        (1..=12).map(|n| n.to_string()).collect::<Vec<_>>()
    );
}

#[test]
fn lazy_deliveries_are_made_by_workers_that_serve_their_queue() {
    let queue = Sandbox::new();
    for name in ["a", "b"] {
        queue.qctl(&format!("subscription add {name} t -- 'echo $QCTL_SUBSCRIPTION >>got'")).succeeds();
    }
    let published = queue.qctl("publish t --lazy --json").succeeds().json();
    assert_eq!((&published["delivered"], &published["left_to_workers"]), (&json!(0), &json!(2)));
    publish(&queue, "t");
    queue.qctl("list").succeeds().prints("");
    queue.qctl("work -Q a --drain").succeeds();
    assert_eq!((queue.read("got").as_str(), events(&queue, "b")), ("a\na\n", vec![]));
    let lag =
        |name: &str| queue.qctl(&format!("subscription show {name} --json")).json()["subscription"]["lag"].clone();
    assert_eq!((lag("a"), lag("b")), (json!(0), json!(2)));
    queue.qctl("work -Q b --drain").succeeds();
    assert_eq!((queue.read("got").as_str(), events(&queue, "b")), ("a\na\nb\nb\n", vec![1, 2]));
}

#[test]
fn a_running_worker_hears_of_eager_and_of_lazy_events() {
    let queue = Sandbox::new();
    let worker = queue.start("work");
    queue.qctl("subscription add a t -- 'echo $QCTL_EVENT_ID >>got'").succeeds();
    for (n, lazy) in [(1, ""), (2, "--lazy"), (3, "")] {
        publish(&queue, &format!("t {lazy}"));
        queue.wait_for_lines("got", n);
    }
    worker.stops().succeeds();
    assert_eq!(queue.read("got"), "1\n2\n3\n");
}

#[test]
fn more_than_sixteen_subscriptions_leave_the_deliveries_to_workers() {
    let queue = Sandbox::new();
    queue.sh("for n in $(seq 17); do qctl subscription add s$n 't.*' -- 'echo x >>got'; done").succeeds();
    let published = queue.qctl("publish t.a --json").succeeds().json();
    assert_eq!((&published["delivered"], &published["left_to_workers"]), (&json!(0), &json!(17)));
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.read("got").lines().count(), 17);
}

#[test]
fn a_repeated_publish_of_a_key_fans_out_once() {
    let mut queue = Sandbox::new();
    queue.qctl("subscription add a '>' -- true").succeeds();
    let order = "order.created --key order-17 --payload 17";
    assert_eq!([publish(&queue, order), publish(&queue, order)], [1, 1]);
    let again = queue.qctl(&format!("publish {order} --json")).succeeds().json();
    assert_eq!((&again["outcome"], &again["differs"]), (&json!("existing"), &json!(false)));
    queue.qctl("publish order.created --key order-17 --payload 18").succeeds().prints("1\n").says("another payload");
    assert_eq!(publish(&queue, "order.paid --key order-17"), 2, "in its topic");
    let auto =
        ["--payload x", "--payload x", "--payload y"].map(|with| publish(&queue, &format!("t --key auto {with}")));
    assert_eq!(auto, [3, 3, 4]);
    assert_eq!(events(&queue, "a"), [1, 2, 3, 4]);
    queue.advance("23h");
    assert_eq!(publish(&queue, order), 1);
    queue.advance("2h");
    assert_eq!(publish(&queue, order), 5);
}

#[test]
fn a_publish_inside_of_a_step_happens_once_however_often_the_step_is_run() {
    let queue = Sandbox::new();
    queue.qctl("subscription add a '>' -- true").succeeds();
    queue.write(
        "step",
        "qctl publish t --payload x\nqctl publish t --payload y\nqctl publish u --payload x\n\
         qctl publish t --payload x -l n=1\nqctl publish t --key k --payload x\n\
         [ -e crashed ] || { touch crashed; kill -9 $worker 0; }\n",
    );
    queue.push("-Q outer --max-attempts 2 --backoff fixed:0s 'worker=$PPID qctl step tell -- sh -e step'");
    queue.qctl("work -Q outer --drain --quiet").exits(137);
    assert_eq!(events(&queue, "a"), [1, 2, 3, 4, 5]);
    queue.qctl("work -Q outer --drain --quiet").succeeds();
    assert_eq!((queue.state(1).as_str(), events(&queue, "a")), ("succeeded", vec![1, 2, 3, 4, 5]));
    queue.qctl("step get --job 1 tell").prints("1\n2\n3\n4\n5\n");
    let log = queue.qctl("listen '>' --from all --no-follow").succeeds().out();
    let keys: Vec<Value> =
        log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["key"].clone()).collect();
    assert!(keys[0].as_str().is_some_and(|key| key.starts_with("step-")) && keys[4] == "k", "{keys:?}");
}

#[test]
fn a_subscription_gets_only_what_it_wants() {
    let queue = Sandbox::new();
    queue.qctl("subscription add eu t --where region=eu -- true").succeeds();
    queue.qctl("subscription add large t --where region=eu --where n=17 -- true").succeeds();
    queue.qctl("subscription add paid t --where paid=true -- true").succeeds();
    publish(&queue, "t -l region=eu");
    publish(&queue, "t --payload '{\"region\":\"eu\",\"n\":17,\"paid\":true}'");
    publish(&queue, "t --payload '{\"region\":\"us\",\"n\":17}'");
    publish(&queue, "t -l region=eu --payload '{\"n\":17}' --lazy");
    publish(&queue, "t --payload 'region=eu'");
    queue.qctl("work --drain").succeeds();
    assert_eq!((events(&queue, "eu"), events(&queue, "large")), (vec![1, 2, 4], vec![2, 4]));
    assert_eq!(events(&queue, "paid"), [2]);
}

#[test]
fn whoever_publishes_is_told_on_a_terminal_who_gets_it() {
    let queue = Sandbox::new();
    let mut terminal =
        queue.terminal((100, 20), "qctl publish t; qctl subscription add a t -- true; qctl publish t; exec cat");
    terminal.waits_for("no subscription gets this event of t");
    terminal.waits_for("it goes to 1 subscription");
}

#[test]
fn whoever_subscribes_or_rewinds_is_told_on_a_terminal_what_comes_of_it() {
    let queue = Sandbox::new();
    queue.sh("qctl publish t; qctl publish t").succeeds();
    let mut terminal = queue.terminal(
        (100, 20),
        "qctl sub add a t -- true; qctl sub add b t -Q both; qctl sub rewind a --to 2; qctl sub rewind a --to new; exec cat",
    );
    terminal.waits_for("it gets t; its jobs are run by: qctl work -Q a");
    terminal.waits_for("its jobs are run by: qctl work -Q both -- HANDLER");
    terminal.waits_for("1 event of its topics is to be delivered, by whoever works a");
    terminal.waits_for("nothing of its topics is to be delivered");
    queue.qctl("sub add c t -- true").succeeds().says_nothing();
    queue.qctl("sub rewind c --to all").succeeds().says_nothing();
}

#[test]
fn pub_is_publish() {
    let queue = Sandbox::new();
    assert_eq!(queue.qctl("pub t --payload x").succeeds().out(), "1\n");
    assert_eq!(queue.qctl("help pub").succeeds().out(), queue.qctl("help publish").succeeds().out());
}

#[test]
fn ill_formed_topics_patterns_and_sizes_are_refused_in_one_line() {
    let queue = Sandbox::new();
    publish(&queue, "t");
    let long = "x".repeat(256);
    let deep = ["a"; 17].join(".");
    for line in [
        "publish ''",
        "publish 'a b'",
        "publish a..b",
        "publish 'a.*'",
        &format!("publish {long}"),
        &format!("publish {deep}"),
        "publish t -l a",
        "publish t --key ''",
        "subscription add s 'a.>.b' -- true",
        "subscription add s 'a*' -- true",
        "subscription add 's t' a -- true",
        "subscription add s a --rate 5 -- true",
        "subscription add s a --rate 0/s -- true",
        "subscription add s a --rate 5/d -- true",
        "subscription add s a --where region -- true",
        "subscription add s a --from 0 -- true",
        "subscription add s a --from tomorrow -- true",
        "subscription add s a --from 99999999999999999999 -- true",
        "subscription rewind s --to 0",
        "subscription rewind s --to ''",
        "subscription rewind s",
        "topic test '*'",
        "topic set a",
        "topic set a --keep-rows 0",
        "topic set a --keep-bytes 5Q",
        "topic set a --keep-bytes 99999999999G",
        "topic set a..b --keep 1h",
        "listen a..b",
        "listen a --from 0",
    ] {
        let refused = queue.qctl(line).exits(2).prints("");
        let err = refused.err();
        let lines: Vec<&str> = err.lines().filter(|line| !line.starts_with("hint: ")).collect();
        assert!(lines.len() == 1 && lines[0].starts_with("qctl: "), "{}", refused.story());
    }
    queue.qctl("subscription list").succeeds().prints("");
    let topics = queue.qctl("topic list").succeeds().out();
    assert!(topics.lines().count() == 1 && topics.starts_with("t\t1\t0\t"), "{topics}");
}
