//! What is run when a job dies, and the queue in which that is a job itself.

use super::id::QueueName;
use super::new::EnvVars;

/// What the names of the queues end with in which hooks run.
const ON_DEAD: &str = ".on-dead";

/// What is run when a job of a queue dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// A line for the shell.
    pub line: String,
    /// The folder in which it is run, absolute.
    pub cwd: Vec<u8>,
    /// The variables kept from where it was set.
    pub env: EnvVars,
}

impl QueueName {
    /// The queue in which the hooks of this one run; `None` where there can be none: hooks have no hooks, and a name
    /// has at most [`Self::MAX_LEN`] characters.
    pub fn on_dead(&self) -> Option<Self> {
        if self.has_hooks_of().is_some() { None } else { Self::new(format!("{self}{ON_DEAD}")).ok() }
    }

    /// The name of the queue whose hooks run in this one, if it is such a queue.
    pub fn has_hooks_of(&self) -> Option<&str> {
        self.as_str().strip_suffix(ON_DEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> QueueName {
        QueueName::new(name).expect("a name")
    }

    #[test]
    fn hooks_run_in_a_queue_beside_and_have_none_themselves() {
        let beside = name("mail").on_dead().expect("a queue");
        assert_eq!((beside.as_str(), beside.has_hooks_of()), ("mail.on-dead", Some("mail")));
        assert_eq!((beside.on_dead(), name("mail").has_hooks_of()), (None, None));
        assert_eq!(name(&"x".repeat(56)).on_dead().map(|name| name.as_str().len()), Some(64));
        assert_eq!(name(&"x".repeat(57)).on_dead(), None);
    }
}
