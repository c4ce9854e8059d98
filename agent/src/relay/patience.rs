//! How long a backend may be silent. Loading a model has a limit of its own, and only then the first token is waited for.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use titan_api::inference::InferenceSpec;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::ending::Broken;
use crate::{backends::Target, clock::millis};

/// How often a backend is asked whether it has loaded the model.
const LOOK: Duration = Duration::from_millis(250);

/// The time that one answer takes, in its parts.
#[derive(Debug)]
pub(super) struct Patience<'a> {
    request: &'a InferenceSpec,
    pub asked: Instant,
    /// When the model was seen to be loaded.
    loaded: OnceLock<Instant>,
    /// When it was last seen not to be.
    unloaded: Mutex<Option<Instant>>,
}

impl<'a> Patience<'a> {
    pub(super) fn new(request: &'a InferenceSpec) -> Self {
        Self { request, asked: Instant::now(), loaded: OnceLock::new(), unloaded: Mutex::default() }
    }

    /// What `first` gives, if it comes before the backend was silent for too long. What comes before the first token, and
    /// is waited for by itself, shares its time.
    pub(super) async fn for_first<T>(
        &self,
        target: &Target,
        first: impl Future<Output = Result<T, Broken>>,
    ) -> Result<T, Broken> {
        tokio::select! {
            biased;
            first = first => first,
            silent = self.spent(target) => Err(silent),
        }
    }

    async fn spent(&self, target: &Target) -> Broken {
        let loaded = match self.loaded.get() {
            Some(loaded) => *loaded,
            None if target.model.loaded => self.asked,
            None => {
                let limit = self.asked + Duration::from_millis(self.request.load_timeout_ms);
                if timeout_at(limit, self.until_loaded(target)).await.is_err() {
                    return Broken::NotLoaded;
                }
                *self.loaded.get_or_init(Instant::now)
            }
        };
        let limit = Duration::from_millis(self.request.first_token_timeout_ms);
        sleep_until(loaded + limit).await;
        let what = if self.request.stream { "first token" } else { "answer" };
        Broken::Silent(format!("the backend gave no {what} within {limit:?}"), limit)
    }

    /// What `next` gives, if the backend is not silent for too long.
    pub(super) async fn for_next<T>(&self, next: impl Future<Output = Result<T, Broken>>) -> Result<T, Broken> {
        let limit = Duration::from_millis(self.request.token_timeout_ms);
        let silent = || Broken::Silent(format!("the backend gave no more for {limit:?}"), limit);
        timeout(limit, next).await.unwrap_or_else(|_| Err(silent()))
    }

    /// How long loading took, if it did.
    pub(super) fn load_ms(&self) -> Option<u64> {
        // It may have answered before anybody looked once more.
        let unloaded = *self.unloaded.lock().unwrap_or_else(PoisonError::into_inner);
        self.loaded.get().copied().or(unloaded).map(|loaded| millis(loaded - self.asked))
    }

    async fn until_loaded(&self, target: &Target) {
        while !target.is_loaded().await {
            *self.unloaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            sleep(LOOK).await;
        }
    }
}
