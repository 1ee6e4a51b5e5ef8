//! Recorded steps: what a job does once, however often it is run.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::{Sandbox, is_possible};

/// A queue with job 1, which runs this script and is tried again at once.
fn queue_with(script: &str) -> Sandbox {
    let queue = Sandbox::new();
    queue.write("job.sh", script);
    queue.push("--backoff fixed:0s --max-attempts 3 -- sh job.sh");
    queue
}

/// The same, worked until nothing is due.
fn worked(script: &str) -> Sandbox {
    let queue = queue_with(script);
    queue.qctl("work --drain").succeeds();
    queue
}

/// The steps of job 1 and how they stand: `charge recorded`.
fn steps(queue: &Sandbox) -> Vec<String> {
    let list = queue.qctl("step list 1").succeeds().out();
    list.lines().map(|line| line.split('\t').take(2).collect::<Vec<_>>().join(" ")).collect()
}

/// What an attempt of job 1 printed on stdout and on stderr.
fn printed(queue: &Sandbox, attempt: u32) -> (String, String) {
    let of = |stream| queue.qctl(&format!("logs 1 --attempt {attempt} --stream {stream}")).succeeds();
    (of("stdout").out(), of("stderr").err())
}

/// The names of the files that steps have.
fn files(queue: &Sandbox) -> Vec<String> {
    queue.sh("ls queue.db-steps 2>/dev/null || true").succeeds().out().lines().map(str::to_owned).collect()
}

/// Ends every attempt but the last as a failure.
const FAIL_FIRST: &str = "[ $QCTL_ATTEMPT -gt 1 ]";

#[test]
fn a_step_is_run_once_and_what_it_printed_is_printed_in_every_attempt() {
    let queue = worked(
        "id=$(qctl step reserve -- 'echo ran >>ran; echo 4711; echo heard >&2') || exit
        echo \"got $id\"
        [ $QCTL_ATTEMPT = 3 ]",
    );
    assert_eq!((queue.state(1), queue.read("ran")), ("succeeded".to_owned(), "ran\n".to_owned()));
    assert_eq!(printed(&queue, 1), ("got 4711\n".to_owned(), "heard\n".to_owned()));
    for attempt in [2, 3] {
        assert_eq!(printed(&queue, attempt), ("got 4711\n".to_owned(), String::new()), "only stdout is recorded");
    }
    assert_eq!(steps(&queue), ["reserve recorded"]);
}

#[test]
fn what_a_step_printed_is_kept_byte_for_byte() {
    let queue = worked(&format!("qctl step blob -- 'printf \"a\\0b\\377\\n\\0c\"' >blob$QCTL_ATTEMPT\n{FAIL_FIRST}"));
    for attempt in [1, 2] {
        let blob = std::fs::read(queue.path(format!("blob{attempt}"))).expect("it was printed");
        assert_eq!(blob, b"a\0b\xff\n\0c", "in attempt {attempt}");
    }
    let got = queue.qctl("step get --job 1 blob").succeeds();
    assert_eq!(got.bytes(), b"a\0b\xff\n\0c");
}

/// Prints three megabytes, other ones each time.
const BIG: &str = "qctl step big -- head -c 3145728 /dev/urandom >big$QCTL_ATTEMPT || exit";

#[test]
fn three_megabytes_are_kept_in_a_file_of_its_owner_and_replayed() {
    let queue = worked(&format!("umask 277\n{BIG}\nqctl step small -- echo x\n{FAIL_FIRST}"));
    assert_eq!(steps(&queue), ["big recorded", "small recorded"]);
    queue.sh("cmp big1 big2 && [ $(wc -c <big1) = 3145728 ]").succeeds();
    assert_eq!(files(&queue).len(), 1);
    let mode = |path: std::path::PathBuf| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(queue.path("queue.db-steps")), 0o700);
    assert_eq!(mode(queue.path("queue.db-steps").join(&files(&queue)[0])), 0o600);
    queue.sh("qctl step get --job 1 big | cmp - big1").succeeds();
    queue.qctl("doctor").succeeds();
    assert!(!queue.qctl("doctor").out().contains("-steps"), "nothing is wrong with the folder");
}

#[test]
fn a_step_ends_as_its_command_did() {
    let queue = worked(
        "told() { echo $?; }
        qctl step code -- 'exit 7'; told
        qctl step signal -- 'kill -TERM $$'; told
        qctl step killed -- sh -c 'kill -9 $$'; told
        qctl step missing -- ./no-such-program 1; told
        qctl step no-program -- /etc/passwd 1; told
        qctl step well -- true -- --help; told",
    );
    assert_eq!(printed(&queue, 1).0, "7\n143\n137\n127\n126\n0\n");
    let document = queue.qctl("step list 1 --json").succeeds().gives("steps").json();
    let codes: Vec<&Value> = document["steps"].as_array().expect("a list").iter().map(|s| &s["exit_code"]).collect();
    assert_eq!(codes, [&json!(7), &Value::Null, &Value::Null, &json!(127), &json!(126), &Value::Null]);
    // How far it had come that was stopped by a signal, nobody knows.
    let states =
        ["code failed", "signal uncertain", "killed uncertain", "missing failed", "no-program failed", "well recorded"];
    assert_eq!(steps(&queue), states);
}

#[test]
fn a_step_that_fails_is_run_again_with_the_same_key_also_in_the_same_attempt() {
    let queue = worked(
        "qctl step pay -- 'echo $QCTL_STEP_KEY $QCTL_STEP >>keys; [ $(wc -l <keys) -ge 4 ]' ||
        qctl step pay -- 'echo $QCTL_STEP_KEY $QCTL_STEP >>keys; [ $(wc -l <keys) -ge 4 ]'",
    );
    assert_eq!((queue.state(1), queue.job(1)["attempt"].clone()), ("succeeded".to_owned(), json!(2)));
    let keys = queue.read("keys");
    let mut keys: Vec<&str> = keys.lines().collect();
    assert_eq!(keys.len(), 4);
    keys.dedup();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let document = queue.qctl("step list 1 --json").json();
    assert_eq!(keys[0], format!("{} pay", document["steps"][0]["key"].as_str().expect("a key")));
}

#[test]
fn what_a_step_leaves_in_the_background_is_not_waited_for() {
    let queue = worked(&format!(
        "qctl step start -- 'sleep 300 2>/dev/null & echo $! >>pids; echo started'\necho after\n{FAIL_FIRST}"
    ));
    let pids = queue.pids("pids");
    queue.sh("kill $(cat pids) || true").succeeds();
    assert_eq!(pids.len(), 1);
    assert_eq!(printed(&queue, 2).0, "started\nafter\n");
}

#[test]
fn a_pipe_on_stdin_is_refused_with_the_two_ways_out() {
    let queue = worked("echo x | qctl step a -- cat; echo $?; qctl step a -- cat </dev/null; echo $?");
    let (out, err) = printed(&queue, 1);
    assert_eq!(out, "2\n0\n");
    assert!(err.contains("the standard input of step a is a pipe"), "{err}");
    assert!(err.contains("< /dev/null") && err.contains("--stdin-hash"), "{err}");
}

#[test]
fn a_step_that_reads_its_input_first_is_for_that_input_alone() {
    let queue = worked(
        "n=$((QCTL_ATTEMPT > 2 ? 1 : 0))
        printf \"in\\0put$n\" | qctl step a --stdin-hash -- 'cat; echo ran >>ran'
        echo $?; [ $QCTL_ATTEMPT = 3 ]",
    );
    assert_eq!([1, 2].map(|n| printed(&queue, n).0), ["in\0put00\n"; 2].map(str::to_owned));
    let (out, err) = printed(&queue, 3);
    assert_eq!((out.as_str(), queue.read("ran")), ("4\n", "ran\n".to_owned()));
    assert!(err.contains("step a is recorded with another standard input"), "{err}");
    assert!(err.contains("qctl step reset 1 a"), "{err}");
}

#[test]
fn the_payload_of_a_job_is_the_input_of_its_steps() {
    let queue = Sandbox::new();
    queue.push("--backoff fixed:0s --payload 'to: a@x' 'qctl step a -- cat; [ $QCTL_ATTEMPT = 2 ]'");
    queue.qctl("work --drain").succeeds();
    assert_eq!([1, 2].map(|n| printed(&queue, n).0), ["to: a@x"; 2].map(str::to_owned));
}

#[test]
fn steps_may_run_side_by_side() {
    let queue = worked(&format!(
        "for n in 1 2 3 4 5; do qctl step part:$n -- \"echo $n; echo x >>ran\" >out.$QCTL_ATTEMPT.$n & done
        wait\n{FAIL_FIRST}"
    ));
    for attempt in [1, 2] {
        queue.sh(&format!("cat out.{attempt}.*")).prints("1\n2\n3\n4\n5\n");
    }
    assert_eq!(queue.read("ran").lines().count(), 5);
    let mut names = steps(&queue);
    names.sort_unstable();
    assert_eq!(names, ["1", "2", "3", "4", "5"].map(|n| format!("part:{n} recorded")));
}

#[test]
fn steps_inside_of_others_and_repeated_ones_have_their_own_names() {
    let queue = worked(
        "qctl step order -- '
            qctl step pay -- \"echo paid >>ran; echo paid\"
            for to in a b; do qctl step mail --repeat -- \"echo mail to $to >>ran; echo $to\"; done
            qctl step check --repeat -- \"echo \\$QCTL_STEP; [ \\$QCTL_ATTEMPT = 2 ]\"'",
    );
    assert_eq!(queue.read("ran"), "paid\nmail to a\nmail to b\n");
    assert_eq!(printed(&queue, 2).0, "paid\na\nb\norder/check\n");
    let names = ["order", "order/pay", "order/mail", "order/mail#2", "order/check"];
    assert_eq!(steps(&queue), names.map(|name| format!("{name} recorded")));
    queue.qctl("step get --job 1 order/mail#2").prints("b\n");
}

#[test]
fn the_jobs_of_a_worker_inside_of_a_step_are_inside_of_none() {
    let queue = worked(
        "qctl step outer -- 'export QCTL_DB=other.db
            qctl push \"qctl step inner -- true\"; qctl work --drain -q; qctl step list 1 | cut -f1,2'",
    );
    assert_eq!(printed(&queue, 1).0, "1\ninner\trecorded\n");
    assert_eq!(steps(&queue), ["outer recorded"]);
}

#[test]
fn a_name_is_used_once_in_an_attempt_and_cannot_be_taken_for_another() {
    let queue = worked(
        "qctl step a -- true; qctl step a -- touch twice; echo $?
        qctl step b -- 'qctl step b -- true'; qctl step b -- true; echo $?
        for name in '' a/b 'mail#2' \"$(printf 'a\\nb')\"; do qctl step \"$name\" -- touch bad; echo $?; done",
    );
    assert_eq!(printed(&queue, 1).0, "2\n2\n2\n2\n2\n2\n");
    let (_, err) = printed(&queue, 1);
    assert!(err.contains("this attempt has come to step a before") && err.contains("--repeat"), "{err}");
    assert!(!queue.path("twice").exists() && !queue.path("bad").exists());
    assert_eq!(steps(&queue), ["a recorded", "b recorded", "b/b recorded"]);
}

#[test]
fn the_command_stands_behind_the_dashes_and_what_is_missing_is_told() {
    let queue = worked(
        "for line in 'a' '-- true' 'a true' '' '--on-uncertain maybe a -- touch ran' \
            '--on-uncertain verify -- touch ran' '--on-uncertain verify a -- touch ran' \
            '--on-uncertain fail a b -- touch ran'; do
            qctl step $line; echo $?
        done",
    );
    let (out, err) = printed(&queue, 1);
    assert_eq!(out, "2\n".repeat(8));
    assert!(err.contains("lacks the shell line that finds out") && err.contains("is not maybe"), "{err}");
    assert!(err.contains("the step has no name") && err.contains("has two names, a and b"), "{err}");
    assert_eq!((steps(&queue).len(), queue.path("ran").exists()), (0, false));
}

/// Comes to step `a` so that the first attempt dies within it, and the next ones as is said here.
fn doubtful(later: &str) -> String {
    format!(
        "if [ $QCTL_ATTEMPT = 1 ]; then qctl step a -- 'echo x >>ran; kill -9 $PPID; echo lost'; exit 9; fi
        {later}; code=$?; echo \"ended with $code\"; exit $code"
    )
}

#[test]
fn a_step_that_may_have_happened_is_run_again_unless_another_way_is_asked_for() {
    for later in
        ["qctl step a -- 'echo again; echo x >>ran'", "qctl step --on-uncertain rerun a -- 'echo again; echo x >>ran'"]
    {
        let queue = worked(&doubtful(later));
        assert_eq!(printed(&queue, 2).0, "again\nended with 0\n", "{later}");
        assert_eq!((queue.read("ran").as_str(), steps(&queue)), ("x\nx\n", vec!["a recorded".to_owned()]));
    }
}

#[test]
fn a_job_is_dead_for_a_step_that_may_have_happened_where_that_is_asked_for() {
    for call in [
        "--on-uncertain fail a -- touch again",
        "a --on-uncertain fail -- touch again",
        "--on-uncertain=fail a -- touch again",
        "--on-uncertain fail a -- 'touch again'",
        "--on-uncertain fail --repeat a -- 'touch again'",
    ] {
        let queue = worked(&doubtful(&format!("qctl step {call}")));
        assert_eq!(printed(&queue, 2).0, "ended with 4\n", "{call}");
        let job = queue.job(1);
        assert_eq!((&job["state"], &job["reason"], &job["attempt"]), (&json!("dead"), &json!("uncertain"), &json!(2)));
        assert_eq!(job["error"], "step a was begun before; it may or may not have happened");
        assert!(!queue.path("again").exists(), "{call}");
        assert_eq!(steps(&queue), ["a uncertain"]);
        assert!(
            printed(&queue, 2)
                .1
                .contains("if it has not: qctl step reset 1 a; if it has: qctl step set --job 1 a OUTPUT"),
            "{call}"
        );
    }
}

#[test]
fn a_person_says_that_a_doubtful_step_has_happened_and_the_job_goes_on_behind_it() {
    let queue = worked(&doubtful("qctl step a --on-uncertain fail -- touch again"));
    queue.qctl("step set --job 1 a ch-1017").says_nothing();
    assert_eq!(steps(&queue), ["a recorded"]);
    let twice = queue.qctl("step set --job 1 a other").exits(4);
    assert!(twice.err().contains("step a of job 1 is recorded already"), "{}", twice.story());
    queue.qctl("dlq requeue 1").succeeds();
    queue.qctl("work --drain").succeeds();
    // Each of the two attempts since came to it.
    assert_eq!([3, 4].map(|attempt| printed(&queue, attempt).0), ["ch-1017", "ch-1017ended with 0\n"]);
    assert_eq!(queue.state(1), "succeeded");
    assert!(!queue.path("again").exists());
    queue.qctl("step set --job 9 a x").exits(3);
}

#[test]
fn a_job_that_goes_on_after_a_doubt_is_dead_all_the_same_and_its_step_decided_by_hand() {
    let queue = worked(&doubtful("qctl step a --on-uncertain fail -- 'echo now'; true"));
    assert_eq!((queue.state(1), queue.job(1)["reason"].clone()), ("dead".to_owned(), json!("uncertain")));
    let why = queue.qctl("why 1").succeeds().out();
    assert!(why.contains("a step may or may not have happened"), "{why}");
    assert!(why.contains("if it has not: qctl step reset 1 STEP; if it has: qctl step set --job 1 STEP OUTPUT; then qctl dlq requeue 1"), "{why}");
    queue.qctl("step reset 1 a").succeeds();
    queue.write("job.sh", "qctl step a --on-uncertain fail -- 'echo now'");
    queue.qctl("dlq requeue 1").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!((queue.state(1), steps(&queue)), ("succeeded".to_owned(), vec!["a recorded".to_owned()]));
}

#[test]
fn a_shell_line_finds_out_whether_a_step_happened() {
    for call in ["--on-uncertain verify './was-done a' a --", "a --on-uncertain verify './was-done a' --"] {
        for (answer, printed_then, ran, state) in [
            ("echo \"found $1\"; exit 0", "found a\nended with 0\n", "x\n", "a recorded"),
            ("echo not found; exit 1", "done now\nended with 0\n", "x\nx\n", "a recorded"),
            ("echo unclear; exit 3", "ended with 3\n", "x\n", "a uncertain"),
            ("kill -9 $$", "ended with 137\n", "x\n", "a uncertain"),
        ] {
            let queue = queue_with(&doubtful(&format!("qctl step {call} 'echo done now; echo x >>ran'")));
            queue.write("was-done", format!("#!/bin/sh\n[ -n \"$QCTL_STEP_KEY\" ] || exit 9\n{answer}\n"));
            queue.sh("chmod +x was-done").succeeds();
            queue.qctl("work --drain").succeeds();
            assert_eq!(printed(&queue, 2).0, printed_then, "{answer}");
            assert_eq!((queue.read("ran").as_str(), steps(&queue)), (ran, vec![state.to_owned()]), "{answer}");
            // Whoever could not find out is asked again.
            let last = queue.job(1)["attempts"].as_array().map_or(0, Vec::len);
            assert_eq!(last, if state.ends_with("uncertain") { 3 } else { 2 }, "{answer}");
        }
    }
}

#[test]
fn what_was_found_out_is_what_the_step_printed() {
    let queue = worked(
        "[ $QCTL_ATTEMPT -gt 1 ] || { qctl step a -- 'kill -9 $PPID'; exit 1; }
        qctl step a --on-uncertain verify 'printf 17' -- echo 18; echo; [ $QCTL_ATTEMPT = 3 ]",
    );
    assert_eq!([2, 3].map(|n| printed(&queue, n).0), ["17\n"; 2].map(str::to_owned));
}

#[test]
fn a_step_that_was_killed_is_not_begun_again_by_the_same_attempt() {
    let queue = worked("qctl step a -- 'kill -9 $PPID'; echo $?; qctl step a -- touch again; echo $?");
    let (out, err) = printed(&queue, 1);
    assert_eq!((out.as_str(), steps(&queue)), ("137\n4\n", vec!["a uncertain".to_owned()]));
    assert!(err.contains("this attempt has begun step a before, and that has not ended"), "{err}");
}

#[test]
fn another_command_is_told_and_not_run() {
    let queue = worked(&format!("qctl step a -- echo $QCTL_ATTEMPT\n{FAIL_FIRST}"));
    let (out, err) = printed(&queue, 2);
    assert_eq!(out, "1\n");
    assert!(err.contains("step a is recorded of another command; to run it: qctl step reset 1 a"), "{err}");
}

#[test]
fn outside_a_job_there_are_no_steps() {
    let queue = Sandbox::new();
    queue.push("true");
    for line in ["a -- touch ran", "set a b", "get a", "sleep 1h", "list"] {
        queue.qctl(&format!("step {line}")).exits(2).says("this is not inside a job");
        let other = queue.sh(&format!("QCTL_JOB_ID=1 QCTL_TOKEN=1 qctl --db other.db step {line}"));
        other.exits(2).says("another queue file");
    }
    assert!(!queue.path("ran").exists());
}

#[test]
fn what_an_attempt_left_behind_comes_to_no_step_once_the_job_is_anothers() {
    let queue = worked(
        "env | grep QCTL_ | sed \"s/.*/'&'/\" | tr '\\n' ' ' >>env; echo >>env; qctl step a -- echo a; [ $QCTL_ATTEMPT = 2 ]",
    );
    let before = steps(&queue);
    for env in queue.read("env").lines() {
        for line in ["b -- touch ran", "a -- touch ran", "set v x", "sleep 1h"] {
            queue.sh(&format!("env {env} qctl step {line}")).exits(4).says("job 1 is no longer this attempt's");
        }
    }
    assert_eq!((steps(&queue), queue.path("ran").exists()), (before, false));
}

#[test]
fn a_step_whose_job_was_taken_says_that_it_is_not_recorded() {
    let queue = Sandbox::new();
    queue.write("job.sh", "qctl step a -- 'touch up; while [ -e hold ]; do sleep 0.02; done' 2>said; touch over");
    queue.write("hold", "");
    // In a session of its own, and without the files of the job, nobody finds it to stop it.
    queue.push("--backoff fixed:0s '[ $QCTL_ATTEMPT = 2 ] || { setsid sh -c \"exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- >/dev/null 2>&1; sh job.sh\" & while [ ! -e up ]; do sleep 0.02; done; exit 1; }'");
    queue.qctl("work --drain").succeeds();
    queue.sh("rm hold").succeeds();
    queue.wait_until("it has ended", || queue.path("over").exists());
    let said = queue.read("said");
    assert!(said.contains("job 1 is no longer this attempt's; that step a is done is not recorded"), "{said}");
    assert_eq!(steps(&queue), ["a uncertain"]);
}

#[test]
fn what_nobody_reads_to_its_end_is_recorded_whole() {
    let queue = worked(&format!(
        "qctl step a -- 'head -c 400000 /dev/zero | tr \"\\0\" x; echo end; touch ran$QCTL_ATTEMPT' | head -c 1 >/dev/null
        until [ -e ran1 ]; do sleep 0.02; done
        until qctl step list | grep -q recorded; do sleep 0.02; done
        [ $QCTL_ATTEMPT = 1 ] || qctl step get a >got\n{FAIL_FIRST}"
    ));
    queue.sh("[ $(wc -c <got) = 400004 ] && tail -n 1 got | grep -q 'end$'").succeeds();
    assert!(!queue.path("ran2").exists());
}

#[test]
fn a_step_that_ends_well_though_its_job_is_stopped_is_recorded() {
    let queue = queue_with(
        "trap : TERM
        qctl step a -- 'trap \"echo put away; exit 0\" TERM; touch up; while :; do sleep 0.02; done'
        echo $? >status; qctl step b -- touch b 2>said; echo $? >>status",
    );
    let worker = queue.start("work");
    queue.wait_until("the step runs", || queue.path("up").exists());
    queue.qctl("cancel 1").succeeds();
    queue.wait_for_state(1, "cancelled");
    worker.stops().succeeds();
    assert_eq!((steps(&queue), queue.read("status")), (vec!["a recorded".to_owned()], "0\n4\n".to_owned()));
    queue.qctl("step get --job 1 a").prints("put away\n");
    assert!(queue.read("said").contains("job 1 is being cancelled; step b is not begun"));
}

#[test]
fn a_value_is_looked_for_from_the_inside_out() {
    let queue = worked(
        "qctl step set v top; qctl step set v other
        qctl step x -- 'qctl step set v inner; qctl step get v; echo; qctl step y -- \"qctl step get v\"'; echo
        qctl step z -- 'qctl step get v; qctl step get x/v; qctl step get w; echo $?'",
    );
    assert_eq!(printed(&queue, 1).0, "inner\ninner\ntopinner3\n");
    assert!(printed(&queue, 1).1.contains("job 1 has no step w on record"));
    queue.qctl("step get --job 1 x/v").prints("inner");
    queue.qctl("step get --job 1 v").prints("top");
    queue.qctl("step get --job 1 w").exits(3);
    queue.qctl("step get --job 9 v").exits(3);
}

#[test]
fn a_value_may_be_any_bytes_up_to_a_mebibyte() {
    let queue = worked(
        "printf 'a\\0b\\n' | qctl step set piped; qctl step get piped >piped
        printf x | qctl step set dash -; qctl step get dash >dash
        qctl step set hyphens --x; qctl step get hyphens >hyphens
        qctl step set empty ''; qctl step get empty >empty
        head -c 1048576 /dev/zero | qctl step set large; qctl step get large >large
        head -c 1048577 /dev/zero | qctl step set larger; echo $?
        qctl step set sleep x; echo $?",
    );
    queue.sh("printf 'a\\0b\\n' | cmp - piped && [ $(wc -c <large) = 1048576 ]").succeeds();
    assert_eq!(["dash", "hyphens", "empty"].map(|name| queue.read(name)), ["x", "--x", ""].map(str::to_owned));
    let (out, err) = printed(&queue, 1);
    assert_eq!(out, "2\n2\n");
    assert!(err.contains("the value of larger is larger than 1 MiB") && err.contains("cat FILE"), "{err}");
    assert!(files(&queue).is_empty());
}

#[test]
fn a_job_sleeps_between_its_steps_and_goes_on_where_it_was() {
    let mut queue = worked(
        "set -e
        qctl step order -- 'echo order >>ran'
        qctl step sleep 3d
        qctl step remind -- 'echo remind >>ran'
        qctl step sleep 1h
        qctl step close -- 'echo close >>ran'",
    );
    let job = queue.job(1);
    assert_eq!((&job["state"], &job["attempt"], &job["snoozes"]), (&json!("retrying"), &json!(0), &json!(1)));
    assert_eq!(
        (steps(&queue), queue.read("ran").as_str()),
        (vec!["order recorded".into(), "sleep sleeping".into()], "order\n")
    );
    // What wakes it earlier does not end its sleep, and does not begin it anew.
    queue.advance("2d");
    let due = queue.job(1)["run_at"].clone();
    queue.qctl("update 1 --delay 0s").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!((queue.state(1), queue.job(1)["run_at"].clone()), ("retrying".to_owned(), due));
    queue.advance("1d");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.read("ran"), "order\nremind\n");
    queue.advance("1h");
    queue.qctl("work --drain").succeeds();
    assert_eq!((queue.state(1), queue.read("ran")), ("succeeded".to_owned(), "order\nremind\nclose\n".to_owned()));
    assert_eq!(queue.job(1)["attempt"], 1);
}

#[test]
fn a_job_that_does_not_notice_that_it_sleeps_does_nothing_more() {
    let mut queue = worked(
        "qctl step sleep 1h; echo $?
        qctl step a -- touch ran; echo $?
        qctl step set v x; echo $?; qctl step sleep 2h; echo $?; exit 0",
    );
    let (out, err) = printed(&queue, 1);
    assert_eq!((out.as_str(), queue.path("ran").exists()), ("75\n75\n75\n75\n", false));
    assert!(err.contains("job 1 is asleep; step a is not begun before it wakes") && err.contains("|| exit"), "{err}");
    assert_eq!((queue.state(1), steps(&queue)), ("retrying".to_owned(), vec!["sleep sleeping".to_owned()]));
    queue.advance("1h");
    queue.write("job.sh", "qctl step sleep 1h; echo $?; qctl step a -- echo a");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(1), "succeeded");
    queue.qctl("logs 1 --stream stdout").prints("0\na\n");
}

#[test]
fn a_step_that_is_reset_is_run_again_with_another_key() {
    let queue = worked("qctl step a -- 'echo $QCTL_STEP_KEY >>keys'; qctl step b -- 'echo b >>ran'");
    queue.qctl("step reset 1 x a").exits(3).says("job 1 has no step x; nothing was forgotten");
    queue.qctl("step reset 9 a").exits(3);
    queue.qctl("step reset 1").exits(2);
    queue.qctl("step reset 1 a").succeeds();
    assert_eq!(steps(&queue), ["b recorded"]);
    queue.qctl("retry 1").succeeds();
    queue.qctl("work --drain").succeeds();
    let keys = queue.read("keys");
    let keys: Vec<&str> = keys.lines().collect();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{keys:?}");
    assert_eq!(queue.read("ran"), "b\n");
    let reset = |queue: &Sandbox| queue.qctl("step reset 1 --all --json").succeeds().json()["reset"].clone();
    assert_eq!([reset(&queue), reset(&queue)], [json!(["b", "a"]), json!([])]);
    queue.qctl("step list 1").succeeds().prints("");
}

#[test]
fn the_steps_of_a_job_that_runs_are_left_alone() {
    let queue = queue_with("qctl step a -- touch up; while [ -e hold ]; do sleep 0.02; done");
    queue.write("hold", "");
    let worker = queue.start("work --drain");
    queue.wait_until("the step has run", || queue.path("up").exists());
    queue.qctl("step reset 1 a").exits(4).says("job 1 is running; its steps are left alone");
    queue.sh("rm hold").succeeds();
    worker.ends().succeeds();
    assert_eq!(steps(&queue), ["a recorded"]);
}

/// Three steps, of which the last fails for as long as there is no file `ok`.
const THREE: &str =
    "for name in a b c; do qctl step $name -- \"echo $name >>ran; [ $name != c -o -e ok ]\" || exit; done";

#[test]
fn a_dead_job_is_requeued_from_a_step_on() {
    let queue = worked(THREE);
    queue.push("--max-attempts 1 false");
    queue.qctl("work --drain").succeeds();
    assert_eq!((queue.ids("dead"), queue.read("ran").as_str()), (vec![1, 2], "a\nb\nc\nc\nc\n"));
    queue.sh("rm ran; touch ok").succeeds();
    queue
        .qctl("dlq requeue 1-2 --from-step b --dry-run")
        .succeeds()
        .prints("1\n")
        .says("job 2 stays dead: it has no step b");
    assert_eq!((queue.ids("dead"), steps(&queue).len()), (vec![1, 2], 3));
    queue.qctl("dlq requeue 1-2 --from-step b").exits(4).says("job 2 stays dead");
    queue.qctl("work --drain").succeeds();
    assert_eq!((queue.read("ran").as_str(), queue.ids("dead")), ("b\nc\n", vec![2]));
    queue.qctl("dlq requeue 2 --from-step b").exits(4).says("job 2 stays dead: it has no step b");
}

#[test]
fn a_dead_job_that_is_requeued_goes_on_behind_what_is_recorded() {
    let queue = worked(THREE);
    queue.sh("rm ran; touch ok").succeeds();
    queue.qctl("dlq requeue 1").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!((queue.state(1), queue.read("ran")), ("succeeded".to_owned(), "c\n".to_owned()));
}

#[test]
fn the_files_of_steps_go_with_their_job() {
    for away in ["delete 1", "prune --older-than 0s", "queue purge default --state succeeded --yes", "step reset 1 big"]
    {
        let queue = worked(BIG);
        assert_eq!(files(&queue).len(), 1);
        queue.qctl(away).succeeds();
        assert!(files(&queue).is_empty(), "{away}");
    }
}

#[test]
fn a_file_that_a_killed_step_left_goes_when_the_next_worker_comes() {
    let queue = worked("qctl step big -- 'head -c 3145728 /dev/zero; kill -9 $PPID'; true");
    assert_eq!((steps(&queue), files(&queue).len()), (vec!["big uncertain".to_owned()], 1));
    queue.qctl("work --drain").succeeds();
    assert!(files(&queue).is_empty());
}

#[test]
fn a_backup_has_what_the_steps_printed() {
    let queue = worked(&format!("{BIG}\nqctl step small -- echo small"));
    queue.qctl("backup copy.db").succeeds();
    queue.qctl("delete 1").succeeds();
    queue.sh("qctl --db copy.db step get --job 1 big | cmp - big1").succeeds();
    queue.qctl("step get --db copy.db --job 1 small").prints("small\n");
    queue.qctl("doctor --db copy.db").succeeds();
}

#[test]
fn a_file_that_is_gone_or_cut_short_is_told_of_and_not_taken_for_what_was_printed() {
    for harm in ["rm queue.db-steps/*", "truncate -s 1000000 queue.db-steps/*"] {
        let queue = worked(BIG);
        queue.sh(harm).succeeds();
        queue.qctl("retry 1").succeeds();
        queue.qctl("work --drain").succeeds();
        assert_eq!(queue.state(1), "dead", "{harm}");
        queue.qctl("step get --job 1 big").exits(78).prints("").says("queue.db-steps");
        let said = queue.qctl("logs 1 --stream stderr").err();
        assert!(said.contains("queue.db-steps"), "{said}");
        queue.qctl("step reset 1 big").succeeds();
        queue.qctl("dlq requeue 1").succeeds();
        queue.qctl("work --drain").succeeds();
        assert_eq!(queue.state(1), "succeeded", "{harm}");
    }
}

#[test]
fn a_row_that_nobody_wrote_is_refused_and_leads_to_no_file_elsewhere() {
    let queue = worked(BIG);
    queue.write("precious", "x");
    let change = |sql: &str| {
        let conn = rusqlite::Connection::open(queue.db()).expect("the queue");
        conn.execute_batch(sql).expect("a change");
    };
    change("update step set file = '1-1-/../../precious', bytes = 1");
    queue.qctl("step get --job 1 big").exits(78).prints("");
    queue.qctl("step reset 1 big").succeeds();
    assert_eq!(queue.read("precious"), "x");
    queue.qctl("retry 1").succeeds();
    queue.qctl("work --drain").succeeds();
    change("update step set state = 'maybe'");
    queue.qctl("step list 1").exits(78).prints("");
    queue.qctl("doctor").exits(1);
}

#[test]
fn a_step_waits_for_the_disk_twice_and_a_replay_never() {
    const CALLS: [&str; 6] = ["fsync", "fdatasync", "sync_file_range", "msync", "syncfs", "sync"];
    if !is_possible("strace -f -o /dev/null true") {
        return;
    }
    let traced = format!("strace -f -e trace={} -o trace$QCTL_ATTEMPT", CALLS.join(","));
    let queue = worked(&format!("{traced} qctl step a -- true || exit\n{FAIL_FIRST}"));
    assert_eq!(queue.state(1), "succeeded");
    let count = |trace: &str| {
        let is_call = |line: &&str| {
            let name = line.split_whitespace().nth(1).and_then(|call| call.split('(').next());
            name.is_some_and(|name| CALLS.contains(&name))
        };
        queue.read(trace).lines().filter(is_call).count()
    };
    assert!(queue.read("trace1").contains("exited with 0") && queue.read("trace2").contains("exited with 0"));
    assert!(count("trace1") <= 2, "{}", queue.read("trace1"));
    assert_eq!(count("trace2"), 0, "{}", queue.read("trace2"));
}
