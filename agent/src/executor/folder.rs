//! The two folders of an attempt: what the agent keeps about it, and where its program works.
//!
//! | file | holds | until |
//! |---|---|---|
//! | `owed.json` | the lease; its being there says that the end is still owed to the coordinator | the end was reported |
//! | `spec.json` | what to run; its being there says that there is something to tidy up | the end |
//! | `stdin` | the program's standard input, if it has any | the end |
//! | `commands`, `signs` | named pipes from the agent to the shim and back | the end |
//! | `shim.json` | the shim and the program, named so that a later run of the agent can find them | a week |
//! | `shim.err` | what the shim complained about | a week |
//! | `log` | what the program wrote, up to 1 GiB | a week |
//! | `exit.json` | how it ended | a week |
//! | `result.json` | what it wrote into the file that `TITAN_RESULT` names | a week |

use std::{
    io,
    path::{Path, PathBuf},
};

use titan_api::work::HeldLease;

use super::channels;
use crate::files;

/// What the agent keeps about one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder of that attempt below `attempts_dir`; lease ids are random, so no two attempts share one.
    pub(super) fn of(attempts_dir: &Path, lease: &HeldLease) -> Self {
        Self(attempts_dir.join(format!("{}.{}.{}", safe(lease.job_id.as_str()), lease.attempt, lease.lease_id)))
    }

    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn owed(&self) -> PathBuf {
        self.0.join("owed.json")
    }

    pub(super) fn commands(&self) -> PathBuf {
        self.0.join("commands")
    }

    pub(super) fn signs(&self) -> PathBuf {
        self.0.join("signs")
    }

    pub(super) fn spec(&self) -> PathBuf {
        self.0.join("spec.json")
    }

    pub(super) fn stdin(&self) -> PathBuf {
        self.0.join("stdin")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.0.join("shim.json")
    }

    pub(super) fn shim_errors(&self) -> PathBuf {
        self.0.join("shim.err")
    }

    /// What the shim complained about last; empty if it did not.
    pub(super) fn complaints(&self) -> String {
        let all = std::fs::read(self.shim_errors()).unwrap_or_default();
        String::from_utf8_lossy(&all[all.len().saturating_sub(500)..]).trim().replace('\n', "; ")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(super) fn exit(&self) -> PathBuf {
        self.0.join("exit.json")
    }

    pub(super) fn result(&self) -> PathBuf {
        self.0.join("result.json")
    }

    /// Keeps the log, how it ended and its result; the rest may hold secrets and is of no more use.
    pub(super) fn close(&self) -> io::Result<()> {
        channels::remove(self)?;
        files::remove(&self.stdin())?;
        files::remove(&self.spec())
    }
}

/// Where the program of an attempt works.
pub(super) fn work_folder(work_dir: &Path, lease: &HeldLease) -> PathBuf {
    work_dir.join(safe(lease.job_id.as_str())).join(lease.attempt.to_string())
}

/// A job's id as one step of a path. Ids may begin with a dot, and `..` must not lead out of the folder.
fn safe(job_id: &str) -> String {
    if job_id.starts_with(['.', '_']) { format!("_{job_id}") } else { job_id.to_owned() }
}

#[cfg(test)]
mod tests {
    use titan_api::ids::{JobId, LeaseId};

    use super::*;

    #[test]
    fn no_job_id_leads_out_of_the_folders() {
        for id in ["..", ".", ".hidden", "_", "plain"] {
            let lease = HeldLease { job_id: JobId::new(id).unwrap(), attempt: 7, lease_id: LeaseId::new("l").unwrap() };
            let work = work_folder(Path::new("/work"), &lease);
            let parts: Vec<_> = work.components().map(|c| c.as_os_str().to_owned()).collect();
            assert_eq!(parts.len(), 4, "{work:?}");
            assert!(!parts[2].as_encoded_bytes().starts_with(b"."), "{work:?}");
        }
        let name = |id: &str| safe(JobId::new(id).unwrap().as_str());
        assert_ne!(name("_."), name("."), "different jobs stay in different folders");
    }
}
