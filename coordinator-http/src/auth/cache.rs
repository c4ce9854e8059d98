//! A small bounded map whose entries end by themselves.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// At most `capacity` entries, each until its own time.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    entries: Mutex<HashMap<K, (V, Instant)>>,
    capacity: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: Mutex::default(), capacity }
    }

    /// The value, unless its time is over.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let entries = self.lock();
        let (value, until) = entries.get(key)?;
        (Instant::now() < *until).then(|| value.clone())
    }

    /// Keeps a value until a time. A full cache first drops what has ended, and all of it if nothing has.
    pub(crate) fn put(&self, key: K, value: V, until: Instant) {
        let mut entries = self.lock();
        if entries.len() >= self.capacity {
            let now = Instant::now();
            entries.retain(|_, (_, until)| now < *until);
        }
        if entries.len() >= self.capacity {
            entries.clear();
        }
        entries.insert(key, (value, until));
    }

    /// Forgets the values of which this is true.
    pub(crate) fn forget(&self, is_meant: impl Fn(&V) -> bool) {
        self.lock().retain(|_, (value, _)| !is_meant(value));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (V, Instant)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_entry_ends_at_its_time_and_a_full_cache_stays_within_its_bound() {
        let cache = Cache::new(2);
        let later = Instant::now() + Duration::from_mins(1);
        cache.put("over", 1, Instant::now());
        assert_eq!(cache.get(&"over"), None);
        cache.put("a", 2, later);
        cache.put("b", 3, later);
        assert_eq!((cache.get(&"a"), cache.get(&"b")), (Some(2), Some(3)));
        cache.put("c", 4, later);
        assert_eq!((cache.get(&"a"), cache.get(&"c")), (None, Some(4)));
        cache.forget(|value| *value == 4);
        assert_eq!(cache.get(&"c"), None);
    }
}
