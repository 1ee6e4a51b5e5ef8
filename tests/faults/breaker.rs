//! A worker is killed at system calls around the one that stops a queue by its breaker: what the breaker has counted is
//! what is on record, and the queue is stopped where it must be, and goes on.
//!
//! ```sh
//! QCTL_FAULTS_DOSE=100 cargo test --release --test faults breaker -- --nocapture
//! ```

use crate::dose::Dose;
use crate::killing::{is_sound, sweep, tell};
use crate::strike::{self, Struck, may_trace};
use crate::support::Sandbox;

/// How many calls are swept in the usual dose.
const N_POINTS: usize = 24;

const WORK: &str = "work --drain";

/// Five jobs that fail as long as there is no file `up`, in a queue that stops at the second.
fn guarded() -> Sandbox {
    let queue = Sandbox::new();
    queue.qctl("queue set mail --breaker '2 of 4' --breaker-probe 1h --backoff fixed:1h").succeeds();
    for _ in 0..5 {
        queue.push("-Q mail 'test -e up'");
    }
    queue
}

/// How many attempts failed, how many of them the breaker has counted, and whether it has stopped the queue.
fn counted(queue: &Sandbox) -> (usize, usize, bool) {
    let file = rusqlite::Connection::open(queue.db()).expect("the file");
    let sql =
        "select (select count(*) from attempt where outcome = 'failed'), length(recent) / 4, tripped_at is not null
        from breaker";
    file.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("a breaker")
}

#[test]
fn a_worker_that_is_killed_leaves_a_breaker_that_knows_what_is_on_record() {
    if !may_trace() {
        return;
    }
    let dose = Dose::read();
    let last = strike::count(&guarded(), WORK);
    let points = strike::spread(last, N_POINTS * dose.factor, &mut dose.chance());
    let killed = sweep(&points, |point| worker_is_killed(point).who);
    tell("work of a queue with a breaker", points.len(), last, &killed);
}

fn worker_is_killed(point: usize) -> Struck {
    let mut queue = guarded();
    let struck = strike::at(&queue, WORK, point);
    is_sound(&queue, &struck);
    let (n_failed, n_counted, is_stopped) = counted(&queue);
    assert_eq!((n_counted, is_stopped), (n_failed, n_failed == 2), "{struck:?}");

    queue.qctl(WORK).succeeds();
    assert_eq!(counted(&queue), (2, 2, true), "{struck:?}");
    let attempts = queue.qctl("list -F attempt").succeeds().out();
    assert_eq!((attempts.matches('1').count(), attempts.matches('0').count()), (2, 3), "{attempts} {struck:?}");

    queue.write("up", "");
    queue.advance("61m");
    queue.qctl(WORK).succeeds();
    assert_eq!((counted(&queue), queue.ids("succeeded").len()), ((2, 4, false), 5), "{struck:?}");
    is_sound(&queue, &struck);
    struck
}
