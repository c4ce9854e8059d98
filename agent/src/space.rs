//! Room on the disk: no job is claimed while there is too little of it, since a job that cannot write goes wrong in ways
//! of its own and takes the other jobs of the box with it.

use std::{io, path::Path, sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::agent::Agent;

/// Disks fill up in minutes.
const LOOK: Duration = Duration::from_secs(5);
const MB: u128 = 1_024 * 1_024;

/// Looks again and again until the agent stops.
pub(crate) async fn run(agent: Arc<Agent>) {
    loop {
        tokio::time::sleep(LOOK).await;
        look(&agent).await;
    }
}

/// Looks whether there is room for jobs.
pub(crate) async fn look(agent: &Arc<Agent>) {
    let looking = Arc::clone(agent);
    let Ok(free) = tokio::task::spawn_blocking(move || free_after_making_room(&looking)).await else { return };
    let floor_mb = agent.config.min_free_disk_mb;
    // Better a job that fails than a box that idles because its disk cannot be asked.
    let short = free.as_ref().ok().filter(|(free_mb, _)| *free_mb < u128::from(floor_mb));
    // Without the figure, which the log has, so that it seldom changes.
    let why = short.map(|(_, folder)| {
        let folder = folder.display();
        format!(
            "the disk of {folder} has less than {floor_mb} MiB left (--min-free-disk-mb), so no process jobs are taken"
        )
    });
    let changed = agent.why_disk_is_short.send_if_modified(|was| {
        let changed = was.is_some() != why.is_some();
        *was = why;
        changed
    });
    if !changed {
        return;
    }
    if let Some((free_mb, folder)) = short {
        warn!(
            "the disk of {} has {free_mb} MiB left: no process jobs are taken below {floor_mb} MiB (--min-free-disk-mb). \
             What runs goes on",
            folder.display()
        );
    } else {
        info!("there is room on the disk again: jobs are taken");
    }
    // The pool is told why; and where nobody parks only a heartbeat can claim.
    agent.beat_now.notify_one();
}

/// The same as [`least_free_mb`], after old logs have made room where that helps.
fn free_after_making_room(agent: &Agent) -> io::Result<(u128, std::path::PathBuf)> {
    let (least_mb, folder) = least_free_mb(agent)?;
    let floor_mb = u128::from(agent.config.min_free_disk_mb);
    let is_short = || free_mb(&agent.config.state_dir).is_ok_and(|free_mb| free_mb < floor_mb);
    // Where only the disk of the working folders is short, logs are not what fills it.
    let gone = if least_mb < floor_mb { agent.executor.make_room(|| !is_short()) } else { 0 };
    if gone == 0 {
        return Ok((least_mb, folder));
    }
    warn!("the disk of {} was short, so the logs of {gone} old attempts were removed", folder.display());
    least_free_mb(agent)
}

/// The MiB left where jobs work or where their logs are kept, whichever has less.
fn least_free_mb(agent: &Agent) -> io::Result<(u128, std::path::PathBuf)> {
    let (work, state) = (&agent.config.work_dir, &agent.config.state_dir);
    let (in_work, in_state) = (free_mb(work)?, free_mb(state)?);
    Ok(if in_work <= in_state { (in_work, work.clone()) } else { (in_state, state.clone()) })
}

/// The bytes left in both folders, each by its name here; those of a disk that cannot be asked are left out.
pub(crate) fn free_bytes(agent: &Agent) -> Vec<(&'static str, u128)> {
    let folders = [("work", &agent.config.work_dir), ("state", &agent.config.state_dir)];
    folders.into_iter().filter_map(|(name, folder)| Some((name, free_mb(folder).ok()? * MB))).collect()
}

/// The MiB left on the disk of a folder.
///
/// # Errors
/// The system does not say.
pub(crate) fn free_mb(folder: &Path) -> io::Result<u128> {
    let disk = nix::sys::statvfs::statvfs(folder)?;
    Ok(u128::from(disk.blocks_available()) * u128::from(disk.fragment_size()) / MB)
}
