//! What a server of the tests knows and does, as it changes, and waiting for a change.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// No wait in a test takes this long unless something is broken.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Changing<S> {
    state: Mutex<S>,
    changed: watch::Sender<()>,
}

impl<S> Changing<S> {
    pub(crate) fn new(state: S) -> Self {
        Self { state: Mutex::new(state), changed: watch::Sender::new(()) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut S)) {
        change(&mut self.state());
        self.changed.send_replace(());
    }

    /// Waits until `what` finds something. `name` says what, should it never be there.
    pub(crate) async fn until<T>(&self, name: &str, what: impl Fn(&S) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = what(&self.state()) {
                return found;
            }
            assert!(timeout_at(end, changed.changed()).await.is_ok(), "waited in vain until {name}");
        }
    }
}
