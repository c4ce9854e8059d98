//! The data folder of `titan dev`: one run at a time uses it, and only its owner can read it.

use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// An open data folder; nobody else can open it while this exists.
#[derive(Debug)]
pub(super) struct DataFolder {
    path: PathBuf,
    temporary: Option<TempDir>,
    _lock: File,
}

/// `$XDG_DATA_HOME/titan/dev`, or `~/.local/share/titan/dev`.
pub(super) fn default_path() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    Ok(data.context("there is no HOME to keep data in; say where with --data-dir")?.join("titan").join("dev"))
}

impl DataFolder {
    /// Opens a folder, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        make_private(path)?;
        let path = path.canonicalize().with_context(|| format!("{} cannot be opened", path.display()))?;
        let lock = lock(&path)?;
        Ok(Self { path, temporary: None, _lock: lock })
    }

    /// A new folder that is removed by [`Self::close`].
    pub(super) fn temporary() -> anyhow::Result<Self> {
        let temporary = TempDir::with_prefix("titan-dev-").context("no temporary folder can be made")?;
        let folder = Self::open(temporary.path())?;
        Ok(Self { temporary: Some(temporary), ..folder })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it, made if it is not there.
    pub(super) fn subfolder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        make_private(&path)?;
        Ok(path)
    }

    /// The log file of a process; that of the run before is kept beside it.
    pub(super) fn log(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.subfolder("logs")?.join(format!("{name}.log"));
        match std::fs::rename(&path, path.with_extension("log.before")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} cannot be renamed", path.display()))
            }
            _ => Ok(path),
        }
    }

    /// Gives the folder free. A temporary one is removed if all went well, else its logs may say what went wrong.
    pub(super) fn close(self, all_well: bool) {
        if let Some(temporary) = self.temporary.filter(|_| !all_well) {
            eprintln!("logs and data are kept in {}", temporary.keep().display());
        }
    }
}

fn make_private(path: &Path) -> anyhow::Result<()> {
    let doing = || format!("the folder {} cannot be made", path.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(doing)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).with_context(doing)
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let doing = || format!("{} cannot be locked", path.display());
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(&path).with_context(doing)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(used_by_another(folder, &mut file)),
        Err(TryLockError::Error(error)) => return Err(error).with_context(doing),
    }
    file.set_len(0).with_context(doing)?;
    file.write_all(std::process::id().to_string().as_bytes()).with_context(doing)?;
    Ok(file)
}

fn used_by_another(folder: &Path, lock: &mut File) -> String {
    let mut pid = String::new();
    let read = lock.rewind().and_then(|()| lock.read_to_string(&mut pid));
    let who = if read.is_ok() && !pid.is_empty() { format!(" (process {pid})") } else { String::new() };
    format!(
        "another `titan dev`{who} uses {}; use that one, stop it with Ctrl-C, or name another folder with --data-dir",
        folder.display()
    )
}
