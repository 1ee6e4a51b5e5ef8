//! Who may do what: a queue is its owner's alone, links are not followed, and what a job says reaches no
//! shell that it was not meant for.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::{Sandbox, is_possible};

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().expect("it is there").permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("one's own file");
}

/// What lies in a folder and below it, folders included.
fn everything(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.symlink_metadata().expect("it is there").is_dir() {
            found.extend(everything(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn what_is_made_is_its_owners_alone_whatever_the_umask() {
    for umask in ["000", "022", "077", "177", "777"] {
        let queue = Sandbox::new();
        let db = queue.path("new/deep/queue.db").display().to_string();
        let with = |line: &str| queue.sh(&format!("umask {umask}; export QCTL_DB={db}; {line}"));
        with("qctl push 'touch started; while [ ! -e go ]; do sleep 0.02; done'").succeeds();
        let worker = queue.start_sh(&format!("umask {umask}; export QCTL_DB={db}; exec qctl work --lock mine"));
        queue.wait_until("it runs", || queue.path("started").exists());
        let waiter = queue.start_sh(&format!("umask {umask}; export QCTL_DB={db}; exec qctl wait 1"));
        queue.wait_until("both have hung their bells", || everything(&queue.path("new")).len() >= 10);
        let made = everything(&queue.path("new"));
        for name in
            ["queue.db", "queue.db-wal", "queue.db-shm", "queue.db-lock", "queue.db-wake", "work-1", "mine.lock"]
        {
            assert!(made.iter().any(|path| path.ends_with(name)), "{name} is not among {made:?}");
        }
        for path in made.iter().chain([&queue.path("new")]) {
            let meta = path.symlink_metadata().expect("it is there");
            // Bells, flags and the lock of --lock may lack bits that the umask takes; they have none too many.
            let most = if meta.is_dir() { 0o700 } else { 0o600 };
            let is_vital =
                meta.is_dir() || path.to_string_lossy().contains("queue.db-") == path.ends_with("queue.db-lock");
            let is_exact = mode(path) == most || (!is_vital && mode(path) & !most == 0);
            assert!(is_exact, "umask {umask}: {} has mode {:04o}", path.display(), mode(path));
        }
        queue.write("go", "");
        waiter.ends().succeeds();
        worker.stops().succeeds();
        with(&format!("qctl backup {}", queue.path("copy").display())).succeeds();
        assert_eq!(mode(&queue.path("copy")), 0o600);
    }
}

#[test]
fn a_folder_that_is_there_keeps_its_mode() {
    let queue = Sandbox::new();
    std::fs::create_dir(queue.path("there")).expect("a folder");
    chmod(&queue.path("there"), 0o751);
    queue.qctl("push --db there/queue.db true").succeeds();
    assert_eq!(mode(&queue.path("there")), 0o751);
}

#[test]
fn a_queue_that_others_can_write_is_not_worked_unless_that_is_allowed() {
    for (name, with) in [("queue.db", 0o666), ("queue.db-wal", 0o602), ("queue.db-wake", 0o707), (".", 0o777)] {
        let queue = Sandbox::new();
        queue.push("'echo ran >> ran'");
        let path = queue.path(name).canonicalize().expect("it is there");
        let before = mode(&path);
        chmod(&path, with);
        let refused = queue
            .qctl("work --drain")
            .exits(78)
            .prints("")
            .says(&format!("others may write {} (mode {with:04o})", path.display()))
            .says(&format!("hint: chmod go-w {}", path.display()))
            .says("--allow-shared");
        assert_eq!(refused.err().lines().count(), 2);
        queue.qctl("work --cron").exits(78).says("others may write ");
        assert!(!queue.path("ran").exists());
        // Everything else works: to push is no risk for whoever pushes.
        queue.push("'echo ran >> ran'");
        let allowed = queue.qctl("work --drain --allow-shared").succeeds();
        assert_eq!(allowed.err().matches("others may write").count(), 1, "{}", allowed.story());
        assert_eq!(queue.read("ran"), "ran\nran\n");
        queue.push("true");
        queue.qctl("work --cron --allow-shared").succeeds().prints("").says_nothing();
        chmod(&path, before);
        queue.push("true");
        queue.qctl("work --drain -q").succeeds().says_nothing();
    }
}

#[test]
fn a_group_that_is_not_its_owners_own_counts_as_others() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let queue = Sandbox::new();
    queue.push("true");
    chmod(&queue.db(), 0o660);
    std::os::unix::fs::chown(queue.db(), None, Some(12345)).expect("root may");
    queue.qctl("work --drain").exits(78).says("others may write ").says("(mode 0660)");
    queue.sh(&format!("chmod go-w {}", queue.db().display())).succeeds();
    queue.qctl("work --drain -q").succeeds();
}

#[test]
fn a_folder_in_which_others_may_not_replace_what_is_not_theirs_will_do() {
    let queue = Sandbox::new();
    queue.push("true");
    chmod(&queue.path("."), 0o1777);
    queue.qctl("work --drain -q").succeeds().says_nothing();
}

#[test]
fn a_log_that_someone_else_put_beside_the_queue_is_not_worked() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let queue = Sandbox::new();
    queue.push("'echo ran >> ran'");
    std::os::unix::fs::chown(queue.path("queue.db-wal"), Some(12345), None).expect("root may");
    queue.qctl("work --drain").exits(78).says("queue.db-wal belongs to user 12345").says("hint: sudo chown 0 ");
    assert!(!queue.path("ran").exists());
}

#[test]
fn a_link_in_the_place_of_any_file_of_a_queue_is_not_followed() {
    for name in ["queue.db", "queue.db-wal", "queue.db-shm", "queue.db-lock"] {
        for is_made_before in [true, false] {
            let queue = Sandbox::new();
            if is_made_before {
                queue.push("true");
                std::fs::remove_file(queue.path(name)).expect("it is there");
            }
            queue.write("victim", "precious");
            chmod(&queue.path("victim"), 0o644);
            symlink("victim", queue.path(name)).expect("a link");
            for verb in ["push true", "list", "work --drain", "prune", "doctor"] {
                let output = queue.qctl(verb);
                assert!([0, 1, 3, 74, 78].contains(&output.status()), "{}", output.story());
            }
            assert_eq!(queue.read("victim"), "precious", "{name}");
            assert_eq!(mode(&queue.path("victim")), 0o644, "{name}");
        }
    }
    // Nor is a link that points nowhere made into a file there.
    for name in ["queue.db", "queue.db-wal", "queue.db-shm", "queue.db-lock"] {
        let queue = Sandbox::new();
        symlink("nowhere", queue.path(name)).expect("a link");
        queue.qctl("push true");
        queue.qctl("work --drain --max-time 1s");
        assert!(!queue.path("nowhere").exists(), "{name}");
    }
}

#[test]
fn a_link_in_the_place_of_the_folder_of_bells_or_of_what_is_in_it_is_not_followed() {
    let queue = Sandbox::new();
    std::fs::create_dir(queue.path("victim")).expect("a folder");
    queue.write("victim/default.ready", "precious");
    mkfifo(&queue.path("victim/work-7"), Mode::S_IRWXU).expect("a bell without a listener");
    symlink("victim", queue.path("queue.db-wake")).expect("a link");
    queue.push("true");
    queue.qctl("work --drain -q --lock mine").exits(4).says("the lock mine could not be taken");
    queue.qctl("work --drain -q").succeeds();
    queue.qctl("wait 1").succeeds();
    let left = everything(&queue.path("victim")).len();
    assert_eq!((left, queue.read("victim/default.ready").as_str()), (2, "precious"));

    std::fs::remove_file(queue.path("queue.db-wake")).expect("the link");
    queue.push("true");
    queue.write("file", "precious");
    for name in ["work-2", ".work-2", "wait-1", "default.ready", "mine.lock"] {
        let _ = std::fs::remove_file(queue.path(format!("queue.db-wake/{name}")));
        symlink("../file", queue.path(format!("queue.db-wake/{name}"))).expect("a link");
    }
    queue.push("true");
    queue.qctl("work --drain -q --lock mine").exits(4);
    queue.qctl("work --drain -q").succeeds();
    assert_eq!((queue.read("file").as_str(), mode(&queue.path("file")) & 0o111), ("precious", 0));
}

#[test]
fn a_link_in_the_place_of_the_folder_of_steps_or_of_what_is_in_it_is_not_followed() {
    let queue = Sandbox::new();
    std::fs::create_dir(queue.path("victim")).expect("a folder");
    queue.write("victim/1-1-key", "precious");
    symlink("victim", queue.path("queue.db-steps")).expect("a link");
    queue.push("--max-attempts 1 'qctl step big -- head -c 2000000 /dev/zero >big || exit'");
    queue.qctl("work --drain").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!((queue.state(1).as_str(), everything(&queue.path("victim")).len()), ("dead", 1));
    let said = queue.qctl("logs 1 --stream stderr").succeeds().err();
    assert!(said.contains("step big is done, and what it printed could not be kept"), "{said}");

    std::fs::remove_file(queue.path("queue.db-steps")).expect("the link");
    queue.qctl("retry 1").succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.state(1), "succeeded");
    let file = everything(&queue.path("queue.db-steps")).remove(0);
    std::fs::remove_file(&file).expect("the file of the step");
    symlink("../victim/1-1-key", &file).expect("a link");
    queue.qctl("step get --job 1 big").exits(78).prints("");
    queue.qctl("delete 1").succeeds();
    assert_eq!(queue.read("victim/1-1-key"), "precious");
}

/// Words that a shell would do something with.
const BAIT: &str = "$(touch pwned1)`touch pwned2`;touch pwned3\n'\"&& touch pwned4|touch pwned5 #%s\\ *";

#[test]
fn what_a_job_says_reaches_no_shell_that_it_was_not_meant_for() {
    let queue = Sandbox::new();
    let words =
        ["push", "--key", BAIT, "-l", &format!("a.b-1={BAIT}"), "--payload", BAIT, "--env", &format!("BAIT={BAIT}")];
    queue.qctl_with(&[&words[..], &["--", "printf", "%s|", BAIT, "-n", "--version"]].concat()).succeeds();
    queue.qctl_with(&[&words[..], &["--key", "env", "--", "env", "-0"]].concat()).exits(2);
    let words: Vec<&str> = words.iter().map(|&word| if word == BAIT { "other;touch pwned6" } else { word }).collect();
    queue.qctl_with(&[&words[..], &["--", "env", "-0"]].concat()).succeeds();
    queue.qctl("work --drain").succeeds();
    assert_eq!(queue.qctl("logs 1").succeeds().out(), format!("{BAIT}|-n|--version|"));
    let env = queue.qctl("logs 2").succeeds().out();
    let value = |name: &str| {
        let found = env.split('\0').find_map(|variable| variable.strip_prefix(&format!("{name}=")).map(str::to_owned));
        found.unwrap_or_else(|| panic!("{name} is not in {env:?}"))
    };
    assert_eq!(
        (value("QCTL_KEY"), value("QCTL_LABEL_a_b_1"), value("BAIT")),
        ("other;touch pwned6".to_owned(), BAIT.to_owned(), BAIT.to_owned())
    );
    // Nor does showing it run anything.
    for verb in ["list", "show 1", "show 1 --json", "why 1", "logs 1", "stats", "dlq list", "list --json"] {
        queue.qctl(verb).succeeds();
    }
    queue.qctl_with(&["list", "-l", &format!("a.b-1={BAIT}")]).succeeds();
    queue.qctl_with(&["push", "-Q", BAIT, "true"]).exits(2);
    assert!(everything(&queue.path(".")).iter().all(|path| !path.to_string_lossy().contains("pwned")));
}

#[test]
fn a_handler_gets_words_and_payload_as_they_are() {
    let queue = Sandbox::new();
    queue.qctl_with(&["push", "--payload", BAIT, "--", "--version", BAIT]).succeeds();
    queue.qctl_with(&["push", BAIT]).succeeds();
    queue.write("handle", "#!/bin/sh\nprintf '<%s>' \"$@\"; cat");
    chmod(&queue.path("handle"), 0o755);
    queue.qctl("work --drain -q -- ./handle -x").succeeds();
    assert_eq!(queue.qctl("logs 1").succeeds().out(), format!("<-x><--version><{BAIT}>{BAIT}"));
    // A shell line is one word to a handler, which may do with it what it likes.
    assert_eq!(queue.qctl("logs 2").succeeds().out(), format!("<-x><{BAIT}>"));
    assert!(everything(&queue.path(".")).iter().all(|path| !path.to_string_lossy().contains("pwned")));
}

/// Whether these bytes stand anywhere in the files of the queue.
fn is_stored(queue: &Sandbox, text: &str) -> bool {
    let files = everything(&queue.path(".")).into_iter().filter(|path| path.to_string_lossy().contains("queue.db"));
    files.filter(|path| path.metadata().is_ok_and(|meta| meta.is_file())).any(|path| {
        let bytes = std::fs::read(path).expect("one's own file");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn of_the_environment_of_a_push_nothing_is_stored_but_what_is_named() {
    let queue = Sandbox::new();
    let secrets = "export AWS_SECRET_ACCESS_KEY=hunter2-aws GITHUB_TOKEN=hunter2-github PGPASSWORD=hunter2-pg \
        SSH_AUTH_SOCK=hunter2-ssh HOME=/hunter2-home LC_TIME=kept-lc TZ=Kept/TZ NAMED=kept-named QCTL_TOKEN=hunter2-token;";
    for push in
        ["qctl push true", "echo true | qctl import", "qctl push --env NAMED true", "qctl push --payload x -- env"]
    {
        queue.sh(&format!("{secrets} {push}")).succeeds();
    }
    queue
        .sh(&format!(
            "{secrets} qctl queue set default --priority 1; qctl backup queue.db.copy; qctl update 1 --priority 2"
        ))
        .succeeds();
    assert!(!is_stored(&queue, "hunter2"));
    assert!(["kept-lc", "Kept/TZ", "kept-named"].into_iter().all(|value| is_stored(&queue, value)));
    // A worker's own environment is its jobs', and is not stored either.
    queue.sh(&format!("{secrets} qctl work --drain -q -- true")).succeeds();
    assert!(!is_stored(&queue, "hunter2"));
}

#[test]
fn a_worker_of_another_user_is_refused_and_so_is_a_push() {
    if !is_possible("setpriv --reuid=12345 --regid=12345 --clear-groups true") {
        return;
    }
    let queue = Sandbox::new();
    queue.push("true");
    queue.sh("cp \"$(command -v qctl)\" . && chmod 755 . qctl && chmod 666 queue.db*").succeeds();
    for verb in ["push true", "work --drain --allow-shared", "list"] {
        let script = format!("exec setpriv --reuid=12345 --regid=12345 --clear-groups ./qctl {verb}");
        queue.sh(&script).exits(78).prints("").says("it belongs to user 0, you are user 12345");
    }
}
