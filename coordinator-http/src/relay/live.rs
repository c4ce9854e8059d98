//! The short way from an upload to the client that waits for it on the same copy of the coordinator: through memory. Redis
//! stays the truth for everybody else, and for whoever falls behind.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use titan_api::ids::{JobId, LeaseId, PoolName};
use tokio::sync::watch;

/// Bytes that a channel holds; of more the first are let go, and a reader that is behind finds them in Redis.
const HELD_BYTES: usize = 512 * 1_024;
/// Where there are many, each holds less, so that all together hold about so much,
const HELD_BY_ALL: usize = 128 * 1_024 * 1_024;
/// but never less than this: a reader that is behind is slow.
const HELD_AT_LEAST: usize = 64 * 1_024;
/// When that many entries are there, those that nobody waits at are thrown out.
const ENTRIES: usize = 1_024;

/// How often an upload that is read here is written to Redis at most, while there are few of them.
const GATHERED_FOR: Duration = Duration::from_millis(25);
/// The same however many there are.
const LONGEST: Duration = Duration::from_millis(500);
/// So many are few.
const FEW: u32 = 8;

type Channels = HashMap<(PoolName, JobId), Weak<Channel>>;

/// The channels of this copy.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    channels: Mutex<Channels>,
    uploads: Arc<AtomicU32>,
}

impl Hub {
    /// The channel of a job that is waited for here, made if need be. It is there as long as somebody holds it.
    pub(crate) fn join(&self, pool: &PoolName, job: &JobId) -> Arc<Channel> {
        let mut channels = self.lock();
        if channels.len() >= ENTRIES {
            channels.retain(|_, channel| channel.strong_count() > 0);
        }
        let place = channels.entry((pool.clone(), job.clone())).or_default();
        place.upgrade().unwrap_or_else(|| {
            let channel = Arc::new(Channel::new(Arc::clone(&self.uploads)));
            *place = Arc::downgrade(&channel);
            channel
        })
    }

    /// The channel of a job, if anybody waits for it here.
    pub(crate) fn find(&self, pool: &PoolName, job: &JobId) -> Option<Arc<Channel>> {
        self.lock().get(&(pool.clone(), job.clone())).and_then(Weak::upgrade)
    }

    fn lock(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an upload has brought of one job's answer.
#[derive(Debug)]
pub(crate) struct Channel {
    held: Mutex<Held>,
    changed: watch::Sender<()>,
    /// How many uploads are read on this copy.
    uploads: Arc<AtomicU32>,
}

#[derive(Debug, Default)]
struct Held {
    /// Whose output it is: the lease of an attempt, which is never given out again, as its number may be after a failover.
    lease: Option<LeaseId>,
    start: u64,
    bytes: BytesMut,
    uploads: u32,
    /// How many there have been. Only the latest is listened to.
    opened: u64,
}

impl Channel {
    fn new(uploads: Arc<AtomicU32>) -> Self {
        Self { held: Mutex::default(), changed: watch::Sender::new(()), uploads }
    }

    /// Begins an upload of an attempt's output from an offset on; it lasts until the guard is dropped.
    pub(crate) fn open(self: Arc<Self>, lease: &LeaseId, offset: u64) -> Upload {
        let number = {
            let mut held = self.lock();
            held.uploads += 1;
            held.opened += 1;
            (held.lease, held.start) = (Some(lease.clone()), offset);
            held.bytes.clear();
            held.opened
        };
        self.uploads.fetch_add(1, Ordering::Relaxed);
        self.changed.send_replace(());
        Upload { channel: self, number }
    }

    /// Tells of changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Bytes that it holds at most.
    fn holds(&self) -> usize {
        let uploads = usize::try_from(self.uploads.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        (HELD_BY_ALL / uploads.max(1)).clamp(HELD_AT_LEAST, HELD_BYTES)
    }

    /// Whether an upload is under way, so that Redis has nothing that does not come here first.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().uploads > 0
    }

    /// Whether what is held is the output of the attempt with this lease.
    pub(crate) fn is_of(&self, lease: Option<&LeaseId>) -> bool {
        self.lock().lease.as_ref() == lease
    }

    /// What an attempt has written from an offset on, as far as it is held here.
    pub(crate) fn after(&self, lease: &LeaseId, offset: u64) -> Option<Bytes> {
        let held = self.lock();
        let skip = usize::try_from(offset.checked_sub(held.start)?).ok()?;
        let rest = held.bytes.get(skip..).filter(|rest| !rest.is_empty() && held.lease.as_ref() == Some(lease))?;
        Some(Bytes::copy_from_slice(rest))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An upload to a channel.
#[derive(Debug)]
pub(crate) struct Upload {
    channel: Arc<Channel>,
    number: u64,
}

impl Upload {
    /// How long what it brings is gathered for Redis: longer where many are read here, so that however many there are,
    /// Redis gets about as many appends.
    pub(crate) fn gathered_for(&self) -> Duration {
        (GATHERED_FOR * self.channel.uploads.load(Ordering::Relaxed).max(FEW) / FEW).min(LONGEST)
    }

    /// The next bytes. What an upload brings that another has followed, late or of an earlier attempt, is dropped.
    pub(crate) fn push(&self, bytes: &[u8]) {
        {
            let mut held = self.channel.lock();
            if held.opened != self.number {
                return;
            }
            held.bytes.extend_from_slice(bytes);
            let over = held.bytes.len().saturating_sub(self.channel.holds());
            if over > 0 {
                held.bytes.advance(over);
                held.start += over as u64;
            }
        }
        self.channel.changed.send_replace(());
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.channel.uploads.fetch_sub(1, Ordering::Relaxed);
        self.channel.lock().uploads -= 1;
        self.channel.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (PoolName, JobId) {
        (PoolName::default(), JobId::new("j").unwrap())
    }

    fn lease(number: u32) -> LeaseId {
        LeaseId::new(format!("lease-{number}")).unwrap()
    }

    #[test]
    fn a_reader_gets_what_it_has_not_had_of_the_attempt_that_it_reads() {
        let (hub, (pool, job)) = (Hub::default(), names());
        assert!(hub.find(&pool, &job).is_none());
        let channel = hub.join(&pool, &job);
        let upload = hub.find(&pool, &job).unwrap().open(&lease(1), 10);
        upload.push(b"abc");
        upload.push(b"def");
        assert_eq!(channel.after(&lease(1), 12).unwrap(), "cdef");
        assert_eq!(
            (channel.after(&lease(1), 16), channel.after(&lease(1), 9), channel.after(&lease(2), 12)),
            (None, None, None)
        );
        assert!(channel.is_open());
        drop(upload);
        assert!(!channel.is_open());
        drop(channel);
        assert!(hub.find(&pool, &job).is_none());
    }

    #[test]
    fn late_bytes_of_an_earlier_attempt_do_not_come_into_the_answer() {
        let (hub, (pool, job)) = (Hub::default(), names());
        let channel = hub.join(&pool, &job);
        let (first, second) = (Arc::clone(&channel).open(&lease(1), 0), Arc::clone(&channel).open(&lease(2), 0));
        first.push(b"x");
        second.push(b"ab");
        assert_eq!(channel.after(&lease(2), 0).unwrap(), "ab");
        drop(first);
        assert!(channel.is_open());
    }

    #[test]
    fn the_more_is_uploaded_the_longer_it_is_gathered_within_a_bound() {
        let (hub, (pool, job)) = (Hub::default(), names());
        let channel = hub.join(&pool, &job);
        let first = Arc::clone(&channel).open(&lease(1), 0);
        let mut others = Vec::new();
        let mut with = |count: usize| {
            others.resize_with(count, || Arc::clone(&channel).open(&lease(1), 0));
            first.gathered_for().as_millis()
        };
        assert_eq!([0, 7, 15, 127, 4_000, 0].map(&mut with), [25, 25, 50, 400, 500, 25]);
    }

    #[test]
    fn what_nobody_takes_does_not_grow_without_bound() {
        let (hub, (pool, job)) = (Hub::default(), names());
        let channel = hub.join(&pool, &job);
        let upload = Arc::clone(&channel).open(&lease(1), 0);
        for _ in 0..20 {
            upload.push(&vec![b'x'; 65_536]);
        }
        assert_eq!(channel.after(&lease(1), 0), None);
        assert_eq!(channel.after(&lease(1), 20 * 65_536 - 5).unwrap(), "xxxxx");
        // The more are uploaded, the less is held of each.
        let held = || channel.lock().bytes.len();
        assert_eq!(held(), HELD_BYTES);
        let mut others = Vec::new();
        for (count, most) in [(1_000, HELD_BY_ALL / 1_002), (4_000, HELD_AT_LEAST)] {
            others.resize_with(count, || Arc::clone(&channel).open(&lease(1), 0));
            let latest = Arc::clone(&channel).open(&lease(1), 0);
            latest.push(&vec![b'x'; HELD_BYTES]);
            assert_eq!(held(), most, "{count} others");
        }
    }
}
