//! What the readers of a pool's events read together. All that stand at the newest event are woken by the next one, and want
//! the same page: whoever asks first reads it for all, whatever topics they want.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use titan_api::{events::EventList, ids::PoolName};
use titan_lua::{
    Pool,
    events::{ReadEvents, ReadOutcome},
};
use tokio::time::Instant;

use crate::sse::Unread;

/// Pools whose readers read together. Each keeps a page in memory, of 256 KiB at most; readers of more pools read alone.
const POOLS: usize = 64;

/// The pools that somebody reads.
#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<HashMap<PoolName, Weak<Head>>>);

impl Heads {
    /// The head of a pool, for a reader that keeps it for as long as it reads; none if there are too many.
    pub(crate) fn join(&self, pool: &PoolName) -> Option<Arc<Head>> {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(head) = heads.get(pool).and_then(Weak::upgrade) {
            return Some(head);
        }
        heads.retain(|_, head| head.strong_count() > 0);
        if heads.len() >= POOLS {
            return None;
        }
        let head = Arc::default();
        heads.insert(pool.clone(), Arc::downgrade(&head));
        Some(head)
    }
}

/// The newest page of a pool that was read.
#[derive(Debug, Default)]
pub(crate) struct Head(tokio::sync::Mutex<Option<Page>>);

#[derive(Debug)]
struct Page {
    /// When it was asked for.
    begun: Instant,
    after: u64,
    /// None if the store could not be read: then all that waited for it have failed together.
    list: Option<Arc<EventList>>,
}

impl Page {
    /// Whether whoever heard of a change at a time, and wants what comes after an event, has it here.
    fn serves(&self, heard: Instant, after: u64) -> bool {
        let has_all = |list: &Arc<EventList>| self.after <= after && after <= list.next_after;
        self.begun >= heard && self.list.as_ref().is_none_or(has_all)
    }
}

impl Head {
    /// Events on all topics after one, from a page that was asked for at that time or later; none if the reader has to look by itself,
    /// since events are missing there.
    pub(super) async fn page(&self, pool: &Pool, after: u64, heard: Instant) -> Result<Option<Arc<EventList>>, Unread> {
        let mut newest = self.0.lock().await;
        if let Some(page) = newest.as_ref().filter(|page| page.serves(heard, after)) {
            return page.list.clone().map(Some).ok_or(Unread);
        }
        let begun = Instant::now();
        let read = ReadEvents { after: Some(after), prefix: "" }.run(pool).await;
        let list = match read {
            Ok(ReadOutcome::Events(list)) => Some(Arc::new(list)),
            Ok(ReadOutcome::Lost { .. }) => return Ok(None),
            Err(_) => None,
        };
        *newest = Some(Page { begun, after, list: list.clone() });
        list.map(Some).ok_or(Unread)
    }
}
