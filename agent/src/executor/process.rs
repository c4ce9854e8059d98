//! Naming a process so that it is still the same one later: process ids are used again.

use std::io;

use nix::{errno::Errno, sys::signal, unistd::Pid};
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use crate::{files, hardware};

/// A process, for as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessName {
    pub pid: i32,
    /// When it began, in the system's own units.
    pub started: u64,
    /// In which run of the system.
    pub boot_id: String,
}

impl ProcessName {
    /// The name of the process that now has the id `pid`; `None` if there is none.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        Some(Self { pid: pid.as_raw(), started: started(pid)?, boot_id: hardware::boot_id() })
    }

    /// Its id, if it lives.
    pub(crate) fn alive(&self) -> Option<Pid> {
        let pid = Pid::from_raw(self.pid);
        (Self::of(pid).as_ref() == Some(self)).then_some(pid)
    }
}

/// What a shim writes before it starts anything, so that its agent's successor can find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub shim: ProcessName,
    /// The program's main process, which leads a group of that number.
    #[serde(default)]
    pub main: Option<ProcessName>,
}

impl Journal {
    pub(super) fn write(&self, folder: &Folder) -> io::Result<()> {
        files::write_scratch(&folder.journal(), &serde_json::to_vec(self)?)
    }

    pub(super) fn read(folder: &Folder) -> io::Result<Option<Self>> {
        let bytes = files::read_if_there(&folder.journal())?;
        bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from)).transpose()
    }
}

/// Sends a signal; a process that is gone is fine.
pub(crate) fn send(pid: Pid, what: signal::Signal) {
    match signal::kill(pid, what) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(e) => tracing::debug!(pid = pid.as_raw(), "signal {what} could not be sent: {}", e.desc()),
    }
}

#[cfg(target_os = "linux")]
fn started(pid: Pid) -> Option<u64> {
    super::tree::Stat::read(pid).filter(super::tree::Stat::is_alive).map(|stat| stat.started)
}

#[cfg(not(target_os = "linux"))]
fn started(pid: Pid) -> Option<u64> {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};
    let pid = sysinfo::Pid::from_u32(u32::try_from(pid.as_raw()).ok()?);
    let mut system = System::new().ok()?;
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, ProcessRefreshKind::nothing());
    system.process(pid).map(sysinfo::Process::start_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_recognised_until_it_ends() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let name = ProcessName::of(pid).unwrap();
        assert_eq!(name.alive(), Some(pid));
        assert_eq!(ProcessName { started: name.started + 1, ..name.clone() }.alive(), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(name.alive(), None);
    }
}
