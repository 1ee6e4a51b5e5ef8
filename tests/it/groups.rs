//! Dead letters by what they died of: which causes there are, which jobs died of one, and only those are dealt with.

use crate::support::Sandbox;

/// What programs print when they fail, each with a hole for what differs from job to job.
const CAUSES: [(&str, i32); 6] = [
    ("error[E0308]: mismatched types in /build/{}/src/main.rs:{}:5", 101),
    ("curl: (7) Failed to connect to 10.0.{}.7 port 8443 after {} ms: Connection refused", 7),
    ("rsync error: some files could not be transferred (code 23) at main.c({}) [sender=3.2.7] id {}", 23),
    ("requests.exceptions.HTTPError: 503 Server Error for url: https://api.example.com/v1/orders/{}?try={}", 1),
    ("OSError: [Errno 28] No space left on device: '/srv/cache/{}/{}.tmp'", 1),
    ("worker {}: gave up after {}.5s: deadline exceeded", 124),
];

/// Two dead jobs of each cause in `mail`, and a third of the first cause in `ci`.
fn with_six_causes() -> Sandbox {
    let queue = Sandbox::new();
    let mut lines = String::new();
    for nth in 0..12_usize {
        let (text, code) = CAUSES[nth % 6];
        let text = text.replace("{}", &(nth * 7919 % 997).to_string()).replace('\'', "'\\''");
        lines.push_str(&format!("echo '{text}' >&2; exit {code}\n"));
    }
    queue.write("lines", &lines);
    queue.qctl("queue set mail --max-attempts 1").succeeds();
    queue.qctl("import -Q mail lines").succeeds();
    queue.push("-Q ci --max-attempts 1 'echo \"error[E0308]: mismatched types in /x/y.rs:1:2\" >&2; exit 101'");
    queue.qctl("work --drain -j 4").succeeds();
    queue
}

/// The first column of what a command prints.
fn first_column(queue: &Sandbox, command: &str) -> Vec<String> {
    let out = queue.qctl(command).succeeds().out();
    out.lines().map(|line| line.split('\t').next().expect("a column").to_owned()).collect()
}

/// The name of the group with this in its cause.
fn group_of(queue: &Sandbox, cause: &str) -> String {
    let groups = queue.qctl("dlq groups -Q mail").succeeds().out();
    let line = groups.lines().find(|line| line.contains(cause)).unwrap_or_else(|| panic!("{cause} in {groups}"));
    line.split('\t').next().expect("a name").to_owned()
}

#[test]
fn jobs_that_died_of_one_cause_are_one_group_whatever_differs_in_what_they_said() {
    let queue = with_six_causes();
    let groups = queue.qctl("dlq groups").succeeds().out();
    let rows: Vec<Vec<&str>> = groups.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), 7, "{groups}");
    let counts = |name: &str| rows.iter().filter(|row| row[1] == name).map(|row| row[2].to_owned()).collect::<Vec<_>>();
    assert_eq!((counts("mail"), counts("ci")), (vec!["2".to_owned(); 6], vec!["1".to_owned()]), "a queue has its own");
    let curl = rows.iter().find(|row| row[8].contains("curl")).expect("its cause");
    assert_eq!((curl[3], curl[4]), ("exhausted", "exit 7"));
    assert_eq!(curl[8], "curl: (*) Failed to connect to * port * after * ms: Connection refused");
}

#[test]
fn a_group_is_listed_requeued_and_dropped_alone() {
    let queue = with_six_causes();
    let curl = group_of(&queue, "curl");
    assert_eq!(first_column(&queue, &format!("dlq list --group {curl}")), ["8", "2"]);
    queue.qctl(&format!("dlq requeue --group {curl} --dry-run")).succeeds().says("would requeue 2 jobs");
    queue.qctl(&format!("dlq requeue --group {curl}")).succeeds();
    assert_eq!(queue.ids("ready"), [2, 8]);
    queue.qctl(&format!("dlq requeue --group {curl}")).exits(3).says(&format!("no dead jobs are in a group {curl}"));
    let rsync = group_of(&queue, "rsync");
    queue.qctl(&format!("dlq drop --group {rsync}")).succeeds();
    assert_eq!(queue.qctl("dlq groups -Q mail").out().lines().count(), 4);
    // What dies again of the same is in the same group again, which has been known for longer.
    queue.qctl("work -Q mail --drain").succeeds();
    assert_eq!(group_of(&queue, "curl"), curl);
    assert!(!queue.qctl("doctor").out().contains("counters"));
}

#[test]
fn every_condition_of_a_selection_must_hold() {
    let queue = with_six_causes();
    assert_eq!(first_column(&queue, "dlq list --exit-code 1 --grep 'No space'").len(), 2);
    assert_eq!(first_column(&queue, "dlq list --exit-code 1-7 -Q mail").len(), 6);
    assert_eq!(first_column(&queue, "dlq list --reason permanent").len(), 0);
    assert_eq!(first_column(&queue, "dlq list --reason exhausted,crashed --limit 100").len(), 13);
    assert_eq!(first_column(&queue, "dlq list --since 1h --until 0s 7-9").len(), 3);
    assert_eq!(first_column(&queue, "dlq list --until 1h").len(), 0);
    assert_eq!(first_column(&queue, "dlq groups --grep 'E0308|E0309'").len(), 2);
    // The command is searched too.
    assert_eq!(first_column(&queue, "dlq list --grep 'echo .curl'").len(), 2);
}

#[test]
fn a_selection_that_says_nothing_or_names_what_is_not_there_touches_nothing() {
    let queue = with_six_causes();
    let before = queue.qctl("dlq list --limit 100").succeeds().out();
    queue.qctl("dlq requeue").exits(2).says("no dead jobs are named");
    queue.qctl("dlq requeue --all --grep x").exits(2);
    queue.qctl("dlq requeue --grep '('").exits(2).says("unclosed group");
    queue.qctl("dlq requeue --group no/pe").exits(2).says("a group's name is");
    queue.qctl("dlq requeue --reason tired").exits(2).says("write one of exhausted, permanent");
    queue.qctl("dlq requeue --since yesterday -Q mail").exits(2).says("--since");
    queue
        .qctl("dlq requeue --group 00000000")
        .exits(3)
        .says("no dead jobs are in a group 00000000")
        .says("qctl dlq groups");
    queue.qctl("dlq drop --grep 'no such text'").exits(3).says("no dead job is like that");
    queue.qctl("dlq requeue -Q nowhere --exit-code 1").exits(3).says("there is no queue nowhere");
    assert_eq!(queue.qctl("dlq list --limit 100").out(), before);
}

#[test]
fn what_is_chosen_by_its_end_can_be_retried_cancelled_deleted_waited_for_and_listed() {
    let queue = with_six_causes();
    let curl = group_of(&queue, "curl");
    assert_eq!(first_column(&queue, &format!("list --group {curl}")), ["8", "2"]);
    assert_eq!(first_column(&queue, "list --exit-code 124 --grep deadline --reverse"), ["6", "12"]);
    queue.qctl("retry --exit-code 7 --dry-run").succeeds().prints("2\n8\n").says("would retry 2 jobs");
    queue.qctl(&format!("retry --group {curl}")).succeeds();
    assert_eq!(queue.ids("ready"), [2, 8]);
    queue.qctl("cancel -Q mail --grep curl").succeeds();
    assert_eq!(queue.ids("cancelled"), [2, 8]);
    queue.qctl("cancel -Q mail").exits(3).says("no job is like that");
    queue.qctl("delete -s cancelled").succeeds();
    queue.qctl("show 2").exits(3);
    queue.qctl("wait --exit-code 23").exits(1);
    queue.qctl("retry").exits(2).says("no jobs are named");
}

#[test]
fn a_queue_may_say_what_belongs_together_and_its_dead_jobs_are_grouped_anew_by_it() {
    let queue = with_six_causes();
    queue.qctl("queue set mail --group-by '([A-Za-z]+Error)|(gave up)'").succeeds();
    let mut causes: Vec<String> = queue
        .qctl("dlq groups -Q mail")
        .out()
        .lines()
        .map(|line| line.rsplit('\t').next().expect("a cause").to_owned())
        .collect();
    causes.sort();
    assert!(causes.contains(&"HTTPError".to_owned()) && causes.contains(&"gave up".to_owned()), "{causes:?}");
    assert!(causes.iter().any(|cause| cause.starts_with("curl: (*)")), "where the rule finds nothing: {causes:?}");
    queue.qctl("queue set mail --group-by '('").exits(2).says("unclosed group");
    queue.qctl("queue set mail --group-by none").succeeds();
    assert_eq!(queue.qctl("dlq groups -Q mail").out().lines().count(), 6);
    assert!(!queue.qctl("doctor").out().contains("counters"));
}

#[test]
fn a_job_may_name_the_group_it_is_in_and_keeps_it_whatever_the_rule() {
    let queue = Sandbox::new();
    queue.push("-Q mail 'qctl self bury --group no-customer \"no customer $QCTL_JOB_ID\"'");
    queue.push("-Q mail 'qctl self bury --group no-customer \"none of that name\"'");
    queue.push("-Q ci 'qctl self bury --group no-customer'");
    queue.qctl("work --drain").succeeds();
    assert_eq!(first_column(&queue, "dlq list --group no-customer -Q mail"), ["2", "1"]);
    queue.qctl("dlq list --group no-customer").exits(2).says("a group no-customer is in queue").says("-Q");
    queue.qctl("queue set mail --group-by 'no (\\w+)'").succeeds();
    assert_eq!(first_column(&queue, "dlq groups -Q mail"), ["no-customer"]);
    queue.qctl("self bury --group 'a b'").exits(2);
}

#[test]
fn jobs_that_were_never_started_or_whose_workers_died_have_causes_of_their_own() {
    let queue = Sandbox::new();
    queue.push("-Q mail --expires 1ms true");
    queue.push("-Q mail --max-attempts 1 'kill -9 $$'");
    queue.push("-Q mail --max-attempts 1 --timeout 50ms -- sleep 300");
    queue.qctl("work --drain").succeeds();
    let groups = queue.qctl("dlq groups").succeeds().out();
    for expected in ["\texpired\t\t", "\texhausted\tsignal 9\t", "\texhausted\tsignal 15\t"] {
        assert!(groups.contains(expected), "{expected:?} in {groups}");
    }
    assert!(groups.contains("\tnot started in time") && groups.contains("\ttimed out"), "{groups}");
}

#[test]
fn a_group_is_whole_again_after_an_undo_and_in_another_file() {
    let queue = with_six_causes();
    queue.push("-Q mail 'qctl self bury --group no-customer'");
    queue.qctl("work -Q mail --drain").succeeds();
    let groups = |of: &str| {
        let out = queue.qctl(&format!("dlq groups {of}")).succeeds().out();
        let mut groups: Vec<String> =
            out.lines().map(|line| line.split('\t').take(3).collect::<Vec<_>>().join(" ")).collect();
        groups.sort();
        groups
    };
    let before = groups("");
    assert!(before.contains(&"no-customer mail 1".to_owned()), "{before:?}");
    queue.qctl("dlq drop --all").succeeds();
    assert!(groups("").is_empty());
    queue.qctl("dlq undo").succeeds();
    assert_eq!(groups(""), before);
    queue.sh("qctl dlq export > dead.jsonl; qctl --db other.db import --as-dead dead.jsonl").succeeds();
    assert_eq!(groups("--db other.db"), before);
    for db in ["", "--db other.db"] {
        assert!(!queue.qctl(&format!("doctor {db}")).out().contains("counters"));
    }
}
