//! Workers: who lives, who hangs, what became of their jobs.

use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use super::bench::{Bench, LEASE, Open, chunk, job, moment, uptime, worker};
use crate::job::{Claimed, JobId, Lease, Outcome, StateKind, Token, Verdict, WorkerId};
use crate::store::{Orphan, Settled, Standing, Tidy, Worker};

pub(crate) fn a_worker_is_alive_until_its_store_is_gone(open: &Open) {
    let mut observer = Bench::new(open);
    let other = observer.beside();
    let (id, since) = (other.worker, other.now);
    let seen = find_worker(&mut observer, id).expect("on the books");
    assert!(seen.is_alive);
    assert_eq!((seen.since, seen.heartbeat_at), (since, since));

    drop(other);
    assert!(!find_worker(&mut observer, id).expect("still on the books").is_alive);
}

fn find_worker(bench: &mut Bench<'_>, id: WorkerId) -> Option<Worker> {
    bench.store.workers().expect("the workers").into_iter().find(|worker| worker.id == id)
}

pub(crate) fn the_books_say_what_a_worker_said_of_itself(open: &Open) {
    let mut bench = Bench::new(open);
    let new = worker(&["mail.*", "video"]);
    let id = bench.connection().enroll(&new, moment(bench.now)).expect("a worker on the books");
    let about = find_worker(&mut bench, id).expect("on the books").about;
    assert_eq!((&about.host, about.pid, &about.queues), (&new.host, new.pid, &new.queues));
    assert_eq!((about.n_slots, about.lease), (new.n_slots, new.lease));

    let own = bench.worker;
    let all = find_worker(&mut bench, own).expect("on the books").about;
    assert_eq!(all.queues, [], "none given: every queue");
}

pub(crate) fn workers_are_numbered_and_no_number_is_given_twice(open: &Open) {
    let mut bench = Bench::new(open);
    let second = bench.beside().worker;
    assert!(second > bench.worker);
    bench.store.lost(uptime(bench.now)).expect("a look");
    assert!(find_worker(&mut bench, second).is_none(), "it is forgotten");
    assert!(bench.beside().worker > second);
}

pub(crate) fn one_store_may_have_several_workers(open: &Open) {
    let mut bench = Bench::new(open);
    let second = bench.store.enroll(&worker(&[]), moment(bench.now)).expect("another worker");
    for id in [bench.worker, second] {
        assert!(find_worker(&mut bench, id).expect("on the books").is_alive, "{id}");
    }
}

pub(crate) fn a_worker_that_enrolls_is_never_taken_for_dead(open: &Open) {
    let mut bench = Bench::new(open);
    let mut newcomer = bench.beside();
    let at = moment(bench.now);
    thread::scope(|scope| {
        let enrolling = scope.spawn(move || {
            for _ in 0..300 {
                let id = newcomer.store.enroll(&worker(&[]), at).expect("a worker on the books");
                assert!(find_worker(&mut newcomer, id).is_some(), "{id} was struck off");
                newcomer.store.retire(id, newcomer.now).expect("a retirement");
            }
        });
        while !enrolling.is_finished() {
            bench.store.lost(at.uptime).expect("a look");
        }
    });
}

pub(crate) fn a_worker_that_retired_is_off_the_books(open: &Open) {
    let mut bench = Bench::new(open);
    let mut other = bench.beside();
    other.store.retire(other.worker, other.now).expect("a retirement");
    assert!(find_worker(&mut bench, other.worker).is_none());
    other.store.retire(other.worker, other.now).expect("and again");
}

pub(crate) fn the_jobs_of_a_worker_that_is_gone_are_lost(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(vec![job("a"), job("b"), job("c"), job("d")]);
    let own = bench.claim_one();
    let mut dead = bench.beside();
    let claimed = dead.claim_one();
    drop(dead);
    let mut retired = bench.beside();
    retired.claim_one();
    retired.store.retire(retired.worker, retired.now).expect("a retirement");

    let orphans = lost(&mut bench);
    assert_eq!(orphans.iter().map(|orphan| orphan.lease.job).collect::<Vec<_>>(), ids[1..3]);
    let orphan = &orphans[0];
    assert_eq!((orphan.lease, &orphan.job, &orphan.context), (claimed.lease, &claimed.job, &*claimed.context));
    assert_eq!(orphan.hung_pid, None, "there is no process any more");
    assert_eq!(own.lease.job, ids[0], "and the jobs of the living are not among them");
}

/// The lost jobs, in order of their numbers.
fn lost(bench: &mut Bench<'_>) -> Vec<Orphan> {
    let mut orphans = bench.store.lost(uptime(bench.now)).expect("a look");
    orphans.sort_by_key(|orphan| orphan.lease.job);
    orphans
}

pub(crate) fn a_lost_job_is_lost_until_someone_settles_it(open: &Open) {
    let mut bench = Bench::new(open);
    let id = bench.push(job("a"));
    let mut dead = bench.beside();
    let claimed = dead.claim_one();
    let dead_id = dead.worker;
    drop(dead);
    for _ in 0..2 {
        assert_eq!(lost(&mut bench).len(), 1);
        assert!(find_worker(&mut bench, dead_id).is_some(), "remembered while it holds a job");
    }
    bench.end(&claimed, Outcome::Lost, Verdict::HandBack);
    assert!(lost(&mut bench).is_empty());
    assert!(find_worker(&mut bench, dead_id).is_none(), "forgotten once it holds nothing");
    assert_eq!(bench.claim_ids(), [id]);
}

pub(crate) fn a_worker_that_is_silent_for_longer_than_its_lease_loses_its_jobs(open: &Open) {
    let mut hung = Bench::new(open);
    hung.push(job("a"));
    let claimed = hung.claim_one();
    let mut observer = hung.beside();

    observer.now = hung.now.plus(LEASE);
    assert!(lost(&mut observer).is_empty(), "its lease lasts to the end");
    observer.now = observer.now.plus(Duration::from_millis(1));
    let orphans = lost(&mut observer);
    assert_eq!(orphans.len(), 1);
    assert_eq!((orphans[0].lease, orphans[0].hung_pid), (claimed.lease, Some(4711)));

    observer.end(&claimed, Outcome::Lost, Verdict::HandBack);
    assert!(lost(&mut observer).is_empty());
    assert!(find_worker(&mut observer, hung.worker).expect("still on the books").is_alive, "it hangs, but lives");
    let late = hung.ending(&claimed, Outcome::Succeeded, Verdict::Succeed);
    assert_eq!(hung.settle(late), Settled::LeaseLost);
}

pub(crate) fn a_renewal_prolongs_the_lease(open: &Open) {
    let mut bench = Bench::new(open);
    bench.push(job("a"));
    let claimed = bench.claim_one();
    bench.advance(20);
    let at = moment(bench.now);
    let standings = bench.store.renew(bench.worker, &[claimed.lease], at.uptime.plus(LEASE), at).expect("a renewal");
    assert_eq!(standings, [(claimed.lease, Standing::Held)]);
    let own = bench.worker;
    assert_eq!(find_worker(&mut bench, own).expect("on the books").heartbeat_at, bench.now);

    let mut observer = bench.beside();
    observer.advance(30);
    assert!(lost(&mut observer).is_empty());
    observer.advance(1);
    assert_eq!(lost(&mut observer).len(), 1);
}

pub(crate) fn a_worker_learns_how_each_of_its_jobs_stands(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(vec![job("a"), job("b"), job("c")]);
    let leases: Vec<Lease> = bench.claim(3).iter().map(|claimed| claimed.lease).collect();
    let mut other = bench.beside();
    let _ = other.store.cancel(ids[1], other.now).expect("a cancellation");
    let orphan = Lease { token: Token::new(leases[2].token.get() - 1), ..leases[2] };
    let unknown = Lease { job: JobId::new(99).expect("positive"), token: Token::new(1) };
    let asked = [leases[1], orphan, leases[0], unknown];

    let expected = [
        (leases[1], Standing::CancelRequested),
        (orphan, Standing::Lost),
        (leases[0], Standing::Held),
        (unknown, Standing::Lost),
    ];
    assert_eq!(bench.store.standings(&asked).expect("the standings"), expected);
    let at = moment(bench.now);
    assert_eq!(bench.store.renew(bench.worker, &asked, at.uptime, at).expect("a renewal"), expected);
}

pub(crate) fn a_job_that_was_settled_or_claimed_anew_is_no_longer_held(open: &Open) {
    let mut bench = Bench::new(open);
    bench.push(job("a"));
    let first = bench.claim_one();
    bench.beside().end(&first, Outcome::Lost, Verdict::HandBack);
    assert_eq!(bench.store.standings(&[first.lease]).expect("the standings")[0].1, Standing::Lost);
    let second = bench.claim_one();
    let standings = bench.store.standings(&[first.lease, second.lease]).expect("the standings");
    assert_eq!(standings, [(first.lease, Standing::Lost), (second.lease, Standing::Held)]);
}

pub(crate) fn a_mark_is_held_as_long_as_anyone_has_it_open(open: &Open) {
    let mut bench = Bench::new(open);
    bench.push_all(vec![job("a"), job("b")]);
    let claims = bench.claim(2);
    let other = bench.beside();
    let is_marked = |lease| other.store.marked(lease).expect("a look").is_some();
    assert!(!is_marked(claims[0].lease));

    let mark: OwnedFd = bench.store.mark(claims[0].lease, &|| false).expect("a look").expect("a mark");
    let inherited = mark.try_clone().expect("a second holder");
    assert!(is_marked(claims[0].lease) && !is_marked(claims[1].lease));
    let next = Lease { token: Token::new(claims[0].lease.token.get() + 1), ..claims[0].lease };
    assert!(!is_marked(next), "each attempt has its own");
    drop(mark);
    assert!(is_marked(claims[0].lease));
    drop(inherited);
    assert!(!is_marked(claims[0].lease));
}

pub(crate) fn a_mark_outlives_the_store_that_made_it(open: &Open) {
    let mut bench = Bench::new(open);
    bench.push(job("a"));
    let mut dead = bench.beside();
    let claimed = dead.claim_one();
    let _mark = dead.store.mark(claimed.lease, &|| false).expect("a look").expect("a mark");
    drop(dead);
    assert_eq!(lost(&mut bench).len(), 1);
    assert!(bench.store.marked(claimed.lease).expect("a look").is_some());
}

pub(crate) fn a_lease_that_is_lost_gets_no_mark(open: &Open) {
    let mut bench = Bench::new(open);
    bench.push(job("a"));
    let stopped = bench.claim_one();
    let mut other = bench.beside();
    other.end(&stopped, Outcome::Lost, Verdict::HandBack);
    assert!(bench.store.mark(stopped.lease, &|| false).expect("a look").is_none());
    let claimed = other.claim_one();
    assert!(bench.store.mark(stopped.lease, &|| false).expect("a look").is_none());
    assert!(other.store.mark(claimed.lease, &|| false).expect("a look").is_some());
}

/// A job whose worker is silent, in the hands of another who sees that.
fn silent<'o>(open: &'o Open) -> (Bench<'o>, Claimed, Bench<'o>) {
    let mut hung = Bench::new(open);
    hung.push(job("a"));
    let claimed = hung.claim_one();
    let mut observer = hung.beside();
    observer.now = hung.now.plus(LEASE + Duration::from_millis(1));
    (hung, claimed, observer)
}

pub(crate) fn a_job_is_taken_away_only_from_a_worker_that_is_still_silent(open: &Open) {
    let (mut hung, claimed, mut observer) = silent(open);
    assert!(lost(&mut observer)[0].is_contested());
    let at = moment(hung.now);
    let _ = hung.store.renew(hung.worker, &[claimed.lease], at.uptime.plus(LEASE * 2), at).expect("a renewal");
    assert!(!observer.store.take_away(claimed.lease, uptime(observer.now)).expect("a look"));
    hung.succeed(&claimed);
    assert!(
        !observer.store.take_away(claimed.lease, uptime(observer.now)).expect("a look"),
        "and there is nothing left"
    );
}

pub(crate) fn of_a_job_that_was_taken_away_nothing_is_recorded_but_its_loss(open: &Open) {
    let (mut hung, claimed, mut observer) = silent(open);
    assert!(observer.store.take_away(claimed.lease, uptime(observer.now)).expect("a look"));

    // Its worker wakes: whatever it saw, it has no say.
    hung.print(&claimed, chunk(0, "text"));
    for (outcome, verdict) in [(Outcome::Succeeded, Verdict::Succeed), (Outcome::Failed, Verdict::HandBack)] {
        let late = hung.ending(&claimed, outcome, verdict);
        assert_eq!(hung.settle(late), Settled::LeaseLost);
    }
    let at = moment(observer.now);
    let standings = hung.store.renew(hung.worker, &[claimed.lease], at.uptime.plus(LEASE), at).expect("a renewal");
    assert_eq!(standings, [(claimed.lease, Standing::Lost)]);
    assert!(hung.store.mark(claimed.lease, &|| false).expect("a look").is_none());

    // Nor does it get the job back by being there again, or the next observer not see it.
    let orphans = lost(&mut hung.beside());
    assert_eq!(
        orphans.iter().map(|orphan| (orphan.lease, orphan.is_taken)).collect::<Vec<_>>(),
        [(claimed.lease, true)]
    );
    observer.end(&claimed, Outcome::Lost, Verdict::HandBack);
    assert_eq!(observer.printed(&claimed, 0), "");
    let again = hung.claim_one();
    hung.succeed(&again);
}

pub(crate) fn housekeeping_loses_nothing(open: &Open) {
    let mut bench = Bench::new(open);
    let mut other = bench.beside();
    for how in [Tidy::Passing, Tidy::Working, Tidy::Leaving] {
        let id = bench.push(job("a"));
        let claimed = bench.claim_one();
        bench.print(&claimed, chunk(0, "text"));
        bench.store.tidy(how).expect("a tidy place");
        bench.store.make_durable().expect("a durable one");
        assert_eq!(other.state(id), StateKind::Running);
        other.store.tidy(how).expect("a tidy place");
        bench.succeed(&claimed);
        assert_eq!((other.state(id), other.printed(&claimed, 0)), (StateKind::Succeeded, "text".to_owned()));
    }
}

pub(crate) fn a_worker_is_told_with_what_it_runs(open: &Open) {
    let mut bench = Bench::new(open);
    let ids = bench.push_all(vec![job("a"), job("b"), job("c")]);
    let claimed = bench.claim(2);
    let own = |bench: &mut Bench<'_>| {
        let workers = bench.store.workers().expect("the workers");
        workers.into_iter().find(|worker| worker.id == bench.worker).expect("it is on the books").running
    };
    assert_eq!(own(&mut bench), ids[..2]);
    bench.succeed(&claimed[0]);
    assert_eq!(own(&mut bench), ids[1..2]);
}
