//! Who pushes: in a loop until the storm is over, each with a chance of its own; now and then it is killed in
//! the middle of a push.

use std::fmt::Write as _;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use qctl::clock::{Clock as _, SystemClock};

use super::Storm;
use super::history::{Answer, Key, Kind, Push};
use crate::support::{Output, Running};

/// The queues.
pub(super) const QUEUES: [&str; 3] = ["alpha", "beta", "gamma"];

/// How many jobs may wait: enough that workers never want for any, and few enough to be done soon after the
/// storm.
const BACKLOG: usize = 120;

/// The longest that a push takes before it is killed, in microseconds; a whole one takes about as long.
const MID_PUSH: u64 = 15_000;

/// Somebody who pushes.
pub(super) struct Pusher<'s> {
    storm: &'s Storm,
    n: usize,
    chance: fastrand::Rng,
    n_calls: usize,
    pushes: Vec<Push>,
}

/// What a push asks for.
struct Order {
    push: Push,
    options: String,
    seconds: &'static str,
}

impl<'s> Pusher<'s> {
    pub(super) fn new(storm: &'s Storm, n: usize) -> Self {
        let chance = fastrand::Rng::with_seed(storm.dose.seed.wrapping_mul(1000).wrapping_add(n as u64));
        Self { storm, n, chance, n_calls: 0, pushes: Vec::new() }
    }

    /// Pushes until the storm is over; answers what, and what it was told.
    pub(super) fn run(mut self) -> Vec<Push> {
        while !self.storm.is_over() {
            self.n_calls += 1;
            if self.chance.u8(..100) < 12 {
                self.import()
            } else {
                self.push()
            }
            let is_time = || self.storm.is_over() || self.storm.n_unfinished() < BACKLOG;
            self.storm.queue.wait_until("a job is done", is_time);
        }
        self.pushes
    }

    fn push(&mut self) {
        let Order { mut push, options, seconds } = self.order();
        let line = format!(
            "push --json -q -Q {} -l tag={} {options} -- sh job.sh {} {seconds}",
            push.queue,
            push.tag,
            push.kind.name()
        );
        let output = self.end(self.storm.queue.start(&line));
        push.answer = told(&output, |text| {
            let answer: serde_json::Value = serde_json::from_str(text).ok()?;
            let id = answer["id"].as_i64()?;
            Some(if answer["outcome"] == "created" { Answer::Created(id) } else { Answer::Existing(id) })
        });
        if let Answer::Created(id) = push.answer {
            self.storm.note_job(id);
        }
        self.pushes.push(push);
    }

    /// Queues some jobs at once, all or none.
    fn import(&mut self) {
        let batch = format!("batch-{}-{}", self.n, self.n_calls);
        let mut pushes = Vec::new();
        let mut lines = String::new();
        for n in 0..self.chance.usize(2..7) {
            let kind = *self.chance.choice(&[Kind::Sound, Kind::Recovers, Kind::Doomed]).expect("three");
            let (queue, tag) = (self.queue(), format!("{}-{}-{n}", self.n, self.n_calls));
            let command = ["sh", "job.sh", kind.name(), "0.05"];
            let line = serde_json::json!({ "command": command, "queue": queue, "labels": { "tag": tag } });
            writeln!(lines, "{line}").expect("a string takes any text");
            let batch = Some(batch.clone());
            pushes.push(Push { tag, kind, queue, key: None, batch, answer: Answer::Unknown });
        }
        self.storm.queue.write(&batch, lines);
        let output = self.end(self.storm.queue.start(&format!("import --json -q {batch}")));
        for (n, push) in pushes.iter_mut().enumerate() {
            push.answer = told(&output, |text| {
                let answer: serde_json::Value = serde_json::from_str(text).ok()?;
                answer["ids"][n].as_i64().map(Answer::Created)
            });
        }
        self.pushes.extend(pushes);
    }

    fn order(&mut self) -> Order {
        let kinds = [Kind::Sound, Kind::Sound, Kind::Sound, Kind::Stubborn, Kind::Recovers, Kind::Doomed, Kind::Fatal];
        let kind = *self.chance.choice(&kinds).expect("several");
        let seconds = *self.chance.choice(&["0", "0", "0.02", "0.05", "0.1", "0.3", "1.5"]).expect("several");
        let mut options = match kind {
            // One attempt only: what befalls workers costs none.
            Kind::Sound | Kind::Stubborn => "--max-attempts 1".to_owned(),
            Kind::Recovers => "--max-attempts 3".to_owned(),
            Kind::Doomed => "--max-attempts 2".to_owned(),
            Kind::Fatal => "--dead-on 60-69".to_owned(),
        };
        if self.chance.u8(..100) < 30 {
            write!(options, " --priority {}", self.chance.i32(-100..=100)).expect("a string takes any text");
        }
        if self.chance.u8(..100) < 15 {
            write!(options, " --delay {}ms", self.chance.u32(1..1000)).expect("a string takes any text");
        }
        let key = self.key();
        if let Some(key) = &key {
            let ttl = if key.outlasts_its_job { "24h" } else { "none" };
            write!(options, " --key {} --key-ttl {ttl}", key.name).expect("a string takes any text");
        }
        let tag = format!("{}-{}", self.n, self.n_calls);
        let push = Push { tag, kind, queue: self.queue(), key, batch: None, answer: Answer::Unknown };
        Order { push, options, seconds }
    }

    /// A key that others push too: the pushers are about as far, and draw from the same few.
    fn key(&mut self) -> Option<Key> {
        let round = self.n_calls / 10;
        match self.chance.u8(..100) {
            0..15 => Some(Key { name: format!("once-{round}-{}", self.chance.u8(..2)), outlasts_its_job: true }),
            15..30 => Some(Key { name: format!("again-{}", self.chance.u8(..4)), outlasts_its_job: false }),
            _ => None,
        }
    }

    fn queue(&mut self) -> String {
        (*self.chance.choice(QUEUES).expect("three")).to_owned()
    }

    /// Waits until a push ends; some are killed first.
    fn end(&mut self, push: Running) -> Output {
        if self.chance.u8(..100) < 8 {
            SystemClock::default().pause(Duration::from_micros(self.chance.u64(..MID_PUSH)));
            // It may have ended by itself; until it is waited for its number is its own.
            let _ = kill(push.pid(), Signal::SIGKILL);
            self.storm.note_killed_push();
        }
        push.ends()
    }
}

/// What a push was told: what was printed whole counts, however it ended.
fn told(output: &Output, read: impl Fn(&str) -> Option<Answer>) -> Answer {
    let printed = output.out().strip_suffix('\n').and_then(read);
    match (output.status(), printed) {
        (0 | 137, Some(answer)) => answer,
        (137 | 74, None) => Answer::Unknown,
        (75, None) => Answer::Nothing,
        _ => panic!("a push ended as none should\n{}", output.story()),
    }
}
