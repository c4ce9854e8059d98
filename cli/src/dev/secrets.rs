//! Secrets that `titan dev` makes for itself and keeps in its data folder, each in a file for its owner alone.

use std::path::Path;

use anyhow::Context as _;

use crate::files::write_private;

/// 256 random bits in hex.
pub(crate) fn random() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|n| char::from_digit(n.into(), 16)).collect())
}

/// The secret in a file; if there is none, one that `make` gives.
pub(super) fn kept(path: &Path, make: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<String> {
    if let Some(secret) = read(path)? {
        return Ok(secret);
    }
    let secret = make()?;
    write_private(path, secret.as_bytes())?;
    Ok(secret)
}

/// The text of a file without what surrounds it; none if there is no file, or nothing in it.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}
