//! The note that an attempt's end is still owed to the coordinator. It is there from before anything of the attempt runs
//! until its last report was answered, so a restarted agent knows what it still has to answer for.

use std::io;

use serde::{Deserialize, Serialize};
use titan_api::work::{HeldLease, Lease};
use tracing::warn;

use super::{Executor, folder::Folder};
use crate::{files, trace::Note};

/// What is owed, and on what terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed {
    pub lease: HeldLease,
    /// How much longer than its lease it may run while no coordinator can be reached, milliseconds.
    #[serde(default)]
    pub disconnect_grace_ms: u64,
    /// What to tell a collector of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Note>,
}

impl Owed {
    pub(super) fn of(lease: &Lease, trace: Option<Note>) -> Self {
        Self { lease: lease.held(), disconnect_grace_ms: lease.disconnect_grace_ms, trace }
    }

    pub(super) fn write(&self, folder: &Folder) -> io::Result<()> {
        files::write_scratch(&folder.owed(), &serde_json::to_vec(self)?)
    }

    /// What is owed of the attempt in `folder`; `None` if nothing is.
    pub(super) fn read(folder: &Folder) -> io::Result<Option<Self>> {
        let bytes = files::read_if_there(&folder.owed())?;
        bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from)).transpose()
    }
}

impl Executor {
    /// Nothing is owed of that attempt any more.
    pub(crate) fn settle(&self, lease: &HeldLease) {
        let note = Folder::of(&self.attempts_dir, lease).owed();
        drop(tokio::task::spawn_blocking(move || {
            if let Err(e) = files::remove(&note) {
                warn!("{} cannot be removed: {e}", note.display());
            }
        }));
    }
}
