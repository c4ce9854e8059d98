//! What is kept about attempts that have ended goes: after a week, and sooner if it becomes too much, or
//! if the disk has no room left for jobs.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use tracing::{debug, warn};

use super::{Executor, folder::Folder};
use crate::files;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// How long after its end.
    age: Duration,
    /// Of how many attempts.
    attempts: usize,
    /// How many bytes of logs.
    bytes: u64,
}

const KEPT: Kept = Kept { age: Duration::from_hours(7 * 24), attempts: 20_000, bytes: 16 * 1_024 * 1_024 * 1_024 };

/// One attempt that has ended.
struct Ended {
    folder: Folder,
    at: SystemTime,
    bytes: u64,
}

impl Executor {
    /// Removes what is kept no longer, the oldest first.
    pub(crate) fn sweep(&self) {
        self.sweep_beyond(KEPT);
    }

    /// Removes what is kept, the oldest first, until there is enough room. Gives of how many attempts.
    pub(crate) fn make_room(&self, is_enough: impl Fn() -> bool) -> usize {
        let oldest_first = self.ended().into_iter().rev();
        oldest_first.take_while(|_| !is_enough()).map(|ended| remove(&ended.folder)).count()
    }

    /// The newest first.
    fn ended(&self) -> Vec<Ended> {
        let mut ended: Vec<_> = self.folders().filter_map(ended).collect();
        ended.sort_by_key(|ended| std::cmp::Reverse(ended.at));
        ended
    }

    fn sweep_beyond(&self, kept: Kept) {
        let ended = self.ended();
        let now = SystemTime::now();
        let mut bytes = 0_u64;
        for (newer, ended) in ended.iter().enumerate() {
            bytes = bytes.saturating_add(ended.bytes);
            let age = now.duration_since(ended.at).unwrap_or_default();
            if age >= kept.age || newer >= kept.attempts || bytes > kept.bytes {
                remove(&ended.folder);
            }
        }
    }
}

fn ended(folder: Folder) -> Option<Ended> {
    if folder.spec().exists() || folder.owed().exists() {
        return None;
    }
    // Removing one of them was the last change to the folder itself.
    let at = fs::metadata(folder.path()).and_then(|of| of.modified()).ok()?;
    let bytes = fs::metadata(folder.log()).map_or(0, |of| of.len());
    Some(Ended { folder, at, bytes })
}

fn remove(folder: &Folder) {
    match files::remove(folder.path()) {
        Ok(()) => debug!("the old log in {} was removed", folder.path().display()),
        Err(e) => warn!("the old log in {} cannot be removed: {e}", folder.path().display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, RunArgs},
        hardware::Devices,
        reexec::Reexec,
    };

    fn executor(state: &tempfile::TempDir, folders: &[&str]) -> Executor {
        let args = RunArgs {
            coordinators: vec!["http://127.0.0.1:1".into()],
            state_dir: Some(state.path().into()),
            ..RunArgs::default()
        };
        let executor = Executor::new(
            &Config::check(&args).unwrap(),
            Reexec::default(),
            Devices::default(),
            crate::cgroups::Cgroups::default(),
            std::sync::Arc::default(),
        )
        .unwrap();
        for folder in folders {
            let folder = executor.attempts_dir.join(folder);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("log"), "0123456789").unwrap();
        }
        executor
    }

    fn left(executor: &Executor) -> usize {
        executor.folders().count()
    }

    #[test]
    fn old_logs_go_and_those_of_unfinished_attempts_stay() {
        let state = tempfile::tempdir().unwrap();
        let executor = executor(&state, &["ended", "unfinished"]);
        let unfinished = executor.attempts_dir.join("unfinished");
        fs::write(unfinished.join("spec.json"), "{}").unwrap();
        executor.sweep();
        assert_eq!(left(&executor), 2, "neither is a week old");
        executor.sweep_beyond(Kept { age: Duration::ZERO, ..KEPT });
        assert!(left(&executor) == 1 && unfinished.exists());
    }

    #[test]
    fn as_many_logs_go_as_it_takes_to_make_room() {
        let state = tempfile::tempdir().unwrap();
        let executor = executor(&state, &["a", "b", "c", "d"]);
        assert_eq!(executor.make_room(|| left(&executor) <= 3), 1);
        assert_eq!(executor.make_room(|| true), 0);
        assert_eq!(left(&executor), 3);
    }

    #[test]
    fn logs_go_when_they_are_too_many_or_too_large() {
        let state = tempfile::tempdir().unwrap();
        let executor = executor(&state, &["a", "b", "c", "d"]);
        executor.sweep_beyond(Kept { attempts: 3, ..KEPT });
        assert_eq!(left(&executor), 3);
        executor.sweep_beyond(Kept { bytes: 20, ..KEPT });
        assert_eq!(left(&executor), 2);
    }
}
