//! What was last found of Redis. Anybody may ask, so the checks run once a second at most, however many ask. The log is told of
//! what Redis would lose once, whoever asked first.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use titan_api::health::{Check, Verdict};
use titan_lua::Store;
use tokio::sync::Mutex;

/// For how long a finding is told again.
const FRESH: Duration = Duration::from_secs(1);

/// The last finding.
#[derive(Debug, Default)]
pub(crate) struct Checked(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    found: Option<(Instant, Vec<Check>)>,
    /// What the log has warned of, by check.
    warned: BTreeMap<String, String>,
}

impl Checked {
    /// What the checks find, or found a moment ago. Whoever asks while they run waits for what they find.
    pub(crate) async fn checks(&self, store: &Store) -> Vec<Check> {
        let mut last = self.0.lock().await;
        if let Some((at, checks)) = last.found.as_ref()
            && at.elapsed() < FRESH
        {
            return checks.clone();
        }
        let checks = store.checks().await;
        for check in &checks {
            log(check, &mut last.warned);
        }
        last.found = Some((Instant::now(), checks.clone()));
        checks
    }
}

/// A failure is told each time, a warning once, and again if it has changed.
fn log(check: &Check, warned: &mut BTreeMap<String, String>) {
    let Check { name, detail, .. } = check;
    match check.verdict {
        Verdict::Failed => tracing::warn!(component = "ready", check = name, cause = detail, "a check failed"),
        Verdict::Warning if warned.insert(name.clone(), detail.clone()).as_ref() != Some(detail) => {
            tracing::warn!(component = "ready", check = name, detail, "Redis answers, but is not set as it should be");
        }
        Verdict::Warning | Verdict::Unknown => {}
        Verdict::Ok => {
            warned.remove(name);
        }
    }
}

/// The checks as anybody may see them: errors of the store name hosts and settings.
pub(crate) fn covered(mut checks: Vec<Check>) -> Vec<Check> {
    for check in checks.iter_mut().filter(|check| check.verdict == Verdict::Failed) {
        "failed; the administrator and the log are told why".clone_into(&mut check.detail);
    }
    checks
}
