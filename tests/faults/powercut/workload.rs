//! What is recorded: scripts that use a queue as people do, and what qctl acknowledged in them.
//!
//! A script says what it was told in files of the folder [`SAID`], so that the recording holds it at
//! its place among everything else: `push.WORD`, `import.WORD` and `publish.WORD` hold ids as qctl printed them,
//! `work.N` a worker's events, and `log` what an exit status 0 stands for. What may take a job away from where it
//! was acknowledged to be is announced there by `begin ID`.

use std::collections::HashMap;
use std::path::Path;

use super::trace::{Deed, Step, Trace};
use crate::support::Sandbox;

/// The folder with what was said.
pub(super) const SAID: &str = "said";

/// The folder that is the disk.
pub(super) const DISK: &str = "disk";

/// The queue file on it, in folders that the first command makes.
pub(super) const QUEUE: &str = "a/b/queue.db";

/// What every script may use. The command of a job names it, and its payload repeats that name.
const WORDS: &str = r#"
mkdir said disk 2>/dev/null
queue() { word=$1; shift; qctl push "$@" ": $word" >said/push."$word"; }
swell() { word=$1; yes "$word" | head -c 65536 | qctl push --stdin ": $word" >said/push."$word"; }
work() { n=$1; shift; qctl work --log json "$@" 2>said/work."$n"; }
log() { echo "$@" >>said/log; }
event() { word=$1; shift; yes "$word" | head -c 20000 | qctl publish --stdin --key "$word" "$@" t.a >said/publish."$word"; }
"#;

/// Something that is recorded.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    script: &'static str,
    /// A power cut is tried after every call but plain writes, and after one of so many of those.
    pub(super) stride: usize,
}

pub(super) const LONE: Workload = Workload {
    name: "pushes one after the other",
    script: "
        for n in 1 2 3 4 5 6 7 8; do queue lone-$n; done
        work 1 --max-jobs 2
        for n in 9 10 11; do queue lone-$n; done",
    stride: 1,
};

/// Pushes of which the syncs are counted.
pub(super) const STEADY: Workload = Workload {
    name: "a steady push",
    script: "
        queue first
        for n in 1 2 3; do queue lone-$n; done
        qctl work --log json 2>said/work.1 & worker=$!
        until [ \"$(grep -c succeeded said/work.1)\" = 4 ]; do sleep 0.05; done
        for n in 1 2 3; do queue attended-$n; done
        kill -TERM $worker
        wait $worker
        queue after",
    stride: 1,
};

/// Jobs of steps: each says in the log when it happens, and the job when `qctl step` has ended well. `charge`
/// fails in the first attempt, and `ship` prints more than is kept in a row. The log is folded back before, so
/// that there is a queue file without it.
pub(super) const STEPPED: Workload = Workload {
    name: "jobs of recorded steps",
    script: r#"
        cat >order <<'END'
        set -e
        for name in reserve charge ship mail; do
            qctl step $name -- '
                echo step-begun $QCTL_JOB_ID $QCTL_STEP >>said/log
                echo $QCTL_STEP
                case $QCTL_STEP:$QCTL_ATTEMPT in
                charge:1) exit 1 ;;
                ship:*) dd if=/dev/zero bs=600k count=2 2>/dev/null ;;
                esac' >/dev/null
            echo step-over $QCTL_JOB_ID $name >>said/log
        done
END
        queue first
        work 0 --drain
        qctl push --backoff fixed:0s --jitter none 'sh order' >said/push.order
        work 1 --drain
        qctl push --backoff fixed:0s --jitter none 'sh order' >said/push.order
        work 2 --drain"#,
    stride: 1,
};

/// Events that are delivered by whoever publishes and by workers, to subscriptions that are there before them or come
/// later, of which the first event is logged. Jobs log what they are: that may be known elsewhere from then on.
pub(super) const PUBLISHED: Workload = Workload {
    name: "events and their deliveries",
    script: r#"
        queue first
        work 0 --drain
        tell='echo delivered $QCTL_JOB_ID $QCTL_SUBSCRIPTION $QCTL_EVENT_ID >>said/log'
        qctl subscription add one 't.>' -- "$tell" && log subscribed one 1
        qctl subscription add two '*.a' -Q shared --max-attempts 1 -- "$tell; exit 3" && log subscribed two 1
        event e-1; event e-2
        work 1 --drain
        event e-3 --lazy; event e-4
        event e-3 >/dev/null
        work 2 --max-jobs 1
        work 3 --drain
        qctl subscription add late '>' --from all -- "$tell" && log subscribed late 1
        qctl subscription add new t.a -- "$tell" && log subscribed new 5
        event e-5
        qctl subscription pause one
        event e-6
        work 4 --drain -j 2
        qctl subscription resume one
        event e-7
        work 5 --drain -j 2"#,
    stride: 2,
};

pub(super) const ALL: [Workload; 6] = [
    LONE,
    Workload {
        name: "pushers and a worker at once",
        script: "
            qctl work --log json -j 2 2>said/work.1 & worker=$!
            for p in 1 2 3 4; do
                (for n in 1 2 3 4; do queue $p-$n; done) & pushers=\"${pushers-} $!\"
            done
            wait $pushers
            kill -TERM $worker
            wait $worker
            work 2 --drain",
        stride: 1,
    },
    Workload {
        name: "large payloads, and the log folded by those who pass by",
        script: "
            for p in 1 2; do
                (for n in 1 2 3 4 5; do swell $p-$n; done) & pushers=\"${pushers-} $!\"
            done
            wait $pushers
            # Nobody is in the way any more: the first folds what is left, the second begins anew.
            queue last; queue after",
        stride: 1,
    },
    Workload {
        name: "an import and four at a time",
        script: "
            seq 200 | sed 's/^/: few-/' | qctl import - >said/import.few
            work 1 -j 4 --max-jobs 12
            seq 20 | sed 's/^/: more-/' | qctl import - >said/import.more
            work 2 -j 2 --max-jobs 6",
        stride: 1,
    },
    Workload {
        name: "changes of every kind",
        script: "
            # These folders are somebody else's, who synced nothing.
            mkdir \"$PWD/disk/a\"
            mkdir \"$PWD/disk/a/b\"
            queue k-1 --key k
            queue k-2 --key k >/dev/null
            log begin 1; qctl push --key k --on-duplicate replace ': k-3' >said/push.k-3
            queue two; queue three; queue four
            log begin 2; qctl cancel 2 && log cancelled 2
            log begin 3; qctl update 3 --priority 7 && log priority 3 7
            queue mail-1 -Q mail; qctl queue pause mail && log paused mail
            qctl push --max-attempts 1 'exit 3' >said/push.dead
            qctl push --max-attempts 2 --backoff fixed:0s --jitter none 'exit 4' >said/push.twice
            work 1 --drain -j 2
            log begin 6; qctl retry 6 && log ready 6
            log begin 2; qctl retry 2 && log ready 2
            log begin 3; qctl delete 3 && log gone 3
            work 2 --drain
            log begin 7; qctl delete 7 && log gone 7
            for id in 2 4; do log begin $id; done
            qctl prune --older-than 0s && for id in 2 4; do log gone $id; done
            queue end",
        stride: 1,
    },
    Workload {
        name: "a log that a worker folds, and then begins anew",
        script: "
            qctl work --log json -Q nothing 2>said/work.1 & worker=$!
            base64 -w 0 /dev/zero | head -c 65536 >large
            for n in $(seq 70); do printf '{\"shell\":\": flood-%s\",\"payload\":\"' $n; cat large; echo '\"}'; done |
                qctl import - >said/import.flood
            header() { od -N 32 disk/a/b/queue.db-wal; }
            first=$(header)
            for n in $(seq 100); do
                queue after-$n
                [ \"$(header)\" = \"$first\" ] || break
                sleep 0.1
            done
            for n in 1 2 3; do queue anew-$n; done
            kill -TERM $worker
            wait $worker",
        stride: 40,
    },
];

/// Which syncs are left out of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syncs {
    Made,
    LeftOut,
}

/// What was recorded, and where.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) sandbox: Sandbox,
    pub(super) trace: Trace,
}

impl Workload {
    /// Records it in a fresh folder.
    pub(super) fn record(&self, syncs: Syncs) -> Recording {
        let queue = Sandbox::new();
        let calls = format!("trace={}", super::trace::CALLS);
        let mut strace = queue.command("strace");
        strace.env("QCTL_DB", queue.path(DISK).join(QUEUE)).args(["--seccomp-bpf", "-f", "-qq", "-y", "-xx"]);
        strace.args(["-s", "2000000", "-o", "trace", "-e", &calls]);
        if syncs == Syncs::LeftOut {
            strace.args(["-e", "inject=fsync,fdatasync:retval=0"]);
        }
        let script = format!("{WORDS}{}", self.script);
        let output = strace.args(["/bin/sh", "-euc", &script]).output().expect("strace starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the script of {:?} failed: {told}", self.name);
        let trace = Trace::read(&queue.read("trace"));
        Recording { sandbox: queue, trace }
    }
}

/// Something that qctl acknowledged, or is about to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) job: i64,
    pub(super) what: What,
}

/// What was acknowledged of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Queued(String),
    Stands(String),
    Priority(i64),
    Gone,
    /// It may be changed from here on: the next fact about it may be true already.
    Begin,
    /// Of a queue and no job.
    Paused(String),
    /// It runs as the delivery of this event to this subscription.
    Delivers(String, i64),
    /// This event is published.
    Event(i64),
    /// Of a subscription and no job; this is its first event.
    Subscribed {
        name: String,
        first: i64,
    },
    /// A step of it has begun, or is over.
    Step {
        name: String,
        is_recorded: bool,
    },
}

/// The facts of a recording, each with the step from which on it must hold: the one in which the first
/// byte of its acknowledgement may have been seen.
pub(super) fn facts(trace: &Trace) -> Vec<(usize, Fact)> {
    let mut facts = Vec::new();
    let mut said: HashMap<&Path, (String, usize)> = HashMap::new();
    for (n, step) in trace.steps.iter().enumerate() {
        let Step::Begin(call) = *step else { continue };
        let Deed::Write { path, offset: None, bytes } = &trace.calls[call].deed else { continue };
        if path.parent().and_then(Path::file_name).is_none_or(|folder| folder != SAID) {
            continue;
        }
        let name = path.file_name().expect("a file has a name").to_string_lossy();
        let (text, n_lines) = said.entry(path).or_default();
        text.push_str(&String::from_utf8_lossy(bytes));
        while let Some((line, rest)) = text.split_once('\n') {
            *n_lines += 1;
            facts.extend(fact(&name, *n_lines, line).map(|fact| (n, fact)));
            *text = rest.to_owned();
        }
    }
    facts
}

/// What the nth line of a file means.
fn fact(file: &str, nth: usize, line: &str) -> Option<Fact> {
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{file}: {line:?} has no number"));
    let (kind, word) = file.split_once('.').unwrap_or((file, ""));
    let (job, what) = match kind {
        "push" if word == "dead" => (number(line), What::Queued("exit 3".to_owned())),
        "push" if word == "twice" => (number(line), What::Queued("exit 4".to_owned())),
        "push" if word == "order" => (number(line), What::Queued("sh order".to_owned())),
        // The second push of a key is answered with the first job, as that was.
        "push" if word == "k-2" => (number(line), What::Queued(": k-1".to_owned())),
        "push" => (number(line), What::Queued(format!(": {word}"))),
        "publish" => (0, What::Event(number(line))),
        "import" => (number(line), What::Queued(format!(": {word}-{nth}"))),
        "work" => {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            let state = event["state"].as_str().filter(|state| ["succeeded", "dead"].contains(state))?;
            (event["id"].as_i64()?, What::Stands(state.to_owned()))
        }
        "log" => {
            let mut words = line.split(' ');
            let (verb, object) = (words.next()?, words.next()?);
            match verb {
                "begin" => (number(object), What::Begin),
                "gone" => (number(object), What::Gone),
                "priority" => (number(object), What::Priority(number(words.next()?))),
                "step-begun" => (number(object), What::Step { name: words.next()?.to_owned(), is_recorded: false }),
                "step-over" => (number(object), What::Step { name: words.next()?.to_owned(), is_recorded: true }),
                "subscribed" => (0, What::Subscribed { name: object.to_owned(), first: number(words.next()?) }),
                "delivered" => (number(object), What::Delivers(words.next()?.to_owned(), number(words.next()?))),
                "paused" => (0, What::Paused(object.to_owned())),
                state => (number(object), What::Stands(state.to_owned())),
            }
        }
        _ => return None,
    };
    Some(Fact { job, what })
}
