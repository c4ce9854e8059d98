//! The folder that the agent keeps for each kind of backend that it starts.

use std::path::{Path, PathBuf};

/// The folder of one.
#[derive(Debug, Clone)]
pub(super) struct Home(PathBuf);

impl Home {
    pub(super) fn of(state_dir: &Path, kind: &str) -> Self {
        Self(state_dir.join("backends").join(kind))
    }

    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What is to be run as a process.
    pub(super) fn spec(&self) -> PathBuf {
        self.0.join("spec.json")
    }

    /// Who runs and who watches over it.
    pub(super) fn journal(&self) -> PathBuf {
        self.0.join("keeper.json")
    }

    /// How it ended.
    pub(super) fn end(&self) -> PathBuf {
        self.0.join("end.json")
    }

    /// There may be a container.
    pub(super) fn container(&self) -> PathBuf {
        self.0.join("container")
    }

    /// What it says, in this file and an older one beside it.
    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}
