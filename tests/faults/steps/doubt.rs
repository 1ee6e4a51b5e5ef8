//! What is not known is told from what failed, and nothing goes on behind the back of whoever asks.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};

use super::{WORK, add};
use crate::support::{Sandbox, is_alive};

/// A queue with a job of one step, which runs this.
fn queue_with(options: &str, how: &str, command: &str) -> Sandbox {
    let queue = Sandbox::new();
    let how = if how == "verify" { "verify 'grep -q . effects'" } else { how };
    queue.write("command", command);
    queue.write("effects", "");
    queue.write("job", format!("echo $$ >shell; qctl step charge --on-uncertain {how} -- sh command || exit\n:"));
    queue.push(&format!("--backoff fixed:10ms --jitter none {options} sh job"));
    queue
}

/// How it comes that the command of a step is cut short.
const CUTS: [&str; 5] = ["worker killed", "worker told to leave", "timeout", "command killed", "command told to end"];

/// Happens, and then has something left to do for long, in the first attempt. Told to end, it fails.
const SLOW: &str = "\
    trap 'exit 3' TERM
    echo $QCTL_TOKEN >>effects
    echo $$ >pid
    [ $QCTL_TOKEN -gt 1 ] || { sleep 30 & wait; }";

#[test]
fn a_step_that_was_cut_short_is_asked_about_and_not_taken_for_one_that_failed() {
    for command in [SLOW, SLOW.lines().skip(1).collect::<Vec<_>>().join("\n").as_str()] {
        for cut in CUTS {
            let timeout = if cut == "timeout" { "--timeout 2s" } else { "" };
            let queue = queue_with(timeout, "verify", command);
            let worker = queue.start("work --grace 50ms");
            queue.wait_for_lines("pid", 1);
            let pid = Pid::from_raw(queue.pids("pid")[0]);
            match cut {
                "worker killed" => drop(worker.dies()),
                "worker told to leave" => drop(worker.stops()),
                // All who are in it: so it is told to end.
                "command told to end" => {
                    let group = getpgid(Some(pid)).expect("it is there");
                    killpg(group, Signal::SIGTERM).expect("it is there");
                }
                "command killed" => kill(pid, Signal::SIGKILL).expect("it is there"),
                _ => queue.wait_for_state(1, "succeeded"),
            }
            queue.qctl(WORK).succeeds();
            queue.wait_for_state(1, "succeeded");
            let list = queue.qctl("step list 1").succeeds().out();
            assert_eq!(queue.read("effects"), "1\n", "{cut}: {command}\n{list}");
            assert!(
                list.starts_with("charge\trecorded\t") && !list.starts_with("charge\trecorded\t1\t"),
                "{cut}: {list}"
            );
        }
    }
    add(&format!("in doubt: a step was cut short in {} ways, and happened once", 2 * CUTS.len()));
}

/// Takes its time before it happens, in the first attempt; the process above it is the step.
const LATE: &str = "\
    [ $QCTL_TOKEN -gt 1 ] || { echo $PPID $$ >pids.new; mv pids.new pids; sleep 20; }
    echo $QCTL_TOKEN >>effects";

#[test]
fn what_a_killed_step_left_running_is_gone_before_anyone_asks_or_runs_it_again() {
    for whom in ["step", "shell"] {
        for (how, effects, state) in
            [("rerun", "2\n", "succeeded"), ("verify", "2\n", "succeeded"), ("fail", "", "dead")]
        {
            let queue = queue_with("", how, LATE);
            let worker = queue.start(WORK);
            queue.wait_for_lines("pids", 1);
            let (step, command) = (queue.pids("pids")[0], queue.pids("pids")[1]);
            let victim = if whom == "step" { step } else { queue.pids("shell")[0] };
            kill(Pid::from_raw(victim), Signal::SIGKILL).expect("it is there");
            worker.ends().succeeds();
            let list = queue.qctl("step list 1").succeeds().out();
            assert!(!is_alive(command), "{whom}, {how}: {list}");
            assert_eq!(
                (queue.read("effects").as_str(), queue.state(1).as_str()),
                (effects, state),
                "{whom}, {how}: {list}"
            );
        }
    }
    add("in doubt: 6 steps whose process or shell was killed alone; none went on");
}
