//! How an attempt's program ended, as its shim writes it down.

use std::io;

use serde::{Deserialize, Serialize};

use super::folder::Folder;
use crate::files;

/// What made the program end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndedBy {
    /// Nobody: it ended by itself.
    Itself,
    /// It ran longer than it may.
    Timeout,
    /// Its lease ended.
    Lease,
    /// The agent asked for it.
    Agent,
    /// Somebody ended the shim with a signal.
    Signal,
}

/// The end of one attempt's program. Written when nothing of it runs any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Exit {
    pub ended_by: EndedBy,
    /// Its exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it never ran, if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_error: Option<String>,
}

impl Exit {
    /// The program never ran.
    pub(super) fn not_started(why: String) -> Self {
        Self { ended_by: EndedBy::Itself, code: None, signal: None, start_error: Some(why) }
    }

    pub(super) fn write(&self, folder: &Folder) -> io::Result<()> {
        files::write_scratch(&folder.exit(), &serde_json::to_vec(self)?)
    }

    pub(super) fn read(folder: &Folder) -> io::Result<Option<Self>> {
        let bytes = files::read_if_there(&folder.exit())?;
        bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from)).transpose()
    }
}
