//! Old logs go.

use std::time::{Duration, SystemTime};

use tracing::{debug, warn};

use super::{Executor, folder::Folder};
use crate::files;

/// How long an attempt's log is kept after its end.
const KEPT: Duration = Duration::from_hours(7 * 24);

impl Executor {
    /// Removes what is kept about attempts that ended more than a week ago.
    pub(crate) fn sweep(&self) {
        self.sweep_before(SystemTime::now().checked_sub(KEPT).unwrap_or(SystemTime::UNIX_EPOCH));
    }

    fn sweep_before(&self, limit: SystemTime) {
        for folder in self.folders().filter(|folder| ended_before(folder, limit)) {
            match files::remove(folder.path()) {
                Ok(()) => debug!("the old log in {} was removed", folder.path().display()),
                Err(e) => warn!("the old log in {} cannot be removed: {e}", folder.path().display()),
            }
        }
    }
}

fn ended_before(folder: &Folder, limit: SystemTime) -> bool {
    // Removing its spec was the last change to the folder itself.
    let ended = std::fs::metadata(folder.path()).and_then(|of| of.modified());
    !folder.spec().exists() && ended.is_ok_and(|at| at < limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, RunArgs};

    #[test]
    fn old_logs_go_and_those_of_unfinished_attempts_stay() {
        let state = tempfile::tempdir().unwrap();
        let args = RunArgs {
            coordinators: vec!["http://127.0.0.1:1".into()],
            state_dir: Some(state.path().into()),
            ..RunArgs::default()
        };
        let executor = Executor::new(&Config::check(&args).unwrap(), Vec::new(), false).unwrap();
        let (old, unfinished) = (executor.attempts_dir.join("old"), executor.attempts_dir.join("unfinished"));
        for folder in [&old, &unfinished] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("log"), "x").unwrap();
        }
        std::fs::write(unfinished.join("spec.json"), "{}").unwrap();
        executor.sweep();
        assert!(old.exists() && unfinished.exists());
        executor.sweep_before(SystemTime::now() + Duration::from_secs(60));
        assert!(!old.exists() && unfinished.exists());
    }
}
