//! The accounts that jobs may run as.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use nix::unistd::{Uid, User};

/// An account that jobs run as.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct JobUser {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
}

/// What decides as whom jobs may run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accounts {
    /// Whether the agent runs as root and so can be anybody.
    pub is_root: bool,
    /// Whether the operator accepts jobs that run as root.
    pub may_be_root: bool,
}

impl Accounts {
    /// The account of that name; `None` if it is the agent's own.
    ///
    /// # Errors
    /// There is none, or jobs may not run as it.
    pub(crate) fn find(self, name: &str) -> anyhow::Result<Option<JobUser>> {
        let user = User::from_name(name)
            .with_context(|| format!("the account `{name}` cannot be looked up"))?
            .with_context(|| format!("there is no account `{name}` on this box: make it, or name another"))?;
        if user.uid == Uid::effective() && !self.is_root {
            return Ok(None);
        }
        ensure!(
            self.is_root,
            "only an agent that runs as root can run jobs as `{name}`; this one does not, and its jobs run as it does"
        );
        ensure!(
            !user.uid.is_root() || self.may_be_root,
            "`{name}` is root: name an account without rights, or accept jobs as root with --allow-root-jobs"
        );
        Ok(Some(JobUser { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: user.dir }))
    }
}
