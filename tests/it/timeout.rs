//! An attempt that takes too long is ended with all that it started, and one that ends is over.

use crate::support::{Sandbox, is_alive};

/// A tree of three processes that write down their numbers and would run for minutes.
const TREE: &str = "echo $$ >> pids; sh -c 'echo $$ >> pids; sleep 300 & echo $! >> pids; wait' & wait";

#[test]
fn past_its_timeout_an_attempt_is_ended_with_all_that_it_started() {
    let queue = Sandbox::new();
    queue.write("tree", TREE);
    let id = queue.push("--timeout 1s --max-attempts 1 -- sh tree");
    queue.qctl("work --drain").succeeds();
    let pids = queue.pids("pids");
    assert_eq!(pids.len(), 3);
    assert!(!pids.iter().any(|&pid| is_alive(pid)), "{pids:?}");
    let job = queue.job(id);
    assert_eq!((&job["state"], &job["reason"]), (&"dead".into(), &"exhausted".into()), "{job}");
    assert_eq!((&job["attempts"][0]["outcome"], &job["error"]), (&"timeout".into(), &"timed out".into()), "{job}");
}

#[test]
fn an_attempt_that_timed_out_is_tried_again() {
    let queue = Sandbox::new();
    let id = queue.push("--timeout 1s --backoff fixed:1ms 'test $QCTL_ATTEMPT = 2 || sleep 300'");
    queue.qctl("work --drain --wait-due 1m").succeeds();
    let job = queue.job(id);
    assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &2.into()), "{job}");
    assert_eq!(job["attempts"][0]["outcome"], "timeout", "{job}");
}

#[test]
fn a_job_that_hears_term_may_clean_up_first() {
    let queue = Sandbox::new();
    queue.push(
        "--timeout 1s --kill-after 1m --max-attempts 1 \"trap 'echo cleaned up; exit 7' TERM; sleep 300 & wait\"",
    );
    queue.qctl("work --drain").succeeds();
    let attempt = &queue.job(1)["attempts"][0];
    assert_eq!((&attempt["outcome"], &attempt["exit_code"]), (&"timeout".into(), &7.into()), "{attempt}");
    queue.qctl("logs 1").prints("cleaned up\n");
}

#[test]
fn a_job_that_ignores_term_is_killed_after_its_patience() {
    let queue = Sandbox::new();
    queue.write("deaf", format!("trap '' TERM; {TREE}"));
    queue.push("--timeout 1s --kill-after 700ms --max-attempts 1 -- sh deaf");
    queue.qctl("work --drain").succeeds();
    let attempt = &queue.job(1)["attempts"][0];
    assert_eq!((&attempt["outcome"], &attempt["signal"]), (&"timeout".into(), &9.into()), "{attempt}");
    assert!(attempt["duration_ms"].as_i64().expect("it ended") >= 1700, "{attempt}");
    let pids = queue.pids("pids");
    assert_eq!(pids.len(), 3);
    assert!(!pids.iter().any(|&pid| is_alive(pid)), "{pids:?}");
}

#[test]
fn a_grandchild_that_ignores_term_is_killed_too() {
    let queue = Sandbox::new();
    queue.write("tree", "sh -c \"trap '' TERM; echo \\$\\$ >> pids; sleep 300\" & wait");
    queue.push("--timeout 1s --kill-after 300ms --max-attempts 1 -- sh tree");
    queue.qctl("work --drain").succeeds();
    let pids = queue.pids("pids");
    assert_eq!(pids.len(), 1);
    assert!(!is_alive(pids[0]));
}

#[test]
fn a_job_that_is_in_time_is_left_in_peace() {
    let queue = Sandbox::new();
    let id = queue.push("--timeout 1m true");
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.job(id)["attempts"][0]["outcome"], "succeeded");
}

#[test]
fn a_job_ends_with_its_leader_whoever_holds_its_output() {
    let queue = Sandbox::new();
    let id = queue.push("'sleep 300 & echo $! > pids; echo done'");
    let began = queue.uptime();
    queue.qctl("work --drain").succeeds();
    assert!(queue.uptime().since(began).as_secs() < 20);
    assert_eq!(queue.state(id), "succeeded");
    queue.qctl("logs 1").prints("done\n");
    queue.sh("kill $(cat pids)").succeeds();
}

#[test]
fn a_job_ends_with_its_leader_whoever_writes_on() {
    let queue = Sandbox::new();
    let id = queue.push("'yes & echo $! > pids'");
    let began = queue.uptime();
    queue.qctl("work --drain").succeeds();
    assert!(queue.uptime().since(began).as_secs() < 20);
    assert_eq!(queue.state(id), "succeeded");
    // Whoever writes to a pipe that nobody reads dies of it; it may be dead already.
    queue.sh("kill $(cat pids) 2>/dev/null; true").succeeds();
}

#[test]
fn an_attempt_tells_how_much_processor_time_it_took() {
    let queue = Sandbox::new();
    queue.push("'sh -c \"i=0; while [ \\$i -lt 300000 ]; do i=\\$((i+1)); done\"'");
    queue.push("'sleep 0.5'");
    queue.qctl("work --drain").succeeds();
    let cpu_ms = |id| queue.job(id)["attempts"][0]["cpu_ms"].as_i64().expect("a number");
    assert!(cpu_ms(1) >= 50, "{}", queue.job(1));
    assert!(cpu_ms(2) < 200, "{}", queue.job(2));
}

#[test]
fn an_attempt_tells_the_memory_of_its_largest_process() {
    let queue = Sandbox::new();
    queue.push("'head -c 50000000 /dev/zero | tail -c 50000000 > /dev/null'");
    queue.push("true");
    queue.qctl("work --drain").succeeds();
    let max_rss = |id| queue.job(id)["attempts"][0]["max_rss_bytes"].as_i64().expect("a number");
    assert!((45_000_000..100_000_000).contains(&max_rss(1)), "{}", queue.job(1));
    assert!((100_000..20_000_000).contains(&max_rss(2)), "{}", queue.job(2));
}
