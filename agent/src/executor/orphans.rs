//! Processes whose parents are gone. The agent, and each shim, is the one to whom those below it fall, so that
//! nothing gets away by outliving its parent.

use nix::{
    sys::wait::{WaitPidFlag, waitpid},
    unistd::Pid,
};

use super::{Executor, tree};

/// From now on orphans below this process become its children. Only Linux can do that.
pub(crate) fn adopt() {
    #[cfg(target_os = "linux")]
    if let Err(e) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::warn!("processes that leave their parents cannot be followed: {}", e.desc());
    }
}

impl Executor {
    /// Ends what dead shims have left behind: every child of this process that is no shim. Gives how many there were.
    pub(crate) fn end_orphans(&self) -> usize {
        let own = Pid::this();
        let orphans: Vec<_> = children(own).into_iter().filter(|pid| !self.roster.contains(*pid)).collect();
        for orphan in &orphans {
            tree::kill(*orphan, None);
            super::process::send(*orphan, nix::sys::signal::Signal::SIGKILL);
            // Reaped one by one: the runtime waits for shims by itself.
            let _ = waitpid(*orphan, Some(WaitPidFlag::WNOHANG));
        }
        orphans.len()
    }
}

#[cfg(target_os = "linux")]
fn children(of: Pid) -> Vec<Pid> {
    tree::children(of)
}

#[cfg(not(target_os = "linux"))]
fn children(_of: Pid) -> Vec<Pid> {
    // Orphans fall to the system's first process here; the caller ends the group of the program instead.
    Vec::new()
}
