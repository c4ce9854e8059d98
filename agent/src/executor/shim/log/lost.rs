//! What a program writes while there is no room for it: how much, and the end of it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use titan_api::output::Stream;

/// Bytes of the end, with the heads of their frames.
pub(super) const TAIL_BYTES: usize = 64 * 1_024;
/// Bytes before the content of a frame.
const HEAD_BYTES: usize = 5;

/// Output without room.
pub(super) struct Lost {
    /// Bytes that nothing is left of.
    forgotten: u64,
    tail: VecDeque<(Stream, Vec<u8>)>,
    tail_bytes: usize,
    looked: Instant,
}

impl Default for Lost {
    fn default() -> Self {
        Self { forgotten: 0, tail: VecDeque::new(), tail_bytes: 0, looked: Instant::now() }
    }
}

impl Lost {
    /// Whether the last look for room was so long ago; then this is one.
    pub(super) fn is_due(&mut self, every: Duration) -> bool {
        let is_due = self.looked.elapsed() >= every;
        if is_due {
            self.looked = Instant::now();
        }
        is_due
    }

    /// Takes what the program has written, and forgets what is too much.
    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some((_, tail)) = self.tail.back_mut().filter(|(last, _)| *last == stream) {
            tail.extend_from_slice(bytes);
        } else {
            self.tail.push_back((stream, bytes.to_vec()));
            self.tail_bytes += HEAD_BYTES;
        }
        self.tail_bytes += bytes.len();
        while self.tail_bytes > TAIL_BYTES {
            self.forget(self.tail_bytes - TAIL_BYTES);
        }
    }

    /// The end of it, behind a line that says how much is missing.
    pub(super) fn pieces(&self) -> Vec<(Stream, Vec<u8>)> {
        let line =
            || format!("\n[titan-agent: {} bytes are missing here: there was no room for them]\n", self.forgotten);
        let line = (self.forgotten > 0).then(|| (Stream::Stderr, line().into_bytes()));
        line.into_iter().chain(self.tail.iter().cloned()).collect()
    }

    /// Bytes that nothing is left of.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// All bytes that were taken.
    pub(super) fn all(&self) -> u64 {
        self.forgotten + self.tail.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>()
    }

    /// Forgets so many of the oldest bytes, at most the oldest piece.
    fn forget(&mut self, bytes: usize) {
        let Some((_, oldest)) = self.tail.front_mut() else { return };
        let cut = bytes.min(oldest.len());
        oldest.drain(..cut);
        (self.forgotten, self.tail_bytes) = (self.forgotten + cut as u64, self.tail_bytes - cut);
        if oldest.is_empty() {
            self.tail.pop_front();
            self.tail_bytes -= HEAD_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_stays_and_what_is_missing_is_counted() {
        let mut lost = Lost::default();
        lost.take(Stream::Stdout, b"ab");
        lost.take(Stream::Stderr, b"c");
        let all = vec![(Stream::Stdout, b"ab".to_vec()), (Stream::Stderr, b"c".to_vec())];
        assert_eq!((lost.pieces(), lost.all()), (all, 3), "nothing is missing");
        lost.take(Stream::Stdout, &vec![b'x'; TAIL_BYTES]);
        lost.take(Stream::Stdout, b"end");
        assert_eq!(lost.all(), 3 + TAIL_BYTES as u64 + 3);
        let [(_, line), (Stream::Stdout, tail)] = &lost.pieces()[..] else { panic!("{:?}", lost.pieces()) };
        assert!(tail.ends_with(b"xend") && tail.len() == TAIL_BYTES - HEAD_BYTES);
        assert_eq!(lost.forgotten(), 3 + 3 + HEAD_BYTES as u64);
        assert!(String::from_utf8_lossy(line).contains(" 11 bytes are missing here"), "{line:?}");
    }

    #[test]
    fn pieces_of_single_letters_take_no_more_room() {
        let mut lost = Lost::default();
        for _ in 0..TAIL_BYTES {
            lost.take(Stream::Stdout, b"o");
            lost.take(Stream::Stderr, b"e");
        }
        assert!(lost.tail_bytes <= TAIL_BYTES && lost.all() == 2 * TAIL_BYTES as u64);
        assert_eq!(lost.tail.back(), Some(&(Stream::Stderr, b"e".to_vec())));
    }
}
