//! Where the programs of backends are.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::environment::search_path;

/// The program of that name, if there is one.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = search_path();
    let candidates =
        path.split(':').filter(|folder| folder.starts_with('/')).map(|folder| Path::new(folder).join(name));
    candidates.into_iter().find(|path| path.is_file() && access(path, AccessFlags::X_OK).is_ok())
}

/// The program at that path.
///
/// # Errors
/// There is none that can be run, in words.
pub(super) fn named_program(path: &Path, flag: &str) -> Result<PathBuf, String> {
    let name = path.display();
    if path.components().count() == 1 {
        let name = path.to_string_lossy();
        return find_program(&name).ok_or_else(|| format!("there is no program `{name}` in PATH: mend {flag}"));
    }
    if !path.is_file() {
        return Err(format!("there is no program {name}: mend {flag}"));
    }
    if access(path, AccessFlags::X_OK).is_err() {
        return Err(format!("{name} may not be run by this account: chmod +x {name}"));
    }
    std::path::absolute(path).map_err(|_| format!("`{name}` is no path"))
}
