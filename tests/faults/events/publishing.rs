//! A publish that is killed has published to all its subscribers or to none, whatever was in the file before.

use super::{Event, Seen, Template, is_content, points};
use crate::dose::Dose;
use crate::killing::{sweep, tell};
use crate::strike::{self, Struck, may_trace};

/// How many calls of each kind of publish are swept in the usual dose.
const N_POINTS: usize = 30;

const PUBLISH: &str = "publish t.a --key once -l region=eu --payload-file body";

const THREE: &str = "
    qctl subscription add one 't.>' -- :
    qctl subscription add two '*.a' -- :
    qctl subscription add three t.a -Q shared -- :
    qctl publish t.a --key before --payload x -q >/dev/null";

/// More than those to whom whoever publishes delivers.
const TWENTY: &str = "
    for n in $(seq 20); do qctl subscription add s$n 't.>' -- :; done";

/// A file to which something is published.
struct Kind {
    what: &'static str,
    script: &'static str,
    /// Whether the publisher makes the deliveries.
    is_eager: bool,
}

const KINDS: [Kind; 4] = [
    Kind { what: "publish to three subscriptions", script: THREE, is_eager: true },
    Kind { what: "first publish in a file", script: "qctl push -Q other true >/dev/null", is_eager: true },
    Kind { what: "publish that makes the file", script: "", is_eager: true },
    Kind { what: "publish left to workers, to 20 subscriptions", script: TWENTY, is_eager: false },
];

/// More than fits a page.
fn body() -> String {
    "b".repeat(20_000)
}

/// What has become of it: nothing, or that the event is there and each subscription has it or is known to be behind.
/// Answers the event, if it was published.
#[track_caller]
fn is_whole(kind: &Kind, before: &Seen, now: &Seen, story: &dyn Fn() -> String) -> Option<i64> {
    let is_it = |event: &Event| event.key.as_deref() == Some("once");
    let Some(id) = now.events.iter().find(|(_, event)| is_it(event)).map(|(&id, _)| id) else {
        assert_eq!(now, before, "there is a trace of what was not published: {}", story());
        return None;
    };
    let mut expected = before.clone();
    let event = Event { topic: "t.a".to_owned(), key: Some("once".to_owned()), payload: body() };
    expected.events.insert(id, event);
    for (name, next) in &mut expected.behind {
        if kind.is_eager {
            expected.deliveries.entry(name.clone()).or_default().push(id);
        } else {
            *next = Some(id);
        }
    }
    assert_eq!(*now, expected, "{}", story());
    Some(id)
}

/// Kills a publish at one of its calls, publishes the same again, and has workers do what is left.
fn publish_is_killed(kind: &Kind, template: &Template, point: usize) -> Struck {
    let queue = template.copy();
    let before = Seen::inside(&queue);
    queue.write("body", body());
    let struck = strike::at(&queue, PUBLISH, point);
    let story = || format!("{}: {struck:?}", kind.what);
    let left = is_whole(kind, &before, &Seen::inside(&queue), &story);
    if let Ok(printed) = struck.out.trim().parse::<i64>() {
        assert_eq!(left, Some(printed), "what was printed is there: {}", story());
    }
    assert!(left.is_some() || struck.who.is_some(), "{}", story());
    if left.is_some() {
        is_content(&queue, &story);
    }
    // Whoever is not sure publishes again, and there is one event.
    let id: i64 = queue.qctl(PUBLISH).succeeds().out().trim().parse().expect("an id");
    assert!(left.is_none_or(|left| left == id), "{}", story());
    let after = Seen::inside(&queue);
    assert_eq!(is_whole(kind, &before, &after, &story), Some(id), "{}", story());
    assert_eq!(after.events.len(), before.events.len() + 1, "{}", story());
    is_content(&queue, &story);
    if point.is_multiple_of(6) {
        is_delivered(&queue, &after, &story);
    }
    struck
}

/// Workers deliver what is left, to each the event once, and all of them to one who comes late.
fn is_delivered(queue: &crate::support::Sandbox, published: &Seen, story: &dyn Fn() -> String) {
    queue.qctl("subscription add late '>' --from all -- :").succeeds();
    queue.qctl("work --drain -q -j 4").succeeds();
    let told = Seen::told(queue);
    let all: Vec<i64> = published.events.keys().copied().collect();
    assert!(told.behind.values().all(Option::is_none), "{told:?} {}", story());
    assert_eq!(told.deliveries.len(), published.behind.len() + 1, "{told:?} {}", story());
    assert!(told.deliveries.values().all(|delivered| *delivered == all), "{told:?} {}", story());
    assert_eq!(told.events, published.events, "{}", story());
    is_content(queue, story);
}

#[test]
fn a_publish_that_is_killed_at_any_call_is_there_for_all_its_subscriptions_or_not_at_all() {
    if !may_trace() {
        return;
    }
    let dose = Dose::read();
    for kind in &KINDS {
        let template = Template::new(kind.script);
        let last = publish_is_killed(kind, &template, usize::MAX).n_calls;
        assert!(last > 100, "a publish makes so many calls: {last}");
        let points = points(last, N_POINTS, dose);
        let killed = sweep(&points, |point| publish_is_killed(kind, &template, point).who);
        tell(kind.what, points.len(), last, &killed);
        assert!(killed.values().sum::<usize>() * 10 >= points.len() * 9, "most were killed: {killed:?}");
    }
}
