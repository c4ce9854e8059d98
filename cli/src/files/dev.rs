//! The file by which `titan dev` tells other terminals where it is and with which key to call it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use titan_api::secret::Secret;

use super::write_private;

/// The name of the file with the admin token in the data folder of a `titan dev`.
pub const ADMIN_TOKEN: &str = "admin-token";

/// What the file holds. It is readable by its owner alone, since it holds a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevContext {
    /// The coordinator.
    pub url: String,
    /// The key to call it with.
    pub api_key: String,
    /// The process that wrote the file.
    pub pid: u32,
    /// Where that process keeps its data.
    pub data_dir: PathBuf,
    /// Its Redis, with the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_url: Option<Secret>,
}

/// Where the file is: `dev.json` in the folder of [`super::path`].
#[must_use]
pub fn path() -> Option<PathBuf> {
    super::path("dev.json")
}

impl DevContext {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// If there is a file that cannot be read.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let Some(text) = super::read(path)? else { return Ok(None) };
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is no file of `titan dev`; remove it, or set TITAN_URL", path.display()))
            .map(Some)
    }

    /// Writes the file, readable by its owner alone.
    ///
    /// # Errors
    /// If the file or its folder cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        write_private(path, &serde_json::to_vec_pretty(self)?)
    }

    /// The file with the admin token of that `titan dev`.
    #[must_use]
    pub fn admin_token(&self) -> PathBuf {
        self.data_dir.join(ADMIN_TOKEN)
    }

    /// Removes the file if this process wrote it; another `titan dev` may have taken its place.
    pub fn remove_own(path: &Path) {
        if matches!(Self::read(path), Ok(Some(context)) if context.pid == std::process::id()) {
            // It only saves the next command a vain call; nothing depends on it.
            let _ = std::fs::remove_file(path);
        }
    }
}
