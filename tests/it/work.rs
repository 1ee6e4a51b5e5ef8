//! `work` runs the jobs it is asked to run, with what they need, and stops when it should.

use crate::support::{Sandbox, is_possible};

#[test]
fn j_runs_that_many_jobs_at_the_same_time() {
    let queue = Sandbox::new();
    for _ in 0..3 {
        queue.push("'touch here.$QCTL_JOB_ID; until test -e here.1 -a -e here.2 -a -e here.3; do sleep 0.02; done'");
    }
    queue.qctl("work --drain -j 3").succeeds();
    assert_eq!(queue.ids("succeeded"), [1, 2, 3]);
}

#[test]
fn j_runs_no_more_jobs_than_that_at_the_same_time() {
    let queue = Sandbox::new();
    for _ in 0..6 {
        queue.push("'echo + >> log; until test $(grep -c + log) -ge 2; do sleep 0.02; done; echo - >> log'");
    }
    queue.qctl("work --drain -j 2").succeeds();
    let (mut n_running, mut most) = (0, 0);
    for line in queue.read("log").lines() {
        n_running += if line == "+" { 1 } else { -1 };
        most = most.max(n_running);
    }
    assert_eq!((n_running, most), (0, 2), "{}", queue.read("log"));
}

#[test]
fn a_job_is_started_without_a_copy_of_its_worker() {
    if !is_possible("strace -o /dev/null true") {
        return;
    }
    let queue = Sandbox::new();
    queue.push("true");
    queue.push("-- true");
    queue.sh("exec strace -f -qq -o trace -e trace=fork,vfork,clone,clone3 qctl work --drain -q").succeeds();
    let trace = queue.read("trace");
    let started = trace.lines().filter(|line| line.contains("clone") || line.contains("fork("));
    // A line that goes on with a call says no more of it.
    let started = started.filter(|line| !line.contains("resumed"));
    let (threads, commands): (Vec<&str>, Vec<&str>) = started.partition(|line| line.contains("CLONE_THREAD"));
    assert!(!threads.is_empty() && commands.len() == 2, "{trace}");
    assert!(
        commands.iter().all(|line| line.contains("CLONE_VM|CLONE_VFORK")),
        "by fork it takes thrice as long: {trace}"
    );
}

#[test]
fn once_stops_after_one_job() {
    let queue = Sandbox::new();
    let (first, second) = (queue.push("true"), queue.push("true"));
    queue.qctl("work --once").succeeds();
    assert_eq!([queue.state(first), queue.state(second)], ["succeeded", "ready"]);
}

#[test]
fn once_waits_for_its_job() {
    let queue = Sandbox::new();
    let worker = queue.start_sh("exec qctl work --once --log json 2>log");
    queue.wait_for_text("log", "\"up\"");
    let id = queue.push("true");
    worker.ends().succeeds();
    assert_eq!(queue.state(id), "succeeded");
}

#[test]
fn max_jobs_stops_after_that_many_whatever_the_slots() {
    let queue = Sandbox::new();
    for _ in 0..4 {
        queue.push("true");
    }
    queue.qctl("work --max-jobs 3 -j 2").succeeds();
    assert_eq!(queue.ids("succeeded"), [1, 2, 3]);
    assert_eq!(queue.ids("ready"), [4]);
}

#[test]
fn drain_stops_when_nothing_is_due() {
    let queue = Sandbox::new();
    let (due, later) = (queue.push("true"), queue.push("--delay 1h true"));
    queue.qctl("work --drain").succeeds();
    assert_eq!([queue.state(due), queue.state(later)], ["succeeded", "scheduled"]);
}

#[test]
fn drain_stops_at_once_where_there_is_nothing() {
    let queue = Sandbox::new();
    queue.push("--delay 1h true");
    queue.qctl("work --drain").succeeds().prints("").says_nothing();
}

#[test]
fn drain_also_does_what_jobs_push_meanwhile() {
    let queue = Sandbox::new();
    queue.push("'qctl push \"qctl push true\"'");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.ids("succeeded"), [1, 2, 3]);
}

#[test]
fn wait_due_has_drain_wait_for_what_falls_due_in_time_and_for_nothing_later() {
    let queue = Sandbox::new();
    let (soon, later) = (queue.push("--delay 1s true"), queue.push("--delay 1h true"));
    queue.qctl("work --drain --wait-due 10m").succeeds();
    assert_eq!([queue.state(soon), queue.state(later)], ["succeeded", "scheduled"]);
}

#[test]
fn max_time_takes_no_new_job_and_finishes_what_runs() {
    let queue = Sandbox::new();
    let running = queue.push("'touch started; until test -e go; do sleep 0.02; done'");
    let began = queue.uptime();
    let worker = queue.start("work --max-time 1s");
    queue.wait_until("the job runs", || queue.path("started").exists());
    queue.wait_until("the time is up", || queue.uptime().since(began).as_millis() > 2000);
    let late = queue.push("true");
    queue.write("go", "");
    worker.ends().succeeds();
    assert_eq!([queue.state(running), queue.state(late)], ["succeeded", "ready"]);
}

#[test]
fn idle_exit_stops_after_that_long_without_work() {
    let queue = Sandbox::new();
    let id = queue.push("true");
    let began = queue.uptime();
    queue.qctl("work --idle-exit 700ms").succeeds();
    assert!(queue.uptime().since(began).as_millis() >= 700);
    assert_eq!(queue.state(id), "succeeded");
}

#[test]
fn idle_exit_does_not_count_the_time_in_which_a_job_runs() {
    let queue = Sandbox::new();
    let id = queue.push("'touch started; until test -e go; do sleep 0.02; done'");
    let worker = queue.start("work --idle-exit 200ms");
    queue.wait_until("the job runs", || queue.path("started").exists());
    let began = queue.uptime();
    queue.wait_until("it has run for longer", || queue.uptime().since(began).as_millis() > 600);
    assert_eq!(queue.state(id), "running");
    queue.write("go", "");
    worker.ends().succeeds();
    assert_eq!(queue.state(id), "succeeded");
}

#[test]
fn only_queues_that_the_glob_matches_are_served() {
    let queue = Sandbox::new();
    let ids = ["mail.in", "mail.out", "mail", "email.in"].map(|name| queue.push(&format!("-Q {name} true")));
    queue.qctl("work --drain -Q 'mail.*'").succeeds();
    assert_eq!(ids.map(|id| queue.state(id)), ["succeeded", "succeeded", "ready", "ready"]);
}

#[test]
fn a_list_of_queues_serves_each_of_them() {
    let queue = Sandbox::new();
    let ids = ["a", "b", "c.1", "d"].map(|name| queue.push(&format!("-Q {name} true")));
    queue.qctl("work --drain -Q a,b -Q 'c.*'").succeeds();
    assert_eq!(ids.map(|id| queue.state(id)), ["succeeded", "succeeded", "succeeded", "ready"]);
}

#[test]
fn a_queue_that_is_made_later_is_served_too() {
    let queue = Sandbox::new();
    let worker = queue.start_sh("exec qctl work -Q 'new.*' --once --log json 2>log");
    queue.wait_for_text("log", "\"up\"");
    let id = queue.push("-Q new.one true");
    worker.ends().succeeds();
    assert_eq!(queue.state(id), "succeeded");
}

#[test]
fn a_paused_queue_is_left_alone_until_it_is_resumed() {
    let queue = Sandbox::new();
    let (paused, open) = (queue.push("-Q slow true"), queue.push("true"));
    queue.qctl("queue pause slow").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!([queue.state(paused), queue.state(open)], ["ready", "succeeded"]);

    queue.qctl("queue resume slow").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(paused), "succeeded");
}

#[test]
fn a_paused_queue_is_left_alone_also_where_it_is_named() {
    let queue = Sandbox::new();
    let id = queue.push("-Q slow true");
    queue.qctl("queue pause slow").succeeds();
    queue.qctl("work --drain -Q slow").succeeds();
    assert_eq!(queue.state(id), "ready");
}

#[test]
fn jobs_run_by_priority_and_then_in_order_of_arrival() {
    let queue = Sandbox::new();
    for priority in ["0", "0", "10", "-5", "10", "-100", "100"] {
        queue.push(&format!("--priority {priority} 'echo $QCTL_JOB_ID >> order'"));
    }
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.read("order"), "7\n3\n5\n1\n2\n4\n6\n");
}

#[test]
fn a_second_worker_with_lock_exits_0_at_once_and_runs_nothing() {
    let queue = Sandbox::new();
    queue.push("'touch started; sleep 300'");
    let worker = queue.start("work --lock --grace 0s");
    queue.wait_until("the first has the lock", || queue.path("started").exists());
    let id = queue.push("true");
    queue.qctl("work --lock").succeeds().prints("").says_nothing();
    assert_eq!(queue.state(id), "ready");
    worker.stops().succeeds();
}

#[test]
fn locks_of_different_names_do_not_keep_each_other_out() {
    let queue = Sandbox::new();
    queue.push("'touch started; until test -e go; do sleep 0.02; done'");
    let worker = queue.start("work --lock=a --drain");
    queue.wait_until("the first has its lock", || queue.path("started").exists());
    let id = queue.push("true");
    queue.qctl("work --lock=b --drain").succeeds();
    assert_eq!(queue.state(id), "succeeded");
    queue.write("go", "");
    worker.ends().succeeds();
}

#[test]
fn a_lock_goes_with_the_worker_that_was_killed() {
    let queue = Sandbox::new();
    let worker = queue.start_sh("exec qctl work --lock --log json 2>log");
    queue.wait_for_text("log", "\"up\"");
    worker.dies();
    let id = queue.push("true");
    queue.qctl("work --lock --drain").succeeds();
    assert_eq!(queue.state(id), "succeeded");
}

#[test]
fn exit_status_is_1_when_a_job_died_in_this_run() {
    let queue = Sandbox::new();
    queue.push("--max-attempts 1 'exit 3'");
    queue.push("true");
    queue.qctl("work --drain --exit-status").exits(1);
    queue.qctl("work --drain --exit-status").succeeds();
}

#[test]
fn exit_status_is_0_when_a_failed_job_will_be_tried_again() {
    let queue = Sandbox::new();
    queue.push("'exit 3'");
    queue.qctl("work --drain --exit-status").succeeds();
}

#[test]
fn without_exit_status_a_death_is_no_failure_of_the_worker() {
    let queue = Sandbox::new();
    queue.push("--max-attempts 1 'exit 3'");
    queue.qctl("work --drain").succeeds();
}

#[test]
fn log_json_says_every_event_as_a_line_of_json() {
    let queue = Sandbox::new();
    queue.push("'echo \"hostile \\\"line\\\"\" >&2; exit 3'");
    queue.push("true");
    queue.push("-Q mail --payload x");
    let output = queue.qctl("work --drain --log json").succeeds().prints("");
    let mut events = Vec::new();
    for line in output.err().lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?} is no JSON"));
        assert_eq!(event["v"], 1, "{line}");
        events.push(event["event"].as_str().expect("a name").to_owned());
    }
    events.sort();
    assert_eq!(events, ["ended", "ended", "nothing_to_run", "started", "started", "up"]);
}

#[test]
fn log_human_says_a_line_for_each_start_and_end() {
    let queue = Sandbox::new();
    queue.push("'echo no luck >&2; exit 3'");
    let output = queue.qctl("work --drain").succeeds().says("attempt 1/5").says("exit 3 (no luck)");
    assert_eq!(output.err().lines().count(), 2, "{}", output.story());
}

#[test]
fn log_none_is_silent() {
    let queue = Sandbox::new();
    queue.push("'echo out; echo err >&2; exit 3'");
    queue.push("true");
    queue.qctl("work --drain --log none").succeeds().prints("").says_nothing();
}

#[test]
fn work_says_once_that_it_had_to_make_the_queue_file() {
    let queue = Sandbox::new();
    let output = queue.qctl("work --drain").succeeds().says("queue.db");
    assert_eq!(output.err().lines().count(), 1, "{}", output.story());
    queue.qctl("work --drain").succeeds().says_nothing();
}

#[test]
fn a_handler_gets_the_jobs_arguments_appended_and_its_payload_on_stdin() {
    let queue = Sandbox::new();
    let id = queue.push("--payload 'the payload' -- to 'a b' '$HOME'");
    queue.qctl("work --drain -- sh -c 'printf \"[%s]\" \"$0\" \"$@\"; cat' fixed").succeeds();
    queue.qctl(&format!("logs {id}")).prints("[fixed][to][a b][$HOME]the payload");
}

#[test]
fn a_handler_gets_a_shell_line_as_one_argument() {
    let queue = Sandbox::new();
    let id = queue.push("'one | two'");
    queue.qctl("work --drain -- printf '[%s]'").succeeds();
    queue.qctl(&format!("logs {id}")).prints("[one | two]");
}

#[test]
fn a_handler_gets_a_job_that_is_a_payload_only() {
    let queue = Sandbox::new();
    let id = queue.push("-Q mail --payload '{\"to\":\"a@x\"}'");
    queue.qctl("work --drain -Q mail -- cat").succeeds();
    queue.qctl(&format!("logs {id}")).prints("{\"to\":\"a@x\"}");
}

#[test]
fn a_handler_named_by_a_path_is_found_from_where_the_worker_stands() {
    let queue = Sandbox::new();
    std::fs::create_dir(queue.path("elsewhere")).expect("a folder");
    queue.sh("printf '#!/bin/sh\\npwd | sed s,.*/,,\\n' > handle && chmod +x handle").succeeds();
    let id = queue.push("--cwd elsewhere --payload x");
    queue.qctl("work --drain -- ./handle").succeeds();
    queue.qctl(&format!("logs {id}")).prints("elsewhere\n");
}

#[test]
fn without_a_handler_a_job_with_nothing_to_run_is_handed_back_untouched() {
    let queue = Sandbox::new();
    let id = queue.push("-Q mail --payload x");
    queue.qctl("work --drain").succeeds();
    let job = queue.job(id);
    assert_eq!(job["state"], "ready", "{job}");
    assert_eq!(job["attempt"], 0, "{job}");
    assert_eq!(job["started_at"], serde_json::Value::Null, "{job}");
    assert_eq!(job["attempts"], serde_json::json!([]), "{job}");
}

#[test]
fn a_queue_with_nothing_to_run_is_left_alone_and_the_others_are_served() {
    let queue = Sandbox::new();
    queue.push("-Q mail --payload x");
    let left_alone = queue.push("-Q mail true");
    let served = queue.push("true");
    let output = queue.qctl("work --drain").succeeds().says("queue mail is left alone");
    assert_eq!(output.err().matches("left alone").count(), 1, "{}", output.story());
    assert_eq!([queue.state(left_alone), queue.state(served)], ["ready", "succeeded"]);
}

#[test]
fn a_job_knows_who_it_is() {
    let queue = Sandbox::new();
    queue.push("-Q mail --key k1 --max-attempts 7 -l env=prod -l a.b=c 'env | grep ^QCTL_ | sort > vars'");
    queue.qctl("work --drain").succeeds();
    let job = queue.job(1);
    let worker = job["attempts"][0]["worker"].as_str().expect("a worker");
    let token = job["attempts"][0]["attempt"].as_i64().expect("a token");
    let db = queue.db().canonicalize().expect("it is there");
    let vars = queue.read("vars");
    let vars: Vec<&str> = vars.lines().filter(|line| !line.starts_with("QCTL_TEST_")).collect();
    let expected = [
        "QCTL_ATTEMPT=1".to_owned(),
        format!("QCTL_DB={}", db.display()),
        "QCTL_EVENT_ID=".to_owned(),
        "QCTL_JOB_ID=1".to_owned(),
        "QCTL_KEY=k1".to_owned(),
        "QCTL_LABEL_a_b=c".to_owned(),
        "QCTL_LABEL_env=prod".to_owned(),
        "QCTL_MAX_ATTEMPTS=7".to_owned(),
        "QCTL_QUEUE=mail".to_owned(),
        "QCTL_STEP=".to_owned(),
        "QCTL_STEP_KEY=".to_owned(),
        "QCTL_SUBSCRIPTION=".to_owned(),
        format!("QCTL_TOKEN={token}"),
        "QCTL_TOPIC=".to_owned(),
        format!("QCTL_WORKER={worker}"),
    ];
    assert_eq!(vars, expected);
}

#[test]
fn a_job_knows_its_attempt_and_gets_a_larger_token_each_time() {
    let queue = Sandbox::new();
    queue.push("--max-attempts 3 --backoff fixed:1ms 'echo $QCTL_ATTEMPT $QCTL_TOKEN >> seen; exit 1'");
    queue.qctl("work --drain --wait-due 1m").succeeds();
    assert_eq!(queue.read("seen"), "1 1\n2 2\n3 3\n");
}

#[test]
fn qctl_db_in_a_job_is_the_queue_it_came_from() {
    let queue = Sandbox::new();
    queue.sh("unset QCTL_DB; qctl --db other.db push 'qctl push true' && qctl --db other.db work --drain").succeeds();
    queue.qctl("--db other.db show 2").succeeds();
    assert!(!queue.db().exists());
}

#[test]
fn env_copies_a_variable_of_the_push_or_sets_one() {
    let queue = Sandbox::new();
    queue.sh("COPIED='from the push' qctl push --env COPIED --env SET='a=b c' 'echo \"$COPIED|$SET\"'").succeeds();
    queue.sh("COPIED=worker SET=worker qctl work --drain").succeeds();
    queue.qctl("logs 1").prints("from the push|a=b c\n");
}

#[test]
fn the_push_keeps_path_language_and_time_zone_and_nothing_else() {
    let queue = Sandbox::new();
    let push = "PATH=$PATH:/pushed LANG=l LC_TIME=t LC_ALL=C TZ=Asia/Tokyo OTHER=o qctl push 'env > vars'";
    queue.sh(push).succeeds();
    queue.sh("LANG=w LC_TIME=w TZ=w WORKER=w qctl work --drain").succeeds();
    let vars = queue.read("vars");
    let value = |name: &str| vars.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    assert!(value("PATH").expect("a path").ends_with(":/pushed"), "{vars}");
    assert_eq!(["LANG", "LC_TIME", "LC_ALL", "TZ"].map(value), ["l", "t", "C", "Asia/Tokyo"].map(Some), "{vars}");
    assert_eq!([value("OTHER"), value("WORKER")], [None, Some("w")], "{vars}");
}

#[test]
fn a_program_is_found_along_the_path_of_the_push() {
    let queue = Sandbox::new();
    queue.sh("mkdir bin; printf '#!/bin/sh\\necho found\\n' > bin/mine; chmod +x bin/mine").succeeds();
    queue.sh("PATH=$PWD/bin:$PATH qctl push -- mine it").succeeds();
    queue.qctl("work --drain").succeeds();
    queue.qctl("logs 1").prints("found\n");
}

#[test]
fn a_job_runs_where_it_was_pushed_from() {
    let queue = Sandbox::new();
    queue.sh("mkdir -p a/b; cd a/b; qctl push 'pwd > here'").succeeds();
    queue.qctl("work --drain").succeeds();
    assert!(queue.read("a/b/here").ends_with("/a/b\n"));
}

#[test]
fn cwd_has_a_job_run_elsewhere() {
    let queue = Sandbox::new();
    std::fs::create_dir(queue.path("elsewhere")).expect("a folder");
    queue.push("--cwd elsewhere 'pwd > here'");
    queue.qctl("work --drain").succeeds();
    assert!(queue.read("elsewhere/here").ends_with("/elsewhere\n"));
}

/// Three MiB in which every byte value occurs.
fn binary() -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..3 << 20).map(|_| next()).collect()
}

#[test]
fn a_payload_arrives_byte_for_byte_from_a_file() {
    let queue = Sandbox::new();
    queue.write("given", binary());
    queue.push("--payload-file given 'cat > got'");
    queue.write("given", "changed after the push");
    queue.qctl("work --drain").succeeds();
    assert!(std::fs::read(queue.path("got")).expect("it was written") == binary());
}

#[test]
fn a_payload_arrives_byte_for_byte_from_standard_input() {
    let queue = Sandbox::new();
    queue.qctl_fed("push --stdin 'cat > got'", &binary()).succeeds();
    queue.qctl("work --drain").succeeds();
    assert!(std::fs::read(queue.path("got")).expect("it was written") == binary());
}

#[test]
fn a_job_may_leave_its_payload_unread() {
    let queue = Sandbox::new();
    queue.qctl_fed("push --stdin true", &binary()).succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(1), "succeeded");
}

#[test]
fn without_a_payload_standard_input_is_empty() {
    let queue = Sandbox::new();
    queue.push("'wc -c'");
    queue.qctl_fed("work --drain", b"what the worker is fed").succeeds();
    queue.qctl("logs 1").prints("0\n");
}
