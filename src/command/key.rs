//! Keys as they are asked for: a text, `auto`, which is made from what the job does, or none, which inside a step
//! is made from the step and from what the job does.

use crate::config;
use crate::job::{Command, EnvVars, Labels};

/// A key as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// This text.
    Given(String),
    /// The one that follows from the job.
    Auto,
    /// The one that follows from the step in which it is pushed, which shows this to services, and from the job.
    OfStep(String),
}

impl Key {
    /// The key of a job for which none was given: inside a step there is one, so that a step that is run again
    /// meets what it pushed.
    pub(super) fn of_surroundings() -> Option<Self> {
        config::step_key().map(Self::OfStep)
    }
}

/// The word that asks for [`Key::Auto`]. No key is this text itself, so that a word means the same
/// wherever a key is given.
pub(super) const AUTO: &str = "auto";

/// What is hashed first; to be changed with whatever else goes in.
const RECIPE: &[u8] = b"qctl key 1";

/// How many hexadecimal digits of the hash are kept: 128 bits, of which no two jobs meet by chance.
const N_DIGITS: usize = 32;

/// The key of a job that does this: the same in every version of qctl and on every machine.
///
/// It is `auto-` and the beginning of a SHA-256 over netstrings (`5:hello,`): the recipe; `shell` and the
/// line, or `program`, the number of its words and each word, or `none`; `payload` and its bytes, or
/// `none`; the working directory. Nothing else goes in: neither queue nor labels, environment or terms.
/// Another recipe would have two versions queue one job twice.
pub(super) fn auto(command: Option<&Command>, payload: Option<&[u8]>, cwd: &[u8]) -> String {
    format!("{AUTO}-{}", digest(command, payload, cwd))
}

/// What tells apart whatever does something else, in [`N_DIGITS`] digits.
pub(super) fn digest(command: Option<&Command>, payload: Option<&[u8]>, cwd: &[u8]) -> String {
    hash(command, payload, cwd).digits()
}

/// The key of a job that does this and is pushed in the step that shows `step` to services.
///
/// It is `step-`, what the step shows, and the [`digest`], into which `env` and each name and value, and `label` and
/// each name and value go as well: whoever gives one command to ten hosts by a variable means ten jobs. When
/// it is due and how it is tried stay out, which may follow from the time of day.
pub(super) fn of_step(step: &str, (command, payload, cwd): Deed<'_>, env: &EnvVars, labels: &Labels) -> String {
    let mut hash = hash(command, payload, cwd);
    for (name, value) in env {
        hash.add(b"env").add(name).add(value);
    }
    for (name, value) in labels {
        hash.add(b"label").add(name.as_bytes()).add(value.as_bytes());
    }
    format!("step-{step}-{}", hash.digits())
}

/// What a job does: its command, its payload, and where.
pub(super) type Deed<'a> = (Option<&'a Command>, Option<&'a [u8]>, &'a [u8]);

fn hash(command: Option<&Command>, payload: Option<&[u8]>, cwd: &[u8]) -> Netstrings {
    let mut hash = Netstrings(hmac_sha256::Hash::new());
    hash.add(RECIPE);
    match command {
        Some(Command::Shell(line)) => hash.add(b"shell").add(line),
        Some(Command::Program(words)) => {
            hash.add(b"program").add(words.len().to_string().as_bytes());
            words.iter().fold(&mut hash, |hash, word| hash.add(word))
        }
        None => hash.add(b"none"),
    };
    match payload {
        Some(bytes) => hash.add(b"payload").add(bytes),
        None => hash.add(b"none"),
    };
    hash.add(cwd);
    hash
}

fn digit(nibble: u8) -> char {
    char::from_digit(nibble.into(), 16).expect("half a byte is one digit")
}

/// Texts one after the other, each with its length before it, so that no two lists of texts are one.
struct Netstrings(hmac_sha256::Hash);

impl Netstrings {
    fn add(&mut self, text: &[u8]) -> &mut Self {
        self.0.update(format!("{}:", text.len()));
        self.0.update(text);
        self.0.update(",");
        self
    }

    fn digits(self) -> String {
        self.0.finalize().iter().flat_map(|byte| [byte >> 4, byte & 15]).take(N_DIGITS).map(digit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Command {
        Command::Shell(line.into())
    }

    fn program(words: &[&str]) -> Command {
        Command::Program(words.iter().map(|&word| word.into()).collect())
    }

    /// Each can be had with `printf '10:qctl key 1,5:shell,4:true,4:none,1:/,' | sha256sum`.
    #[test]
    fn the_key_of_a_job_is_the_same_in_every_version() {
        assert_eq!(auto(Some(&shell("true")), None, b"/"), "auto-54c25dfc3b83b4611238f141b1ed2680");
        assert_eq!(
            auto(Some(&program(&["echo", "a b"])), Some(b"x\xff"), b"/srv"),
            "auto-c7c2e9c4b90d4868675e26955bc3146e"
        );
        assert_eq!(auto(None, Some(b""), b"/"), "auto-f2cfeadcb330bbf22346a2d7f5a9efa1");
    }

    #[test]
    fn no_two_jobs_that_differ_have_one_key() {
        let keys = [
            auto(Some(&shell("a")), None, b"/"),
            auto(Some(&program(&["a"])), None, b"/"),
            auto(Some(&program(&["a", ""])), None, b"/"),
            auto(Some(&program(&["a b"])), None, b"/"),
            auto(Some(&program(&["a", "b"])), None, b"/"),
            auto(Some(&program(&["ab"])), None, b"/"),
            auto(Some(&shell("a")), Some(b""), b"/"),
            auto(Some(&shell("a")), Some(b"x"), b"/"),
            auto(Some(&shell("a")), None, b"/tmp"),
            auto(None, Some(b"a"), b"/"),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
