//! A storm over events: several publish, some killed amid it, workers are killed at random, subscriptions are paused
//! and come late, what need not be kept is pruned all the while; then every event is held against its deliveries.
//!
//! ```sh
//! QCTL_FAULTS_DOSE=10 QCTL_FAULTS_SEED=7 cargo test --release --test faults events::storm -- --nocapture
//! ```

mod checker;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use qctl::clock::{Clock as _, SystemClock};
use qctl::job::TopicPattern;
use rusqlite::Connection;

use self::checker::{History, Job, Published, Subscription, check};
use super::{add, is_content};
use crate::dose::Dose;
use crate::support::{Running, Sandbox};

/// How many publish at once.
const N_PUBLISHERS: usize = 3;

/// How many events each publishes in the usual dose.
const N_EVENTS: usize = 60;

/// How many workers there are, and how many jobs each runs at once.
const N_WORKERS: usize = 3;
const N_SLOTS: usize = 3;

/// More subscriptions than get an event from whoever publishes it.
const N_LAZY: usize = 18;

/// How many events of `short.x` are kept.
const N_KEPT: usize = 3;

/// After how many more jobs have ended the next worker is killed.
const PAUSE: std::ops::Range<usize> = 3..40;

/// The longest that a publish takes before it is killed, in microseconds; a whole one takes about as long.
const MID_PUBLISH: u64 = 15_000;

/// What a job does: it says what it is, and gives back what it got, in a file of its attempt.
const JOB: &str = "'{ echo $QCTL_SUBSCRIPTION $QCTL_EVENT_ID $QCTL_TOPIC; cat; } \
    >part.$QCTL_JOB_ID.$QCTL_TOKEN; mv part.$QCTL_JOB_ID.$QCTL_TOKEN got/$QCTL_JOB_ID.$QCTL_TOKEN";

/// A storm under way.
struct Storm {
    queue: Sandbox,
    dose: Dose,
    published: Mutex<Vec<Published>>,
    n_killed_publishes: AtomicUsize,
    is_over: AtomicBool,
}

impl Storm {
    /// Those who subscribe before anything is published, and those who come later; with their patterns and options.
    fn subscriptions(is_late: bool) -> Vec<(String, &'static str, &'static str)> {
        let early = [
            ("eager", "kept.*", ""),
            ("second", "*.a", "-Q shared"),
            ("fails", "kept.b", "--max-attempts 1"),
            ("short", "short.>", ""),
        ];
        let late = [("late", "kept.*", "--from all -Q shared"), ("slow", "kept.a", "--from all --rate 60/s")];
        let many = (0..N_LAZY).map(|n| (format!("lazy-{n}"), "many.>", "-Q lazy"));
        let named = |(name, pattern, options): (&str, _, _)| (name.to_owned(), pattern, options);
        if is_late { late.map(named).to_vec() } else { early.map(named).into_iter().chain(many).collect() }
    }

    fn brewing(dose: Dose) -> Self {
        let queue = Sandbox::new();
        std::fs::create_dir(queue.path("got")).expect("a folder in the folder");
        let storm = Self {
            queue,
            dose,
            published: Mutex::default(),
            n_killed_publishes: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        };
        storm.subscribe(false);
        storm.queue.qctl(&format!("topic set 'short.*' --keep-rows {N_KEPT}")).succeeds();
        storm
    }

    fn subscribe(&self, is_late: bool) {
        for (name, pattern, options) in Self::subscriptions(is_late) {
            let end = if name == "fails" { "; exit 3'" } else { "'" };
            self.queue.qctl(&format!("subscription add {name} '{pattern}' {options} -- {JOB}{end}")).succeeds();
        }
    }

    fn n_published(&self) -> usize {
        self.published.lock().expect("no thread panics with it").len()
    }

    fn n_events(&self) -> usize {
        N_PUBLISHERS * N_EVENTS * self.dose.factor
    }

    /// Publishes one event after the other.
    fn publish(&self, publisher: usize) {
        let seed = self.dose.seed.wrapping_mul(1000).wrapping_add(publisher as u64);
        let mut chance = fastrand::Rng::with_seed(seed);
        for n in 0..N_EVENTS * self.dose.factor {
            let topics = ["kept.a", "kept.a", "kept.b", "kept.b", "short.x", "short.x", "many.x"];
            let topic = *chance.choice(&topics).expect("several");
            let word = format!("{publisher}-{n}-");
            let payload = word.repeat(*chance.choice(&[1, 40, 2000]).expect("three"));
            // Of the topic of which few are kept none is kept for its key, or left to when it may be gone.
            let is_short = topic == "short.x";
            let key = if is_short { String::new() } else { format!("--key {word}") };
            let lazy = if !is_short && chance.u8(..100) < 20 { "--lazy" } else { "" };
            let line = format!("publish -q {topic} {key} {lazy} --payload {payload}");
            let id = self.id_of(&line, !is_short, &mut chance);
            let event = Published { id, publisher, topic: topic.to_owned(), payload };
            self.published.lock().expect("no thread panics with it").push(event);
        }
    }

    /// Publishes until it is told the id; some are killed first.
    fn id_of(&self, line: &str, may_be_killed: bool, chance: &mut fastrand::Rng) -> i64 {
        loop {
            let publish = self.queue.start(line);
            if may_be_killed && chance.u8(..100) < 20 {
                SystemClock::default().pause(Duration::from_micros(chance.u64(..MID_PUBLISH)));
                // It may have ended by itself; until it is waited for its number is its own.
                let _ = kill(publish.pid(), Signal::SIGKILL);
                self.n_killed_publishes.fetch_add(1, Ordering::Relaxed);
            }
            let output = publish.ends();
            assert!([0, 137].contains(&output.status()), "{}", output.story());
            if let Some(id) = output.out().strip_suffix('\n').and_then(|id| id.parse().ok()) {
                return id;
            }
        }
    }

    /// Forgets what need not be kept, again and again.
    fn prune(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            self.queue.qctl("prune -q").succeeds();
            SystemClock::default().pause(Duration::from_millis(50));
        }
    }

    fn hire(&self) -> Running {
        self.queue
            .start_sh(&format!("exec qctl work -j {N_SLOTS} --lease 1s --grace 200ms --log none >/dev/null 2>>said"))
    }

    fn n_got(&self) -> usize {
        std::fs::read_dir(self.queue.path("got")).expect("the folder").count()
    }

    /// How many jobs have not ended, and how many subscriptions are behind. Puts jobs back of which three workers in
    /// a row died.
    fn n_left(&self) -> usize {
        let conn = Connection::open(self.queue.db()).expect("the queue");
        conn.busy_timeout(Duration::from_secs(30)).expect("a timeout");
        let sql = "select id from job where state = 'dead' and reason = 'crashed'";
        let mut query = conn.prepare(sql).expect("the jobs");
        let crashed = query.query_map([], |row| row.get::<_, i64>(0)).expect("the jobs");
        for id in crashed.collect::<rusqlite::Result<Vec<_>>>().expect("the jobs") {
            self.queue.qctl(&format!("dlq requeue {id} -q"));
        }
        let sql = "select (select count(*) from job where state not in ('succeeded', 'dead', 'cancelled'))
            + (select count(*) from subscription where next_event is not null)";
        conn.query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    /// Kills one worker after the other, each after some more jobs have ended, until all is published; meanwhile a
    /// subscription is paused and resumed, and in the middle the late ones come. Answers the kills, and who is left.
    fn rage(&self) -> (usize, Vec<Running>) {
        let mut chance = self.dose.chance();
        let mut hands: Vec<Running> = (0..N_WORKERS).map(|_| self.hire()).collect();
        let (mut n_kills, mut has_late, mut is_paused) = (0, false, false);
        while self.n_published() < self.n_events() || !has_late {
            let goal = self.n_got() + chance.usize(PAUSE);
            let is_all = || self.n_published() == self.n_events();
            self.queue.wait_until("more jobs end", || self.n_got() >= goal || is_all());
            // At any moment, and not only right after a job.
            SystemClock::default().pause(Duration::from_millis(chance.u64(..40)));
            hands.swap_remove(chance.usize(..hands.len())).dies();
            hands.push(self.hire());
            n_kills += 1;
            if !has_late && self.n_published() >= self.n_events() / 2 {
                self.subscribe(true);
                has_late = true;
            }
            is_paused = !is_paused;
            self.queue
                .qctl(if is_paused { "subscription pause eager" } else { "subscription resume eager" })
                .succeeds();
        }
        self.queue.qctl("subscription resume eager").succeeds();
        (n_kills, hands)
    }

    /// Kills on while what is left is done, now and then.
    fn calm_down(&self, hands: Vec<Running>) -> usize {
        let (mut chance, mut hands, mut n_kills) = (self.dose.chance(), hands, 0);
        loop {
            let n = self.n_left();
            if n == 0 {
                break;
            }
            self.queue.wait_until("another job is done", || self.n_left() < n);
            if n_kills < 5 * self.dose.factor && chance.u8(..100) < 30 {
                hands.swap_remove(chance.usize(..hands.len())).dies();
                hands.push(self.hire());
                n_kills += 1;
            }
        }
        for hand in hands {
            hand.stops().succeeds();
        }
        n_kills
    }

    fn history(&self) -> History {
        let conn = Connection::open(self.queue.db()).expect("the queue");
        let subscriptions = [false, true].map(Self::subscriptions).concat().into_iter().map(|(name, pattern, _)| {
            let pattern = TopicPattern::new(pattern).expect("a pattern");
            Subscription { fails: name == "fails", name, pattern }
        });
        let sql = "select event.id, name from event join topic on topic.id = topic_id where is_forgotten = 0";
        let on_record = conn
            .prepare(sql)
            .and_then(|mut query| query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
            .expect("the events");
        History {
            subscriptions: subscriptions.collect(),
            published: self.published.lock().expect("no thread panics with it").clone(),
            on_record,
            short: ("short.x".to_owned(), N_KEPT),
            jobs: self.jobs(&conn).expect("the jobs"),
        }
    }

    fn jobs(&self, conn: &Connection) -> rusqlite::Result<Vec<Job>> {
        let mut got: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for entry in std::fs::read_dir(self.queue.path("got")).expect("the folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let id = name.split('.').next().and_then(|id| id.parse().ok()).expect("the number of a job");
            got.entry(id).or_default().push(self.queue.read(&format!("got/{name}")));
        }
        let mut query = conn.prepare(
            "select job.id, subscription, event_id, topic, state, reason, body
             from job left join payload on payload.id = payload_id
             order by job.id",
        )?;
        let jobs = query.query_map([], |row| {
            let payload: Option<Vec<u8>> = row.get(6)?;
            Ok(Job {
                id: row.get(0)?,
                subscription: row.get(1)?,
                event: row.get(2)?,
                topic: row.get(3)?,
                state: row.get(4)?,
                reason: row.get(5)?,
                payload: String::from_utf8(payload.unwrap_or_default()).expect("text"),
                got: got.remove(&row.get(0)?).unwrap_or_default(),
            })
        })?;
        jobs.collect()
    }

    /// Once no job has them any more, of what was forgotten nothing is left.
    fn is_tidy(&self) {
        self.queue.qctl("dlq drop --all --no-undo -q").succeeds();
        self.queue.qctl("prune --older-than 0s -q").succeeds();
        let conn = Connection::open(self.queue.db()).expect("the queue");
        let counts = ["job", "event where is_forgotten = 1", "payload where id not in (select payload_id from event)"]
            .map(|of| conn.query_row(&format!("select count(*) from {of}"), [], |row| row.get::<_, i64>(0)));
        assert_eq!(counts.map(|n| n.expect("a number")), [0, 0, 0]);
        is_content(&self.queue, &String::new);
    }
}

/// Says that it is over, also where a claim fails: nobody would end otherwise.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn in_a_storm_of_kills_each_event_is_delivered_once_and_in_order_to_each_of_its_subscriptions() {
    let storm = &Storm::brewing(Dose::read());
    let since = storm.queue.uptime();
    let n_kills = thread::scope(|scope| {
        let _calm = OnDrop(&storm.is_over);
        for publisher in 0..N_PUBLISHERS {
            scope.spawn(move || storm.publish(publisher));
        }
        scope.spawn(|| storm.prune());
        let (n_kills, hands) = storm.rage();
        n_kills + storm.calm_down(hands)
    });
    let took = storm.queue.uptime().since(since);
    storm.queue.qctl("prune -q").succeeds();
    let history = storm.history();
    check(&history).unwrap_or_else(|what| panic!("seed {}: {what}\n{}", storm.dose.seed, storm.queue.read("said")));
    is_content(&storm.queue, &|| format!("seed {}", storm.dose.seed));
    let n_dead = history.jobs.iter().filter(|job| job.state == "dead").count();
    let n_again: usize = history.jobs.iter().map(|job| job.got.len() - 1).sum();
    let n_forgotten = history.published.len() - history.on_record.len();
    storm.is_tidy();
    assert!(n_kills > 3 && n_dead > 0 && n_forgotten > 0, "it was no storm");
    add(&format!(
        "storm: {} events of {N_PUBLISHERS} publishers ({} publishes killed), {} subscriptions, {N_WORKERS} workers, \
         {n_kills} kills, {} deliveries made once each and in order, {n_dead} of them dead letters, {n_again} runs \
         again, {n_forgotten} events forgotten, 0 deliveries lost, in {took:.1?}",
        history.published.len(),
        storm.n_killed_publishes.load(Ordering::Relaxed),
        history.subscriptions.len(),
        history.jobs.len(),
    ));
}
