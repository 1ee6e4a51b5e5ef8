//! What a job's attempt is started with.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::job::{Claimed, Command, Delivery, Job, WorkerId};
use crate::process::Launch;

/// The words to run: the job's own command, or the handler with the job's arguments appended. Hooks are no work for
/// the handler of their queue: they run what they are.
///
/// `None` where there is neither.
pub(super) fn argv(job: &Job, handler: Option<&Vec<Vec<u8>>>) -> Option<Vec<Vec<u8>>> {
    let is_hook = job.command.is_some() && job.queue.has_hooks_of().is_some();
    words(job.command.as_ref(), handler.filter(|_| !is_hook))
}

fn words(command: Option<&Command>, handler: Option<&Vec<Vec<u8>>>) -> Option<Vec<Vec<u8>>> {
    match (handler, command) {
        (None, None) => None,
        (None, Some(command)) => Some(command.argv()),
        (Some(handler), None) => Some(handler.clone()),
        (Some(handler), Some(Command::Shell(line))) => Some([handler.as_slice(), std::slice::from_ref(line)].concat()),
        (Some(handler), Some(Command::Program(words))) => Some([handler.as_slice(), words].concat()),
    }
}

/// How the attempt is started.
pub(super) fn launch<'a>(
    claimed: &'a Claimed,
    argv: Vec<Vec<u8>>,
    mark: OwnedFd,
    (db, worker): (&Path, WorkerId),
) -> Launch<'a> {
    let mut env = claimed.context.env.clone();
    env.extend(claimed.env.iter().cloned());
    env.extend(about(claimed, db, worker));
    Launch {
        argv,
        env,
        cwd: Path::new(std::ffi::OsStr::from_bytes(&claimed.context.cwd)),
        stdin: claimed.payload.as_deref(),
        keepsake: Some(mark),
    }
}

/// The variables that tell a command which job it is.
fn about(claimed: &Claimed, db: &Path, worker: WorkerId) -> Vec<(Vec<u8>, Vec<u8>)> {
    let job = &claimed.job;
    let of = |value: fn(&Delivery) -> String| job.delivery.as_deref().map(value).unwrap_or_default();
    let text = |name: &str, value: String| (name.as_bytes().to_vec(), value.into_bytes());
    let mut vars = vec![
        text("QCTL_JOB_ID", job.id.to_string()),
        text("QCTL_ATTEMPT", job.attempt.to_string()),
        text("QCTL_MAX_ATTEMPTS", job.max_attempts.to_string()),
        text("QCTL_QUEUE", job.queue.to_string()),
        // This one and the last five: empty rather than absent, or those of a job around this worker
        // would show through.
        text("QCTL_KEY", job.key.clone().unwrap_or_default()),
        (b"QCTL_DB".to_vec(), db.as_os_str().as_bytes().to_vec()),
        text("QCTL_WORKER", worker.to_string()),
        text("QCTL_TOKEN", claimed.lease.token.to_string()),
        text("QCTL_TOPIC", of(|delivery| delivery.topic.to_string())),
        text("QCTL_EVENT_ID", of(|delivery| delivery.event.to_string())),
        text("QCTL_SUBSCRIPTION", of(|delivery| delivery.subscription.clone())),
        text("QCTL_STEP", String::new()),
        text("QCTL_STEP_KEY", String::new()),
    ];
    vars.extend(job.labels.iter().map(|(name, value)| text(&label_variable(name), value.clone())));
    vars
}

/// The variable that holds a label. What a shell would not take in a name becomes `_`.
fn label_variable(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("QCTL_LABEL_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_handler_gets_the_jobs_arguments_appended() {
        let handler = list(&["handle", "-v"]);
        let program = Command::Program(list(&["a", "b c"]));
        assert_eq!(words(Some(&program), Some(&handler)), Some(list(&["handle", "-v", "a", "b c"])));
        let line = Command::Shell(b"a | b".to_vec());
        assert_eq!(words(Some(&line), Some(&handler)), Some(list(&["handle", "-v", "a | b"])));
        assert_eq!(words(None, Some(&handler)), Some(handler));
    }

    #[test]
    fn a_shell_sees_a_line_and_never_a_vector() {
        let line = Command::Shell(b"a | b".to_vec());
        assert_eq!(words(Some(&line), None), Some(list(&["/bin/sh", "-c", "a | b"])));
        let program = Command::Program(list(&["a", "; rm -rf /"]));
        assert_eq!(words(Some(&program), None), Some(list(&["a", "; rm -rf /"])));
        assert_eq!(words(None, None), None);
    }

    #[test]
    fn a_labels_variable_has_a_name_that_shells_take() {
        assert_eq!(label_variable("build.no-1"), "QCTL_LABEL_build_no_1");
    }
}
