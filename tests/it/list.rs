//! What looks at jobs: `list`, `show`, `logs`, `stats`, `where`.

use crate::support::Sandbox;

#[test]
fn plain_columns_are_those_that_were_promised() {
    let queue = Sandbox::new();
    queue.push("-Q mail --max-attempts 2 -- ./send.sh 'a b'");
    let line = queue.qctl("list").succeeds().out();
    let fields: Vec<&str> = line.trim_end().split('\t').collect();
    let [id, name, state, attempt, max_attempts, created_at, command] = fields[..] else { panic!("{line}") };
    assert_eq!([id, name, state, attempt, max_attempts, command], ["1", "mail", "ready", "0", "2", "./send.sh 'a b'"]);
    assert!(created_at.parse::<jiff::Timestamp>().is_ok() && created_at.ends_with("+00:00"), "{created_at}");
}

#[test]
fn the_newest_come_first_and_fifty_of_them() {
    let queue = Sandbox::new();
    queue.sh("seq 60 | sed 's/.*/true/' | qctl import >/dev/null").succeeds();
    let ids = |line: &str| -> Vec<String> {
        let list = queue.qctl(line).succeeds().out();
        list.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!((ids("list").len(), ids("list")[0].as_str()), (50, "60"));
    assert_eq!(ids("ls --limit 2 --reverse"), ["1", "2"]);
}

#[test]
fn filters_narrow_the_list() {
    let mut queue = Sandbox::new();
    queue.push("-Q a -l k=v true");
    queue.push("-Q b --delay 1h true");
    queue.advance("10m");
    queue.push("-Q a true");
    let ids = |line: &str| {
        queue.qctl(&format!("list {line}")).succeeds().out().lines().map(|l| l[..1].to_owned()).collect::<String>()
    };
    assert_eq!(ids("-Q a"), "31");
    assert_eq!(ids("-s scheduled"), "2");
    assert_eq!(ids("-s ready,scheduled"), "321");
    assert_eq!(ids("-l k=v"), "1");
    assert_eq!((ids("--since 5m").as_str(), ids("--until 5m").as_str()), ("3", "21"));
    queue.qctl("list -Q nowhere").exits(3);
}

#[test]
fn a_closed_pipe_ends_a_list_quietly() {
    let queue = Sandbox::new();
    queue.sh("seq 20000 | qctl import >/dev/null").succeeds();
    let script = "qctl list --limit 20000 2>said | head -1 >/dev/null; echo ${PIPESTATUS[@]}";
    let output = queue.sh(&format!("bash -c '{script}'")).succeeds();
    assert_eq!((output.out().as_str(), queue.read("said").as_str()), ("0 0\n", ""));
}

#[test]
fn json_has_the_keys_that_were_promised() {
    let queue = Sandbox::new();
    queue.push("true");
    queue.qctl("work --drain").succeeds();
    let keys =
        |value: &serde_json::Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>().join(" ");
    let list = queue.qctl("list --json").json();
    assert_eq!(keys(&list), "v jobs");
    let job = "id queue state reason group command argv shell payload_bytes key priority attempt max_attempts crashes snoozes \
               labels created_at run_at started_at finished_at exit_code signal error progress worker topic event_id subscription";
    assert_eq!(keys(&list["jobs"][0]), job);
    let show = queue.qctl("show 1 --json").json();
    assert_eq!(keys(&show["job"]), format!("{job} attempts"));
    let attempt = "attempt outcome exit_code signal error started_at ended_at duration_ms cpu_ms max_rss_bytes stdout_bytes \
                   stderr_bytes truncated worker";
    assert_eq!(keys(&show["job"]["attempts"][0]), attempt);
    let counts =
        "name paused ready scheduled retrying running blocked succeeded dead cancelled oldest_ready_ms workers breaker";
    assert_eq!(keys(&queue.qctl("queue list --json").json()["queues"][0]), counts);
    assert_eq!(keys(&queue.qctl("stats --json").json()), "v since queues");
    let lately = "done failed run_ms wait_ms";
    assert_eq!(keys(&queue.qctl("stats --json").json()["queues"][0]), format!("{counts} {lately}"));
}

#[test]
fn stats_counts_by_queue_and_state() {
    let mut queue = Sandbox::new();
    queue.push("-Q a true");
    queue.push("-Q b --max-attempts 1 false");
    queue.push("-Q b --delay 1h true");
    queue.qctl("work -Q b --drain").succeeds();
    queue.advance("3s");
    let stats = queue.qctl("stats --json").json();
    let [a, b] = [&stats["queues"][0], &stats["queues"][1]];
    assert_eq!((&a["name"], &a["ready"], &b["dead"], &b["scheduled"]), (&"a".into(), &1.into(), &1.into(), &1.into()));
    assert!(a["oldest_ready_ms"].as_i64().is_some_and(|ms| ms >= 3000), "{a}");
    assert_eq!(b["oldest_ready_ms"], serde_json::Value::Null);
    queue.qctl("status b").succeeds();
    queue.qctl("stats nowhere").exits(3);
}

#[test]
fn stats_tell_how_long_jobs_ran_and_had_waited_and_which_share_failed() {
    let mut queue = Sandbox::new();
    for _ in 0..3 {
        queue.push("-Q a true");
    }
    queue.push("-Q a --max-attempts 1 'sleep 0.3; exit 1'");
    queue.advance("1m");
    queue.qctl("work --drain").succeeds();
    let of = |line: &str| queue.qctl(line).succeeds().json()["queues"][0].clone();
    let stats = of("stats --json");
    assert_eq!((&stats["done"], &stats["failed"]), (&3.into(), &1.into()));
    let millis = |value: &serde_json::Value| value.as_u64().expect("milliseconds");
    assert!(millis(&stats["run_ms"]["p50"]) < 300 && millis(&stats["run_ms"]["p99"]) >= 290, "{stats}");
    assert!(millis(&stats["wait_ms"]["p50"]) >= 58_000, "{stats}");
    queue.advance("2h");
    let later = |line: &str| queue.qctl(line).succeeds().json()["queues"][0]["done"].clone();
    assert_eq!((later("stats a --since 1h --json"), later("stats a --json")), (0.into(), 3.into()));
    queue.qctl("stats --since whenever").exits(2).says("--since");
}

#[test]
fn fields_are_chosen_by_name_and_pages_follow_each_other() {
    let queue = Sandbox::new();
    for n in 1..=5 {
        queue.push(&format!("-l n={n} 'echo {n}'"));
    }
    queue.qctl("list --limit 2 -F id,labels").succeeds().prints("5\tn=5\n4\tn=4\n");
    queue.qctl("list --limit 2 -F id --after 4").succeeds().prints("3\n2\n");
    queue.qctl("list --reverse --after 4 -F id,command").succeeds().prints("5\techo 5\n");
    let document = queue.qctl("list --limit 1 -F id,state --json").succeeds().json();
    assert_eq!(document["jobs"], serde_json::json!([{ "id": 5, "state": "ready" }]));
    queue.qctl("list -F id,colour").exits(2).says("write some of id, queue, state");
}

#[test]
fn workers_says_who_lives_on_what() {
    let queue = Sandbox::new();
    queue.push("-Q mail 'touch up; read x < fifo'");
    queue.sh("mkfifo fifo").succeeds();
    let worker = queue.start("work -Q 'mail,media.*' -j 3");
    queue.wait_until("it runs", || queue.path("up").exists());
    queue.wait_for_state(1, "running");
    let document = queue.qctl("workers --json").succeeds().json();
    let told = &document["workers"][0];
    assert_eq!((&told["queues"], &told["running"]), (&serde_json::json!(["mail", "media.*"]), &serde_json::json!([1])));
    assert_eq!((&told["jobs"], &told["pid"]), (&3.into(), &worker.pid().as_raw().into()));
    let line = queue.qctl("workers").succeeds().out();
    assert_eq!(line.trim_end().split('\t').count(), 8, "{line}");
    worker.dies();
    queue.qctl("workers").succeeds().prints("");
    queue.sh("echo > fifo").succeeds();
}

#[test]
fn where_says_which_file_and_why() {
    let queue = Sandbox::new();
    let missing = queue.qctl("where").exits(3);
    assert!(
        missing.out().starts_with(&format!("path\t{}\nchosen by\tQCTL_DB\n", queue.db().display())),
        "{}",
        missing.story()
    );
    queue.push("true");
    let there = queue.qctl("where").succeeds().out();
    assert!(
        there.contains("schema\t6\n") && there.contains("journal\twal\n") && there.contains("live workers\t0"),
        "{there}"
    );
    queue.sh("qctl --db other.db push true; qctl --db other.db where | grep -c -e '--db'").succeeds();
    queue
        .sh("unset QCTL_DB; qctl push true; qctl where | head -1")
        .succeeds()
        .prints(&format!("1\npath\t{}\n", queue.path(".local/share/qctl/queue.db").display()));
}
