//! Output: kept as it comes, by attempt and stream, and read from any place on.

use super::bench::{Bench, Open, chunk, job};
use crate::job::{Chunk, Outcome, Stream, Verdict};

pub(crate) fn what_an_attempt_prints_can_be_read_while_it_runs(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push(job("a"));
    let claimed = queue.claim_one();
    queue.print(&claimed, chunk(0, "one "));
    assert_eq!(queue.beside().printed(&claimed, 0), "one ");
    queue.print(&claimed, chunk(4, "two"));
    assert_eq!(queue.beside().printed(&claimed, 0), "one two");
}

pub(crate) fn output_is_read_from_any_byte_on(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push(job("a"));
    let claimed = queue.claim_one();
    queue.print(&claimed, chunk(0, "abc"));
    queue.print(&claimed, chunk(3, "def"));
    for offset in 0..=7 {
        let rest = "abcdef".get(usize::try_from(offset).expect("small")..).unwrap_or_default();
        assert_eq!(queue.printed(&claimed, offset), rest, "from {offset}");
    }
}

pub(crate) fn the_two_streams_are_kept_apart(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push(job("a"));
    let claimed = queue.claim_one();
    let stderr = Chunk { stream: Stream::Stderr, ..chunk(0, "err") };
    queue.print(&claimed, chunk(0, "out"));
    queue.print(&claimed, stderr.clone());
    assert_eq!(queue.printed(&claimed, 0), "out");
    let read = queue.store.output(claimed.lease.job, claimed.lease.token, Stream::Stderr, 0).expect("the output");
    assert_eq!(read, [stderr]);
}

pub(crate) fn output_may_be_any_bytes(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push(job("a"));
    let claimed = queue.claim_one();
    let bytes = Chunk { bytes: (0..=255).collect(), ..chunk(0, "") };
    queue.print(&claimed, bytes.clone());
    let read = queue.store.output(claimed.lease.job, claimed.lease.token, Stream::Stdout, 0).expect("the output");
    assert_eq!(read, [bytes]);
}

pub(crate) fn each_attempt_and_each_job_has_output_of_its_own(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push_all(vec![job("a"), job("b")]);
    let claims = queue.claim(2);
    queue.print(&claims[1], chunk(0, "b"));
    queue.print(&claims[0], chunk(0, "a"));
    queue.end(&claims[0], Outcome::Failed, Verdict::HandBack);
    let again = queue.claim_one();
    queue.print(&again, chunk(0, "A"));

    let printed = [&claims[0], &claims[1], &again].map(|claimed| queue.printed(claimed, 0));
    assert_eq!(printed, ["a", "b", "A"]);
}

pub(crate) fn a_chunk_may_drop_the_middle_that_was_kept_before_it(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push(job("a"));
    let claimed = queue.claim_one();
    for (offset, text) in [(0, "head"), (4, "....")] {
        queue.print(&claimed, chunk(offset, text));
    }
    queue.print(&claimed, Chunk { stream: Stream::Stderr, ..chunk(4, "kept") });
    queue.print(&claimed, Chunk { drops_from: Some(4), ..chunk(100, "tail") });

    assert_eq!(queue.printed(&claimed, 0), "head|tail");
    assert_eq!(queue.printed(&claimed, 50), "|tail");
    assert_eq!(queue.printed(&claimed, 102), "il");
    let stderr = queue.store.output(claimed.lease.job, claimed.lease.token, Stream::Stderr, 0);
    assert_eq!(stderr.expect("the output").len(), 1, "the other stream is as it was");

    queue.print(&claimed, Chunk { drops_from: Some(4), ..chunk(200, "end") });
    assert_eq!(queue.printed(&claimed, 0), "head|end");
}

pub(crate) fn what_is_dropped_may_begin_within_a_chunk(open: &Open) {
    let mut queue = Bench::new(open);
    queue.push(job("a"));
    let claimed = queue.claim_one();
    queue.print(&claimed, chunk(0, "head...."));
    queue.print(&claimed, Chunk { drops_from: Some(4), ..chunk(100, "tail") });
    assert_eq!(queue.printed(&claimed, 0), "head|tail");
}

pub(crate) fn output_under_a_lost_lease_is_ignored(open: &Open) {
    let mut slow = Bench::new(open);
    slow.push(job("a"));
    let stale = slow.claim_one();
    slow.print(&stale, chunk(0, "before"));
    let mut quick = slow.beside();
    quick.end(&stale, Outcome::Lost, Verdict::HandBack);

    slow.print(&stale, chunk(6, " after"));
    let current = quick.claim_one();
    slow.print(&stale, chunk(6, " after"));
    slow.print(&stale, Chunk { drops_from: Some(0), ..chunk(6, " after") });
    assert_eq!(slow.printed(&stale, 0), "before");
    assert_eq!(slow.printed(&current, 0), "");
}
