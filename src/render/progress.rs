//! How far a wait is, on one line.

use std::time::Duration;

/// How far a wait is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Jobs that succeeded.
    pub n_succeeded: usize,
    /// Jobs that died, were cancelled or deleted.
    pub n_failed: usize,
    /// Jobs that run.
    pub n_running: usize,
    /// Jobs that wait for a worker, for their time or for another attempt.
    pub n_waiting: usize,
    /// How long the wait has lasted.
    pub elapsed: Duration,
}

impl Progress {
    /// All the jobs together.
    pub fn n_jobs(&self) -> usize {
        self.n_succeeded + self.n_failed + self.n_running + self.n_waiting
    }
}

/// `12 of 40 done, 1 failed, 3 running, 24 waiting  1m 02s`; what is zero is left out.
pub fn line(progress: &Progress) -> String {
    let mut line = format!("{} of {} done", progress.n_succeeded, progress.n_jobs());
    let rest = [(progress.n_failed, "failed"), (progress.n_running, "running"), (progress.n_waiting, "waiting")];
    for (n, what) in rest.into_iter().filter(|(n, _)| *n > 0) {
        line.push_str(&format!(", {n} {what}"));
    }
    format!("{line}  {}", stopwatch(progress.elapsed))
}

/// Whole seconds, the smaller unit in two digits, so that the line does not hop.
fn stopwatch(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        secs @ 0..=59 => format!("{secs}s"),
        secs @ 60..=3599 => format!("{}m {:02}s", secs / 60, secs % 60),
        secs => format!("{}h {:02}m", secs / 3600, secs % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_line_add_up() {
        let elapsed = Duration::from_secs(62);
        let progress = Progress { n_succeeded: 12, n_failed: 1, n_running: 3, n_waiting: 24, elapsed };
        assert_eq!(line(&progress), "12 of 40 done, 1 failed, 3 running, 24 waiting  1m 02s");
    }

    #[test]
    fn what_is_zero_is_left_out_and_hours_show_no_seconds() {
        let progress = Progress { n_waiting: 2, elapsed: Duration::from_millis(900), ..Progress::default() };
        assert_eq!(line(&progress), "0 of 2 done, 2 waiting  0s");
        let elapsed = Duration::from_secs(3600 + 125);
        assert_eq!(line(&Progress { n_running: 1, elapsed, ..Progress::default() }), "0 of 1 done, 1 running  1h 02m");
    }
}
