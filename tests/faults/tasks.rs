//! Requeues that take their time put each job back once, at whichever moment whoever records or carries one is killed.
//!
//! A run begins with a copy of a queue file that was prepared once, and what is found after a kill is read past the
//! binary. In the usual dose as many calls are swept as fit, spread evenly from a place that the seed draws. All:
//!
//! ```sh
//! QCTL_FAULTS_DOSE=50 cargo test --release --test faults tasks:: -- --nocapture
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::annex::has_table;
use crate::dose::Dose;
use crate::events::{Template, add, is_content, points};
use crate::killing::{sweep, tell};
use crate::strike::{self, Struck, may_trace};
use crate::support::Sandbox;

/// How many calls are swept in the usual dose of a worker that carries a task at a rate, of one with a sample, and of
/// the verb that records a task.
const N_POINTS: [usize; 3] = [40, 30, 16];

const WORK: &str = "work --drain --wait-due 3s -j 2";

/// How many dead jobs there are. The even ones die whenever they are run, the others until `ok` is where they run: in the
/// folder of the template, also those of its copies.
const N_JOBS: i64 = 8;

const DEAD: &str = "
    for n in 1 2 3 4 5 6 7 8; do qctl push -q --max-attempts 1 'test -e ok && test $((QCTL_JOB_ID % 2)) = 1' >/dev/null; done
    qctl work --drain -q --log none";

/// What a queue file has of tasks and of their jobs.
#[derive(Debug)]
struct Seen {
    /// How many jobs of the only task were come to; `None` where there is no task.
    position: Option<i64>,
    phase: String,
    /// Of each job, how many attempts ended by themselves, and where it stands.
    jobs: BTreeMap<i64, (i64, String)>,
}

impl Seen {
    /// What is in the file as it is: its log is not folded back.
    fn inside(queue: &Sandbox) -> Self {
        Self::try_inside(queue).expect("the file can be read")
    }

    fn try_inside(queue: &Sandbox) -> rusqlite::Result<Self> {
        let conn = Connection::open_with_flags(queue.db(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let mut seen = Self { position: None, phase: String::new(), jobs: BTreeMap::new() };
        assert_eq!(has_table(&conn, "task")?, has_table(&conn, "task_job")?, "they come together");
        if has_table(&conn, "task")? {
            let mut tasks = conn.prepare(
                "select position, phase, released, skipped, jobs, (select count(*) from task_job where task_id = task.id)
                 from task",
            )?;
            let mut rows = tasks.query([])?;
            while let Some(row) = rows.next()? {
                assert!(seen.position.is_none(), "there is one task at the most");
                let numbers: Vec<i64> = [0, 2, 3, 4, 5].map(|n| row.get(n)).into_iter().collect::<Result<_, _>>()?;
                assert_eq!((numbers[0], numbers[2]), (numbers[1], 0), "all that it came to were put back");
                assert_eq!((numbers[3], numbers[4]), (N_JOBS, N_JOBS), "it has all of its jobs");
                seen.position = Some(numbers[0]);
                seen.phase = row.get(1)?;
            }
        }
        let mut jobs = conn.prepare(
            "select id, state, (select count(*) from attempt where job_id = id and outcome in ('failed', 'succeeded'))
             from job order by id",
        )?;
        seen.jobs = jobs
            .query_map([], |row| Ok((row.get(0)?, (row.get(2)?, row.get(1)?))))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(seen)
    }

    /// A job was put back if and only if its task has come to it, and not twice.
    #[track_caller]
    fn is_in_step(&self, story: &dyn Fn() -> String) {
        let position = self.position.unwrap_or(0);
        for (&id, (n_attempts, state)) in &self.jobs {
            let is_untouched = state == "dead" && *n_attempts == 1;
            assert_eq!(is_untouched, id > position, "job {id} of {self:?}\n{}", story());
            assert!(*n_attempts <= 2, "job {id} of {self:?}\n{}", story());
        }
    }

    /// All were put back once and run to their end.
    #[track_caller]
    fn is_done(&self, story: &dyn Fn() -> String) {
        assert_eq!((self.position, self.phase.as_str()), (Some(N_JOBS), "done"), "{}", story());
        for (id, (n_attempts, state)) in &self.jobs {
            let expected = if id % 2 == 1 { "succeeded" } else { "dead" };
            assert_eq!((*n_attempts, state.as_str()), (2, expected), "job {id} of {self:?}\n{}", story());
        }
    }
}

/// Kills a worker at one of its calls, and has another do the rest; answers whether the first left any.
fn worker_is_killed(template: &Template, point: usize) -> (Struck, bool) {
    let queue = template.copy();
    let struck = strike::at(&queue, WORK, point);
    let left = Seen::inside(&queue);
    let story = || format!("{struck:?}\nleft: {left:?}");
    left.is_in_step(&story);
    is_content(&queue, &story);
    // What the dead one ran is run anew by the next.
    queue.qctl(WORK).succeeds();
    Seen::inside(&queue).is_done(&story);
    is_content(&queue, &story);
    (struck, left.position < Some(N_JOBS))
}

fn all_are_killed(what: &str, requeue: &str, n: usize) {
    if !may_trace() {
        return;
    }
    let template = Template::new(&format!("{DEAD}\nqctl dlq requeue -q 1-{N_JOBS} {requeue} >/dev/null"));
    template.0.write("ok", "");
    let dose = Dose::read();
    let n_left = AtomicUsize::new(0);
    let last = worker_is_killed(&template, usize::MAX).0.n_calls;
    let points = points(last, n, dose);
    let killed = sweep(&points, |point| {
        let (struck, has_left) = worker_is_killed(&template, point);
        n_left.fetch_add(usize::from(has_left), Ordering::Relaxed);
        struck.who
    });
    tell(what, points.len(), last, &killed);
    let n_left = n_left.into_inner();
    assert!(killed.values().sum::<usize>() * 10 >= points.len() * 6, "most were killed: {killed:?}");
    assert!(n_left > 0, "none was killed before it had put all back");
    add(&format!("{what}: each of {N_JOBS} jobs put back once; {n_left} of {} kills left some", points.len()));
}

#[test]
fn a_worker_that_is_killed_at_any_call_while_it_carries_a_task_puts_each_job_back_once() {
    all_are_killed("work that carries a task at a rate", "--rate 15/s", N_POINTS[0]);
}

#[test]
fn a_worker_that_is_killed_at_any_call_amid_a_sample_goes_on_with_the_rest_once() {
    all_are_killed("work that carries a task with a sample", "--sample 4 --if-ok 50 --detach", N_POINTS[1]);
}

#[test]
fn a_requeue_that_is_killed_at_any_call_has_recorded_its_task_whole_or_not_at_all() {
    if !may_trace() {
        return;
    }
    let template = Template::new(DEAD);
    template.0.write("ok", "");
    let line = format!("dlq requeue 1-{N_JOBS} --rate 15/s");
    let last = strike::count(&template.copy(), &line);
    let points = points(last, N_POINTS[2], Dose::read());
    let killed = sweep(&points, |point| {
        let queue = template.copy();
        let struck = strike::at(&queue, &line, point);
        let left = Seen::inside(&queue);
        let story = || format!("{struck:?}\nleft: {left:?}");
        left.is_in_step(&story);
        assert!(left.position.is_some() || !struck.out.contains('1'), "what was said is on record: {}", story());
        is_content(&queue, &story);
        if left.position.is_none() {
            // Nothing was done, and it can be said again.
            queue.qctl(&line).succeeds();
        }
        queue.qctl(WORK).succeeds();
        Seen::inside(&queue).is_done(&story);
        struck.who
    });
    tell("a requeue that records a task", points.len(), last, &killed);
    assert!(!killed.is_empty(), "some were killed");
}
