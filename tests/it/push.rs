//! `push` puts a job into a queue, and says which.

use crate::support::Sandbox;

#[test]
fn push_prints_the_id_and_nothing_else() {
    let queue = Sandbox::new();
    queue.qctl("push 'echo hi'").succeeds().prints("1\n").is_silent();
    queue.sh("id=$(qctl push true); echo \"[$id]\"").prints("[2]\n");
}
