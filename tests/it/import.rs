//! `import` queues many jobs from a file, all or none.

use crate::support::Sandbox;

#[test]
fn lines_and_records_become_jobs_in_their_order() {
    let queue = Sandbox::new();
    let text = "# a comment\necho one\n\n  {\"command\":[\"echo\",\"two 2\"],\"queue\":\"mail\",\"key\":\"k\",\"priority\":3,\
        \"max_attempts\":7,\"backoff\":\"fixed:1s\",\"timeout\":\"5s\",\"labels\":{\"a\":\"b\"},\"env\":{\"X\":\"y\"},\
        \"cwd\":\"/\",\"delay\":\"1h\",\"payload\":\"p\"}\n{\"shell\":\"cat\",\"payload_base64\":\"/wA=\"}\n";
    queue.qctl_fed("import -", text.as_bytes()).succeeds().prints("1\n2\n3\n").says_nothing();
    let job = queue.job(2);
    assert_eq!(job["argv"], serde_json::json!(["echo", "two 2"]));
    assert_eq!((&job["queue"], &job["key"], &job["priority"]), (&"mail".into(), &"k".into(), &3.into()));
    assert_eq!(
        (&job["max_attempts"], &job["labels"]["a"], &job["state"]),
        (&7.into(), &"b".into(), &"scheduled".into())
    );
    queue.qctl("work --drain").succeeds();
    queue.qctl("logs 1").prints("one\n");
    assert_eq!(queue.qctl("logs 3").bytes(), b"\xff\0");
}

#[test]
fn a_bad_line_names_its_number_and_nothing_is_queued() {
    let queue = Sandbox::new();
    queue.push("true");
    for bad in
        ["{\"command\":[]}", "{\"shell\":\"x\",\"delay\":\"1M\"}", "{\"shell\":", "{\"shell\":\"x\",\"colour\":1}"]
    {
        queue.write("jobs", format!("a\nb\nc\n#\n\nf\n{bad}\nh\n"));
        let output = queue.qctl("import jobs").exits(2).prints("").says("jobs, line 7: ").says("nothing was queued");
        assert_eq!(output.err().lines().count(), 2, "{}", output.story());
    }
    assert_eq!(queue.ids("ready"), [1]);
}

#[test]
fn nothing_to_import_is_no_failure_and_makes_no_queue() {
    let queue = Sandbox::new();
    queue.qctl_fed("import", b"\n# nothing\n").succeeds().prints("").says_nothing();
    assert!(!queue.db().exists());
    queue.qctl("import missing").exits(2).says("missing could not be read");
}

#[test]
fn five_hundred_jobs_in_one_call_give_what_their_commands_give() {
    let queue = Sandbox::new();
    queue.sh("find /usr/share /usr/lib -type f -size -100k -name '[a-z]*' | grep -v \"[' ]\" | head -500 > files");
    queue.sh("sed 's/^/sha256sum /' files | qctl import - > ids; qctl work --drain -j 2 --log none").succeeds();
    let got = queue.sh("for id in $(cat ids); do qctl logs $id; done").succeeds();
    let want = queue.sh("xargs sha256sum < files").succeeds();
    assert_eq!(got.out(), want.out());
    assert_eq!(queue.ids("succeeded").len(), queue.read("files").lines().count());
}

#[test]
fn import_says_which_lines_have_a_key_that_is_held() {
    let queue = Sandbox::new();
    queue.push("--key a 'echo a'");
    let lines = ["# keys", r#"{"shell":"echo a","key":"a"}"#, "true", r#"{"shell":"echo b","key":"a"}"#];
    std::fs::write(queue.path("jobs"), lines.join("\n")).expect("a file");
    let output = queue.qctl("import jobs --json").succeeds().gives("import");
    let output =
        output.says("line 4: the key is held by job 1, which is ready, waiting for a worker, and has another command");
    let answer = output.json();
    assert_eq!((&answer["ids"], &answer["existing"]), (&serde_json::json!([1, 2, 1]), &2.into()));
    assert_eq!(answer["differing_lines"], serde_json::json!([4]));
}
