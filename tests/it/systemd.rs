//! The units that qctl prints are units that systemd takes.

use std::fs;
use std::process::Command;

use crate::support::{Sandbox, is_possible};

/// Has systemd check the units of a folder, where it is there to do so.
#[track_caller]
fn verify(queue: &Sandbox, folder: &str, manager: &str) {
    if !is_possible("systemd-analyze --version") {
        return;
    }
    let units = fs::read_dir(queue.path(folder)).expect("the units").map(|entry| entry.expect("a unit").path());
    let mut command: Command = queue.command("systemd-analyze");
    command.env("XDG_RUNTIME_DIR", queue.path(""));
    let output = command.args(["verify", "--man=no", manager]).args(units).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn systemd_takes_the_worker_that_stays() {
    let queue = Sandbox::new();
    queue.qctl("systemd mail --user -j 4 --grace 2m --write user").succeeds().prints("user/qctl-mail.service\n");
    queue.qctl("systemd mail --system --grace none --write system").succeeds();
    verify(&queue, "user", "--user");
    verify(&queue, "system", "--system");
    let text = queue.read("user/qctl-mail.service");
    let words = format!("/qctl --db {} work --queue mail --jobs 4 --grace 2m\n", queue.db().display());
    assert!(text.contains(&words) && text.contains("\nTimeoutStopSec=135s\n"), "{text}");
}

#[test]
fn systemd_takes_the_worker_on_demand() {
    let queue = Sandbox::new();
    let paths = "units/qctl-mail.path\nunits/qctl-mail.service\nunits/qctl-mail.timer\n";
    queue.qctl("systemd mail --user --on-demand --write units").succeeds().prints(paths);
    verify(&queue, "units", "--user");
    queue.push("-Q mail true");
    let flag = queue.path("queue.db-wake/mail.ready");
    assert!(flag.exists());
    let hooks = queue.path("queue.db-wake/mail.on-dead.ready");
    let flags = format!("\nPathExists={}\nPathExists={}\n", flag.display(), hooks.display());
    assert!(queue.read("units/qctl-mail.path").contains(&flags));
}

#[test]
fn systemd_takes_a_queue_file_whose_path_is_hostile() {
    let queue = Sandbox::new();
    fs::create_dir(queue.path(r#"my %h "q" $HOME \ 'x'; é"#)).expect("a folder");
    let db = r#"my %h "q" $HOME \ 'x'; é/queue.db"#;
    queue.qctl_with(&["--db", db, "systemd", "mail", "--user", "--on-demand", "--write", "units"]).succeeds();
    verify(&queue, "units", "--user");
}

#[test]
fn a_path_that_no_unit_can_hold_is_refused() {
    let queue = Sandbox::new();
    let db = queue.path("two\nlines.db").display().to_string();
    queue.qctl_with(&["--db", &db, "systemd", "mail"]).exits(4).says("cannot be named in a unit");
}

#[test]
fn no_unit_is_written_over() {
    let queue = Sandbox::new();
    fs::create_dir(queue.path("units")).expect("a folder");
    queue.write("units/qctl-mail.timer", "mine");
    queue.qctl("systemd mail --on-demand --write units").exits(4).prints("").says("nothing was written");
    assert_eq!(queue.read("units/qctl-mail.timer"), "mine");
    assert!(!queue.path("units/qctl-mail.path").exists());
}

#[test]
fn each_unit_is_printed_under_its_name() {
    let queue = Sandbox::new();
    let printed = queue.qctl("systemd mail --on-demand --user").succeeds().out();
    let names: Vec<&str> = printed.lines().filter(|line| line.starts_with("# qctl-")).collect();
    assert_eq!(names, ["# qctl-mail.path", "# qctl-mail.service", "# qctl-mail.timer"]);
    let document = queue.qctl("systemd mail --on-demand --user --json").succeeds().json();
    for (unit, name) in document["units"].as_array().expect("units").iter().zip(names) {
        assert_eq!(format!("# {}", unit["name"].as_str().expect("a name")), name);
        assert!(printed.contains(unit["text"].as_str().expect("a text").trim_end()));
    }
}

/// Starts a manager in namespaces of its own, and in it the path unit of queue `mail`. Writes `up` when
/// that watches, or `failed` where it cannot be had: it takes root and a systemd.
const MANAGER: &str = r#"
unshare --mount --pid --fork true && test -x /lib/systemd/systemd || exec touch failed
exec unshare --mount --pid --fork --kill-child --mount-proc sh -c '
    mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/user && chmod 700 /run/user
    export XDG_RUNTIME_DIR=/run/user SYSTEMD_UNIT_PATH="$PWD/units:"
    /lib/systemd/systemd --user --log-target=console &
    for n in $(seq 100); do
        systemctl --user start qctl-mail.path && touch up && exec sleep 600
        sleep 0.1
    done
    touch failed
' >manager.log 2>&1
"#;

#[test]
fn a_manager_that_watches_the_flag_misses_no_push() {
    let queue = Sandbox::new();
    queue.qctl("systemd mail --user --on-demand --write units").succeeds();
    let _manager = queue.start_sh(MANAGER);
    queue.wait_until("the manager is there", || queue.path("up").exists() || queue.path("failed").exists());
    if is_possible(&format!("test -e {}", queue.path("up").display())) {
        // Nothing but the flag starts a worker here: the timer does not run.
        for _ in 0..20 {
            let id = queue.push("-Q mail true");
            queue.qctl(&format!("wait {id} --timeout 50s")).succeeds();
        }
    }
}

#[test]
fn a_unit_is_for_one_queue() {
    Sandbox::new().qctl("systemd mail.*").exits(2).says("a queue name is 1 to 64 of");
}
