//! On a terminal: tables that fit, colour where it is wanted, keys that are heeded, and nothing that
//! a job could do to the screen.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::support::{Sandbox, Terminal};

/// A terminal on which nothing is cut that these tests look at.
const WIDE: (u16, u16) = (200, 50);

#[test]
fn the_first_ctrl_c_lets_what_runs_finish_and_says_so() {
    let queue = Sandbox::new();
    queue.push("'touch started; while [ ! -e go ]; do sleep 0.02; done'");
    queue.push("'touch never'");
    let mut worker = queue.terminal(WIDE, "exec qctl work");
    worker.waits_for("Ctrl-C finishes what runs and stops");
    queue.wait_until("the job runs", || queue.path("started").exists());
    worker.types(Terminal::CTRL_C);
    worker.waits_for("finishing 1 running job; a second signal hands back, a third kills");
    queue.write("go", "");
    let worker = worker.succeeds();
    let rows = worker.rows();
    let [.., end, sum] = rows.as_slice() else { panic!("{worker:?}") };
    assert!(end.contains("1  default  succeeded in "), "{worker:?}");
    assert_eq!(sum, "stopped after 1 attempt: 1 succeeded");
    assert_eq!((queue.state(1), queue.state(2)), ("succeeded".to_owned(), "ready".to_owned()));
    assert!(!queue.path("never").exists());
}

#[test]
fn the_second_ctrl_c_hands_back_at_once() {
    let queue = Sandbox::new();
    queue.push("'touch started; sleep 300'");
    let mut worker = queue.terminal(WIDE, "exec qctl work --grace none");
    queue.wait_until("the job runs", || queue.path("started").exists());
    worker.types(Terminal::CTRL_C);
    worker.waits_for("finishing 1 running job");
    worker.types(Terminal::CTRL_C);
    let worker = worker.succeeds();
    let rows = worker.rows();
    let [.., stopping, end, sum] = rows.as_slice() else { panic!("{worker:?}") };
    assert!(stopping.contains("stopping 1 running job and handing back; another signal kills"), "{worker:?}");
    assert!(end.contains("1  default  stopped after ") && end.ends_with("; back in the queue"), "{worker:?}");
    assert_eq!(sum, "stopped after 1 attempt: 1 handed back");
    let job = queue.job(1);
    assert_eq!((&job["state"], &job["attempt"]), (&"ready".into(), &0.into()));
}

#[test]
fn a_table_fits_its_terminal_and_its_columns_leave_in_turn() {
    let queue = queue_with_long_commands();
    let mut headers: Vec<String> = Vec::new();
    for columns in (16..=200).rev().step_by(4) {
        let list = queue.terminal((columns, 30), "exec qctl list").succeeds();
        assert!(!list.has_wrapped() && list.rows().len() == 5, "at {columns} columns:\n{list:?}");
        let header = list.rows()[0].split_whitespace().collect::<Vec<_>>().join(" ");
        let cut: Vec<bool> = list.rows()[1..].iter().map(|row| row.ends_with('…')).collect();
        assert!(cut[1..].iter().all(|is_cut| *is_cut), "at {columns} columns:\n{list:?}");
        if headers.last() != Some(&header) {
            headers.push(header);
        }
    }
    let expected =
        ["ID QUEUE STATE TRY AGE COMMAND", "ID QUEUE STATE TRY COMMAND", "ID QUEUE STATE COMMAND", "ID STATE COMMAND"];
    // Narrower still, the last column is cut off with all the others.
    assert_eq!(headers[..4], expected, "{headers:#?}");
}

#[test]
fn topics_say_how_long_their_events_are_kept_also_where_that_was_not_set_for_them() {
    let queue = Sandbox::new();
    for topic in ["order.created", "order.moved", "user.left"] {
        queue.qctl(&format!("publish {topic}")).succeeds();
    }
    queue.qctl("topic set order.* --keep 30d --keep-rows 10").succeeds();
    queue.qctl("topic set order.moved --keep none").succeeds();
    let list = queue.terminal(WIDE, "exec qctl topic list").succeeds();
    let kept: Vec<&str> = ["30d, 10 events", "30d, 10 events", "for ever, 10 events", "7d (default)"].into();
    assert!(list.rows()[1..].iter().zip(&kept).all(|(row, kept)| row.ends_with(kept)), "{list:?}");
    assert_eq!(list.rows().len(), 5, "{list:?}");
}

#[test]
fn a_subscription_is_shown_with_what_its_jobs_need_and_since_when_it_is_behind() {
    let mut queue = Sandbox::new();
    queue.qctl("subscription add audit user.* --where plan=pro -Q slow").succeeds();
    queue.qctl("publish user.left --lazy -l plan=pro").succeeds();
    queue.advance("2h");
    let shown = queue.terminal(WIDE, "exec qctl subscription show audit").succeeds();
    let rows = shown.rows();
    let says = |text: &str| rows.iter().any(|row| row.split_whitespace().collect::<Vec<_>>().join(" ").contains(text));
    for text in [
        "pattern user.*",
        "where plan=pro",
        "queue slow",
        "command none: its workers need a handler",
        "lag 1",
        "(2h ago)",
    ] {
        assert!(says(text), "{text}: {shown:?}");
    }
    assert!(says("its dead letters: qctl dlq list -Q slow"), "{shown:?}");
}

/// Four jobs: a command of a megabyte, a long one, a long one of wide characters, a short one.
fn queue_with_long_commands() -> Sandbox {
    let queue = Sandbox::new();
    let lines = format!("echo {}\necho {}\necho {}\ntrue\n", "x".repeat(1_000_000), "y".repeat(300), "日本".repeat(99));
    queue.qctl_fed("import -", lines.as_bytes()).succeeds();
    queue
}

#[test]
fn states_are_painted_only_where_colour_is_wanted() {
    let queue = Sandbox::new();
    queue.push("--max-attempts 1 false");
    queue.qctl("work --drain").succeeds();
    let is_painted = |script: &str| {
        let list = queue.terminal(WIDE, script).succeeds();
        assert!(list.rows()[1].contains("dead, exhausted"), "{list:?}");
        list.bytes().contains(&0x1b)
    };
    for painted in [
        "qctl list",
        "NO_COLOR=1 qctl list --color always",
        "TERM=dumb qctl list --color always",
        "CLICOLOR_FORCE=1 TERM=dumb qctl list",
        "FORCE_COLOR=1 NO_COLOR=1 qctl list",
        "NO_COLOR= qctl list",
    ] {
        assert!(is_painted(painted), "{painted}");
    }
    for plain in [
        "NO_COLOR=1 qctl list",
        "TERM=dumb qctl list",
        "qctl list --color never",
        "FORCE_COLOR=1 CLICOLOR_FORCE=1 qctl list --color never",
        "CLICOLOR_FORCE=0 NO_COLOR=1 qctl list",
    ] {
        assert!(!is_painted(plain), "{plain}");
    }
    let list = queue.terminal(WIDE, "qctl list").succeeds();
    let column = list.rows()[1].find("dead").expect("a state");
    let cell = list.screen().cell(1, u16::try_from(column).expect("a column")).expect("a cell");
    assert_eq!((cell.fgcolor(), cell.bold()), (vt100::Color::Idx(1), true));
    // Scripts get no paint, whatever the environment says.
    assert!(!queue.sh("FORCE_COLOR=1 qctl list").succeeds().out().contains('\x1b'));
}

#[test]
fn where_the_locale_is_not_utf_8_everything_is_ascii() {
    let queue = Sandbox::new();
    let line = format!("echo 'äöü {} …' >&2; exit 3", "日本".repeat(50));
    queue.qctl_with(&["push", "--max-attempts", "1", "-l", "place=Köln", "--key", "schlüssel", &line]).succeeds();
    queue.qctl_with(&["push", "--delay", "1h", "echo 日本"]).succeeds();
    queue.qctl("work --max-jobs 1").succeeds();
    for look in ["list", "show 1", "stats", "queue list", "dlq list", "dlq show 1", "wait 1", "where"] {
        for locale in ["LANG=C", "LC_ALL=POSIX", "LANG="] {
            let script = format!("{locale} qctl {look} || test $? = 1");
            let screen = queue.terminal((80, 30), &script).succeeds();
            assert!(screen.bytes().is_ascii(), "{script}: {screen:?}");
            let output = queue.sh(&script).succeeds();
            assert!(output.bytes().is_ascii() && output.err_bytes().is_ascii(), "{}", output.story());
        }
    }
    let list = queue.terminal((80, 30), "LANG=C exec qctl list").succeeds();
    assert!(!list.has_wrapped() && list.rows().len() == 3, "{list:?}");
    // A program that reads JSON knows that it is UTF-8.
    let json = queue.sh("LANG=C qctl show 2 --json").succeeds().json();
    assert_eq!(json["job"]["command"], "echo 日本");
    let events = queue.sh("LANG=C qctl work --log json --drain --wait-due 2h --max-time 1ms 2>&1").succeeds();
    assert!(events.out().lines().all(|line| line.starts_with('{')), "{}", events.story());
}

/// What a job would do to a terminal that let it: set its title, clear it, move about, ring, ask it to
/// answer, hide its cursor, turn the reading direction, fill its clipboard.
const HOSTILE: &str = "\x1b]0;title\x07\x1b[2J\x1b[H\x1b[99;99H\x07\x05\x1b[c\x1b[6n\x1b[?25l\x1b[?1049h\x1b[?2004h\
                       \u{202e}\u{2066}\u{200f}\x1b]52;c;aGE=\x07\x1bc\x1b(0\x0e\x08\x0b\x0c\r\u{9b}2J\u{9d}0;t\u{9c}\x7f";

/// Jobs that fail after printing what would wreck a terminal, with commands that would, too.
fn hostile_queue() -> Sandbox {
    let queue = Sandbox::new();
    queue.write("hostile", [HOSTILE.as_bytes(), b"\xff\xc3\n\t\x1b[31mred\x1b[8m", HOSTILE.as_bytes()].concat());
    let mut line = b"cat hostile; cat hostile >&2; exit 1 # ".to_vec();
    line.extend_from_slice(HOSTILE.as_bytes());
    line.extend_from_slice(b"\n\t# \xff\xc3\x28");
    let label = format!("hostile={HOSTILE}");
    let words = ["push", "--max-attempts", "1", "--key", HOSTILE, "-l", &label].map(OsStr::new);
    queue.qctl_with(&[&words[..], &[OsStr::from_bytes(&line)]].concat()).succeeds();
    // A line of a megabyte, and one of two-byte characters, so that cuts fall into some.
    queue.push("--max-attempts 1 'head -c 1000000 /dev/zero | tr \"\\0\" x | tee /dev/stderr; exit 1'");
    queue.push("--max-attempts 1 'yes é | head -n 300000 | tr -d \"\\n\" | tee /dev/stderr; exit 1'");
    let long = format!("{{\"command\":[\"false\",\"{}\"],\"max_attempts\":1}}\n", "y".repeat(1_000_000));
    queue.qctl_fed("import -", long.as_bytes()).succeeds();
    queue
}

/// Claims that nothing but text, colours, line ends and tabs came to the terminal, and that it is left
/// as it was.
#[track_caller]
fn is_unharmed(terminal: &Terminal) {
    let text = std::str::from_utf8(terminal.bytes()).unwrap_or_else(|error| panic!("{error}\n{terminal:?}"));
    let text = without_colors(text).replace("\r\n", "\n");
    let is_bidi =
        |c| matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let foul = text.chars().find(|&c| c != '\n' && c != '\t' && (c.is_control() || is_bidi(c)));
    assert_eq!(foul, None, "{terminal:?}");
    assert!(terminal.deeds().is_empty(), "{:?}\n{terminal:?}", terminal.deeds());
    let screen = terminal.screen();
    assert!(!screen.hide_cursor() && !screen.alternate_screen() && !screen.bracketed_paste(), "{terminal:?}");
    assert_eq!((screen.fgcolor(), screen.bgcolor()), (vt100::Color::Default, vt100::Color::Default), "{terminal:?}");
}

/// Takes the colours out.
fn without_colors(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let n = part.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(part.len());
        // What is no colour keeps its escape, and is found.
        kept.push_str(part[n..].strip_prefix('m').unwrap_or("\x1b"));
    }
    kept
}

#[test]
fn no_job_can_do_anything_to_a_terminal() {
    let queue = hostile_queue();
    let worker = queue.terminal((80, 50), "exec qctl work --drain").succeeds();
    is_unharmed(&worker);
    assert!(worker.rows().iter().any(|row| row.contains("4 dead")), "{worker:?}");
    for look in ["list", "dlq list", "stats", "queue list", "list -F id,key,labels,command,error"] {
        let screen = queue.terminal((80, 50), &format!("exec qctl {look}")).succeeds();
        is_unharmed(&screen);
        assert!(!screen.has_wrapped(), "{look}: {screen:?}");
    }
    for id in 1..=4 {
        for look in ["show", "dlq show", "logs"] {
            is_unharmed(&queue.terminal((80, 50), &format!("exec qctl {look} {id}")).succeeds());
        }
    }
    is_unharmed(&queue.terminal((80, 50), "exec qctl wait 1-4").exits(1));
}

#[test]
fn logs_lets_colour_through_and_leaves_the_terminal_as_it_was() {
    let queue = Sandbox::new();
    queue.qctl_with(&["push", r"printf '\033[1;32mgreen\033[0m\n\033[31mred\n'"]).succeeds();
    queue.qctl("work --drain").succeeds();
    let logs = queue.terminal(WIDE, "exec qctl logs 1").succeeds();
    let color = |row, column| logs.screen().cell(row, column).expect("a cell").fgcolor();
    assert_eq!((color(0, 0), color(1, 0)), (vt100::Color::Idx(2), vt100::Color::Idx(1)), "{logs:?}");
    is_unharmed(&logs);
    // A pipe gets what was printed and nothing more.
    assert_eq!(queue.qctl("logs 1").bytes(), b"\x1b[1;32mgreen\x1b[0m\n\x1b[31mred\n");
}

#[test]
fn characters_that_lie_across_pieces_of_output_stay_whole() {
    let queue = Sandbox::new();
    // Of an odd length, so that the first 64 KiB end within a character.
    queue.push("'printf x; yes é | head -n 60000 | tr -d \"\\n\"'");
    queue.qctl("work --drain").succeeds();
    let logs = queue.terminal((100, 2000), "exec qctl logs 1").succeeds();
    assert!(!String::from_utf8_lossy(logs.bytes()).contains("\\x"), "{logs:?}");
}

#[test]
fn bash_completes_verbs_jobs_and_queues_as_they_are_typed() {
    let queue = Sandbox::new();
    queue.push("-Q mail true");
    queue.push("-Q media true");
    let mut bash = queue.terminal((120, 40), "PS1='$ ' exec bash --norc --noprofile -i");
    bash.runs("source <(qctl completions bash)");
    bash.runs("complete -p qctl && echo completes");
    bash.waits_for("\ncompletes");
    bash.types("qctl sho\t");
    bash.waits_for("$ qctl show");
    bash.types("\x15qctl show \t\t");
    let offers =
        |row: &str, words: &[&str]| words.iter().all(|word| row.split_whitespace().any(|offer| offer == *word));
    bash.waits_until("the jobs are offered", |screen| screen.contents().lines().any(|row| offers(row, &["1", "2"])));
    bash.types("\x15qctl push -Q ma\t");
    bash.waits_for("$ qctl push -Q mail");
    bash.types("\x15qctl push -Q m\t\t");
    bash.waits_until("the queues are offered", |screen| {
        screen.contents().lines().any(|row| offers(row, &["mail", "media"]))
    });
    bash.types("\x15exit\r");
    bash.succeeds();
}

#[test]
fn a_closed_pipe_ends_a_list_quietly_on_a_terminal_too() {
    let queue = Sandbox::new();
    queue.sh("seq 20000 | sed 's/^/echo /' | qctl import >/dev/null").succeeds();
    let script = "exec bash -c 'qctl list --limit 20000 | head -1; echo ${PIPESTATUS[@]}'";
    let screen = queue.terminal(WIDE, script).succeeds();
    let rows = screen.rows();
    assert!(rows.len() == 2 && rows[0].ends_with("echo 20000") && rows[1] == "0 0", "{screen:?}");
}

#[test]
fn hints_are_for_those_who_sit_at_a_terminal() {
    let queue = Sandbox::new();
    let shown = |script: &str| queue.terminal(WIDE, script).succeeds().rows().join("\n");
    let push = shown("qctl push true");
    assert!(push.contains("queued job 1 on default") && push.contains("no worker serves default"), "{push}");
    assert_eq!(shown("qctl push -q true"), "2");
    assert_eq!(shown("qctl push true 2>said"), "3");
    assert_eq!(queue.read("said"), "");
    assert_eq!(shown("qctl list -s dead"), "no jobs");
    assert_eq!(shown("qctl list -s dead -q"), "");
    queue.qctl("list -s dead").says_nothing().prints("");
    assert_eq!(shown("qctl work --once -q"), "");
}
