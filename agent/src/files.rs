//! Files that are whole or absent, and readable by nobody else.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Bytes that are reserved: a block of most disks.
const RESERVED: usize = 4_096;

/// Writes a file that only this user may read (0600), so that a crash leaves the old one or the new one, never half.
///
/// # Errors
/// As for every write.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Writes a file that only this user may read (0600), quickly: it need not outlive a power cut.
///
/// # Errors
/// As for every write.
pub(crate) fn write_scratch(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    // Not truncated first: a full disk would not give back what was reserved.
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    fs::rename(&new, path)
}

/// Takes room for the next [`write_scratch`] of a short text to `path`, should the disk be full by then. It holds on
/// disks that write in place, as most do.
///
/// # Errors
/// As for every write.
pub(crate) fn reserve(path: &Path) -> io::Result<()> {
    let new = path.with_extension("new");
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(new)?.write_all(&[b' '; RESERVED])
}

/// Makes a folder with `mode`, and what is missing above it; one that exists is left as it is.
///
/// # Errors
/// As for every making of a folder.
pub(crate) fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Reads a file, `None` if there is none.
///
/// # Errors
/// As for every read.
pub(crate) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Removes a file or a whole folder; one that is not there is fine.
///
/// # Errors
/// As for every removal.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    result.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
