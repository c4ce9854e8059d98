//! What the agent tells the shim, through a file: arguments and environment of a process can be read by others.

use std::{collections::BTreeMap, io, path::PathBuf};

use serde::{Deserialize, Serialize};
use titan_api::work::HeldLease;

use super::folder::Folder;
use crate::{
    cgroups::{Group, Limits},
    config::JobUser,
    files,
};

/// One attempt, ready to be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Spec {
    /// Under which lease.
    pub lease: HeldLease,
    /// The GPUs that it was given, by UUID.
    #[serde(default)]
    pub devices: Vec<String>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The file to run, if not what the command's first word means.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Where it runs.
    pub working_dir: PathBuf,
    /// The folder that is removed afterwards.
    pub work_folder: PathBuf,
    /// Whether there is a file with its standard input.
    pub has_stdin: bool,
    /// As whom it runs; as the agent does if absent.
    pub user: Option<JobUser>,
    /// How long it may run, milliseconds.
    pub timeout_ms: Option<u64>,
    /// When this was made, on the box's clock: its program begins right after that. Absent in what earlier versions wrote.
    #[serde(default)]
    pub made_at_ms: Option<u64>,
    /// Whether that is the box's time-out and not the job's.
    #[serde(default)]
    pub timeout_by_policy: bool,
    /// What it is held to, as far as its group does.
    #[serde(default)]
    pub limits: Limits,
    /// The control group that it runs in.
    #[serde(default)]
    pub group: Group,
    /// How long its processes get between SIGTERM and SIGKILL, milliseconds.
    pub kill_grace_ms: u64,
}

impl Spec {
    /// When the agent counts its time as over, a moment before its shim does.
    pub(super) fn timeout_at_ms(&self) -> Option<u64> {
        Some(self.made_at_ms?.saturating_add(self.timeout_ms?))
    }

    pub(super) fn write(&self, folder: &Folder) -> io::Result<()> {
        files::write_scratch(&folder.spec(), &serde_json::to_vec(self)?)
    }

    /// The spec of an attempt that was not tidied up after; `None` if it was.
    pub(super) fn read(folder: &Folder) -> io::Result<Option<Self>> {
        let bytes = files::read_if_there(&folder.spec())?;
        bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from)).transpose()
    }
}
