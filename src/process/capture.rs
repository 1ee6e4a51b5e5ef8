//! What is kept of a stream: its first and its last 64 KiB, byte for byte, in bounded memory.
//!
//! The middle is let go of as it comes. What is kept can be handed out in pieces while the stream
//! still runs, each with its place in the stream, so that it can be stored and followed live. A
//! beginning that is complete is held here no longer than until it is handed out, so that a worker of
//! many loud jobs stays small.

use std::collections::VecDeque;

/// How many bytes are kept of the beginning of a stream, and again of its end.
pub const CAP: usize = 64 * 1024;

/// How many bytes of the end are handed out piece by piece before they are handed out anew as one,
/// so that a chatty stream does not pile up pieces that are no longer its end.
const REWRITE: u64 = 4 * CAP as u64;

/// How many bytes of the beginning stay here when it has been handed out: enough for its last lines.
const HEAD_END: usize = 8 * 1024;

/// The beginning and the end of a stream.
#[derive(Debug, Default)]
pub struct Capture {
    /// The beginning, or what is left of it here: its end.
    head: Vec<u8>,
    /// How long the beginning is, at most [`CAP`].
    head_len: usize,
    tail: VecDeque<u8>,
    /// Bytes seen.
    total: u64,
    /// Bytes up to here have been handed out, or let go of.
    handed_out: u64,
    /// Bytes of the end handed out since it was last handed out whole.
    tail_handed_out: u64,
}

/// Some kept bytes and their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// How many bytes of the stream stand before them.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Pieces handed out before that begin here or later are void.
    pub voids_from: Option<u64>,
}

impl Capture {
    /// Takes in what the stream brought.
    pub fn take_in(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let (first, rest) = bytes.split_at(bytes.len().min(CAP - self.head_len));
        self.head.reserve_exact(room(self.head.len() + first.len()) - self.head.len());
        self.head.extend_from_slice(first);
        self.head_len += first.len();
        let last = &rest[rest.len().saturating_sub(CAP)..];
        let n_over = (self.tail.len() + last.len()).saturating_sub(CAP);
        self.tail.drain(..n_over.min(self.tail.len()));
        self.tail.reserve_exact(room(self.tail.len() + last.len()) - self.tail.len());
        self.tail.extend(last);
    }

    /// How many bytes the stream brought, kept or not.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether some bytes were let go of.
    pub fn is_truncated(&self) -> bool {
        self.total > (self.head_len + self.tail.len()) as u64
    }

    /// Whether the beginning is complete and has not been handed out.
    pub fn holds_head(&self) -> bool {
        self.head_len == CAP && self.handed_out < CAP as u64
    }

    /// Whether there is something that has not been handed out.
    pub fn has_news(&self) -> bool {
        self.handed_out < self.total
    }

    /// Hands out what is kept and has not been handed out before.
    pub fn news(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if self.handed_out < self.head_len as u64 {
            pieces.push(Piece { offset: self.handed_out, bytes: self.head_news(), voids_from: None });
            self.handed_out = self.head_len as u64;
        }
        if self.has_news() {
            pieces.push(self.tail_news());
        }
        pieces
    }

    /// Hands out what is left when the stream has ended, so that exactly the first and the last
    /// [`CAP`] bytes remain of all the pieces.
    pub fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = self.news();
        if self.is_truncated() {
            pieces.retain(|piece| piece.offset < CAP as u64);
            pieces.push(self.whole_tail());
        }
        pieces
    }

    fn head_news(&mut self) -> Vec<u8> {
        let n_handed_out = usize::try_from(self.handed_out).expect("less than the length of the beginning");
        if self.head_len < CAP {
            return self.head[n_handed_out..].to_vec();
        }
        let end = self.head[CAP - HEAD_END..].to_vec();
        let mut news = std::mem::replace(&mut self.head, end);
        news.drain(..n_handed_out);
        news
    }

    fn tail_news(&mut self) -> Piece {
        let start = self.tail_start();
        self.tail_handed_out += self.total - self.handed_out.max(start);
        if self.tail_handed_out > REWRITE {
            self.tail_handed_out = 0;
            self.handed_out = self.total;
            return self.whole_tail();
        }
        let offset = self.handed_out.max(start);
        let from = usize::try_from(offset - start).expect("less than the length of the tail");
        self.handed_out = self.total;
        Piece { offset, bytes: self.tail.range(from..).copied().collect(), voids_from: None }
    }

    fn whole_tail(&self) -> Piece {
        Piece { offset: self.tail_start(), bytes: self.tail.iter().copied().collect(), voids_from: Some(CAP as u64) }
    }

    fn tail_start(&self) -> u64 {
        self.total - self.tail.len() as u64
    }

    /// The last `n` lines that are not blank, oldest first, without their line ends.
    ///
    /// Looks at no more than the last [`CAP`] bytes, and at least at the last 8 KiB; a line that begins
    /// before them is cut there.
    pub fn last_lines(&self, n: usize) -> Vec<Vec<u8>> {
        let end: Vec<u8> = if self.is_truncated() || self.tail.len() >= CAP - HEAD_END {
            self.tail.iter().copied().collect()
        } else {
            self.head.iter().chain(&self.tail).copied().collect()
        };
        let is_blank = |line: &&[u8]| line.iter().all(u8::is_ascii_whitespace);
        let mut lines: Vec<Vec<u8>> = end
            .split(|&byte| byte == b'\n')
            .rev()
            .filter(|line| !is_blank(line))
            .take(n)
            .map(|line| line.trim_ascii_end().to_vec())
            .collect();
        lines.reverse();
        lines
    }
}

/// The room for so many bytes, at most [`CAP`]: doubled as they come, and never more than they may need.
fn room(len: usize) -> usize {
    if len == 0 { 0 } else { len.next_power_of_two().min(CAP) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keeps pieces as a store would.
    #[derive(Default)]
    struct Kept(Vec<Piece>);

    impl Kept {
        fn add(&mut self, pieces: Vec<Piece>) {
            for piece in pieces {
                if let Some(from) = piece.voids_from {
                    self.0.retain(|kept| kept.offset < from);
                }
                self.0.push(piece);
            }
        }

        fn bytes(&self) -> Vec<u8> {
            self.0.iter().flat_map(|piece| piece.bytes.clone()).collect()
        }
    }

    fn stream(len: usize) -> Vec<u8> {
        (0..len).map(|n| u8::try_from(n * 7 % 251).expect("below 251")).collect()
    }

    fn first_and_last(stream: &[u8]) -> Vec<u8> {
        if stream.len() <= 2 * CAP {
            return stream.to_vec();
        }
        [&stream[..CAP], &stream[stream.len() - CAP..]].concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_first_and_last_bytes_are_kept_however_they_come(
            len in prop_oneof![0_usize..300, CAP - 2..CAP + 2, 2 * CAP - 2..2 * CAP + 2, 0..12 * CAP],
            cuts in prop::collection::vec((1_usize..3 * CAP, any::<bool>()), 1..40),
        ) {
            let stream = stream(len);
            let (mut capture, mut kept) = (Capture::default(), Kept::default());
            let mut rest = stream.as_slice();
            for (cut, is_flush) in cuts.into_iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at(cut.min(rest.len()));
                capture.take_in(now);
                rest = later;
                if is_flush { kept.add(capture.news()); }
            }
            kept.add(capture.finish());
            prop_assert_eq!(capture.total(), len as u64);
            prop_assert_eq!(capture.is_truncated(), len > 2 * CAP);
            prop_assert!(kept.bytes() == first_and_last(&stream));
            prop_assert!(capture.head.len() <= CAP && capture.tail.len() <= CAP);
        }
    }

    #[test]
    fn the_last_lines_are_known_though_the_beginning_was_handed_out() {
        let mut capture = Capture::default();
        capture.take_in(&b"x".repeat(CAP - 10));
        capture.take_in(b"\nlast\nword");
        assert!(capture.holds_head());
        assert_eq!(capture.news().iter().map(|piece| piece.bytes.len()).sum::<usize>(), CAP);
        assert!(!capture.holds_head() && capture.head.len() == HEAD_END);
        capture.take_in(b"s\n");
        assert_eq!(capture.last_lines(2), [b"last".to_vec(), b"words".to_vec()]);
    }

    #[test]
    fn the_last_line_is_found_past_blank_ones() {
        let mut capture = Capture::default();
        capture.take_in(b"one\ntwo \r\n\n  \n");
        assert_eq!(capture.last_lines(1), [b"two".to_vec()]);
        assert_eq!(capture.last_lines(9), [b"one".to_vec(), b"two".to_vec()]);
    }
}
