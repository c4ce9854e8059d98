//! What `titan` keeps on this machine for the one who uses it: named coordinators with their keys, and where a running
//! `titan dev` is. Only its owner can read it.

pub mod contexts;
pub mod dev;

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Where a file of that name is: in `$XDG_CONFIG_HOME/titan`, or `~/.config/titan`; none without a home.
#[must_use]
pub fn path(name: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(config.join("titan").join(name))
}

/// The bytes of a file; none if there is no such file.
///
/// # Errors
/// If there is a file that cannot be read.
pub fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Whether accounts other than the owner's may read the file.
#[must_use]
pub fn is_open_to_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
}

/// Writes a file that only its owner may read, at once: readers see the old text or the new one, and after a crash of
/// the machine one of both is there.
///
/// # Errors
/// If the file or its folder cannot be written.
pub fn write_private(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let doing = || format!("{} cannot be written", path.display());
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(doing)?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary).with_context(doing)?;
    file.write_all(text).and_then(|()| file.sync_all()).with_context(doing)?;
    std::fs::rename(&temporary, path).with_context(doing)
}

/// Makes the file for a secret, before there is a secret that could be lost; a file that is there is never replaced.
///
/// # Errors
/// If there is such a file, or it cannot be made.
pub fn new_secret_file(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let path = path.display();
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            anyhow::anyhow!("{path} is there already, and no secret replaces it: name a new file")
        } else {
            anyhow::Error::new(error).context(format!("{path} cannot be made"))
        }
    })
}
