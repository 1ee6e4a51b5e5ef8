//! `wait` returns when jobs are done with, and its status says how that went.

use nix::sys::signal::Signal;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::support::Sandbox;

fn mixed() -> Sandbox {
    let queue = Sandbox::new();
    queue.push("-l build=1 true");
    queue.push("-l build=1 -l part=b --max-attempts 1 'echo why >&2; exit 3'");
    queue.push("-l build=2 --delay 1h true");
    queue.qctl("work --drain").succeeds();
    queue
}

#[test]
fn the_status_tells_success_from_death_and_from_the_time_being_up() {
    let queue = mixed();
    queue.qctl("wait 1").succeeds().prints("").says_nothing();
    queue.qctl("wait 1-2").exits(1).prints("").says("job 2 dead: exit 3: why");
    queue.qctl("wait 1 3 --timeout 20ms").exits(124).says("still waiting for job 3");
    queue.qctl("wait 99").exits(3).says("there is no job 99");
    queue.qctl("wait").exits(2);
    queue.qctl("cancel 3").succeeds();
    queue.qctl("wait 3").exits(1).says("job 3 cancelled");
}

#[test]
fn labels_and_queues_name_jobs_too() {
    let queue = mixed();
    queue.qctl("wait -l build=1").exits(1);
    queue.qctl("wait -l build=1 -l part=b").exits(1);
    queue.qctl("wait -l build=3").exits(3).says("no job has these labels");
    queue.qctl("wait -Q default --timeout 20ms").exits(124);
    queue.qctl("wait -Q nowhere").exits(3).says("there is no queue nowhere");
}

#[test]
fn any_and_fail_fast_return_before_all_are_done() {
    let queue = mixed();
    queue.qctl("wait --any 1 3").succeeds();
    queue.qctl("wait --fail-fast 2 3").exits(1);
}

#[test]
fn it_returns_when_the_job_ends_and_says_when_nobody_serves_its_queue() {
    let queue = Sandbox::new();
    queue.push("true");
    let waiting = queue.start_sh("exec qctl wait 1 2>said");
    queue.wait_for_text("said", "no worker serves default");
    queue.qctl("work --drain").succeeds();
    waiting.ends().succeeds();
}

#[test]
fn every_queue_that_nobody_serves_or_that_is_paused_is_told_once() {
    let queue = Sandbox::new();
    queue.push("-Q a true");
    queue.push("-Q b true");
    queue.push("-Q b true");
    queue.push("-Q unrelated true");
    queue.qctl("queue pause b").succeeds();
    let waiting = queue.start_sh("exec qctl wait 1-3 2>said");
    queue.wait_for_text("said", "queue b is paused; resume it: qctl queue resume b");
    for line in ["no worker serves a; start one: qctl work -Q a", "no worker serves b; start one: qctl work -Q b"] {
        assert_eq!(queue.read("said").matches(line).count(), 1);
    }
    queue.qctl("queue resume b").succeeds();
    queue.qctl("work --drain").succeeds();
    waiting.ends().succeeds();
    assert_eq!(queue.read("said").lines().count(), 3, "{}", queue.read("said"));
}

#[test]
fn the_last_lines_of_those_that_failed_are_shown() {
    let queue = Sandbox::new();
    queue.push("--max-attempts 1 'seq 12 >&2; exit 3'");
    queue.push("--delay 1h true");
    queue.qctl("work --drain").succeeds();
    queue.qctl("cancel 2").succeeds();
    let said = queue.qctl("wait 1-2").exits(1).prints("").err();
    let lines: Vec<String> = (3..=12).map(|n| format!("    | {n}\n")).collect();
    let first = "job 1 dead: exit 3: 12 (seq 12 >&2; exit 3)\n";
    assert_eq!(said, format!("{first}{}job 2 cancelled (true)\n", lines.concat()));
    queue.qctl("wait 1-2 -q").exits(1).prints("").says_nothing();
}

#[test]
fn fail_fast_names_what_failed_and_leaves_the_rest() {
    let queue = mixed();
    queue.qctl("wait --fail-fast 1-3").exits(1).says("job 2 dead: exit 3: why").says("    | why");
    let answer = queue.qctl("wait --fail-fast 1-3 --json").exits(1).says_nothing().json();
    assert_eq!(answer["succeeded"], 1);
    assert_eq!(answer["failed"][0]["id"], 2);
    assert_eq!(answer["pending"], serde_json::json!([3]));
    assert_eq!(answer.as_object().expect("an object").len(), 4, "{answer}");
}

#[test]
fn of_many_that_failed_twenty_are_listed_and_a_command_for_the_rest() {
    let queue = many_dead(25);
    let said = queue.qctl("wait -l n=1").exits(1).err();
    assert_eq!(said.lines().count(), 41, "{said}");
    assert!(said.ends_with("and 5 more: qctl list -s dead,cancelled -l 'n=1'\n"), "{said}");
}

/// A queue with this many dead jobs that have a label.
fn many_dead(n: usize) -> Sandbox {
    let queue = Sandbox::new();
    let line = r#"{"shell":"echo why >&2; exit 3","max_attempts":1,"labels":{"n":"1"}}"#;
    queue.qctl_fed("import", [line, "\n"].concat().repeat(n).as_bytes()).succeeds();
    queue.qctl("work --drain").succeeds();
    queue
}

#[test]
fn a_job_that_is_deleted_meanwhile_did_not_succeed_and_is_named() {
    for (arguments, expected) in
        [("", ""), ("--json", "{\"v\":1,\"succeeded\":0,\"failed\":[],\"pending\":[],\"deleted\":[1]}\n")]
    {
        let queue = Sandbox::new();
        queue.push("--max-attempts 1 false");
        let waiting = queue.start_sh(&format!("exec qctl wait 1 --junit report.xml {arguments}"));
        queue.wait_until("it waits", || queue.sh("ls queue.db-wake").out().contains("wait-"));
        // While it looks away the job dies and is dropped.
        waiting.signal(Signal::SIGSTOP);
        queue.qctl("work --drain").succeeds();
        queue.qctl("dlq drop 1").succeeds();
        waiting.signal(Signal::SIGCONT);
        let answer = waiting.ends().exits(1).prints(expected);
        assert_eq!(answer.err(), if expected.is_empty() { "job 1 deleted while it was waited for\n" } else { "" });
        let report = Junit::read(&queue, "report.xml");
        let deleted = ("failure", "deleted", "deleted while it was waited for", "");
        assert_eq!(report.cases, [case("job 1", &[deleted])]);
    }
}

#[test]
fn a_junit_report_has_a_case_for_each_job() {
    let queue = mixed();
    queue.qctl("cancel 3").succeeds();
    queue.qctl("wait 1-3 --junit report.xml").exits(1).prints("");
    let report = Junit::read(&queue, "report.xml");
    report.counts(&[("tests", "3"), ("failures", "2"), ("errors", "0"), ("skipped", "0")]);
    assert_eq!(report.cases[0], case("true", &[]));
    let died = ("failure", "exhausted", "exit 3: why", "why");
    assert_eq!(report.cases[1], case("echo why >&2; exit 3", &[died]));
    assert_eq!(report.cases[2], case("true", &[("failure", "cancelled", "cancelled", "")]));
    let leftovers = std::fs::read_dir(queue.path(".")).expect("the folder").flatten();
    assert!(!leftovers.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with(".report")));
}

#[test]
fn what_is_not_done_with_is_an_error_when_the_time_is_up_and_else_skipped() {
    let queue = mixed();
    queue.qctl("wait 1 3 --timeout 20ms --junit report.xml").exits(124).says("still waiting for job 3");
    let report = Junit::read(&queue, "report.xml");
    report.counts(&[("tests", "2"), ("failures", "0"), ("errors", "1"), ("skipped", "0")]);
    assert_eq!(report.cases[1], case("true", &[("error", "timeout", "scheduled when the time was up", "")]));
    queue.qctl("wait 1 3 --any --junit report.xml").succeeds();
    let report = Junit::read(&queue, "report.xml");
    report.counts(&[("tests", "2"), ("failures", "0"), ("errors", "0"), ("skipped", "1")]);
    assert_eq!(report.cases[1], case("true", &[("skipped", "", "scheduled when the waiting ended", "")]));
}

#[test]
fn a_junit_report_is_well_formed_whatever_a_job_printed() {
    let queue = Sandbox::new();
    queue.push(
        r#"--max-attempts 1 'printf "a]]>\\000\\033[31m&amp;<b>\\377\\357\\277\\277\nlast \" line" >&2; exit 1'"#,
    );
    queue.qctl("work --drain").succeeds();
    queue.qctl("wait 1 --junit report.xml").exits(1);
    let report = Junit::read(&queue, "report.xml");
    let (_, ends) = &report.cases[0];
    assert_eq!(ends[0].3, "a]]>\\x00\\x1b[31m&amp;<b>\\xff\\u{ffff}\nlast \" line");
    assert_eq!(ends[0].2, "exit 1: last \" line");
}

#[test]
fn a_junit_report_that_cannot_be_written_is_refused_before_the_waiting() {
    let queue = mixed();
    for path in ["nowhere/report.xml", "/dev/null", "."] {
        queue
            .qctl(&format!("wait 3 --junit {path}"))
            .exits(2)
            .prints("")
            .says(&format!("qctl: {path} cannot be written"));
    }
}

#[test]
fn in_github_actions_ten_failures_are_annotated() {
    let queue = many_dead(12);
    let said = queue.sh("GITHUB_ACTIONS=true qctl wait 1-12").exits(1).prints("").err();
    let annotations: Vec<&str> = said.lines().filter(|line| line.starts_with("::")).collect();
    assert_eq!(annotations.len(), 10, "{said}");
    assert_eq!(annotations[0], "::error title=job 1 dead%3A echo why >&2; exit 3::exit 3: why");
    assert!(said.contains("and 2 more jobs without an annotation\n"), "{said}");
    for elsewhere in ["qctl wait 1-12", "GITHUB_ACTIONS=false qctl wait 1-12"] {
        assert!(!queue.sh(elsewhere).exits(1).err().contains("::error"));
    }
}

#[test]
fn no_job_gives_github_actions_a_command() {
    let queue = Sandbox::new();
    let hostile = "echo 100%, a:b; echo ::error::x; echo \"  ::set-output name=a::b\"; printf \"\\r::add-mask::x\\n\"; echo \"x ##[add-mask]y\"";
    queue.push(&format!("--max-attempts 1 '{{ {hostile}; }} >&2; exit 3'"));
    queue.push("--max-attempts 1 'echo \"%0A::error::y, 100%\" >&2; exit 3'");
    queue.qctl("work --drain").succeeds();
    let said = queue.sh("GITHUB_ACTIONS=true qctl wait 1-2").exits(1).err();
    let commands: Vec<&str> = said.lines().filter(|line| line.trim_start().starts_with("::")).collect();
    assert_eq!(commands.len(), 2, "{said}");
    assert!(commands[1].ends_with("::exit 3: %250A::error::y, 100%25"), "{said}");
    assert!(commands[0].starts_with("::error title=job 1 dead%3A { echo 100%25%2C a%3Ab; echo %3A%3Aerror"), "{said}");
    let others = said.lines().filter(|line| !line.starts_with("::"));
    assert!(!others.into_iter().any(|line| line.contains("##[") || line.contains('\r')), "{said}");
    assert!(said.contains("    | ::error::x\n") && said.contains("    | x ##\\x5badd-mask]y\n"), "{said}");
}

#[test]
fn in_github_actions_the_summary_gets_counts_and_failures() {
    let queue = mixed();
    queue.push("--max-attempts 1 'echo \"\\`\\`\\`\\`\" >&2; exit 3'");
    queue.qctl("work --drain").succeeds();
    queue.write("summary.md", "before\n");
    let actions = "GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=$PWD/summary.md";
    queue.sh(&format!("{actions} qctl wait 1-4 --timeout 20ms")).exits(124);
    let summary = queue.read("summary.md");
    assert!(summary.starts_with("before\n### qctl waited for 4 jobs\n"), "{summary}");
    assert!(summary.contains("| 1 | 2 | 1 |\n"), "{summary}");
    assert!(summary.contains("**Job 2** dead in queue ` default `: ` exit 3: why `\n"), "{summary}");
    assert!(summary.contains("\n```text\nwhy\n```\n"), "{summary}");
    assert!(summary.contains("\n`````text\n````\n`````\n"), "{summary}");
    queue.sh(&format!("{actions} qctl wait 1")).succeeds().says_nothing();
    assert!(queue.read("summary.md").contains("### qctl waited for 1 job\n"));
}

#[test]
fn a_summary_that_cannot_be_written_is_told_and_changes_nothing() {
    let queue = mixed();
    let wait = "GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=/nowhere/summary.md qctl wait";
    queue.sh(&format!("{wait} 1")).succeeds().says("the summary of the step could not be written: /nowhere/summary.md");
    queue.sh(&format!("{wait} 2")).exits(1).says("job 2 dead");
}

/// The kind, the type and the message of what went wrong with a case, and its text.
type Trouble = (String, String, String, String);

/// A JUnit report as a reader of it sees it.
struct Junit {
    suite: Vec<(String, String)>,
    /// The name of each case with what went wrong.
    cases: Vec<(String, Vec<Trouble>)>,
}

fn case(name: &str, troubles: &[(&str, &str, &str, &str)]) -> (String, Vec<Trouble>) {
    let owned = |t: &(&str, &str, &str, &str)| (t.0.to_owned(), t.1.to_owned(), t.2.to_owned(), t.3.to_owned());
    (name.to_owned(), troubles.iter().map(owned).collect())
}

fn attributes(tag: &BytesStart<'_>) -> Vec<(String, String)> {
    let attributes = tag.attributes().map(|attribute| attribute.expect("well-formed"));
    attributes
        .map(|attribute| {
            let value = quick_xml::escape::unescape(&attribute.value).expect("known entities").into_owned();
            (attribute.key.as_ref().to_owned(), value)
        })
        .collect()
}

impl Junit {
    fn read(queue: &Sandbox, name: &str) -> Self {
        let xml = queue.read(name);
        assert!(!xml.chars().any(|c| c.is_control() && c != '\n' || matches!(c, '\u{fffe}' | '\u{ffff}')), "{xml:?}");
        let mut reader = Reader::from_str(&xml);
        let mut report = Self { suite: Vec::new(), cases: Vec::new() };
        let mut is_within = false;
        loop {
            let event = reader.read_event().unwrap_or_else(|error| panic!("{error}\n{xml}"));
            match &event {
                Event::Start(tag) | Event::Empty(tag) => {
                    report.open(tag);
                    is_within = tag.name().as_ref() == "failure";
                }
                Event::End(_) => is_within = false,
                Event::Text(text) if is_within => report.text().push_str(text),
                Event::GeneralRef(name) if is_within => {
                    let entity = format!("&{};", &**name);
                    report.text().push_str(&quick_xml::escape::unescape(&entity).expect("a known entity"));
                }
                Event::Eof => return report,
                _ => {}
            }
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>) {
        let all = attributes(tag);
        let value = |name: &str| all.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value).to_owned();
        match tag.name().as_ref() {
            "testsuite" => self.suite = all,
            "testcase" => {
                assert!(value("time").parse::<f64>().is_ok() && !value("classname").is_empty(), "{all:?}");
                self.cases.push((value("name"), Vec::new()));
            }
            kind @ ("failure" | "error" | "skipped") => {
                let (_, troubles) = self.cases.last_mut().expect("it stands in a case");
                troubles.push((kind.to_owned(), value("type"), value("message"), String::new()));
            }
            _ => {}
        }
    }

    fn text(&mut self) -> &mut String {
        let (_, troubles) = self.cases.last_mut().expect("it stands in a case");
        &mut troubles.last_mut().expect("a failure is open").3
    }

    #[track_caller]
    fn counts(&self, wanted: &[(&str, &str)]) {
        for (name, value) in wanted {
            let found = self.suite.iter().find(|(known, _)| known == name);
            assert_eq!(found.map(|(_, value)| value.as_str()), Some(*value), "{name}");
        }
    }
}
