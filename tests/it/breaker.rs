//! A circuit breaker stops a queue whose jobs fail of one cause, tries one at a time, and lets it go on.

use crate::support::{Sandbox, schema};

/// A queue `mail` with this breaker, and so many jobs that fail as long as there is no file `up`.
fn guarded(rule: &str, n_jobs: usize) -> Sandbox {
    let queue = Sandbox::new();
    queue.qctl(&format!("queue set mail --breaker '{rule}' --breaker-probe 1h --backoff fixed:1h")).succeeds();
    for _ in 0..n_jobs {
        queue.push("-Q mail 'test -e up || { echo \"no route to 10.0.0.$QCTL_JOB_ID\" >&2; exit 7; }'");
    }
    queue
}

/// One that its breaker has stopped.
fn stopped(n_waiting: usize) -> Sandbox {
    let queue = guarded("2 of 3", n_waiting + 2);
    queue.qctl("work --drain -q").succeeds();
    queue
}

/// How many attempts each job has had that count.
fn attempts(queue: &Sandbox) -> Vec<String> {
    let list = queue.qctl("list --reverse -F attempt").succeeds().out();
    list.lines().map(str::to_owned).collect()
}

/// The line of `queue list`, up to the numbers.
fn mark(queue: &Sandbox) -> String {
    let line = queue.qctl("queue list").succeeds().out();
    line.split('\t').take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_queue_whose_attempts_fail_of_one_cause_is_stopped_and_what_waits_keeps_its_attempts() {
    let queue = guarded("3 of 5", 6);
    let log = queue.qctl("work --drain").succeeds().err();
    let why = "queue mail: breaker open: 3 of the last 3 attempts failed with exit 7: no route to *; one job is tried every 1h";
    assert_eq!(log.matches(why).count(), 1, "{log}");
    assert_eq!(attempts(&queue), ["1", "1", "1", "0", "0", "0"]);
    queue.qctl("work --drain").succeeds();
    assert_eq!(attempts(&queue), ["1", "1", "1", "0", "0", "0"], "nor does another worker take any");
}

#[test]
fn attempts_that_fail_of_different_causes_do_not_stop_a_queue_unless_it_says_that_they_belong_together() {
    let queue = Sandbox::new();
    queue.qctl("queue set mail --breaker '2 of 9' --backoff fixed:1h").succeeds();
    let push = |word: &str| queue.push(&format!("-Q mail 'echo \"DbError in {word}\" >&2; exit 1'"));
    for word in ["orders", "users", "stock"] {
        push(word);
    }
    queue.qctl("work --drain -q").succeeds();
    assert_eq!((mark(&queue).as_str(), queue.ids("retrying").len()), ("mail -", 3));
    queue.qctl("queue set mail --group-by '\\w+Error'").succeeds();
    for word in ["carts", "mails", "users"] {
        push(word);
    }
    queue.qctl("work --drain -q").succeeds();
    assert_eq!((mark(&queue).as_str(), queue.ids("ready").len()), ("mail tripped", 1));
}

#[test]
fn one_job_is_tried_each_time_without_counting_until_one_succeeds() {
    let mut queue = stopped(3);
    for _ in 0..2 {
        queue.advance("61m");
        queue.qctl("work --drain").succeeds().says("; not counted\n");
        assert_eq!(queue.ids("succeeded"), [0_i64; 0]);
    }
    let n_tried: usize = (1..=5).map(|id| queue.job(id)["attempts"].as_array().expect("attempts").len()).sum();
    assert_eq!(n_tried, 4, "two, and one each time");
    assert_eq!(attempts(&queue), ["1", "1", "0", "0", "0"]);
    queue.write("up", "");
    queue.advance("61m");
    queue.qctl("work --drain").succeeds().says("queue mail: breaker closed: the job that was tried succeeded");
    assert_eq!((mark(&queue).as_str(), queue.ids("succeeded").len()), ("mail -", 5));
}

#[test]
fn of_two_idle_workers_one_wakes_to_try_a_job_and_both_go_on_when_it_succeeds() {
    let queue = stopped(4);
    queue.qctl("queue set mail --breaker-probe 300ms").succeeds();
    queue.qctl("queue resume mail").succeeds();
    let workers = [queue.start("work"), queue.start("work")];
    let n_tried = || queue.qctl("list -F error").out().lines().filter(|error| !error.is_empty()).count();
    queue.wait_until("all but the last were tried one by one", || n_tried() >= 5);
    let n_counted = attempts(&queue).iter().filter(|n| *n == "1").count();
    // Two stopped it the first time, and two again; a third may have run beside these.
    assert!((4..=5).contains(&n_counted), "{:?}", attempts(&queue));
    queue.write("up", "");
    queue.wait_until("the queue goes on", || mark(&queue) == "mail -");
    queue.wait_until("nothing is ready", || queue.ids("ready").is_empty());
    for worker in workers {
        worker.stops().succeeds();
    }
}

#[test]
fn a_worker_that_dies_with_the_job_that_it_tries_leaves_the_next_time_to_another() {
    let mut queue = stopped(0);
    let id = queue.push("-Q mail --priority 9 'test -e up || { echo $$ > pid; exec sleep 1000; }'");
    queue.advance("61m");
    let worker = queue.start("work");
    queue.wait_for_lines("pid", 1);
    queue.wait_for_state(id, "running");
    worker.dies();
    queue.sh("kill -9 $(cat pid)").succeeds();
    queue.write("up", "");
    queue.qctl("work --drain -q").succeeds();
    assert_eq!((mark(&queue).as_str(), queue.ids("succeeded").len()), ("mail tripped", 0), "not before its time");
    queue.advance("61m");
    queue.qctl("work --drain -q").succeeds();
    assert_eq!((mark(&queue).as_str(), queue.ids("succeeded").len()), ("mail -", 3));
}

#[test]
fn why_names_the_breaker_and_what_it_says_lets_the_queue_go_on() {
    let queue = stopped(2);
    let text = queue.qctl("why 4").succeeds().out();
    assert!(text.starts_with("breaker\tits queue mail is stopped by its breaker, since "), "{text}");
    let why = " ago): 2 of the last 2 attempts failed with exit 7: no route to *; one job is tried in 59m ";
    assert!(text.contains(why), "{text}");
    assert!(queue.qctl("why 1").succeeds().out().starts_with("breaker\t"), "one that backs off waits for that too");
    let document = queue.qctl("why 4 --json").succeeds().gives("why").json();
    let cure = document["reasons"][0]["hint"].as_str().expect("a hint").to_owned();
    assert_eq!(cure, "qctl queue resume mail");
    queue.write("up", "");
    queue.sh(&cure).succeeds();
    assert_eq!(mark(&queue), "mail -");
    queue.qctl("work --drain -q").succeeds();
    assert_eq!(queue.ids("succeeded"), [3, 4]);
}

#[test]
fn a_queue_that_is_stopped_is_marked_wherever_queues_are_shown() {
    let queue = stopped(2);
    assert_eq!(mark(&queue), "mail tripped");
    assert!(queue.qctl("stats").succeeds().out().starts_with("mail\ttripped\t"));
    let shown = queue.qctl("queue show mail").succeeds().out();
    assert!(shown.contains(": 2 of the last 2 attempts failed with exit 7: no route to *; the next job "), "{shown}");
    assert!(shown.contains("breaker\t2 of 3\nbreaker-probe\t1h\n"), "{shown}");
    for (verb, schema) in [("queue list", "queues"), ("queue show mail", "queue"), ("stats", "stats")] {
        let document = queue.qctl(&format!("{verb} --json")).succeeds().gives(schema).json();
        let one = if schema == "queue" { &document["queue"] } else { &document["queues"][0] };
        assert_eq!((one["breaker"]["failed"].as_i64(), one["breaker"]["exit_code"].as_i64()), (Some(2), Some(7)));
    }
    let finding = queue.qctl("doctor").exits(1).out();
    assert!(finding.starts_with("breaker\tqueue mail has been stopped by its breaker for "), "{finding}");
    assert!(finding.contains("; 4 jobs in it\t") && finding.ends_with("qctl queue resume mail\n"), "{finding}");
    queue.qctl("queue pause mail").succeeds();
    assert_eq!(mark(&queue), "mail paused");
    queue.qctl("queue set mail --breaker none").succeeds();
    queue.qctl("queue resume mail").succeeds();
    assert_eq!(mark(&queue), "mail -");
    queue.qctl("doctor").succeeds();
}

#[test]
fn a_worker_that_logs_json_tells_when_a_queue_is_stopped_and_when_it_goes_on() {
    let mut queue = guarded("2 of 3", 3);
    let mut told = Vec::new();
    for _ in 0..2 {
        let log = queue.qctl("work --drain --log json").succeeds().err();
        for line in log.lines().filter(|line| line.contains("breaker")) {
            let document: serde_json::Value = serde_json::from_str(line).expect("a document");
            schema::fits(&document, "event");
            told.push((document["event"].clone(), document["breaker"]["cause"].clone()));
        }
        queue.advance("61m");
        queue.write("up", "");
    }
    assert_eq!(told, [("breaker_open".into(), "no route to *".into()), ("breaker_closed".into(), ().into())]);
}

#[test]
fn a_breaker_is_so_many_of_so_many() {
    let queue = Sandbox::new();
    for wrong in ["", "x", "3", "5 of 3", "0 of 1", "1 of 1001", "-1 of 3", "2 of 3 of 4"] {
        let refused = queue.qctl(&format!("queue set mail --breaker='{wrong}'")).exits(2);
        refused.says("--breaker").says("write how many of the last attempts, such as '20 of 50'");
    }
    queue.qctl("queue set mail --breaker-probe 0s").exits(2).says("it must be 1ms or longer");
    queue.qctl("queue set mail --breaker '1 of 1000'").succeeds();
    queue.qctl("queue set mail --breaker none").succeeds();
    assert!(queue.qctl("queue show mail").succeeds().out().contains("breaker\tnone\nbreaker-probe\t1m (default)\n"));
}
