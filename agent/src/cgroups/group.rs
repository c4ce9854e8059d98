//! The control group of one attempt: a folder in each hierarchy that is of use.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::{errno::Errno, unistd::Pid};
use serde::{Deserialize, Serialize};

use super::Limits;
#[cfg(target_os = "linux")]
use super::What;

/// The kernel lets go of a group a moment after its last process is gone.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);
/// In which a CPU's time is shared out, microseconds: the kernel's own default.
const PERIOD_US: u64 = 100_000;
const MB: u64 = 1_024 * 1_024;

/// The folders of one attempt; none where the box has no control groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Group(Vec<PathBuf>);

/// A limit that an attempt ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hit {
    /// It used more memory than it may, and the kernel ended something of it.
    Ram,
    /// The box had no memory left, and the kernel ended something of it.
    Box,
    /// It was refused another process.
    Processes,
}

impl Group {
    pub(super) fn of(folders: Vec<PathBuf>) -> Self {
        Self(folders)
    }

    /// Makes a group below `base`, looks at what it could be held to, and removes it.
    ///
    /// # Errors
    /// Why none can be made, in words.
    #[cfg(target_os = "linux")]
    pub(super) fn try_out(base: &Path) -> Result<Vec<What>, String> {
        let group = base.join(format!("titan-try-{}", std::process::id()));
        fs::create_dir(&group).map_err(|e| {
            let why = Errno::from_raw(e.raw_os_error().unwrap_or_default()).desc();
            format!("no control group can be made in {}: {why}", base.display())
        })?;
        let has = |file: &str| group.join(file).exists();
        let holds = What::ALL.into_iter().filter(|what| match what {
            What::Ram => has("memory.max") || has("memory.limit_in_bytes"),
            What::Cpus => has("cpu.max") || has("cpu.cfs_quota_us"),
            What::Processes => has("pids.max"),
        });
        let holds = holds.collect();
        let _ = fs::remove_dir(&group);
        Ok(holds)
    }

    /// Makes the folders, with these limits as far as each of them knows them.
    ///
    /// # Errors
    /// One cannot be made or set. What was made is gone again: nothing runs without the limits that the box has promised.
    pub(crate) fn make(&self, limits: Limits) -> io::Result<()> {
        let made = self.0.iter().try_for_each(|folder| {
            fs::create_dir(folder)
                .or_else(|e| if e.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(e) })?;
            set(folder, limits)
        });
        made.inspect_err(|_| drop(self.remove()))
    }

    /// Moves this process, which must not have threads yet, into the group.
    ///
    /// # Errors
    /// As for every write.
    pub(crate) fn join(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|folder| fs::write(folder.join("cgroup.procs"), "0"))
    }

    /// The processes in it, and in groups that a job may have made below it.
    pub(crate) fn members(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        for folder in self.0.iter().flat_map(|folder| with_all_below(folder)) {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            // 0 is a process that cannot be seen from here.
            found.extend(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).map(Pid::from_raw));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Ends all of it in one stroke, where the kernel can do that (Linux 5.14, version 2).
    pub(crate) fn kill(&self) {
        for folder in &self.0 {
            // Not `fs::write`, which would make the file where there is none.
            let file = fs::OpenOptions::new().write(true).open(folder.join("cgroup.kill"));
            let _ = file.and_then(|mut file| io::Write::write_all(&mut file, b"1"));
        }
    }

    /// What it ran into, if anything; memory before processes.
    pub(crate) fn hit(&self, limits: Limits) -> Option<Hit> {
        let count = |file: &str, name: &str| self.0.iter().map(|folder| counter(&folder.join(file), name)).sum::<u64>();
        let ended = count("memory.events", "oom_kill") + count("memory.oom_control", "oom_kill");
        // Version 1 does not count how often, but keeps the most that was used; it is charged by the batch.
        let most = count("memory.max_usage_in_bytes", "") + MB;
        let is_over = |ram_mb: u64| count("memory.events", "oom") > 0 || most >= ram_mb.saturating_mul(MB);
        match (ended > 0, limits.ram_mb.is_some_and(is_over)) {
            (true, true) => Some(Hit::Ram),
            (true, false) => Some(Hit::Box),
            _ => (count("pids.events", "max") > 0).then_some(Hit::Processes),
        }
    }

    /// Removes the folders, once nothing is in them any more; those that are not there are fine.
    ///
    /// # Errors
    /// One stays, for whatever reason.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for folder in self.0.iter().flat_map(|folder| with_all_below(folder)) {
            remove(&folder)?;
        }
        Ok(())
    }
}

fn set(folder: &Path, limits: Limits) -> io::Result<()> {
    let has = |file: &str| folder.join(file).exists();
    let write = |file: &str, value: String| fs::write(folder.join(file), value);
    if let Some(bytes) = limits.ram_mb.map(|ram_mb| ram_mb.saturating_mul(MB)) {
        if has("memory.max") {
            write("memory.max", bytes.to_string())?;
            // What does not fit would only be slow instead. Not every kernel counts it.
            let _ = has("memory.swap.max").then(|| write("memory.swap.max", "0".to_owned()));
        } else if has("memory.limit_in_bytes") {
            write("memory.limit_in_bytes", bytes.to_string())?;
            let both = "memory.memsw.limit_in_bytes";
            let _ = has(both).then(|| write(both, bytes.to_string()));
        }
    }
    if has("memory.oom.group") {
        // Half a job is of no use to anybody.
        write("memory.oom.group", "1".to_owned())?;
    }
    if let Some(quota_us) = limits.cpus.map(quota_us) {
        if has("cpu.max") {
            write("cpu.max", format!("{quota_us} {PERIOD_US}"))?;
        } else if has("cpu.cfs_quota_us") {
            write("cpu.cfs_period_us", PERIOD_US.to_string())?;
            let set = write("cpu.cfs_quota_us", quota_us.to_string());
            // It is more than the agent itself may have, so it holds already.
            set.or_else(|e| if e.raw_os_error() == Some(Errno::EINVAL as i32) { Ok(()) } else { Err(e) })?;
        }
    }
    match limits.processes.filter(|_| has("pids.max")) {
        Some(processes) => write("pids.max", processes.to_string()),
        None => Ok(()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest number there is"
)]
fn quota_us(cpus: f64) -> u64 {
    // The kernel takes no less than a millisecond.
    ((cpus * 100_000.0) as u64).max(1_000)
}

/// The number after `name` in a file of names and numbers, or the only one in it if `name` is empty; 0 if there is none.
fn counter(file: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let of_line = |line: &str| match line.split_once(' ') {
        Some((word, number)) if word == name => number.trim().parse().ok(),
        None if name.is_empty() => line.trim().parse().ok(),
        _ => None,
    };
    text.lines().find_map(of_line).unwrap_or(0)
}

/// The folder and those below it, the deepest first.
fn with_all_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut all: Vec<_> = folders.flat_map(|entry| with_all_below(&entry.path())).collect();
    all.push(folder.to_owned());
    all
}

fn remove(folder: &Path) -> io::Result<()> {
    for _ in 0..TRIES {
        match fs::remove_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.raw_os_error() == Some(Errno::EBUSY as i32) => thread::sleep(PAUSE),
            done => return done,
        }
    }
    fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Group) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let group = Group(vec![folder.path().to_owned()]);
        (folder, group)
    }

    #[test]
    fn each_version_gets_its_own_words_for_the_same_limits() {
        let limits = Limits { ram_mb: Some(2), cpus: Some(0.25), processes: Some(9) };
        for files in [
            [("memory.max", "2097152"), ("cpu.max", "25000 100000"), ("pids.max", "9"), ("memory.oom.group", "1")],
            [
                ("memory.limit_in_bytes", "2097152"),
                ("memory.memsw.limit_in_bytes", "2097152"),
                ("cpu.cfs_quota_us", "25000"),
                ("pids.max", "9"),
            ],
        ] {
            let (folder, group) = folder(&files.map(|(name, _)| (name, "")));
            group.make(limits).unwrap();
            for (name, value) in files {
                assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), value, "{name}");
            }
            assert!(!folder.path().join("cgroup.kill").exists());
        }
    }

    #[test]
    fn what_an_attempt_ran_into_is_read_from_the_kernels_counters() {
        let limited = Limits { ram_mb: Some(64), ..Limits::default() };
        let hit = |name: &str, text: &str| folder(&[(name, text)]).1.hit(limited);
        assert_eq!(hit("memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 1\n"), Some(Hit::Ram));
        assert_eq!(hit("memory.events", "max 0\noom 0\noom_kill 1\n"), Some(Hit::Box));
        assert_eq!(hit("memory.events", "max 900\noom 0\noom_kill 0\n"), None, "it gave back what it did not need");
        assert_eq!(hit("pids.events", "max 3\n"), Some(Hit::Processes));
        let (_folder, old) =
            folder(&[("memory.oom_control", "under_oom 0\noom_kill 2\n"), ("memory.max_usage_in_bytes", "67000000\n")]);
        assert_eq!(old.hit(limited), Some(Hit::Ram));
        assert_eq!(old.hit(Limits { ram_mb: Some(100), ..limited }), Some(Hit::Box), "it had room left");
        assert_eq!(old.hit(Limits::default()), Some(Hit::Box), "it had no limit of its own");
    }

    #[test]
    fn a_group_that_cannot_be_made_leaves_nothing() {
        let (folder, _) = folder(&[]);
        let group = Group(vec![folder.path().join("first"), folder.path().join("none/second")]);
        assert!(group.make(Limits::default()).is_err());
        assert!(!folder.path().join("first").exists());
        assert!(group.remove().is_ok() && group.members().is_empty());
    }
}
