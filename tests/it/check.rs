//! `dlq check` says in one line whether too many are dead, for Nagios, cron and CI; and limits that are set for a queue
//! are said wherever one looks.

use crate::support::{Output, Sandbox};

/// A queue in which so many jobs died of one cause.
fn with_dead(n: usize) -> Sandbox {
    let queue = Sandbox::new();
    queue.write("jobs", "{\"shell\":\"echo disk full >&2; exit 3\",\"queue\":\"mail\",\"max_attempts\":1}\n".repeat(n));
    queue.qctl("import jobs").succeeds();
    queue.qctl("work --drain").succeeds();
    queue
}

/// The words of the line, without the figures.
fn words(output: &Output) -> String {
    let line = output.out();
    assert_eq!(line.lines().count(), 1, "{line}");
    line.split(" | ").next().expect("words").to_owned()
}

#[test]
fn with_no_limit_at_all_one_dead_job_is_too_many() {
    let queue = Sandbox::new();
    queue.qctl("dlq check").exits(3);
    queue.push("-Q ci true");
    queue.qctl("dlq check").succeeds().prints("DLQ OK: 0 dead jobs | dead=0 groups=0 oldest=0s\n").says_nothing();
    let queue = with_dead(2);
    queue.push("-Q ci true");
    assert_eq!(words(&queue.qctl("dlq check").exits(1).says_nothing()), "DLQ WARNING: queue mail has 2 dead jobs");
    assert_eq!(words(&queue.qctl("dlq check -Q ci").succeeds()), "DLQ OK: 0 dead jobs");
    queue.qctl("dlq check -Q nowhere").exits(3);
    queue.qctl("dlq check --max-count many").exits(2);
    queue.qctl("dlq check --new-group 0s").exits(2);
}

#[test]
fn each_limit_is_told_when_it_is_passed_and_not_when_it_is_met() {
    let mut queue = with_dead(2);
    queue.qctl("dlq check --max-count 2 --max-age 1h").succeeds();
    let many = queue.qctl("dlq check --max-count 1 --max-age 1h").exits(1);
    assert_eq!(words(&many), "DLQ WARNING: 2 dead jobs (at most 1)");
    assert!(many.out().contains(" | dead=2;1 groups=1 oldest="), "{}", many.out());
    assert!(many.out().trim_end().ends_with("s;3600"), "{}", many.out());
    queue.advance("2h");
    let old = queue.qctl("dlq check --max-count 2 --max-age 1h").exits(1);
    assert_eq!(words(&old), "DLQ WARNING: the oldest died 2h ago (at most 1h)");
    queue.qctl("dlq drop -Q mail --until 1h").succeeds();
    queue.qctl("dlq check --max-age 1h").succeeds();
}

#[test]
fn a_group_is_new_from_its_first_death_and_not_again_with_the_next() {
    let mut queue = with_dead(1);
    let new = queue.qctl("dlq check --new-group 1h").exits(1);
    assert!(words(&new).starts_with("DLQ WARNING: new in mail: disk full (1 of group "), "{}", new.out());
    queue.advance("2h");
    queue.push("-Q mail --max-attempts 1 'echo disk full >&2; exit 3'");
    queue.qctl("work --drain").succeeds();
    assert_eq!(words(&queue.qctl("dlq check --new-group 1h").succeeds()), "DLQ OK: 2 dead jobs");
    // Nor after those that were dead before have been dropped.
    queue.qctl("dlq drop --all").succeeds();
    queue.push("-Q mail --max-attempts 1 'echo disk full >&2; exit 3'");
    queue.qctl("work --drain").succeeds();
    queue.qctl("dlq check --new-group 1h").succeeds();
}

#[test]
fn of_many_new_groups_the_line_tells_five() {
    let queue = Sandbox::new();
    for code in 1..=7 {
        queue.push(&format!("-Q mail --max-attempts 1 'exit {code}'"));
    }
    queue.qctl("work --drain").succeeds();
    let words = words(&queue.qctl("dlq check --new-group 1h").exits(1));
    assert_eq!(words.matches("new in mail").count(), 5, "{words}");
    assert!(words.ends_with(", 2 more that are new"), "{words}");
}

#[test]
fn what_a_job_prints_neither_ends_the_line_nor_begins_the_figures() {
    let queue = Sandbox::new();
    queue.push(r#"-Q mail --max-attempts 1 'printf "bad | dead=0\033[2K\r ok" >&2; exit 1'"#);
    queue.qctl("work --drain").succeeds();
    let line = queue.qctl("dlq check --new-group 1h").exits(1).out();
    assert_eq!((line.lines().count(), line.matches('|').count()), (1, 1), "{line}");
    assert!(!line.contains('\u{1b}') && !line.contains('\r'), "{line:?}");
}

#[test]
fn a_queue_with_limits_of_its_own_is_checked_by_those() {
    let mut queue = with_dead(3);
    queue.qctl("queue set mail --keep-dead-rows 3").succeeds();
    queue.qctl("dlq check").succeeds();
    queue.qctl("queue set mail --keep-dead-rows 1 --keep-dead 1d").succeeds();
    let many = "DLQ WARNING: queue mail has 3 dead jobs, 2 more than its limit";
    assert_eq!(words(&queue.qctl("dlq check").exits(1)), many);
    queue.advance("36h");
    let old = format!("{many}; the oldest died 1d 12h ago, the limit is 1d");
    assert_eq!(words(&queue.qctl("dlq check").exits(1)), old);
    // One that may have any number says so; and what is asked for on the command line goes before.
    queue.qctl("queue set mail --keep-dead none --keep-dead-rows none").succeeds();
    queue.qctl("dlq check").succeeds();
    queue.qctl("dlq check --max-count 2").exits(1);
}

#[test]
fn json_tells_the_same() {
    let queue = with_dead(2);
    let answer = queue.qctl("dlq check --json --new-group 1h").exits(1).gives("dlq-check").json();
    assert_eq!((&answer["is_well"], &answer["dead"], &answer["groups"]), (&false.into(), &2.into(), &1.into()));
    assert_eq!(answer["new_groups"].as_array().map(Vec::len), Some(1));
    assert!(answer["wrong"][0].as_str().is_some_and(|wrong| wrong.starts_with("new in mail: disk full")), "{answer}");
    queue.qctl("dlq check --json --max-count 2").succeeds().gives("dlq-check");
}

#[test]
fn dead_jobs_beyond_a_limit_stay_and_are_said_by_the_doctor_with_the_cure() {
    let mut queue = with_dead(3);
    queue.qctl("queue set mail --keep-dead 30d --keep-dead-rows 2").succeeds();
    queue.advance("40d");
    queue.push("-Q mail true");
    queue.qctl("work --drain").succeeds();
    queue.qctl("prune --older-than 0s").succeeds();
    assert_eq!(queue.ids("dead").len(), 3, "nothing drops them");
    let findings = queue.qctl("doctor --json").exits(1).gives("findings").json();
    let finding =
        findings["findings"].as_array().expect("a list").iter().find(|found| found["code"] == "dead").cloned();
    let finding = finding.expect("a finding");
    let message = "queue mail has 3 dead jobs, 1 more than its limit; the oldest died 40d ago, the limit is 30d";
    assert_eq!(finding["message"], message);
    let cure = finding["hint"].as_str().expect("a cure");
    assert!(cure.ends_with("dlq drop -Q mail --until 30d"), "{cure}");
    queue.sh(cure).succeeds();
    queue.qctl("doctor").succeeds();
}

#[test]
fn queue_show_stats_and_the_lists_say_on_a_terminal_what_is_beyond_a_limit() {
    let queue = with_dead(2);
    let excess =
        |queue: &Sandbox| queue.qctl("queue show mail --json").gives("queue").json()["queue"]["excess"].clone();
    assert_eq!(excess(&queue), serde_json::Value::Null);
    queue.qctl("queue set mail --keep-dead-rows 1").succeeds();
    assert_eq!((&excess(&queue)["dead"], &excess(&queue)["max_dead"]), (&2.into(), &1.into()));
    for verb in ["queue show mail", "stats", "stats mail", "dlq list", "dlq groups -Q mail"] {
        let mut terminal = queue.terminal((200, 60), &format!("qctl {verb}"));
        terminal.waits_for("queue mail has 2 dead jobs, 1 more than its limit: qctl dlq groups -Q mail");
        queue.qctl(verb).succeeds().says_nothing();
    }
}
