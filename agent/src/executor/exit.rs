//! How an attempt's program ended, as its shim writes it down.

use std::{io, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{folder::Folder, result, spec::Spec};
use crate::{cgroups::Hit, files};

/// What made the program end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndedBy {
    /// Nobody: it ended by itself.
    #[default]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The limit that it ran into, if that may be why it ended as it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hit: Option<Hit>,
    /// What there is to say about its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why its result is none, if it wrote one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_result: Option<String>,
    /// Its result, which is kept in a file of its own: for that much there may be no room on the disk.
    #[serde(skip)]
    pub result: Option<Value>,
}

impl Exit {
    /// The program never ran.
    pub(super) fn not_started(why: String) -> Self {
        Self { start_error: Some(why), ..Self::default() }
    }

    /// Says whose time-out it was, if it was not the job's own, and which limit a program that failed ran into.
    pub(super) fn explained(mut self, spec: &Spec) -> Self {
        if self.ended_by == EndedBy::Itself && self.code != Some(0) {
            self.hit = spec.group.hit(spec.limits);
        }
        self.note = match (self.ended_by, self.hit) {
            (EndedBy::Timeout, _) if spec.timeout_by_policy => {
                let longest = Duration::from_millis(spec.timeout_ms.unwrap_or_default());
                Some(format!("the policy of this box ends this program after {longest:?}"))
            }
            (_, Some(Hit::Ram)) => {
                let ram_mb = spec.limits.ram_mb.unwrap_or_default();
                Some(format!("it needed more than its {ram_mb} MiB of memory, so the kernel ended it"))
            }
            (_, Some(Hit::Box)) => Some("the box had no memory left, so the kernel ended it".to_owned()),
            (_, Some(Hit::Processes)) => {
                let most = spec.limits.processes.unwrap_or_default();
                Some(format!("it was refused more than {most} processes and threads, which may be why it failed"))
            }
            _ => None,
        };
        self
    }

    /// Says this too, after what there is to say of its end.
    pub(super) fn with_note(mut self, more: Option<String>) -> Self {
        let notes: Vec<_> = self.note.take().into_iter().chain(more).collect();
        self.note = (!notes.is_empty()).then(|| notes.join("; "));
        self
    }

    /// Keeps the result of a program that ended well where its own files are removed.
    pub(super) fn with_result(mut self, folder: &Folder, spec: &Spec) -> Self {
        if (self.ended_by, self.code) == (EndedBy::Itself, Some(0)) {
            self.no_result = result::keep(folder, spec).err();
        }
        self
    }

    pub(super) fn write(&self, folder: &Folder) -> io::Result<()> {
        files::write_scratch(&folder.exit(), &serde_json::to_vec(self)?)
    }

    pub(super) fn read(folder: &Folder) -> io::Result<Option<Self>> {
        let Some(bytes) = files::read_if_there(&folder.exit())? else { return Ok(None) };
        let exit: Self = serde_json::from_slice(&bytes)?;
        Ok(Some(Self { result: result::kept(folder)?, ..exit }))
    }
}
