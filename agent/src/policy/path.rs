//! Paths as jobs write them: plain, so that each can be read in one way only.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use crate::executor::SEARCH_PATH;

/// The file that a job means by the name of its program.
///
/// # Errors
/// The name is not plain, or there is no such program.
pub(super) fn program(name: &str) -> Result<PathBuf, String> {
    if name.is_empty() || (name.contains('/') && !is_plain(name)) || matches!(name, "." | "..") {
        return Err(format!("the policy of this box wants a plain absolute path, and `{name}` is none"));
    }
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    // Where the job's own PATH would lead is not asked for.
    let places = SEARCH_PATH.split(':').map(|folder| Path::new(folder).join(name));
    places
        .into_iter()
        .find(|path| is_program(path))
        .ok_or_else(|| format!("the program `{name}` is not in {SEARCH_PATH}"))
}

/// Whether a path is absolute and has no step that leads back, nowhere, or is empty.
pub(super) fn is_plain(path: &str) -> bool {
    path.starts_with('/') && path[1..].split('/').all(|step| !matches!(step, "" | "." | ".."))
}

/// Whether a relative path stays where it begins.
pub(super) fn stays_inside(path: &str) -> bool {
    Path::new(path).components().all(|step| matches!(step, Component::Normal(_) | Component::CurDir))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}
