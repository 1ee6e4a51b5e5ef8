//! A worker that is killed while it delivers to subscriptions that are behind leaves the rest to the next, which
//! goes on where it was: nothing is delivered twice, or passed over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use qctl::clock::{Clock as _, SystemClock};
use qctl::job::{NewEvent, Topic};
use qctl::store::{Access, Target};

use super::{Seen, Template, add, is_content, points};
use crate::dose::Dose;
use crate::killing::{sweep, tell};
use crate::strike::{self, Struck, may_trace};

/// How many calls are swept in the usual dose of a worker that delivers, of one that also runs what it delivers, and
/// of one that delivers a great many.
const N_POINTS: [usize; 3] = [40, 20, 12];

const WORK: &str = "work --drain --wait-due 5s -j 2";

/// Events to topics that one or all of the subscriptions have, or none. `lazy` has nothing older to get, `all` came
/// later, and `slow` gets what was before it at a rate, which takes three portions.
const FEW: &str = "
    qctl subscription add lazy 't.>' -- :
    for topic in t.a t.b u.a t.a t.b t.a u.a t.a; do qctl publish -q --lazy $topic --payload $topic >/dev/null; done
    qctl subscription add all 't.>' --from all -Q shared -- :
    qctl subscription add slow t.a --from 2 --rate 20/s -- :
    qctl publish -q t.a --payload last >/dev/null";

/// So that nothing but deliveries is made.
const PAUSE: &str = "for queue in lazy shared slow; do qctl queue pause $queue; done";

/// The events that each is to get.
fn wanted(lists: &[(&str, &[i64])]) -> BTreeMap<String, Vec<i64>> {
    lists.iter().map(|(name, ids)| ((*name).to_owned(), ids.to_vec())).collect()
}

/// Each has got the first so many of its events, in their order, and what it is to get next is on record. Answers
/// whether some have not got all.
#[track_caller]
fn is_in_order(seen: &Seen, wanted: &BTreeMap<String, Vec<i64>>, story: &dyn Fn() -> String) -> bool {
    let mut is_behind = false;
    for (name, wanted) in wanted {
        let got = seen.deliveries.get(name).map_or(&[][..], Vec::as_slice);
        assert!(wanted.starts_with(got), "{name} has got {got:?} of {wanted:?}\n{}", story());
        let (last, missing) = (got.last(), wanted.get(got.len()));
        let next = seen.behind[name];
        let is_known = match (missing, next) {
            (Some(missing), Some(next)) => next <= *missing && last.is_none_or(|last| *last < next),
            (Some(_), None) => false,
            (None, next) => last.zip(next.as_ref()).is_none_or(|(last, next)| last < next),
        };
        assert!(is_known, "{name} has got {got:?} of {wanted:?}, and next it gets {next:?}\n{}", story());
        is_behind |= missing.is_some();
    }
    is_behind
}

/// Kills a worker at one of its calls, and has another do the rest; answers whether the first left any events.
fn worker_is_killed(
    template: &Template,
    work: &str,
    wanted: &BTreeMap<String, Vec<i64>>,
    point: usize,
) -> (Struck, bool) {
    let queue = template.copy();
    let struck = strike::at(&queue, work, point);
    let left = Seen::inside(&queue);
    let story = || format!("{struck:?}\nleft: {:?} {:?}", left.deliveries, left.behind);
    let is_behind = is_in_order(&left, wanted, &story);
    is_content(&queue, &story);
    queue.qctl(work).succeeds();
    let told = Seen::told(&queue);
    assert_eq!(told.deliveries, *wanted, "{}", story());
    assert!(told.behind.values().all(Option::is_none), "{:?}\n{}", told.behind, story());
    assert_eq!(told.events, left.events, "{}", story());
    is_content(&queue, &story);
    (struck, is_behind)
}

fn all_are_killed(what: &str, (template, work): (&Template, &str), wanted: &BTreeMap<String, Vec<i64>>, n: usize) {
    let dose = Dose::read();
    let n_behind = AtomicUsize::new(0);
    let last = worker_is_killed(template, work, wanted, usize::MAX).0.n_calls;
    let points = points(last, n, dose);
    let killed = sweep(&points, |point| {
        let (struck, is_behind) = worker_is_killed(template, work, wanted, point);
        n_behind.fetch_add(usize::from(is_behind), Ordering::Relaxed);
        struck.who
    });
    tell(what, points.len(), last, &killed);
    let n_behind = n_behind.into_inner();
    assert!(killed.values().sum::<usize>() * 10 >= points.len() * 7, "most were killed: {killed:?}");
    assert!(n_behind > 0, "none was killed before it had delivered all");
    let n_events: usize = wanted.values().map(Vec::len).sum();
    add(&format!(
        "{what}: each of {n_events} deliveries made once and in order; {n_behind} of {} kills left some to the next worker",
        points.len()
    ));
}

#[test]
fn a_worker_that_is_killed_at_any_call_while_it_catches_up_delivers_each_event_once_and_in_order() {
    if !may_trace() {
        return;
    }
    let wanted = wanted(&[("all", &[1, 2, 4, 5, 6, 8, 9]), ("lazy", &[1, 2, 4, 5, 6, 8, 9]), ("slow", &[4, 6, 8, 9])]);
    let paused = Template::new(&format!("{FEW}\n{PAUSE}"));
    all_are_killed("work that catches up for three", (&paused, WORK), &wanted, N_POINTS[0]);
    let few = Template::new(FEW);
    all_are_killed("work that catches up and runs all", (&few, WORK), &wanted, N_POINTS[1]);
}

/// So many that one turn does not deliver them all.
const N_MANY: i64 = 620;

/// A queue whose deliveries are made and not run.
fn many() -> Template {
    let template = Template::new("qctl queue set all --priority 1; qctl queue pause all");
    let db = template.0.db();
    let mut store = qctl::store::open(&Target::Sqlite(db), Access::Existing).expect("the queue");
    let now = SystemClock::default().now();
    for n in 1..=N_MANY {
        let event = NewEvent {
            topic: Topic::new("t.a").expect("a topic"),
            key: None,
            key_until: now,
            labels: BTreeMap::default(),
            payload: Some(n.to_string().into_bytes()),
            is_lazy: false,
        };
        assert_eq!(store.publish(&event, now).expect("it is published").id.get(), n);
    }
    drop(store);
    template.0.qctl("subscription add all 't.>' --from all -- :").succeeds();
    template
}

#[test]
fn a_worker_that_is_killed_at_any_call_amid_many_events_leaves_the_cursor_where_the_deliveries_end() {
    if !may_trace() {
        return;
    }
    let ids: Vec<i64> = (1..=N_MANY).collect();
    let wanted = wanted(&[("all", &ids)]);
    all_are_killed("work that catches up in portions", (&many(), WORK), &wanted, N_POINTS[2]);
}
