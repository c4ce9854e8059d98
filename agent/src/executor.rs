//! Running process jobs. Each attempt has a *shim*: this same program once more, which starts the job, writes down what
//! it says and how it ends, and ends it when its time, its lease or somebody's patience is over. The shim outlives the
//! agent, so an agent that is killed leaves no job running for longer than the lease.

mod attempt;
mod channels;
mod control;
mod environment;
mod exit;
mod fault;
mod folder;
mod frames;
mod leftover;
mod orphans;
mod outcome;
mod owed;
mod prepare;
mod previous;
mod process;
mod result;
mod shim;
mod spec;
mod sweep;
mod tree;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use tokio::sync::Semaphore;

use crate::{
    cgroups::{Bounds, Cgroups},
    config::{Config, JobUser},
    files,
    hardware::Devices,
    policy::Policy,
    reexec::Reexec,
    roster::Roster,
};
pub(crate) use attempt::Sign;
pub(crate) use environment::SEARCH_PATH;
pub(crate) use fault::{Fault, caught};
#[cfg(test)]
pub(crate) use frames::frame;
pub(crate) use frames::{LogReader, Piece};
pub(crate) use orphans::adopt as adopt_orphans;
pub(crate) use outcome::{failed, lease_lost, unstarted};
pub(crate) use prepare::words;
pub(crate) use previous::Left;
pub(crate) use process::{ProcessName, send};
pub use shim::ShimArgs;
pub(crate) use shim::{become_user, explain, restrict, run as shim};
pub(crate) use tree::{kill as kill_below, parent_of, terminate as terminate_below};

/// What it takes to run jobs on this box.
#[derive(Debug)]
pub(crate) struct Executor {
    allowed: bool,
    policy: Option<Arc<Policy>>,
    user: Option<JobUser>,
    attempts_dir: PathBuf,
    work_dir: PathBuf,
    reexec: Reexec,
    devices: Devices,
    /// What jobs are held to, and by what.
    bounds: Bounds,
    cgroups: Cgroups,
    /// Working folders that are removed at the same time; the disk has other work too.
    tidying: Arc<Semaphore>,
    /// Shims that this run of the agent has started and not yet seen end.
    roster: Arc<Roster>,
}

impl Executor {
    /// Makes the folders and becomes the one to whom orphans of dead shims fall.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub(crate) fn new(
        config: &Config,
        reexec: Reexec,
        devices: Devices,
        cgroups: Cgroups,
        roster: Arc<Roster>,
    ) -> anyhow::Result<Self> {
        let attempts_dir = config.state_dir.join("attempts");
        for (folder, mode) in [(&attempts_dir, 0o700), (&config.work_dir, 0o711)] {
            files::make_folder(folder, mode)
                .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        }
        orphans::adopt();
        Ok(Self {
            allowed: config.allow_jobs,
            policy: config.policy.clone(),
            user: config.job_user.clone(),
            attempts_dir,
            work_dir: config.work_dir.clone(),
            reexec,
            devices,
            bounds: config.bounds,
            cgroups,
            tidying: Arc::new(Semaphore::new(2)),
            roster,
        })
    }
}
