//! What an attempt leaves behind: its folders, and, if agent or shim were killed, its processes.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};
use tracing::{info, warn};

use super::{
    Executor,
    folder::Folder,
    process::{Journal, send},
    spec::Spec,
    tree,
};
use crate::files;

const LOOK: Duration = Duration::from_millis(20);
/// A shim gets this much longer than its job's grace before the agent does its work for it.
const SPARE: Duration = Duration::from_secs(3);

impl Executor {
    /// Ends what an earlier run of the agent has left running, and tidies up after it. When this comes back nothing of
    /// it runs, so that the agent can truly say that it holds no attempt.
    pub(crate) fn end_previous_run(&self) {
        let unfinished: Vec<_> = self.folders().filter_map(|folder| Some((previous(&folder)?, folder))).collect();
        // All at once, so that ten jobs with ten seconds of grace take ten seconds.
        let shims: Vec<_> = unfinished.iter().map(|((_, shim), _)| *shim).collect();
        shims.iter().flatten().for_each(|shim| send(*shim, Signal::SIGTERM));
        for ((spec, shim), folder) in unfinished {
            if let Some(shim) = shim {
                wait_for(shim, &folder, spec.as_ref());
            }
            if let Some(spec) = &spec {
                info!(job.id = %spec.lease.job_id, attempt = spec.lease.attempt, "an attempt of an earlier run was ended");
                while end_strays(&folder, spec) > 0 {
                    thread::sleep(LOOK);
                }
                tidy(&folder, spec);
            } else if let Err(e) = files::remove(folder.path()) {
                warn!("{} cannot be removed: {e}", folder.path().display());
            }
        }
    }

    pub(super) fn folders(&self) -> impl Iterator<Item = Folder> + use<> {
        let entries = fs::read_dir(&self.attempts_dir).into_iter().flatten().flatten();
        entries.map(|entry| Folder::at(entry.path()))
    }
}

/// An attempt that is not over: its spec, if that can be read, and its shim, if that lives.
fn previous(folder: &Folder) -> Option<(Option<Spec>, Option<Pid>)> {
    let spec = Spec::read(folder).transpose()?.ok();
    Some((spec, Journal::read(folder).ok().flatten().and_then(|journal| journal.shim.alive())))
}

/// Waits until a shim that was asked to end is gone; ends its tree if that takes too long.
fn wait_for(shim: Pid, folder: &Folder, spec: Option<&Spec>) {
    let grace = Duration::from_millis(spec.map_or(0, |spec| spec.kill_grace_ms)) + SPARE;
    let begin = Instant::now();
    let lives = || Journal::read(folder).ok().flatten().is_some_and(|journal| journal.shim.alive().is_some());
    while lives() {
        if begin.elapsed() >= grace {
            tree::kill(shim, None);
            send(shim, Signal::SIGKILL);
        }
        thread::sleep(LOOK);
    }
}

/// Ends processes of an attempt whose shim is dead and that fell to nobody who knows them. Gives how many there were.
pub(super) fn end_strays(folder: &Folder, spec: &Spec) -> usize {
    let main = Journal::read(folder).ok().flatten().and_then(|journal| journal.main?.alive());
    let mut strays = of_environment(spec);
    strays.extend(main.into_iter().flat_map(|main| [main].into_iter().chain(tree::descendants(main, Some(main)))));
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

/// Removes the folder in which the program worked, then whatever says that the attempt is not over.
pub(super) fn tidy(folder: &Folder, spec: &Spec) {
    if let Err(e) = remove_work(&spec.work_folder).and_then(|()| folder.close()) {
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
