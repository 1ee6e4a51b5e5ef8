//! What a job prints is kept byte for byte, the beginning and the end of it if it is much, and can
//! be followed while it runs.

use crate::support::Sandbox;

/// What is kept of the beginning of a stream, and again of its end.
const CAP: usize = 64 * 1024;

/// So many bytes, every value among them, that do not repeat themselves.
fn bytes(n: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..n).map(|_| next()).collect()
}

#[test]
fn of_much_output_the_first_and_the_last_64_kib_are_kept() {
    let queue = Sandbox::new();
    let given = bytes(300_000);
    queue.write("given", &given);
    queue.push("'cat given; cat given >&2'");
    queue.qctl("work --drain").succeeds();
    let kept = [&given[..CAP], &given[given.len() - CAP..]].concat();
    let output = queue.qctl("logs 1 --stream stdout").succeeds().says("164.9 KiB of stdout were not kept");
    assert!(output.bytes() == kept);
    let attempt = &queue.job(1)["attempts"][0];
    assert_eq!((&attempt["stdout_bytes"], &attempt["truncated"]), (&300_000.into(), &true.into()), "{attempt}");
}

#[test]
fn of_output_that_comes_slowly_the_first_and_the_last_64_kib_are_kept() {
    let queue = Sandbox::new();
    let given = bytes(1_000_000);
    queue.write("given", &given);
    // Each part is stored before the next comes: `logs` has its last byte.
    queue.write(
        "part",
        "cat part.$1; until test $(qctl logs $QCTL_JOB_ID 2>/dev/null | wc -c) -ge $2; do sleep 0.05; done",
    );
    for (n, part) in given.chunks(250_000).enumerate() {
        queue.write(&format!("part.{n}"), part);
    }
    queue.push("'sh part 0 131072; sh part 1 131072; sh part 2 131072; sh part 3 131072'");
    queue.qctl("work --drain").succeeds();
    let kept = [&given[..CAP], &given[given.len() - CAP..]].concat();
    assert!(queue.qctl("logs 1").succeeds().bytes() == kept);
}

#[test]
fn output_of_128_kib_is_kept_whole_and_logs_is_silent_about_it() {
    let queue = Sandbox::new();
    let given = bytes(2 * CAP);
    queue.write("given", &given);
    queue.push("'cat given'");
    queue.qctl("work --drain").succeeds();
    let output = queue.qctl("logs 1").succeeds().says_nothing();
    assert!(output.bytes() == given);
    assert_eq!(queue.job(1)["attempts"][0]["truncated"], false);
}

#[test]
fn binary_output_is_kept_byte_for_byte() {
    let queue = Sandbox::new();
    let every: Vec<u8> = (0..=255).collect();
    queue.write("given", &every);
    queue.push("'cat given; cat given >&2; printf x >&2'");
    queue.qctl("work --drain").succeeds();
    let output = queue.qctl("logs 1").succeeds();
    assert_eq!(output.bytes(), every);
    assert_eq!(output.err_bytes(), [every.as_slice(), b"x"].concat());
}

#[test]
fn the_two_streams_are_kept_apart() {
    let queue = Sandbox::new();
    queue.push("'echo out 1; echo err 1 >&2; echo out 2; echo err 2 >&2'");
    queue.qctl("work --drain").succeeds();
    let output = queue.qctl("logs 1").succeeds().prints("out 1\nout 2\n");
    assert_eq!(output.err(), "err 1\nerr 2\n");
}

#[test]
fn stream_gives_only_the_one_that_is_named() {
    let queue = Sandbox::new();
    queue.push("'echo out; echo err >&2'");
    queue.qctl("work --drain").succeeds();
    queue.qctl("logs 1 --stream stdout").succeeds().prints("out\n").says_nothing();
    let output = queue.qctl("logs 1 --stream stderr").succeeds().prints("");
    assert_eq!(output.err(), "err\n");
}

#[test]
fn a_job_that_prints_200_mb_does_not_fill_the_memory_of_its_worker() {
    let queue = Sandbox::new();
    queue.push("'head -c 200000000 /dev/zero; touch printed; until test -e go; do sleep 0.02; done'");
    let worker = queue.start("work --once");
    queue.wait_until("all is printed", || queue.path("printed").exists());
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 30 * 1024, "{peak} KiB");
    queue.write("go", "");
    worker.ends().succeeds();
    assert_eq!(queue.job(1)["attempts"][0]["stdout_bytes"], 200_000_000);
}

#[test]
fn logs_f_gives_what_a_job_prints_while_it_runs() {
    let queue = Sandbox::new();
    queue.push("'echo before; echo warning >&2; until test -e go; do sleep 0.02; done; echo after'");
    let worker = queue.start("work --once");
    queue.wait_for_state(1, "running");
    let follower = queue.start_sh("exec qctl logs -f 1 >followed 2>warnings");
    queue.wait_for_text("followed", "before\n");
    queue.wait_for_text("warnings", "warning\n");
    assert_eq!(queue.read("followed"), "before\n");
    queue.write("go", "");
    follower.ends().succeeds();
    assert_eq!((queue.read("followed").as_str(), queue.read("warnings").as_str()), ("before\nafter\n", "warning\n"));
    worker.ends().succeeds();
}

#[test]
fn logs_f_waits_for_a_job_that_has_not_started() {
    let queue = Sandbox::new();
    queue.push("'echo here it is'");
    let follower = queue.start("logs -f 1");
    queue.wait_until("it waits", || !bells(&queue).is_empty());
    queue.qctl("work --once").succeeds();
    follower.ends().succeeds().prints("here it is\n").says_nothing();
}

/// Those who wait for something to happen to the queue.
fn bells(queue: &Sandbox) -> Vec<String> {
    let entries = std::fs::read_dir(queue.path("queue.db-wake")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[test]
fn logs_f_ends_with_the_attempt_though_there_will_be_another() {
    let queue = Sandbox::new();
    queue.push("--backoff fixed:1h 'echo once; until test -e go; do sleep 0.02; done; exit 3'");
    let worker = queue.start("work --drain");
    queue.wait_for_state(1, "running");
    let follower = queue.start_sh("exec qctl logs -f 1 | tee followed");
    queue.wait_for_text("followed", "once\n");
    queue.write("go", "");
    follower.ends().succeeds().prints("once\n");
    assert_eq!(queue.state(1), "retrying");
    worker.ends().succeeds();
}

#[test]
fn a_reader_that_goes_away_ends_what_follows_a_job_that_prints_nothing_more() {
    let queue = Sandbox::new();
    queue.push("'echo first; echo oops >&2; exec sleep 60'");
    let waiting = queue.start_sh("{ qctl logs -f 1 2>said; echo $? >status; } | true");
    waiting.ends().succeeds();
    assert_eq!((queue.read("status"), queue.read("said")), ("0\n".to_owned(), String::new()));
    let worker = queue.start("work --grace 0s");
    queue.wait_until("both are on record", || {
        let logs = queue.qctl("logs 1");
        (logs.out(), logs.err()) == ("first\n".to_owned(), "oops\n".to_owned())
    });
    let follower = queue.start_sh("{ qctl logs -f 1 2>said; echo $? >>status; } | head -n 1 >got");
    let errors = queue.start_sh("exec qctl logs -f 1 --stream stderr 2>errors | true");
    follower.ends().succeeds();
    assert_eq!((queue.read("got"), queue.read("status")), ("first\n".to_owned(), "0\n0\n".to_owned()));
    assert_eq!(queue.read("said"), "oops\n");
    queue.wait_for_text("errors", "oops");
    queue.qctl("cancel 1").succeeds();
    errors.ends().succeeds();
    worker.stops();
}

#[test]
fn logs_f_of_a_job_that_has_ended_gives_its_output_and_ends() {
    let queue = Sandbox::new();
    queue.push("'echo done'");
    queue.qctl("work --drain").succeeds();
    queue.qctl("logs -f 1").succeeds().prints("done\n");
}

#[test]
fn logs_says_that_a_job_has_not_started() {
    let queue = Sandbox::new();
    queue.push("true");
    queue.qctl("logs 1").succeeds().prints("").says("has not started");
}
