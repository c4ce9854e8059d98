//! A process and everything that descends from it.

use nix::{
    sys::signal::Signal,
    unistd::{Pid, getpgid},
};

use super::process::send;

/// All living descendants of `root`, without `root`.
///
/// On Linux a shim is the one to whom its orphans fall, so nothing escapes from below it, not by a new session and not
/// by a double fork. Elsewhere orphans fall to the first process of the system; there the members of `group` are
/// found too, and only a process that left the group and lost its parent is missed.
pub(super) fn descendants(root: Pid, group: Option<Pid>) -> Vec<Pid> {
    let processes = list();
    let mut found: Vec<Pid> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let children = processes.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid);
        let new: Vec<_> = children.filter(|pid| !found.contains(pid) && *pid != root).collect();
        parents.extend(&new);
        found.extend(new);
    }
    if cfg!(not(target_os = "linux")) {
        let members = processes.iter().map(|(pid, _)| *pid).filter(|pid| in_group(*pid, group));
        let members: Vec<_> = members.filter(|pid| *pid != root && !found.contains(pid)).collect();
        found.extend(members);
    }
    found
}

/// Asks all descendants of `root` to end, each once.
pub(crate) fn terminate(root: Pid, group: Option<Pid>) {
    for pid in descendants(root, group) {
        send(pid, Signal::SIGTERM);
        // A stopped process would hear of it only when somebody wakes it.
        send(pid, Signal::SIGCONT);
    }
}

/// Ends all descendants of `root`. Some may have had children meanwhile, so the caller repeats it until none are left.
pub(crate) fn kill(root: Pid, group: Option<Pid>) {
    for pid in descendants(root, group) {
        send(pid, Signal::SIGKILL);
    }
}

fn in_group(pid: Pid, group: Option<Pid>) -> bool {
    group.is_some_and(|group| getpgid(Some(pid)) == Ok(group))
}

/// The process that `pid` was started by, or fell to; `None` if it is gone, or where that can't be read quickly.
#[cfg(target_os = "linux")]
pub(crate) fn parent_of(pid: Pid) -> Option<Pid> {
    linux::Stat::read(pid).map(|stat| stat.parent)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn parent_of(_pid: Pid) -> Option<Pid> {
    None
}

#[cfg(target_os = "linux")]
pub(super) use linux::Stat;

/// The children of `parent`, those included that are no more than an exit code waiting to be read.
#[cfg(target_os = "linux")]
pub(super) fn children(parent: Pid) -> Vec<Pid> {
    linux::pids().filter_map(Stat::read).filter(|stat| stat.parent == parent).map(|stat| stat.pid).collect()
}

/// All living processes of the system.
#[cfg(target_os = "linux")]
pub(super) fn living() -> impl Iterator<Item = Pid> {
    linux::pids().filter_map(Stat::read).filter(Stat::is_alive).map(|stat| stat.pid)
}

#[cfg(target_os = "linux")]
fn list() -> Vec<(Pid, Pid)> {
    linux::pids().filter_map(Stat::read).filter(Stat::is_alive).map(|stat| (stat.pid, stat.parent)).collect()
}

#[cfg(not(target_os = "linux"))]
fn list() -> Vec<(Pid, Pid)> {
    use sysinfo::{ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System};
    let Ok(mut system) = System::new() else { return Vec::new() };
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, ProcessRefreshKind::nothing());
    let pid = |pid: sysinfo::Pid| i32::try_from(pid.as_u32()).ok().map(Pid::from_raw);
    let living = system.processes().values().filter(|p| p.status() != ProcessStatus::Zombie);
    living.filter_map(|p| Some((pid(p.pid())?, pid(p.parent()?)?))).collect()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;

    use nix::unistd::Pid;

    /// The part of `/proc/<pid>/stat` that is needed here (proc(5)).
    #[derive(Debug, Clone, Copy)]
    pub(in crate::executor) struct Stat {
        pub pid: Pid,
        pub parent: Pid,
        /// In clock ticks after boot.
        pub started: u64,
        state: u8,
    }

    impl Stat {
        pub(in crate::executor) fn read(pid: Pid) -> Option<Self> {
            let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
            // The name of the program may hold anything, spaces and brackets included.
            let end_of_name = text.iter().rposition(|b| *b == b')')?;
            let rest = std::str::from_utf8(text.get(end_of_name + 2..)?).ok()?;
            let fields: Vec<_> = rest.split(' ').collect();
            Some(Self {
                pid,
                state: *fields.first()?.as_bytes().first()?,
                parent: Pid::from_raw(fields.get(1)?.parse().ok()?),
                started: fields.get(19)?.parse().ok()?,
            })
        }

        /// Whether it is more than an exit code that waits for its parent.
        pub(in crate::executor) fn is_alive(&self) -> bool {
            !matches!(self.state, b'Z' | b'X' | b'x')
        }
    }

    /// All process ids of the system.
    pub(super) fn pids() -> impl Iterator<Item = Pid> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_grandchild_is_a_descendant() {
        let mut child =
            Command::new("sh").args(["-c", "sleep 61 & echo; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut said).unwrap();
        let shell = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let below = descendants(shell, None);
        assert_eq!(below.len(), 1, "{below:?}");
        assert!(descendants(Pid::this(), None).contains(&below[0]));
        send(below[0], Signal::SIGKILL);
        child.wait().unwrap();
    }
}
