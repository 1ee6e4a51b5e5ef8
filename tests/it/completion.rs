//! Completion offers what there is, and never makes, changes or waits for anything.

use crate::support::Sandbox;

/// What a real bash offers after these words, besides options, in order.
fn candidates(queue: &Sandbox, words: &str) -> Vec<String> {
    let script = format!(
        "source <(COMPLETE=bash qctl); complete -p qctl >/dev/null || exit 9
         function=$(complete -p qctl | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
         COMP_WORDS=(qctl {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_TYPE=9
         $function qctl \"${{COMP_WORDS[$COMP_CWORD]}}\" \"${{COMP_WORDS[$((COMP_CWORD-1))]}}\" 2>/dev/null
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    queue.write("script", script);
    let output = queue.sh("bash script").succeeds();
    let mut candidates: Vec<String> = output.out().split_whitespace().map(str::to_owned).collect();
    candidates.retain(|candidate| !candidate.starts_with('-')); // the options, which are always offered
    candidates.sort();
    candidates
}

#[test]
fn bash_is_offered_verbs_jobs_and_queues() {
    let queue = Sandbox::new();
    queue.push("-Q mail true");
    queue.push("-Q media --max-attempts 1 false");
    queue.qctl("work -Q media --drain").succeeds();
    assert!(candidates(&queue, "sh").contains(&"show".to_owned()));
    assert_eq!(candidates(&queue, "show ''"), ["1", "2"]);
    assert_eq!(candidates(&queue, "cancel ''"), ["1"]);
    assert_eq!(candidates(&queue, "dlq requeue ''"), ["2"]);
    assert_eq!(candidates(&queue, "push -Q ''"), ["mail", "media"]);
    assert_eq!(candidates(&queue, "queue pause me"), ["media"]);
}

#[test]
fn subscriptions_are_offered_where_one_is_meant() {
    let queue = Sandbox::new();
    for name in ["welcome", "audit"] {
        queue.qctl(&format!("subscription add {name} user.* true")).succeeds();
    }
    for verb in ["show", "remove", "pause", "resume", "rewind"] {
        assert_eq!(candidates(&queue, &format!("subscription {verb} ''")), ["audit", "welcome"]);
    }
    assert_eq!(candidates(&queue, "work -Q ''"), ["audit", "welcome"]);
}

#[test]
fn where_there_is_no_queue_nothing_is_offered_and_none_made() {
    let queue = Sandbox::new();
    assert_eq!(candidates(&queue, "show ''"), [""; 0]);
    assert!(!queue.db().exists());
}

#[test]
fn a_queue_that_is_being_written_to_is_not_waited_for() {
    let queue = Sandbox::new();
    queue.push("-Q mail true");
    let writer = rusqlite::Connection::open(queue.db()).expect("the queue");
    writer.execute_batch("begin immediate").expect("the write lock");
    let started = queue.uptime();
    assert_eq!(candidates(&queue, "push -Q ''"), ["mail"]);
    // Thirty seconds is what a verb would wait.
    assert!(queue.uptime().since(started).as_secs() < 15);
}
