//! Whose memory it is: from processes that use a GPU to the attempts of which they are a part.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use nix::unistd::Pid;
use titan_api::ids::JobId;

use super::watcher::DeviceLook;
use crate::{executor::parent_of, roster::Watched};

/// No tree of processes is as deep as this.
const DEPTH: usize = 1_000;

/// The number of the system's own process namespace.
const HOST_PIDS: &str = "pid:[4026531836]";

/// Whether the process ids that the driver tells are the ones that this process sees: in a container they are not.
pub(super) fn pids_are_ours() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|name| name.as_os_str() == HOST_PIDS)
}

/// Of what the processes use, what is our attempts'.
pub(super) fn used_by(processes: &BTreeMap<Pid, u64>, shims: &BTreeMap<Pid, Watched>) -> u64 {
    processes.iter().filter(|(pid, _)| shim_of(**pid, shims).is_some()).map(|(_, used_mb)| *used_mb).sum()
}

/// The shim that the process runs under, if it is part of an attempt.
fn shim_of(pid: Pid, shims: &BTreeMap<Pid, Watched>) -> Option<Pid> {
    let line = std::iter::successors(Some(pid), |pid| parent_of(*pid)).take(DEPTH);
    line.into_iter().find(|pid| shims.contains_key(pid))
}

/// The jobs whose use is part of this look: it must be known for each of their devices.
pub(super) fn seen(devices: &[DeviceLook], shims: &BTreeMap<Pid, Watched>) -> Vec<JobId> {
    let readable: BTreeSet<_> =
        devices.iter().filter(|d| d.used_by_attempts_mb.is_some()).map(|d| d.uuid.as_str()).collect();
    let is_seen = |watched: &&Watched| {
        !watched.devices.is_empty() && watched.devices.iter().all(|uuid| readable.contains(uuid.as_str()))
    };
    shims.values().filter(is_seen).map(|watched| watched.job_id.clone()).collect()
}
