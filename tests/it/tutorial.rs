//! The tutorial is true: its session is run, and its scripts are killed between any two of their lines.

use crate::support::Sandbox;
use crate::support::session;

const TUTORIAL: &str = include_str!("../../docs/tutorial.md");

/// What the page writes into this file, each time that it does.
fn versions(name: &str) -> Vec<&'static str> {
    let begin = format!("$ cat >{name} <<'END'\n");
    let starts = TUTORIAL.split(begin.as_str()).skip(1);
    starts.map(|rest| rest.split_inclusive("END\n").next().expect("an end").trim_end_matches("END\n")).collect()
}

/// The first version of the order of which this can be said.
fn order(what: &str, is_so: impl Fn(&str) -> bool) -> &'static str {
    versions("order.sh").into_iter().find(|script| is_so(script)).unwrap_or_else(|| panic!("no order {what}"))
}

/// The order with steps and nothing more.
fn with_steps() -> &'static str {
    order("with steps", |script| script.contains("qctl step"))
}

/// The order as it is in the end.
fn whole() -> &'static str {
    order("that sleeps", |script| script.contains("qctl step sleep"))
}

/// The shop, with this for the order, and a job that places one.
fn shop(order: &str) -> Sandbox {
    let queue = Sandbox::new();
    for name in ["pay", "shop", "crash.sh"] {
        let [text] = versions(name)[..] else { panic!("the page writes {name} once") };
        queue.write(name, text);
    }
    queue.sh("chmod +x pay shop").succeeds();
    queue.write("order.sh", order);
    queue.push("--env patience=1ms --backoff fixed:1ms -- sh order.sh 17");
    queue
}

/// Works until nothing is left to do for the order, and answers how that ended.
fn work(queue: &Sandbox) -> i32 {
    queue.qctl("work -Q default --drain --wait-due 60s --quiet").status()
}

/// Claims that the order was carried out, and that whatever it does was done once.
#[track_caller]
fn is_done_once(queue: &Sandbox, order: &str) {
    let (charges, done) = (queue.read("charges"), queue.read("done"));
    let story = format!("{order}\n--- charges\n{charges}\n--- done\n{done}\n--- calls\n{}", queue.read("calls"));
    assert_eq!(queue.state(1), "succeeded", "{story}");
    assert_eq!(charges.lines().count(), 1, "{story}");
    for deed in ["ship", "mail", "remind"].into_iter().filter(|deed| order.contains(&format!("step {deed} "))) {
        let n_done = done.lines().filter(|line| line.starts_with(&format!("{deed} 17"))).count();
        assert_eq!(n_done, 1, "{deed}\n{story}");
    }
    let stock = queue.qctl("list -Q stock").out();
    assert_eq!(stock.lines().count(), usize::from(order.contains("restock")), "{story}\n{stock}");
}

/// Copies of a script, each with this line put in at another place: before the first, between any two, after the last.
fn with_line_anywhere(script: &str, line: &str) -> Vec<String> {
    let lines: Vec<&str> = script.lines().collect();
    assert!(lines.len() >= 6, "{script}");
    (0..=lines.len()).map(|n| [&lines[..n], &[line], &lines[n..]].concat().join("\n") + "\n").collect()
}

/// Does this to the job at every line, the first time that it comes there, after the worker has been killed; another
/// worker then has to bring it to an end.
#[track_caller]
fn kill_at_every_line(script: &str, then: &str) {
    for order in with_line_anywhere(script, &format!("if mkdir killed 2>/dev/null; then {then}; fi")) {
        let queue = shop(&order);
        assert_eq!(work(&queue), 137, "the worker is killed\n{order}");
        assert_eq!(work(&queue), 0, "{order}");
        is_done_once(&queue, &order);
    }
}

#[test]
fn the_session_runs_as_the_tutorial_shows_it() {
    let wrong = session::play(&Sandbox::new(), &session::blocks(TUTORIAL));
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_block_is_run() {
    for block in session::blocks(TUTORIAL) {
        assert_eq!(block.language, "console", "{}", block.text);
    }
}

#[test]
fn every_section_is_named_at_the_top_of_the_tutorial() {
    for section in TUTORIAL.lines().filter_map(|line| line.strip_prefix("## ")) {
        let link = format!("](#{})", section.to_lowercase().replace(' ', "-"));
        assert!(TUTORIAL.contains(&link), "{link}");
    }
}

#[test]
fn an_order_whose_worker_and_job_are_killed_between_any_two_lines_is_carried_out_once() {
    kill_at_every_line(whole(), "kill -9 $PPID 0");
}

#[test]
fn an_order_whose_worker_is_killed_between_any_two_lines_and_whose_job_hangs_is_carried_out_once() {
    kill_at_every_line(whole(), "kill -9 $PPID; exec sleep 600");
}

#[test]
fn an_order_whose_worker_is_killed_between_any_two_lines_and_whose_job_goes_on_is_carried_out_once() {
    kill_at_every_line(whole(), "kill -9 $PPID");
}

#[test]
fn an_order_with_plain_steps_that_is_killed_between_any_two_lines_is_carried_out_once() {
    kill_at_every_line(with_steps(), "kill -9 $PPID 0");
}

/// The orders that say what is to be done where the charge may have happened.
fn careful() -> Vec<String> {
    let orders = [
        order("with a key", |script| script.contains("QCTL_STEP_KEY")),
        order("that verifies", |script| script.contains("verify")),
        whole(),
    ];
    // The whole one has no crash any more, and no name for the worker.
    orders.map(|script| script.replace("export order=$1\n", "export order=$1 worker=$PPID\n")).to_vec()
}

/// Lets the payment service do this, once, after it has charged and before anybody can record it.
fn shop_where_pay_does(order: &str, deed: &str) -> Sandbox {
    let queue = shop(order);
    queue.write("crash.sh", "");
    let pay = queue.read("pay");
    queue.write("pay", format!("{pay}if [ $1 = charge ] && mkdir killed 2>/dev/null; then {deed}; fi\n"));
    queue
}

#[test]
fn a_worker_that_is_killed_with_its_job_after_the_charge_and_before_the_record_charges_once() {
    for order in careful() {
        let queue = shop_where_pay_does(&order, "kill -9 $worker 0");
        assert_eq!(work(&queue), 137, "{order}");
        assert_eq!(work(&queue), 0, "{order}");
        is_done_once(&queue, &order);
    }
}

#[test]
fn a_worker_that_is_killed_alone_after_the_charge_and_before_the_record_charges_once() {
    for order in careful() {
        let queue = shop_where_pay_does(&order, "kill -9 $worker; exec sleep 600");
        assert_eq!(work(&queue), 137, "{order}");
        assert_eq!(work(&queue), 0, "{order}");
        is_done_once(&queue, &order);
    }
}

#[test]
fn a_step_that_is_killed_after_the_charge_and_before_the_record_charges_once() {
    for order in careful() {
        let queue = shop_where_pay_does(&order, "kill -9 0");
        assert_eq!(work(&queue), 0, "the worker lives\n{order}");
        is_done_once(&queue, &order);
        assert_eq!(queue.job(1)["attempt"], 2, "{order}");
    }
}

#[test]
fn an_order_without_key_or_verify_is_charged_twice_by_the_same_crash() {
    let queue = shop_where_pay_does(with_steps(), "kill -9 $worker 0");
    assert_eq!((work(&queue), work(&queue)), (137, 0));
    assert_eq!(queue.read("charges").lines().count(), 2, "else these tests would prove nothing");
}

#[test]
fn a_worker_that_is_killed_after_any_other_deed_and_before_its_record_does_it_once() {
    for deed in ["ship", "mail", "remind"] {
        let [.., order] = &careful()[..] else { panic!("the whole order is the last") };
        let queue = shop(order);
        let script = queue.read("shop");
        let crash = format!("if [ $1 = {deed} ] && mkdir killed 2>/dev/null; then kill -9 $worker 0; fi");
        queue.write("shop", format!("{script}{crash}\n"));
        assert_eq!((work(&queue), work(&queue)), (137, 0), "{deed}");
        is_done_once(&queue, order);
    }
}

/// Where the charge is stopped halfway by one who asks it to end, and that is what it does then.
fn shop_where_the_charge_is_cancelled(order: &str, at_the_end: &str) -> Sandbox {
    let queue = shop_where_pay_does(order, &format!("trap '{at_the_end}' TERM; touch hangs; sleep 600 & wait"));
    let worker = queue.start("work -Q default --drain --quiet");
    queue.wait_until("it has charged", || queue.path("hangs").exists());
    queue.qctl("cancel 1").succeeds();
    worker.ends().succeeds();
    assert_eq!(queue.state(1), "cancelled");
    queue
}

#[test]
fn a_charge_that_fails_because_it_was_asked_to_end_may_have_happened() {
    for at_the_end in ["exit 1", "exit 143", "trap - TERM; kill $$"] {
        let charge = "qctl step charge --on-uncertain verify './pay find 17' -- ./pay charge 17 25";
        let queue = shop_where_the_charge_is_cancelled(charge, at_the_end);
        queue.qctl("retry 1").succeeds();
        assert_eq!(work(&queue), 0);
        assert_eq!(queue.read("calls"), "charge 17 25\nfind 17\n", "{at_the_end}");
        is_done_once(&queue, charge);

        let charge = "qctl step charge --on-uncertain fail -- ./pay charge 17 25";
        let queue = shop_where_the_charge_is_cancelled(charge, at_the_end);
        queue.qctl("retry 1").succeeds();
        assert_eq!(work(&queue), 0);
        assert_eq!((queue.job(1)["reason"].clone(), queue.read("calls").lines().count()), ("uncertain".into(), 1));
    }
}

#[test]
fn a_charge_that_fails_by_itself_has_not_happened_and_nobody_is_asked() {
    let charge = "qctl step charge --on-uncertain verify './pay find 17' -- ./pay charge 17 25";
    let queue = shop(charge);
    let pay = queue.read("pay");
    queue.write("pay", format!("#!/bin/sh\nif mkdir failed 2>/dev/null; then exit 1; fi\n{pay}"));
    assert_eq!(work(&queue), 0);
    assert_eq!(queue.read("calls"), "charge 17 25\n");
    is_done_once(&queue, charge);
}
