//! Who waits for which channel.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// How long a channel stays subscribed after its last waiter left: an agent that parks again then costs no command.
const LINGER: Duration = Duration::from_secs(30);
/// Channels at once. Each costs memory here and in Redis, so whoever names more is refused.
const MOST: usize = 100_000;

#[derive(Debug)]
struct Entry {
    changes: watch::Sender<()>,
    confirmed: bool,
    used: Instant,
}

/// The channels that somebody waits for, or did until a moment ago.
#[derive(Debug, Default)]
pub(super) struct Topics(Mutex<HashMap<String, Entry>>);

impl Topics {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A receiver for a channel, and whether the channel is subscribed already; none if there are too many channels.
    pub(super) fn register(&self, channel: &str) -> Option<(watch::Receiver<()>, bool)> {
        let mut topics = self.lock();
        if let Some(entry) = topics.get_mut(channel) {
            entry.used = Instant::now();
            return Some((entry.changes.subscribe(), entry.confirmed));
        }
        if topics.len() >= MOST {
            return None;
        }
        let (changes, receiver) = watch::channel(());
        topics.insert(channel.to_owned(), Entry { changes, confirmed: false, used: Instant::now() });
        Some((receiver, false))
    }

    /// Notes that channels are subscribed.
    pub(super) fn confirm(&self, channels: &[String]) {
        let mut topics = self.lock();
        for channel in channels {
            if let Some(entry) = topics.get_mut(channel) {
                entry.confirmed = true;
            }
        }
    }

    /// Notes that the connection is gone, and with it every subscription.
    pub(super) fn forget_confirmations(&self) {
        self.lock().values_mut().for_each(|entry| entry.confirmed = false);
    }

    /// Forgets the channels that nobody waits for. Only while there is no connection: there is nothing to unsubscribe.
    pub(super) fn drop_unwatched(&self) {
        self.lock().retain(|_, entry| entry.changes.receiver_count() > 0);
    }

    /// Whether the channel counts as subscribed.
    pub(super) fn is_confirmed(&self, channel: &str) -> bool {
        self.lock().get(channel).is_some_and(|entry| entry.confirmed)
    }

    /// Wakes the waiters of a channel.
    pub(super) fn wake(&self, channel: &str) {
        if let Some(entry) = self.lock().get(channel) {
            entry.changes.send_replace(());
        }
    }

    /// All channels.
    pub(super) fn channels(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Forgets the channels that nobody has waited for in a while, and returns them.
    pub(super) fn take_idle(&self) -> Vec<String> {
        let mut topics = self.lock();
        let idle = |entry: &Entry| entry.changes.receiver_count() == 0 && entry.used.elapsed() > LINGER;
        let channels: Vec<String> = topics.iter().filter(|(_, e)| idle(e)).map(|(c, _)| c.clone()).collect();
        for channel in &channels {
            topics.remove(channel);
        }
        channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_of_waiters_that_gave_up_are_forgotten_while_there_is_no_connection() {
        let topics = Topics::default();
        let kept = topics.register("kept");
        drop(topics.register("left"));
        topics.drop_unwatched();
        assert_eq!(topics.channels(), ["kept"]);
        drop(kept);
    }

    #[test]
    fn more_channels_than_the_bound_are_refused_and_known_ones_are_not() {
        let topics = Topics::default();
        for n in 0..MOST {
            assert!(topics.register(&n.to_string()).is_some());
        }
        assert!(topics.register("one more").is_none());
        assert!(topics.register("0").is_some());
    }
}
