//! Finding a program that is Redis.

use std::{
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::bail;

/// Finds Redis or Valkey: the program named outright, else one on the search path, else `.tools/valkey-server` in one
/// of the folders or above it.
///
/// # Errors
/// If there is none; the message says how to get one.
pub fn find_redis(named: Option<&OsStr>, search_path: Option<&OsStr>, folders: &[PathBuf]) -> anyhow::Result<PathBuf> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        let path = PathBuf::from(named);
        if !is_program(&path) {
            bail!("TITAN_REDIS_BIN names {}, which is no program", path.display());
        }
        return Ok(path);
    }
    let on_path = search_path.map(std::env::split_paths).into_iter().flatten();
    let on_path = on_path.flat_map(|folder| ["valkey-server", "redis-server"].map(|name| folder.join(name)));
    let fetched =
        folders.iter().flat_map(|folder| folder.ancestors()).map(|folder| folder.join(".tools/valkey-server"));
    on_path.chain(fetched).find(|path| is_program(path)).ok_or_else(|| anyhow::anyhow!(HOW_TO_GET_ONE))
}

const HOW_TO_GET_ONE: &str = "there is no Redis on this machine. In a clone of the repository `make demo` or \
    scripts/setup.sh fetches one without root; else install the package valkey or redis-server (Debian and Ubuntu: \
    apt install redis-server; macOS: brew install valkey), or name a program with TITAN_REDIS_BIN";

/// Looks where this process is: its environment, its working folder and the folder of its executable.
pub(super) fn here() -> anyhow::Result<PathBuf> {
    let (named, search_path) = (std::env::var_os("TITAN_REDIS_BIN"), std::env::var_os("PATH"));
    find_redis(named.as_deref(), search_path.as_deref(), &nearby())
}

/// The working folder and the folder of this program: in or above them is what `scripts/setup.sh` has fetched.
pub(super) fn nearby() -> Vec<PathBuf> {
    let executable = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    std::env::current_dir().ok().into_iter().chain(executable).collect()
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
