//! What is changed about subscriptions and topics is changed whole or not at all, and nothing is lost by it.

use rusqlite::Connection;

use super::{Seen, Template, is_content, points};
use crate::dose::Dose;
use crate::killing::{sweep, tell};
use crate::strike::{self, Struck, may_trace};
use crate::support::Sandbox;

/// How many calls of each verb are swept in the usual dose.
const N_POINTS: usize = 8;

/// `one` has got all six events and run them, `two` is paused and behind.
const SORTS: &str = "
    qctl subscription add one 't.>' -- :
    qctl subscription add two 't.>' -- :
    qctl subscription pause two
    for n in 1 2 3 4 5 6; do qctl publish -q t.a --payload $n >/dev/null; done
    qctl work --drain -q";

/// The same, and all but two of the events need not be kept, none of another topic.
const OUTLIVED: &str = "
    qctl publish -q u.a --payload other -l a=b >/dev/null
    qctl subscription add late 'u.>' --from all -- :
    qctl work --drain -q
    qctl topic set t.a --keep-rows 2
    qctl topic set 'u.>' --keep 1ms";

/// And they were forgotten; what jobs have is still there, for them.
const FORGOTTEN: &str = "sleep 0.01; qctl prune -q";

/// The verbs, what is done before to what all sorts are in.
const VERBS: [(&str, &[&str]); 9] = [
    ("subscription add late 't.>' --from all -- :", &[SORTS]),
    ("subscription rewind one --to 3", &[SORTS]),
    ("subscription rewind two --to new", &[SORTS]),
    ("subscription pause one", &[SORTS]),
    ("subscription resume two", &[SORTS]),
    ("subscription remove two", &[SORTS]),
    ("topic set 't.>' --keep-rows 2 --keep 1h", &[SORTS]),
    ("prune", &[SORTS, OUTLIVED]),
    ("prune --older-than 0s -Q one", &[SORTS, OUTLIVED, FORGOTTEN]),
];

/// All that the file says of events, topics, subscriptions and their jobs, but for times.
fn look(queue: &Sandbox) -> Vec<String> {
    let conn = Connection::open(queue.db()).expect("the queue");
    let sql = "select 'job ' || id || ' ' || queue_id || ' ' || state || ' ' || event_id || ' ' || subscription from job
        union all
        select 'event ' || id || ' ' || topic_id || ' ' || payload_id || ' ' || deliveries || ' ' || is_forgotten from event
        union all
        select 'topic ' || id || ' ' || name || ' ' || n || ' ' || bytes || ' ' || coalesce(settings, '-') from topic
        union all
        select 'subscription ' || name || ' ' || pattern || ' ' || (paused_at is not null) || ' '
          || coalesce(next_event, '-') || ' ' || coalesce(rate, '-') from subscription
        union all
        select 'queue ' || name || ' ' || (paused_at is not null) from queue
        union all
        select 'payload ' || id || ' ' || length(body) from payload
        union all
        select 'label ' || name || value || job_id from label
        union all
        select 'counter ' || queue_id || what || n from counter where queue_id > 0 and n <> 0
        order by 1";
    let mut query = conn.prepare(sql).expect("the tables");
    let rows = query.query_map([], |row| row.get(0)).expect("the tables");
    rows.collect::<rusqlite::Result<_>>().expect("the tables")
}

/// What comes of it all: one more event, and whoever is behind gets what there is.
fn goes_on(queue: &Sandbox) -> Seen {
    queue.qctl("publish -q t.a --payload last").succeeds();
    queue.qctl("work --drain -q -j 4").succeeds();
    Seen::told(queue)
}

/// How a verb ends when nobody is killed.
struct Outcome {
    undone: Vec<String>,
    done: Vec<String>,
    /// What is told after all went on.
    after: Seen,
}

impl Outcome {
    fn of(template: &Template, verb: &str) -> Self {
        let queue = template.copy();
        let undone = look(&queue);
        queue.qctl(verb).succeeds();
        let done = look(&queue);
        assert_ne!(done, undone, "{verb}");
        is_content(&queue, &|| verb.to_owned());
        Self { undone, done, after: goes_on(&queue) }
    }
}

fn verb_is_killed(template: &Template, verb: &str, outcome: &Outcome, point: usize) -> Struck {
    let queue = template.copy();
    let struck = strike::at(&queue, verb, point);
    let found = look(&queue);
    let story = || format!("{verb}: {found:#?}\n{struck:?}");
    assert!(found == outcome.undone || found == outcome.done, "neither done nor undone: {}", story());
    is_content(&queue, &story);
    // Whoever is not sure does it again; what is removed cannot be once more.
    let again = queue.qctl(verb).status();
    assert!(again == 0 || (verb.contains("remove") && found == outcome.done), "{again}: {}", story());
    assert_eq!(look(&queue), outcome.done, "{}", story());
    if point.is_multiple_of(3) {
        assert_eq!(goes_on(&queue), outcome.after, "{}", story());
        is_content(&queue, &story);
    }
    struck
}

#[test]
fn what_is_done_to_subscriptions_and_topics_and_killed_at_any_call_is_done_whole_or_not_at_all() {
    if !may_trace() {
        return;
    }
    let dose = Dose::read();
    for (verb, before) in VERBS {
        let template = Template::new(&before.join("\n"));
        let outcome = Outcome::of(&template, verb);
        let last = strike::count(&template.copy(), verb);
        let points = points(last, N_POINTS, dose);
        let killed = sweep(&points, |point| verb_is_killed(&template, verb, &outcome, point).who);
        tell(verb, points.len(), last, &killed);
    }
}
