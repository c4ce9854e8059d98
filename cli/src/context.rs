//! The file by which `titan dev` tells other terminals where it is and with which key to call it.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

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
}

/// Where the file is: `$XDG_CONFIG_HOME/titan/dev.json`, or `~/.config/titan/dev.json`; none without a home.
#[must_use]
pub fn path() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(config.join("titan").join("dev.json"))
}

impl DevContext {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// If there is a file that cannot be read.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("{} cannot be read", path.display()))?,
        };
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

    /// Removes the file if this process wrote it; another `titan dev` may have taken its place.
    pub fn remove_own(path: &Path) {
        if matches!(Self::read(path), Ok(Some(context)) if context.pid == std::process::id()) {
            // It only saves the next command a vain call; nothing depends on it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Writes a file that only its owner may read, at once: readers see the old text or the new one.
///
/// # Errors
/// If the file or its folder cannot be written.
pub fn write_private(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let doing = || format!("{} cannot be written", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(doing)?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary).with_context(doing)?;
    file.write_all(text).with_context(doing)?;
    std::fs::rename(&temporary, path).with_context(doing)
}
