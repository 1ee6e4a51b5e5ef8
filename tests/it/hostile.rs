//! A hostile job changes nothing in what is shown of it, and nothing of it is lost.
//!
//! Each command is run on two queues that differ in one text only: here it is hostile, there it is tame.
//! What is printed must have the same lines with the same columns, and nothing in it may act.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::{Output, Running, Sandbox};

/// Clears a screen, sets a title, fakes another record, turns the reading direction, hides, and is no
/// UTF-8 besides.
const HOSTILE: &[u8] = b"\x1b[2J\x1b]0;t\x07\x08\r\n2\tdefault\tready \xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8b\xc2\x9b31m\x7f::error::\xff\xfe";

/// As many lines, and nothing else to it.
const TAME: &[u8] = b"one line\nand another one that is rather longer";

/// The part of a text that is UTF-8, for what can hold nothing else.
fn as_text(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace('\u{fffd}', "")
}

fn joined(parts: &[&[u8]]) -> OsString {
    OsString::from_vec(parts.concat())
}

/// A queue in which this text stands wherever one can: a job that died, one that succeeded, one that runs
/// and one that waits. Answers too what its workers printed meanwhile.
fn inhabited(text: &[u8]) -> (Sandbox, Running, [Output; 2]) {
    let queue = Sandbox::new();
    queue.write("hold", "");
    let folder = queue.path(OsStr::from_bytes(text));
    std::fs::create_dir(&folder).expect("any name will do for a folder");
    let (key, label) = (as_text(text), format!("note={}", as_text(text)));
    let variable = joined(&[b"EVIL=", text]);
    let line = joined(&[b"tee /dev/stderr; : '", text, b"'; exit 1"]);
    let options: Vec<&OsStr> = vec![
        "push".as_ref(),
        "--max-attempts".as_ref(),
        "1".as_ref(),
        "--payload".as_ref(),
        OsStr::from_bytes(text),
        "--key".as_ref(),
        key.as_ref(),
        "--label".as_ref(),
        label.as_ref(),
        "--env".as_ref(),
        &variable,
        "--cwd".as_ref(),
        folder.as_ref(),
    ];
    let push = |more: &[&OsStr]| queue.qctl_with(&[&options[..], more].concat()).succeeds();
    push(&[line.as_ref()]);
    let human = queue.qctl("work --drain").succeeds();
    push(&["-Q".as_ref(), "cron".as_ref(), line.as_ref()]);
    let cron = queue.qctl("work --cron").succeeds();
    let words = ["--", "printf", "%s"].map(OsStr::new);
    push(&[&["-Q".as_ref(), "vector".as_ref()], &words[..], &[OsStr::from_bytes(text)]].concat());
    queue.qctl("work --drain --log none").succeeds();
    let held = joined(&[b": '", text, b"'; touch ../begun; while [ -e ../hold ]; do sleep 0.02; done"]);
    push(&["-Q".as_ref(), "held".as_ref(), held.as_ref()]);
    push(&["-Q".as_ref(), "idle".as_ref(), line.as_ref()]);
    let worker = queue.start("work -Q held --log none");
    queue.wait_until("it runs", || queue.path("begun").exists());
    queue.wait_for_state(4, "running");
    (queue, worker, [human, cron])
}

/// What looks at jobs, in plain format.
fn looks() -> Vec<String> {
    let fields = qctl::render::field::Field::names().collect::<Vec<_>>().join(",");
    let mut looks: Vec<String> = [
        "list",
        "list -F labels,key,command,argv",
        "dlq list",
        "dlq show 1",
        "dlq requeue --all --dry-run",
        "stats",
        "queue list",
        "queue show cron",
        "workers",
        "where",
        "wait 1-3",
        "wait 5 --timeout 1ms",
        "cancel 1",
        "dlq show 3",
        "delete 5",
        "push --key no --cwd missing true",
    ]
    .map(str::to_owned)
    .to_vec();
    looks.push(format!("list -F {fields}"));
    looks.extend((1..=5).flat_map(|id| [format!("show {id}"), format!("why {id}")]));
    looks
}

/// How many columns each line has.
fn shape(text: &str) -> Vec<usize> {
    text.lines().map(|line| line.matches('\t').count()).collect()
}

/// Whether a character does nothing but stand there; `\n` and `\t` part records and fields.
fn is_harmless(c: char) -> bool {
    let is_bidi = matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}');
    matches!(c, '\n' | '\t') || !(c.is_control() || is_bidi || c == '\u{feff}')
}

#[track_caller]
fn is_of_the_same_shape(hostile: &Output, tame: &Output) {
    for (bytes, text) in [(hostile.bytes(), hostile.out()), (hostile.err_bytes(), hostile.err())] {
        assert!(std::str::from_utf8(bytes).is_ok() && text.chars().all(is_harmless), "{}", hostile.story());
    }
    let stories = || format!("{}\n{}", hostile.story(), tame.story());
    assert_eq!(shape(&hostile.out()), shape(&tame.out()), "{}", stories());
    assert_eq!(shape(&hostile.err()), shape(&tame.err()), "{}", stories());
}

#[test]
fn hostile_text_changes_neither_lines_nor_columns_of_anything_that_is_shown() {
    let (hostile, hostile_worker, hostile_said) = inhabited(HOSTILE);
    let (tame, tame_worker, tame_said) = inhabited(TAME);
    for (hostile, tame) in hostile_said.iter().zip(&tame_said) {
        is_of_the_same_shape(hostile, tame);
        assert!(tame.out().len() + tame.err().len() > 100, "{}", tame.story());
    }
    for look in looks() {
        is_of_the_same_shape(&hostile.qctl(&look), &tame.qctl(&look));
    }
    let list = hostile.qctl("list").succeeds().out();
    assert_eq!(shape(&list), [6; 5], "{list}");
    for queue in [&hostile, &tame] {
        queue.sh("rm hold").succeeds();
    }
    hostile_worker.stops().succeeds();
    tame_worker.stops().succeeds();
}

#[test]
fn a_hostile_job_is_whole_in_json_and_in_its_logs() {
    let (queue, worker, _) = inhabited(HOSTILE);
    let exact = |value: &Value| STANDARD.decode(value.as_str().expect("base64")).expect("base64");
    let line = [b"tee /dev/stderr; : '", HOSTILE, b"'; exit 1"].concat();
    let job = queue.qctl("show 1 --json").succeeds().gives("job").json()["job"].clone();
    assert_eq!(exact(&job["command_base64"]), line);
    assert_eq!((&job["key"], &job["labels"]["note"]), (&as_text(HOSTILE).into(), &as_text(HOSTILE).into()));
    let vector = queue.qctl("show 3 --json").succeeds().gives("job").json()["job"].clone();
    let words: Vec<Vec<u8>> = vector["argv_base64"].as_array().expect("words").iter().map(exact).collect();
    assert_eq!(words, [&b"printf"[..], b"%s", HOSTILE]);
    for look in ["list -F id,command,argv --json --reverse", "list --json --reverse"] {
        let jobs = queue.qctl(look).succeeds().json()["jobs"].clone();
        assert_eq!(exact(&jobs[0]["command_base64"]), line);
        assert_eq!(exact(&jobs[2]["argv_base64"][2]), HOSTILE);
    }
    for (id, streams) in [(1, &["stdout", "stderr"][..]), (3, &["stdout"])] {
        let output = queue.qctl(&format!("logs {id} --json")).succeeds().gives("output").json()["output"].clone();
        let logs = queue.qctl(&format!("logs {id}")).succeeds();
        for stream in streams {
            assert_eq!(exact(&output[format!("{stream}_base64")]), HOSTILE);
            assert_eq!(if *stream == "stdout" { logs.bytes() } else { logs.err_bytes() }, HOSTILE);
        }
    }
    queue.sh("rm hold").succeeds();
    worker.stops().succeeds();
}

#[test]
fn a_command_that_is_text_has_no_second_form() {
    let queue = Sandbox::new();
    queue.push("-- printf '%s' 'naïve \u{202e}'");
    let job = queue.job(1);
    assert_eq!(job["argv"], serde_json::json!(["printf", "%s", "naïve \u{202e}"]));
    assert!(job.get("command_base64").is_none() && job.get("argv_base64").is_none(), "{job}");
}

#[test]
fn the_ends_of_one_line_of_a_megabyte_are_kept_and_it_is_shown_short() {
    let queue = Sandbox::new();
    let line: Vec<u8> =
        (0..1_000_000_u32).map(|n| b'a' + u8::try_from((n / 7 + n % 23) % 26).expect("small")).collect();
    queue.write("line", &line);
    queue.push("--max-attempts 1 'cat line; cat line >&2; exit 1'");
    let cron = queue.qctl("work --cron").succeeds();
    let kept = [&line[..65536], &line[1_000_000 - 65536..]].concat();
    let logs = queue.qctl("logs 1").succeeds();
    assert!(logs.bytes() == kept && logs.err_bytes().ends_with(&line[1_000_000 - 65536..]));
    let output = queue.qctl("logs 1 --json").succeeds().gives("output").json()["output"].clone();
    let gap = serde_json::json!({ "at": 65536, "bytes": 1_000_000 - 2 * 65536 });
    for stream in ["stdout", "stderr"] {
        assert!(output[stream].as_str().is_some_and(|text| text.as_bytes() == kept));
        assert_eq!(output[format!("{stream}_gap")], gap);
    }
    for shown in [
        cron,
        queue.qctl("list"),
        queue.qctl("show 1"),
        queue.qctl("dlq list"),
        queue.qctl("dlq show 1"),
        queue.qctl("why 1"),
        queue.qctl("wait 1"),
    ] {
        let longest = |text: &str| text.lines().map(str::len).max().unwrap_or(0);
        assert!(longest(&shown.out()).max(longest(&shown.err())) < 1500, "{}", longest(&shown.out()));
    }
}

#[test]
fn a_command_of_a_hundred_thousand_characters_is_one_record() {
    let queue = Sandbox::new();
    let line = joined(&[b": ", &b"x\x1b\n".repeat(30_000)]);
    queue.qctl_with(&["push".as_ref(), line.as_os_str()]).succeeds();
    assert_eq!(shape(&queue.qctl("list").succeeds().out()), [6]);
    let job = queue.job(1);
    assert_eq!(job["command"].as_str().map(str::as_bytes), Some(line.as_bytes()));
}

#[test]
fn the_path_of_a_queue_may_be_hostile_too() {
    let [hostile, tame] = [HOSTILE, TAME].map(|name| {
        let queue = Sandbox::new();
        let mut folder = queue.path(OsStr::from_bytes(name));
        std::fs::create_dir(&folder).expect("any name will do for a folder");
        folder.push("queue.db");
        let run = |line: &str| {
            let words = shlex::split(line).expect("quotes that match").into_iter().map(OsString::from);
            queue.qctl_with(&[vec!["--db".into(), folder.clone().into_os_string()], words.collect()].concat())
        };
        let looks = ["list", "where", "work --cron", "push --max-attempts 1 false", "work --cron", "where"].map(run);
        let document = run("where --json").succeeds().gives("where").json();
        (looks, document, folder.canonicalize().expect("the queue").into_os_string())
    });
    for (hostile, tame) in hostile.0.iter().zip(&tame.0) {
        is_of_the_same_shape(hostile, tame);
    }
    let path = STANDARD.decode(hostile.1["path_base64"].as_str().expect("base64")).expect("base64");
    assert_eq!(OsString::from_vec(path), hostile.2);
    assert_eq!(tame.1["path"].as_str(), tame.2.to_str());
    assert!(tame.1.get("path_base64").is_none());
}

#[test]
fn what_a_subscription_wants_is_shown_without_its_control_characters() {
    let queue = Sandbox::new();
    queue.sh("qctl subscription add log 'order.*' --where \"$(printf 'a\\033[2J=b\\033c')\" -- true").succeeds();
    let shown = queue.qctl("subscription show log").succeeds().out();
    assert!(shown.contains("[2J=b") && !shown.contains('\u{1b}'), "{shown:?}");
}
