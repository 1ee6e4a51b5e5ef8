//! With `--json` every command gives one document, of the shape that `docs/schema` describes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Running, Sandbox, schema};

/// What puts a job into every state that can be had, each with its number.
const INHABITANTS: &str = r#"
    set -e
    qctl push -Q mail -l build=7 -l 'note=a "b"' --key inv-17 --payload '{"to":"a@x"}' -- sh -c 'cat; echo late >&2'
    qctl push -Q mail --max-attempts 1 'echo one >&2; exit 3'
    qctl push -Q mail --dead-on 65 'exit 65'
    qctl push -Q mail --max-attempts 1 'kill -9 $$'
    qctl push -Q mail --max-attempts 1 --timeout 50ms -- sleep 300
    qctl push -Q mail 'printf "\377\000\n"; head -c 300000 /dev/zero'
    qctl push -Q mail --backoff fixed:1h 'qctl step a -- "exit 3"; qctl step b -- true; exit 1'
    qctl push -Q mail --delay 1h true
    qctl push -Q mail --delay 1h true
    qctl push -Q late --expires 1ms true
    qctl cancel 9
    qctl push -Q deadly 'touch dying; while [ -e hold ]; do sleep 0.02; done'
    qctl push -Q held 'echo begun; touch begun; while [ -e hold ]; do sleep 0.02; done'
    qctl push -Q idle --payload x
    qctl push -Q idle true
    qctl queue pause idle
"#;

/// A queue with jobs in every state that can be had, and the worker that runs one of them.
fn inhabited() -> (Sandbox, Running) {
    let queue = Sandbox::new();
    queue.write("hold", "");
    queue.sh(INHABITANTS).succeeds();
    queue.qctl_with(&["push".as_ref(), "-Q".as_ref(), "idle".as_ref(), OsStr::from_bytes(b"echo \xff")]).succeeds();
    let words = ["push", "-Q", "idle", "--", "echo"].map(OsStr::new);
    queue.qctl_with(&[&words[..], &[OsStr::from_bytes(b"\xfe")]].concat()).succeeds();
    // A worker died under a job so often that it is given up.
    for _ in 1..=3 {
        let worker = queue.start("work -Q deadly");
        queue.wait_until("the job runs", || queue.path("dying").exists());
        queue.sh("rm dying").succeeds();
        worker.dies();
    }
    queue.qctl("work -Q deadly,mail,late --drain -j 4").succeeds();
    let worker = queue.start("work -Q held");
    queue.wait_until("it runs", || queue.path("begun").exists());
    queue.wait_for_state(12, "running");
    (queue, worker)
}

/// Command lines, which get `--json` put before them, each with the schema of its document and its status. They are run in
/// this order, on one queue.
const ANSWERS: &[(&str, &str, i32)] = &[
    ("push -Q new true", "push", 0),
    ("push -Q new --key k true", "push", 0),
    ("push -Q new --key k false", "push", 0),
    ("push -Q new --key k --on-duplicate replace --delay 1h false", "push", 0),
    ("push -Q new --key auto --key-ttl none --payload x true", "push", 0),
    ("push -Q new --key auto --payload x true", "push", 0),
    ("import nothing", "import", 0),
    ("import jobs", "import", 0),
    ("run -Q held2 true", "job", 0),
    ("run -Q held2 'exit 7'", "job", 7),
    ("work -Q new --drain", "summary", 0),
    ("work -Q new --cron", "summary", 0),
    ("work -Q fails --drain --exit-status", "summary", 1),
    ("work -Q held --lock sole --drain", "summary", 0),
    ("list", "jobs", 0),
    ("list --limit 3 --reverse -s dead", "jobs", 0),
    ("list -Q late -s ready", "jobs", 0),
    ("list -F id,command,argv,labels,expires_at", "fields", 0),
    ("list -F id,queue,state,reason,shell,payload_bytes,key,priority,attempt,max_attempts", "fields", 0),
    ("list -F crashes,created_at,run_at,started_at,finished_at,exit_code,signal,error,progress,worker", "fields", 0),
    ("logs 1", "output", 0),
    ("logs 1 --stream stderr", "output", 0),
    ("logs 6", "output", 0),
    ("logs 8", "output", 0),
    ("logs 12", "output", 0),
    ("step list 7", "steps", 0),
    ("step list 8", "steps", 0),
    ("step reset 7 a", "step-reset", 0),
    ("step reset 7 --all", "step-reset", 0),
    ("wait 1", "wait", 0),
    ("wait 1-6", "wait", 1),
    ("wait 1 8 --timeout 10ms", "wait", 124),
    ("wait -l build=7", "wait", 0),
    ("stats", "stats", 0),
    ("stats mail --since 1h", "stats", 0),
    ("workers", "workers", 0),
    ("dlq list", "jobs", 0),
    ("dlq list -Q late", "jobs", 0),
    ("dlq list --grep one --exit-code 3", "jobs", 0),
    ("dlq groups", "groups", 0),
    ("dlq groups -Q mail --since 1h", "groups", 0),
    ("list --reason expired", "jobs", 0),
    ("retry -Q mail --exit-code 65 --dry-run", "changes", 0),
    ("cancel -Q idle --dry-run", "changes", 0),
    ("dlq check", "dlq-check", 1),
    ("dlq check -Q idle", "dlq-check", 0),
    ("dlq check --max-count 1 --max-age 1h --new-group 1h", "dlq-check", 1),
    ("dlq show 2", "job", 0),
    ("dlq requeue 2-3 --dry-run", "dlq-changes", 0),
    ("dlq requeue 2 --from-step none", "dlq-changes", 4),
    ("dlq requeue 1-3", "dlq-changes", 4),
    ("dlq requeue 4", "dlq-changes", 0),
    ("dlq tasks", "tasks", 0),
    ("dlq requeue 5 --rate 10/s --to late --dry-run", "dlq-changes", 0),
    ("dlq requeue -Q fails -Q held2 --rate 1/h --order newest", "task", 0),
    ("dlq tasks show 1", "task", 0),
    ("dlq tasks pause 1", "task-change", 0),
    ("dlq tasks list", "tasks", 0),
    ("dlq tasks resume 1", "task-change", 0),
    ("dlq tasks cancel 1", "task-change", 0),
    ("dlq tasks show 1", "task", 0),
    ("dlq drop --all --dry-run", "dlq-changes", 0),
    ("dlq drop 5", "dlq-changes", 0),
    ("dlq drop 4", "dlq-changes", 4),
    ("dlq undo --list", "dlq-undo", 0),
    ("dlq undo", "dlq-undo", 0),
    ("dlq export 5", "dlq-export", 0),
    ("dlq export --dry-run", "dlq-changes", 0),
    ("dlq purge -Q mail --dry-run", "dlq-changes", 0),
    ("dlq purge -Q mail --yes", "dlq-changes", 0),
    ("dlq undo 2", "dlq-undo", 0),
    ("dlq drop 5 --no-undo", "dlq-changes", 0),
    ("redrive -Q late", "dlq-changes", 0),
    ("retry 1", "changes", 0),
    ("retry 1 8", "changes", 4),
    ("update 8 --priority 3", "changes", 0),
    ("update 6 --priority 3", "changes", 4),
    ("cancel 8", "changes", 0),
    ("cancel 8 6", "changes", 4),
    ("delete 6 --dry-run", "changes", 0),
    ("delete 6", "changes", 0),
    ("delete 7", "changes", 4),
    ("queue list", "queues", 0),
    ("queue show mail", "queue", 0),
    ("queue set mail --timeout 1h --keep none --dead-on 65,100-110 --backoff list:1s,2s", "queue", 0),
    ("queue set mail --on-dead ./page --on-dead-every 5m --keep-dead 30d --keep-dead-rows 1", "queue", 0),
    ("queue pause mail late", "queues", 0),
    ("queue resume mail", "queues", 0),
    ("queue purge mail --dry-run", "count", 0),
    ("queue purge mail --yes", "count", 0),
    ("queue delete new --dry-run", "count", 0),
    ("queue delete new --yes", "count", 0),
    ("prune --older-than 0s --dry-run", "prune", 0),
    ("prune --older-than 0s", "prune", 0),
    ("subscription list", "subscriptions", 0),
    ("topic list", "topics", 0),
    ("publish user.early", "publish", 0),
    (
        "subscription add welcome user.* --where plan=pro --max-attempts 1 -- sh -c 'cat >&2; exit 3'",
        "subscription-change",
        0,
    ),
    (
        "subscription add welcome user.* --where plan=pro --max-attempts 1 -- sh -c 'cat >&2; exit 3'",
        "subscription-change",
        0,
    ),
    ("subscription add audit > -Q slow --from all --rate 90/m -- true", "subscription-change", 0),
    ("subscription add bare user.>", "subscription-change", 0),
    ("publish user.signed-up --key u-17 -l region=eu --payload '{\"plan\":\"pro\"}'", "publish", 0),
    ("publish user.signed-up --key u-17 -l region=us", "publish", 0),
    ("publish user.left --lazy", "publish", 0),
    ("listen > --from all --no-follow -n 1", "topic-event", 0),
    ("topic test user.signed-up", "subscriptions", 0),
    ("topic set user.> --keep none --keep-rows 1000", "topic", 0),
    ("topic set user.left --keep 1h --keep-bytes 1M", "topic", 0),
    ("topic list", "topics", 0),
    ("subscription pause welcome", "subscription-change", 0),
    ("subscription pause welcome", "subscription-change", 0),
    ("subscription list", "subscriptions", 0),
    ("subscription show welcome", "subscription", 0),
    ("subscription show audit", "subscription", 0),
    ("subscription show bare", "subscription", 0),
    ("subscription resume welcome", "subscription-change", 0),
    ("subscription rewind welcome --to all --rate 100/s", "subscription-change", 0),
    ("subscription rewind welcome --to new", "subscription-change", 0),
    ("work -Q welcome --drain", "summary", 0),
    ("list -Q welcome", "jobs", 0),
    ("list -F id,topic,event_id,subscription", "fields", 0),
    ("subscription remove welcome", "subscription-change", 0),
    ("dlq list -Q welcome", "jobs", 0),
    ("prune --dry-run", "prune", 0),
    ("prune", "prune", 0),
    ("where", "where", 0),
    ("backup copy.db", "backup", 0),
    ("help", "help", 0),
    ("help queue set", "help", 0),
    ("help exit-status", "help", 0),
    ("--help", "help", 0),
    ("push --help", "help", 0),
    ("--version", "version", 0),
    ("completions bash", "script", 0),
    ("self progress 40% 'all but'", "self", 0),
    ("self bury", "self", 0),
    ("self retry-after 1s", "self", 0),
    ("self snooze 1m", "self", 0),
    ("step set v 'a value'", "step", 0),
    ("step set v another", "step", 0),
    ("step get v", "step", 0),
    ("step get --job 12 v", "step", 0),
    ("step sleep 0s", "step-sleep", 0),
    ("step sleep 1h", "step-sleep", 75),
    ("step list", "steps", 0),
    ("step list 12", "steps", 0),
    ("show 12", "job", 0),
    ("why 12", "why", 0),
    ("list -F id,snoozes,progress", "fields", 0),
    // Last, because until then it runs.
    ("cancel 12", "changes", 0),
];

/// The same for verbs that an older qctl has not; whether all is well with the queue is not the point.
const ANSWERS_OF_NEWER: &[(&str, &str)] = &[("doctor", "findings"), ("systemd mail", "units")];

/// A failure of every verb, with its status.
const FAILURES: &[(&str, i32)] = &[
    ("push", 2),
    ("push -Q mail --key inv-17 --on-duplicate error true", 4),
    ("push --db /dev/null true", 78),
    ("push --delay 1M true", 2),
    ("import missing", 2),
    ("import bad", 2),
    ("run", 2),
    ("run --db /dev/null true", 78),
    ("work -Q 'a b'", 2),
    ("work --db /dev/null --drain", 78),
    ("list -Q nowhere", 3),
    ("list -F colour", 2),
    ("show 99", 3),
    ("logs 99", 3),
    ("logs 1 --attempt 9", 3),
    ("logs -f 99", 3),
    ("tail 99", 3),
    ("wait 99", 3),
    ("wait -l no=such", 3),
    ("wait 1 --junit no/such/folder/report.xml", 2),
    ("why 99", 3),
    ("retry 99", 3),
    ("cancel 98-99", 3),
    ("update 1", 2),
    ("update 99 --priority 1", 3),
    ("delete 99", 3),
    ("self", 2),
    ("self snooze 1m", 2),
    ("self bury", 2),
    ("self progress 101", 2),
    ("self retry-after 1s", 2),
    ("step", 2),
    ("step a -- true", 2),
    ("step list", 2),
    ("step list 99", 3),
    ("step get v", 2),
    ("step get --job 1 v", 3),
    ("step set v x", 2),
    ("step sleep 1h", 2),
    ("step reset 1", 2),
    ("step reset 1 a", 3),
    ("dlq", 2),
    ("dlq list -Q nowhere", 3),
    ("dlq list --group gone", 3),
    ("dlq groups --grep (", 2),
    ("retry -Q mail --reason crashed", 3),
    ("dlq show 1", 4),
    ("dlq check -Q nowhere", 3),
    ("dlq requeue", 2),
    ("dlq drop 99", 3),
    ("dlq tasks show 99", 3),
    ("dlq requeue 2 --if-ok 3", 2),
    ("dlq requeue 1 --set-payload @missing", 2),
    ("dlq undo", 3),
    ("dlq undo 7", 3),
    ("dlq purge", 4),
    ("dlq purge -Q nowhere --yes", 3),
    ("dlq export 99", 3),
    ("redrive 99", 3),
    ("queue", 2),
    ("queue list --db missing.db", 3),
    ("queue show nowhere", 3),
    ("queue set mail", 2),
    ("queue set mail.on-dead --on-dead true", 2),
    ("queue pause mail nowhere", 3),
    ("queue resume nowhere", 3),
    ("queue purge mail", 4),
    ("queue delete mail", 4),
    ("stats nowhere", 3),
    ("stats --since whenever", 2),
    ("workers --db missing.db", 3),
    ("where --db missing.db", 3),
    ("prune -Q nowhere", 3),
    ("publish a..b", 2),
    ("publish --db /dev/null a", 78),
    ("subscription", 2),
    ("subscription add welcome 'a.>.b' true", 2),
    ("subscription list --db missing.db", 3),
    ("subscription show nowhere", 3),
    ("subscription remove nowhere", 3),
    ("subscription pause nowhere", 3),
    ("subscription resume nowhere", 3),
    ("subscription rewind nowhere --to all", 3),
    ("subscription rewind nowhere", 2),
    ("topic", 2),
    ("topic list --db missing.db", 3),
    ("topic test 'a.*'", 2),
    ("topic set a", 2),
    ("listen a --from whenever", 2),
    ("backup queue.db", 4),
    ("help nothing", 2),
    ("completions csh", 2),
    ("doctor --no-such-option", 2),
    ("systemd --no-such-option", 2),
    ("", 2),
    ("no-such-verb", 2),
];

/// Every verb that is shown in the help, and those below it: `push`, `queue`, `queue set`.
fn visible_verbs(queue: &Sandbox) -> BTreeSet<String> {
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
        lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    };
    let help = queue.qctl("help").succeeds().out();
    let mut verbs = BTreeSet::new();
    for verb in names(help.split("\nTopics ").next().expect("verbs come before topics")) {
        let help = queue.qctl(&format!("help {verb}")).succeeds().out();
        let below = help.split("\nCommands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
        verbs.extend(names(below).into_iter().map(|name| format!("{verb} {name}")));
        verbs.insert(verb);
    }
    verbs
}

/// Whether a line is of this verb.
fn is_of(line: &str, verb: &str) -> bool {
    line.strip_prefix(verb).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[test]
fn no_verb_is_left_out_here() {
    let queue = Sandbox::new();
    let verbs = visible_verbs(&queue);
    assert!(verbs.contains("push") && verbs.contains("queue set") && verbs.contains("dlq drop"), "{verbs:?}");
    let answers: Vec<&str> =
        ANSWERS.iter().map(|(line, ..)| *line).chain(ANSWERS_OF_NEWER.iter().map(|(line, _)| *line)).collect();
    for verb in &verbs {
        let has_verbs = verbs.iter().any(|other| other.starts_with(&format!("{verb} ")));
        assert!(has_verbs || answers.iter().any(|line| is_of(line, verb)), "no answer of {verb} is tested");
        assert!(FAILURES.iter().any(|(line, _)| is_of(line, verb)), "no failure of {verb} is tested");
    }
}

#[test]
fn every_command_answers_with_one_document_of_its_schema() {
    let (queue, worker) = inhabited();
    queue.write("nothing", "# nothing\n\n");
    queue.write("jobs", "true\n{\"command\":[\"printf\",\"%s\",\"a\"],\"queue\":\"mail\",\"priority\":4}\n");
    queue.push("-Q fails --max-attempts 1 false");
    let other = queue.start("work -Q held2");
    let states = ["scheduled", "ready", "running", "retrying", "succeeded", "dead", "cancelled"];
    assert!(states.iter().all(|state| !queue.ids(state).is_empty()));
    // Job by job, while they stand everywhere.
    let n_jobs = queue.qctl("list --json").gives("jobs").json()["jobs"].as_array().map_or(0, Vec::len);
    for id in 1..=n_jobs {
        queue.qctl(&format!("show {id} --json")).succeeds().gives("job");
        queue.qctl(&format!("why {id} --json")).succeeds().gives("why");
    }
    let reasons: BTreeSet<String> = queue
        .ids("dead")
        .into_iter()
        .map(|id| queue.job(id)["reason"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(reasons.into_iter().collect::<Vec<_>>(), ["crashed", "exhausted", "expired", "permanent"]);
    for &(line, schema, status) in ANSWERS {
        let output = if is_of(line, "self") || is_of(line, "step") {
            // As the command of the job that runs would say it.
            queue.sh(&format!("QCTL_JOB_ID=12 QCTL_TOKEN=1 exec qctl --json {line}"))
        } else {
            queue.qctl(&format!("--json {line}"))
        };
        output.exits(status).gives(schema);
    }
    let verbs = visible_verbs(&queue);
    for (line, schema) in ANSWERS_OF_NEWER.iter().filter(|(line, _)| verbs.iter().any(|verb| is_of(line, verb))) {
        queue.qctl(&format!("--json {line}")).gives(schema);
    }
    worker.stops().succeeds();
    other.stops().succeeds();
}

#[test]
fn every_verb_that_fails_says_so_in_a_document_on_the_last_line_of_stderr() {
    let queue = Sandbox::new();
    queue.push("-Q mail --key inv-17 'echo hi'");
    queue.qctl("work --drain").succeeds();
    queue.push("-Q mail --delay 1h true");
    queue.write("bad", "true\n{\"command\":1}\n");
    for &(line, status) in FAILURES {
        let verb = line.split(' ').next().unwrap_or_default();
        // A verb that this qctl does not have yet fails all the same.
        let output = queue.qctl(&format!("--json {line}")).exits(status).gives_error();
        assert!(output.out().is_empty() || verb == "wait", "{}", output.story());
        assert_eq!(output.err().lines().filter(|line| line.starts_with("qctl: ")).count(), 1, "{}", output.story());
    }
}

#[test]
fn each_code_of_an_error_has_its_status() {
    let queue = Sandbox::new();
    queue.push("--key k true");
    let code = |line: &str, status: i32| {
        let output = queue.qctl(&format!("--json {line}")).exits(status).gives_error();
        let last = output.err().lines().last().expect("a document").to_owned();
        serde_json::from_str::<serde_json::Value>(&last).expect("a document")["error"]["code"].clone()
    };
    assert_eq!(code("list --limit x", 2), "usage");
    assert_eq!(code("show 9", 3), "not_found");
    assert_eq!(code("push --key k --on-duplicate error true", 4), "refused");
    assert_eq!(code("list --db /dev/null", 78), "bad_file");
    let unknown = queue.sh("qctl list --json >/dev/full").exits(74).gives_error();
    assert!(unknown.err().contains("\"unknown_outcome\""), "{}", unknown.story());
}

#[test]
fn a_command_that_is_not_asked_for_json_gives_none() {
    let queue = Sandbox::new();
    let output = queue.qctl("push --no-such-option -- echo --json").exits(2);
    assert!(!output.err().contains('{'), "{}", output.story());
}

#[test]
fn output_that_is_followed_is_a_document_a_line() {
    let queue = Sandbox::new();
    queue.push("'echo one; echo two >&2; printf \"\\377\"; head -c 300000 /dev/zero'");
    let follower = queue.start("logs -f 1 --json");
    queue.qctl("work --drain").succeeds();
    for output in [follower.ends().succeeds(), queue.qctl("tail 1 --json").succeeds()] {
        assert!(output.out().lines().count() >= 3, "{}", output.story());
        for line in output.out().lines() {
            schema::fits(&serde_json::from_str(line).expect("a document"), "logs-follow");
        }
    }
}

#[test]
fn events_of_a_worker_are_documents_and_nothing_else_is_on_its_stderr() {
    let queue = Sandbox::new();
    queue.write("jobs", "true\nexit 3\n{\"shell\":\"exit 4\",\"max_attempts\":1}\n{\"payload\":\"x\"}\n");
    let said = |line: &str| -> BTreeSet<String> {
        let output = queue.qctl(line).succeeds();
        let document = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{}", output.story()));
        let events: Vec<serde_json::Value> = output.err().lines().map(document).collect();
        events.iter().for_each(|event| schema::fits(event, "event"));
        events.iter().map(|event| event["event"].as_str().expect("a word").to_owned()).collect()
    };
    assert!(said("work --drain --log json").contains("queue_made"));
    queue.qctl("import jobs").succeeds();
    queue.push("--expires 1ms true");
    let events = said("work --drain --log json --json");
    for event in ["up", "started", "ended", "expired", "nothing_to_run"] {
        assert!(events.contains(event), "{event} is not among {events:?}");
    }
    std::fs::set_permissions(queue.db(), std::fs::Permissions::from_mode(0o666)).expect("one's own file");
    let shared = queue.sh("ulimit -n 64; exec qctl work --drain --log json --allow-shared -j 100").succeeds().err();
    for (line, event) in shared.lines().zip(["queue_shared", "up", "cramped"]) {
        let document: serde_json::Value = serde_json::from_str(line).expect("a document");
        schema::fits(&document, "event");
        assert_eq!(document["event"], event);
    }
    std::fs::set_permissions(queue.db(), std::fs::Permissions::from_mode(0o600)).expect("one's own file");
    queue.push("-Q other 'touch runs; while [ -e hold ]; do sleep 0.02; done'");
    queue.write("hold", "");
    let worker = queue.start_sh("exec qctl work --log json --grace none 2>said");
    queue.wait_until("the job runs", || queue.path("runs").exists());
    worker.signal(nix::sys::signal::Signal::SIGTERM);
    queue.wait_for_text("said", "stopping");
    queue.sh("rm hold").succeeds();
    worker.ends().succeeds();
    let said = queue.read("said");
    said.lines().for_each(|line| schema::fits(&serde_json::from_str(line).expect("a document"), "event"));
}

#[test]
fn events_are_told_a_document_a_line_and_are_exact() {
    let queue = Sandbox::new();
    queue.qctl("publish a.b --key k -l region=eu --payload text").succeeds();
    queue.qctl("publish a.c").succeeds();
    queue.qctl_fed("publish a.d --stdin", b"\xff\0").succeeds();
    for line in ["listen a.* --from all --no-follow", "listen a.* --from all -n 3 --json"] {
        let output = queue.qctl(line).succeeds();
        let events: Vec<serde_json::Value> =
            output.out().lines().map(|line| serde_json::from_str(line).expect("a document")).collect();
        events.iter().for_each(|event| schema::fits(event, "topic-event"));
        let [text, nothing, bytes] = &events[..] else { panic!("{}", output.story()) };
        assert_eq!((&text["id"], &text["topic"], &text["key"]), (&1.into(), &"a.b".into(), &"k".into()));
        assert_eq!((&text["payload"], &text["labels"]["region"]), (&"text".into(), &"eu".into()));
        assert!(nothing["payload"].is_null() && nothing.get("payload_base64").is_none());
        assert!(bytes["payload"].is_null() && bytes["payload_base64"] == "/wA=");
    }
}

#[test]
fn a_subscription_whose_command_is_no_text_is_exact_in_base64() {
    let queue = Sandbox::new();
    let words = ["subscription", "add", "odd", "a", "--", "echo"].map(OsStr::new);
    queue.qctl_with(&[&words[..], &[OsStr::from_bytes(b"\xfe")]].concat()).succeeds();
    let odd = queue.qctl("subscription show odd --json").gives("subscription").json()["subscription"].clone();
    assert_eq!(odd["argv_base64"], serde_json::json!(["ZWNobw==", "/g=="]));
}

#[test]
fn output_is_exact_in_base64_and_says_what_was_not_kept() {
    use base64::Engine as _;
    let queue = Sandbox::new();
    queue.push("'printf \"\\377\"; head -c 299999 /dev/zero; echo text >&2'");
    queue.qctl("work --drain").succeeds();
    let output = queue.qctl("logs 1 --json").succeeds().gives("output").json()["output"].clone();
    let stdout = output["stdout_base64"].as_str().expect("it is no text");
    let stdout = base64::engine::general_purpose::STANDARD.decode(stdout).expect("base64");
    assert_eq!(stdout, queue.qctl("logs 1 --stream stdout").bytes());
    assert_eq!(output["stderr"], "text\n");
    assert_eq!(output["stdout_gap"], serde_json::json!({ "at": 65536, "bytes": 300_000 - 2 * 65536 }));
    let one = queue.qctl("logs 1 --json --stream stderr").gives("output").json()["output"].clone();
    assert_eq!(one, serde_json::json!({ "id": 1, "attempt": 1, "stderr": "text\n" }));
}

#[test]
fn the_schemas_are_sound_and_the_page_beside_them_names_each() {
    let page = std::fs::read_to_string(schema::folder().join("README.md")).expect("the page");
    for (name, schema) in schema::all() {
        assert!(jsonschema::meta::is_valid(&schema), "{name} is no schema");
        assert!(schema["title"].is_string() && schema["description"].is_string(), "{name} does not say what it is");
        assert!(page.contains(&format!("`{name}.json`")), "{name} is not on the page");
        let lines = ["error", "event", "logs-follow", "shared"];
        let is_used = lines.contains(&name.as_str())
            || ANSWERS.iter().any(|(_, used, _)| *used == name)
            || ANSWERS_OF_NEWER.iter().any(|(_, used)| *used == name);
        assert!(is_used, "no command is held against {name}");
    }
}
