//! What was last found of Redis. Anybody may ask, so the checks run once a second at most, however many ask.

use std::time::{Duration, Instant};

use titan_api::health::{Check, Verdict};
use titan_lua::Store;
use tokio::sync::Mutex;

/// For how long a finding is told again.
const FRESH: Duration = Duration::from_secs(1);

/// The last finding.
#[derive(Debug, Default)]
pub(crate) struct Checked(Mutex<Option<(Instant, Vec<Check>)>>);

impl Checked {
    /// What the checks find, or found a moment ago. Whoever asks while they run waits for what they find.
    pub(crate) async fn checks(&self, store: &Store) -> Vec<Check> {
        let mut last = self.0.lock().await;
        if let Some((at, checks)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return checks.clone();
        }
        let checks = store.checks().await;
        for check in checks.iter().filter(|check| check.verdict == Verdict::Failed) {
            tracing::warn!(component = "ready", check = check.name, cause = check.detail, "a check failed");
        }
        *last = Some((Instant::now(), checks.clone()));
        checks
    }
}

/// The checks as anybody may see them: errors of the store name hosts and settings.
pub(crate) fn covered(mut checks: Vec<Check>) -> Vec<Check> {
    for check in checks.iter_mut().filter(|check| check.verdict == Verdict::Failed) {
        "failed; the administrator and the log are told why".clone_into(&mut check.detail);
    }
    checks
}
