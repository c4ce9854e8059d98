//! Output that never touches the disk: the answer to a request, held in memory from when it comes until the coordinator
//! has it. There is a bound; whoever writes past it waits.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Bytes that one answer may have on their way.
const BOUND: usize = 512 * 1_024;

/// The end of an answer that the coordinator does not have yet.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    inner: Mutex<Inner>,
    /// Tells the writer that there is room again.
    room: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Bytes of the answer before those that are held.
    base: u64,
    held: Vec<u8>,
    /// Whether they go another way, so that there is nothing to read.
    held_back: bool,
}

impl Spool {
    /// Adds bytes, and waits while there is no room for them. `told` is called whenever there is something to read.
    pub(crate) async fn write(&self, mut bytes: &[u8], told: impl Fn()) {
        while !bytes.is_empty() {
            let taken = {
                let mut inner = self.lock();
                let taken = bytes.len().min(BOUND.saturating_sub(inner.held.len()));
                inner.held.extend_from_slice(&bytes[..taken]);
                taken
            };
            bytes = &bytes[taken..];
            told();
            if !bytes.is_empty() {
                self.room.notified().await;
            }
        }
    }

    /// Adds bytes that somebody else sends, who sees to a bound.
    pub(crate) fn keep(&self, bytes: &[u8]) {
        self.lock().held.extend_from_slice(bytes);
    }

    /// Whether there is nothing to read for now, whatever is held.
    pub(crate) fn hold_back(&self, held_back: bool) {
        self.lock().held_back = held_back;
    }

    /// Bytes of the answer so far.
    pub(crate) fn end(&self) -> u64 {
        self.lock().end()
    }

    /// At most `most` bytes from `offset` on; nothing at the end, and nothing of what was let go.
    pub(crate) fn read(&self, offset: u64, most: usize) -> Vec<u8> {
        let inner = self.lock();
        let Some(from) = inner.index(offset).filter(|_| !inner.held_back) else { return Vec::new() };
        let rest = &inner.held[from..];
        rest[..rest.len().min(most)].to_vec()
    }

    /// Whether the answer can be read from `offset` on.
    pub(crate) fn reaches(&self, offset: u64) -> bool {
        self.lock().index(offset).is_some()
    }

    /// The coordinator has everything before `offset`.
    pub(crate) fn release(&self, offset: u64) {
        let mut inner = self.lock();
        let gone = offset.min(inner.end()).saturating_sub(inner.base);
        let index = usize::try_from(gone).unwrap_or(inner.held.len());
        inner.held.drain(..index);
        inner.base += gone;
        drop(inner);
        self.room.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn end(&self) -> u64 {
        self.base + self.held.len() as u64
    }

    fn index(&self, offset: u64) -> Option<usize> {
        let index = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        (index <= self.held.len()).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn what_is_released_is_gone_and_the_rest_keeps_its_place() {
        let spool = Spool::default();
        spool.write(b"abcdef", || {}).await;
        assert_eq!((spool.read(2, 3), spool.read(6, 3), spool.end()), (b"cde".to_vec(), Vec::new(), 6));
        spool.release(4);
        assert!(!spool.reaches(3) && spool.reaches(4) && spool.reaches(6) && !spool.reaches(7));
        assert_eq!(spool.read(4, 100), b"ef");
        spool.hold_back(true);
        assert_eq!((spool.read(4, 100), spool.reaches(5)), (Vec::new(), true));
        spool.hold_back(false);
        spool.release(2);
        spool.release(1_000);
        assert_eq!((spool.end(), spool.reaches(6), spool.read(6, 1)), (6, true, Vec::new()));
    }

    #[tokio::test]
    async fn a_writer_waits_until_there_is_room() {
        let spool = Arc::new(Spool::default());
        let writer = tokio::spawn({
            let spool = Arc::clone(&spool);
            async move { spool.write(&vec![7; BOUND + 10], || {}).await }
        });
        while spool.end() < BOUND as u64 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!writer.is_finished());
        spool.release(10);
        writer.await.unwrap();
        assert_eq!(spool.end(), BOUND as u64 + 10);
    }
}
