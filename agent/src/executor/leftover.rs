//! What an attempt leaves behind: its folders, and, if its shim was killed, its processes.

use std::{fs, path::Path};

use nix::{sys::signal::Signal, unistd::Pid};
use tracing::warn;

use super::{
    Executor,
    folder::Folder,
    process::{Journal, send},
    spec::Spec,
    tree,
};
use crate::files;

impl Executor {
    pub(super) fn folders(&self) -> impl Iterator<Item = Folder> + use<> {
        let entries = fs::read_dir(&self.attempts_dir).into_iter().flatten().flatten();
        entries.map(|entry| Folder::at(entry.path()))
    }
}

/// Ends processes of an attempt whose shim is dead and that fell to nobody who knows them. Gives how many there were.
pub(super) fn end_strays(folder: &Folder, spec: &Spec) -> usize {
    let main = Journal::read(folder).ok().flatten().and_then(|journal| journal.main?.alive());
    let mut strays = of_environment(spec);
    strays.extend(main.into_iter().flat_map(|main| [main].into_iter().chain(tree::descendants(main, Some(main)))));
    spec.group.kill();
    strays.extend(spec.group.members());
    strays.retain(|pid| *pid != Pid::this());
    for pid in &strays {
        send(*pid, Signal::SIGKILL);
    }
    strays.len()
}

/// Processes that still carry the attempt's name in their environment.
#[cfg(target_os = "linux")]
fn of_environment(spec: &Spec) -> Vec<Pid> {
    let job = format!("TITAN_JOB_ID={}", spec.lease.job_id);
    let attempt = format!("TITAN_ATTEMPT={}", spec.lease.attempt);
    let carries = |pid: Pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let has = |variable: &str| environment.split(|b| *b == 0).any(|entry| entry == variable.as_bytes());
        has(&job) && has(&attempt)
    };
    tree::living().filter(|pid| carries(*pid)).collect()
}

#[cfg(not(target_os = "linux"))]
fn of_environment(_spec: &Spec) -> Vec<Pid> {
    Vec::new()
}

/// Removes the folder in which the program worked and its control group, then whatever says that the attempt is not over.
pub(super) fn tidy(folder: &Folder, spec: &Spec) {
    if let Err(e) = remove_work(&spec.work_folder).and_then(|()| spec.group.remove()).and_then(|()| folder.close()) {
        warn!(job.id = %spec.lease.job_id, attempt = spec.lease.attempt, "a folder is left over: {e}");
    }
}

fn remove_work(work: &Path) -> std::io::Result<()> {
    files::remove(work)?;
    if let Some(job) = work.parent() {
        // Goes only when it is empty, that is with the job's last attempt here.
        let _ = fs::remove_dir(job);
    }
    Ok(())
}
