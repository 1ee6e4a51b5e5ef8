//! Holds what was delivered against what was published.

use std::collections::{BTreeMap, BTreeSet};

use qctl::job::{Topic, TopicPattern};

/// An event as whoever published it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) id: i64,
    pub(super) publisher: usize,
    pub(super) topic: String,
    pub(super) payload: String,
}

/// A subscription, each of which is to get all that was ever published to its topics.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) name: String,
    pub(super) pattern: TopicPattern,
    /// Whether each of its jobs fails.
    pub(super) fails: bool,
}

/// A job in the end.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: i64,
    pub(super) subscription: String,
    pub(super) event: i64,
    pub(super) topic: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) payload: String,
    /// What its attempts got on their standard input, those that came to their end.
    pub(super) got: Vec<String>,
}

/// All that happened.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) subscriptions: Vec<Subscription>,
    /// In the order in which each publisher was told.
    pub(super) published: Vec<Published>,
    /// The events on record in the end, with their topics.
    pub(super) on_record: BTreeMap<i64, String>,
    /// The topic of which only so many are kept.
    pub(super) short: (String, usize),
    pub(super) jobs: Vec<Job>,
}

/// Says what is wrong, if anything is.
pub(super) fn check(history: &History) -> Result<(), String> {
    check_events(history)?;
    let by_id: BTreeMap<i64, &Published> = history.published.iter().map(|event| (event.id, event)).collect();
    let mut delivered: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let mut jobs: Vec<&Job> = history.jobs.iter().collect();
    jobs.sort_by_key(|job| job.id);
    for job in jobs {
        let event = by_id.get(&job.event).ok_or_else(|| format!("nobody published the event of {job:?}"))?;
        let one = history.subscriptions.iter().find(|one| one.name == job.subscription);
        let one = one.ok_or_else(|| format!("nobody subscribed for {job:?}"))?;
        check_job(job, event, one).map_err(|what| format!("{what}: {job:?}"))?;
        delivered.entry(&job.subscription).or_default().push(job.event);
    }
    for one in &history.subscriptions {
        let is_meant = |event: &&Published| Topic::new(&event.topic).is_ok_and(|topic| one.pattern.matches(&topic));
        let wanted: BTreeSet<i64> = history.published.iter().filter(is_meant).map(|event| event.id).collect();
        let got = delivered.remove(one.name.as_str()).unwrap_or_default();
        let (name, distinct) = (&one.name, got.iter().copied().collect::<BTreeSet<i64>>());
        if distinct.len() < got.len() {
            return Err(format!("{name} got an event twice: {got:?}"));
        }
        if distinct != wanted {
            let missing: Vec<_> = wanted.difference(&distinct).collect();
            return Err(format!("{name} did not get what it should: {missing:?} are missing from {got:?}"));
        }
        if !got.is_sorted() {
            return Err(format!("{name} did not get its events in order: {got:?}"));
        }
    }
    Ok(())
}

fn check_events(history: &History) -> Result<(), String> {
    let ids: BTreeSet<i64> = history.published.iter().map(|event| event.id).collect();
    if ids.len() < history.published.len() {
        return Err("a number was given twice".to_owned());
    }
    let mut last: BTreeMap<usize, i64> = BTreeMap::new();
    for event in &history.published {
        if last.insert(event.publisher, event.id).is_some_and(|last| last > event.id) {
            return Err(format!("a number is below one that was given before: {event:?}"));
        }
    }
    let (short, n_kept) = &history.short;
    for event in history.published.iter().filter(|event| event.topic != *short) {
        if history.on_record.get(&event.id) != Some(&event.topic) {
            return Err(format!("what was published is not on record: {event:?}"));
        }
    }
    if let Some(stranger) = history.on_record.keys().find(|id| !ids.contains(id)) {
        return Err(format!("event {stranger} was published twice, or by nobody"));
    }
    let n = history.on_record.values().filter(|topic| *topic == short).count();
    if n > *n_kept { Err(format!("{n} events of {short} are kept, and not {n_kept}")) } else { Ok(()) }
}

fn check_job(job: &Job, event: &Published, of: &Subscription) -> Result<(), &'static str> {
    let wanted = if of.fails { ("dead", Some("exhausted")) } else { ("succeeded", None) };
    if (job.state.as_str(), job.reason.as_deref()) != wanted {
        return Err("it did not end as it should");
    }
    if job.topic != event.topic {
        return Err("it has another topic");
    }
    if job.payload != event.payload {
        return Err("it has another payload");
    }
    let whole = format!("{} {} {}\n{}", job.subscription, job.event, job.topic, event.payload);
    if job.got.is_empty() || job.got.iter().any(|got| *got != whole) {
        return Err("it did not get what it should");
    }
    Ok(())
}

/// Two subscriptions to one event each, of which the second is of a topic that is not kept.
fn sound() -> History {
    let event =
        |id, topic: &str| Published { id, publisher: 1, topic: topic.to_owned(), payload: format!("body {id}") };
    let subscription = |name: &str, pattern, fails| Subscription {
        name: name.to_owned(),
        pattern: TopicPattern::new(pattern).expect("a pattern"),
        fails,
    };
    let job = |id, event, subscription: &str, topic: &str, (state, reason): (&str, Option<&str>)| Job {
        id,
        subscription: subscription.to_owned(),
        event,
        topic: topic.to_owned(),
        state: state.to_owned(),
        reason: reason.map(str::to_owned),
        payload: format!("body {event}"),
        got: vec![format!("{subscription} {event} {topic}\nbody {event}")],
    };
    let (done, dead) = (("succeeded", None), ("dead", Some("exhausted")));
    History {
        subscriptions: vec![subscription("one", "kept.>", false), subscription("two", ">", true)],
        published: vec![event(1, "kept.a"), event(2, "short.x"), event(3, "kept.b")],
        on_record: BTreeMap::from([(1, "kept.a".to_owned()), (3, "kept.b".to_owned())]),
        short: ("short.x".to_owned(), 0),
        jobs: vec![
            job(1, 1, "one", "kept.a", done),
            job(2, 1, "two", "kept.a", dead),
            job(3, 2, "two", "short.x", dead),
            job(4, 3, "one", "kept.b", done),
            job(5, 3, "two", "kept.b", dead),
        ],
    }
}

#[test]
fn the_check_of_the_storm_sees_whatever_is_wrong_with_an_event_or_a_delivery() {
    check(&sound()).expect("nothing is wrong");
    type Wrong = (&'static str, fn(&mut History));
    let wrongs: [Wrong; 16] = [
        ("are missing", |history| drop(history.jobs.remove(2))),
        ("are missing", |history| drop(history.jobs.remove(3))),
        ("twice", |history| history.jobs.push(history.jobs[0].clone())),
        ("in order", |history| history.jobs[3].id = 0),
        ("nobody published", |history| history.jobs[0].event = 7),
        ("nobody subscribed", |history| history.jobs[0].subscription = "three".to_owned()),
        ("did not end", |history| history.jobs[0].state = "ready".to_owned()),
        ("did not end", |history| history.jobs[1].reason = Some("crashed".to_owned())),
        ("another topic", |history| history.jobs[0].topic = "kept.b".to_owned()),
        ("another payload", |history| history.jobs[2].payload = String::new()),
        ("did not get what", |history| history.jobs[0].got[0].push('x')),
        ("did not get what", |history| history.jobs[0].got.clear()),
        ("not on record", |history| drop(history.on_record.remove(&1))),
        ("by nobody", |history| drop(history.on_record.insert(4, "kept.a".to_owned()))),
        ("are kept", |history| drop(history.on_record.insert(2, "short.x".to_owned()))),
        ("below one", |history| history.published.swap(0, 1)),
    ];
    for (n, (what, wrong)) in wrongs.into_iter().enumerate() {
        let mut history = sound();
        wrong(&mut history);
        let found = check(&history).expect_err("something is wrong");
        assert!(found.contains(what), "{n}: {found}");
    }
}
