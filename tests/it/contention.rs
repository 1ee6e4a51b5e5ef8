//! Many processes on one file: none fails, nothing is lost, nothing runs twice.

use crate::support::Sandbox;

#[test]
fn two_workers_and_four_pushers_run_each_of_two_thousand_jobs_once() {
    let queue = Sandbox::new();
    queue.qctl("queue set default --max-attempts 1").succeeds();
    let workers = [(); 2].map(|()| queue.start("work -j 4 --log none"));
    let pusher = "for n in $(seq 500); do qctl push 'echo $QCTL_JOB_ID >> ran' || echo failed; done";
    let pushers = [(); 4].map(|()| queue.start_sh(pusher));
    let mut ids: Vec<i64> = Vec::new();
    for pusher in pushers {
        let output = pusher.ends().succeeds().says_nothing();
        ids.extend(output.out().lines().map(|id| id.parse::<i64>().expect("an id and nothing else")));
    }
    queue.qctl("wait 1-2000 --timeout 60s").succeeds();
    for worker in workers {
        worker.stops().succeeds().says_nothing();
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=2000).collect::<Vec<_>>());
    let mut ran: Vec<i64> = queue.read("ran").lines().map(|id| id.parse().expect("an id")).collect();
    ran.sort_unstable();
    assert_eq!(ran, ids);
}

#[test]
fn the_first_pushes_of_a_queue_may_all_come_at_once() {
    let queue = Sandbox::new();
    let pushers = [(); 8].map(|()| queue.start("push true"));
    for pusher in pushers {
        pusher.ends().succeeds().says_nothing();
    }
    assert_eq!(queue.ids("ready"), (1..=8).collect::<Vec<_>>());
}

#[test]
fn fifty_processes_that_push_one_key_at_once_make_one_job() {
    let queue = Sandbox::new();
    queue.push("-Q other --key k true");
    // Each waits for the file, so that they come together.
    let pusher = "until [ -e go ]; do sleep 0.01; done; exec qctl push --json --key k 'echo x >> ran'";
    let pushers: Vec<_> = (0..50).map(|_| queue.start_sh(pusher)).collect();
    queue.sh("touch go").succeeds();
    let answers: Vec<_> = pushers.into_iter().map(|pusher| pusher.ends().succeeds().says_nothing().json()).collect();
    assert!(answers.iter().all(|answer| answer["id"] == 2), "{answers:?}");
    let n_of = |outcome: &str| answers.iter().filter(|answer| answer["outcome"] == outcome).count();
    assert_eq!((n_of("created"), n_of("existing")), (1, 49));
    queue.qctl("work -Q default --drain").succeeds();
    assert_eq!(queue.read("ran"), "x\n");
}
