//! The log of events: following it, and how long it is kept.

use serde_json::{Value, json};

use crate::support::Sandbox;

/// The lines of JSON in a file.
fn lines(queue: &Sandbox, name: &str) -> Vec<Value> {
    queue.read(name).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What is on record: `1 order.new`.
fn on_record(queue: &Sandbox) -> Vec<String> {
    let log = queue.qctl("listen '>' --from all --no-follow").succeeds().out();
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    events.map(|event| format!("{} {}", event["id"], event["topic"].as_str().expect("a topic"))).collect()
}

#[test]
fn events_are_printed_as_they_come_one_document_a_line() {
    let queue = Sandbox::new();
    queue.qctl("publish order.old").succeeds();
    let listener = queue.start_sh("exec qctl listen 'order.>' >got 2>said");
    // It begins with what comes after it looked: until it has shown one, it may not have looked yet.
    queue.wait_until("it listens", || {
        queue.qctl("publish order.first").succeeds();
        !queue.read("got").is_empty()
    });
    queue.qctl("publish order.new --key k -l region=eu --payload '{\"n\":1}'").succeeds();
    queue.qctl("publish other").succeeds();
    queue.sh("printf 'a\\377' | qctl publish order.raw --stdin").succeeds();
    queue.wait_for_text("got", "order.raw");
    listener.stops();
    let got = lines(&queue, "got");
    assert!(got.iter().all(|event| event["topic"] != "order.old" && event["topic"] != "other"), "{got:?}");
    let [.., new, raw] = &got[..] else { panic!("too few: {got:?}") };
    let told = ["topic", "key", "labels", "payload"].map(|name| new[name].clone());
    assert_eq!(told, [json!("order.new"), json!("k"), json!({"region": "eu"}), json!("{\"n\":1}")]);
    assert_eq!((&raw["payload"], &raw["payload_base64"]), (&Value::Null, &json!("Yf8=")));
    let ids: Vec<i64> = got.iter().map(|event| event["id"].as_i64().expect("a number")).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!(queue.read("said"), "");
}

#[test]
fn listening_takes_nothing_from_anyone() {
    let queue = Sandbox::new();
    queue.qctl("subscription add a t -- 'echo $QCTL_EVENT_ID >>a'").succeeds();
    queue.sh("qctl publish t; qctl publish t --lazy").succeeds();
    for _ in 0..2 {
        assert_eq!(on_record(&queue), ["1 t", "2 t"]);
    }
    queue.qctl("work -j 1 --drain").succeeds();
    assert_eq!(queue.read("a"), "1\n2\n");
    assert_eq!(on_record(&queue), ["1 t", "2 t"], "and a worker nothing from whoever listens");
}

#[test]
fn listening_begins_where_it_is_told_to_and_may_end_by_itself() {
    let mut queue = Sandbox::new();
    queue.sh("qctl publish a; qctl publish b; qctl publish a").succeeds();
    queue.advance("2h");
    queue.qctl("publish a").succeeds();
    let ids = |line: &str| {
        let out = queue.qctl(&format!("listen {line}")).succeeds().out();
        out.lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(ids("a --from all --no-follow"), "1 3 4");
    assert_eq!(ids("'*' --from 2 --no-follow"), "2 3 4");
    assert_eq!(ids("a --from 1h --no-follow"), "4");
    assert_eq!(ids("a --no-follow"), "");
    assert_eq!(ids("a --from all -n 2"), "1 3", "without waiting for more");
    assert_eq!(ids("a -n 0"), "");
    assert_eq!(ids("a --from 3 --limit 1 --json"), "3");
}

#[test]
fn a_listener_that_does_not_wait_makes_no_queue() {
    let queue = Sandbox::new();
    queue.qctl("listen '>' --no-follow").exits(3).says("there is no queue").says("qctl publish");
    assert!(!queue.db().exists());
}

#[test]
fn a_listener_that_waits_for_one_event_ends_with_it() {
    let queue = Sandbox::new();
    queue.qctl("publish t").succeeds();
    let listener = queue.start("listen done -n 1 --from 1");
    queue.qctl("publish t").succeeds();
    queue.qctl("publish done --payload x").succeeds();
    let got = listener.ends().succeeds().json();
    assert_eq!((&got["id"], &got["payload"]), (&json!(3), &json!("x")));
}

#[test]
fn a_reader_that_goes_away_ends_the_listener_though_nothing_more_is_published() {
    let queue = Sandbox::new();
    queue.qctl("publish t").succeeds();
    let listener = queue.start_sh("{ qctl listen t --from all; echo $? >status; } | head -n 1 >got");
    queue.wait_for_lines("status", 1);
    listener.ends().succeeds().says_nothing();
    assert_eq!((lines(&queue, "got").len(), queue.read("status")), (1, "0\n".to_owned()));
}

#[test]
fn a_reader_that_was_never_there_ends_a_listener_that_has_nothing_to_say() {
    let queue = Sandbox::new();
    let listener = queue.start_sh("{ qctl listen t 2>said; echo $? >status; } | true");
    listener.ends().succeeds().says_nothing();
    assert_eq!((queue.read("status"), queue.read("said")), ("0\n".to_owned(), String::new()));
}

#[test]
fn a_listener_misses_nothing_while_the_log_of_the_file_is_written_back_and_begun_anew() {
    let queue = Sandbox::new();
    queue.qctl("publish t").succeeds();
    let listener = queue.start_sh("exec qctl listen t --from all >got 2>said");
    queue.wait_for_lines("got", 1);
    queue.write("large", "x".repeat(300_000));
    for n in 0..40 {
        queue.qctl("publish t --payload-file large").succeeds();
        if n % 8 == 0 {
            queue.qctl("work --drain").succeeds();
        }
    }
    queue.wait_for_lines("got", 41);
    listener.stops();
    let ids: Vec<i64> = lines(&queue, "got").iter().map(|event| event["id"].as_i64().expect("a number")).collect();
    assert_eq!(ids, (1..=41).collect::<Vec<_>>());
    assert_eq!(queue.read("said"), "");
}

#[test]
fn an_idle_listener_takes_next_to_no_time_of_the_processor() {
    let queue = Sandbox::new();
    queue.qctl("publish t").succeeds();
    let listener = queue.start_sh("exec qctl listen t --from all >got");
    queue.wait_for_lines("got", 1);
    let ticks = || {
        let stat = queue.sh(&format!("cat /proc/{}/stat", listener.pid())).succeeds().out();
        let fields: Vec<u64> =
            stat.rsplit_once(") ").expect("a name").1.split(' ').filter_map(|field| field.parse().ok()).collect();
        // utime and stime, after the state, which is no number.
        fields[10] + fields[11]
    };
    let (before, started) = (ticks(), queue.uptime());
    queue.wait_until("three seconds went by", || queue.uptime().since(started).as_secs() >= 3);
    let used = ticks() - before;
    assert!(used <= 9, "{used} hundredths of a second in three");
    listener.stops();
}

#[test]
fn topics_tell_what_they_have_on_record_and_what_was_set() {
    let queue = Sandbox::new();
    queue.sh("qctl publish b --payload 12345; qctl publish a; qctl publish b --payload 1").succeeds();
    queue.qctl("topic set 'b.>' --keep 30d --keep-rows none").succeeds().prints("");
    queue.qctl("topic set b --keep-bytes 2K --json").succeeds();
    let list = queue.qctl("topic list").succeeds().out();
    let columns: Vec<Vec<&str>> = list.lines().map(|line| line.split('\t').take(3).collect()).collect();
    assert_eq!(columns, [["a", "1", "0"], ["b", "2", "6"], ["b.>", "0", "0"]]);
    let topics = queue.qctl("topic list --json").succeeds().json()["topics"].clone();
    assert_eq!((&topics[1]["keep_bytes"], &topics[1]["keep_ms"]), (&json!(2048), &Value::Null));
    assert_eq!((&topics[2]["keep_ms"], &topics[2]["keep_rows"]), (&json!(2_592_000_000_u64), &json!("none")));
}

#[test]
fn events_are_forgotten_by_what_their_topics_say_and_prune_says_first_what_it_would_do() {
    let mut queue = Sandbox::new();
    queue
        .sh("for t in a b c; do qctl publish $t; qctl publish $t --payload x; done; qctl publish c --key k")
        .succeeds();
    queue.qctl("topic set '>' --keep 1h").succeeds();
    queue.qctl("topic set b --keep-rows 1").succeeds();
    queue.qctl("topic set a --keep none").succeeds();
    let all = ["1 a", "2 a", "3 b", "4 b", "5 c", "6 c", "7 c"];
    queue.qctl("prune --dry-run --json").succeeds().prints("{\"v\":1,\"would_prune\":0,\"events\":1,\"dropped\":0}\n");
    assert_eq!(on_record(&queue), all);
    queue.qctl("prune").succeeds().prints("");
    assert_eq!(on_record(&queue), ["1 a", "2 a", "4 b", "5 c", "6 c", "7 c"]);
    queue.advance("2h");
    queue.qctl("prune --dry-run").succeeds().says("would forget 0 jobs and 3 events");
    queue.qctl("prune --older-than 1s --json").succeeds().prints("{\"v\":1,\"pruned\":0,\"events\":0,\"dropped\":0}\n");
    queue.qctl("prune --json").succeeds().prints("{\"v\":1,\"pruned\":0,\"events\":3,\"dropped\":0}\n");
    assert_eq!(on_record(&queue), ["1 a", "2 a", "7 c"], "and what holds its key");
    queue.advance("1d");
    queue.qctl("prune").succeeds();
    assert_eq!(on_record(&queue), ["1 a", "2 a"]);
    queue.qctl("doctor").succeeds();
}

#[test]
fn a_worker_forgets_events_after_a_week_whether_or_not_anyone_got_them() {
    let mut queue = Sandbox::new();
    queue.qctl("subscription add served t -- true").succeeds();
    queue.qctl("subscription add idle t -- true").succeeds();
    queue.qctl("publish t --lazy").succeeds();
    queue.qctl("publish t --lazy").succeeds();
    queue.qctl("work -Q served --drain").succeeds();
    queue.advance("6d");
    queue.qctl("publish t --lazy").succeeds();
    queue.advance("2d");
    let worker = queue.start("work -Q served");
    queue.wait_until("the old ones are gone", || on_record(&queue) == ["3 t"]);
    worker.stops().succeeds();
    let lag = queue.qctl("subscription show idle --json").json()["subscription"]["lag"].clone();
    assert_eq!(lag, json!(1));
    queue.qctl("work -Q idle --drain").succeeds();
    let jobs = queue.qctl("list -Q idle --json").json()["jobs"].clone();
    assert_eq!((jobs.as_array().map(Vec::len), &jobs[0]["event_id"]), (Some(1), &json!(3)));
}

#[test]
fn a_delivery_has_its_payload_also_when_the_event_is_no_longer_on_record() {
    let mut queue = Sandbox::new();
    queue.qctl("subscription add a t -- 'cat >got'").succeeds();
    queue.qctl("publish t --payload precious").succeeds();
    queue.advance("30d");
    queue.qctl("prune").succeeds();
    assert_eq!(on_record(&queue), [""; 0]);
    queue.qctl("topic list").succeeds().prints("");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.read("got"), "precious");
    queue.qctl("doctor").succeeds();
}

#[test]
fn a_backup_has_the_events_the_subscriptions_and_what_they_are_still_to_get() {
    let queue = Sandbox::new();
    queue.qctl("subscription add a t -- 'echo $QCTL_EVENT_ID $(cat) >>a'").succeeds();
    queue.qctl("publish t --payload x").succeeds();
    queue.qctl("publish t --payload y --lazy").succeeds();
    queue.qctl("backup copy.db").succeeds();
    queue.qctl("work -j 1 --drain").succeeds();
    queue.qctl("work -j 1 --drain --db copy.db").succeeds();
    assert_eq!(queue.read("a"), "1 x\n2 y\n".repeat(2));
    queue.qctl("publish t --db copy.db").succeeds().prints("3\n");
}
