//! Files that hold a secret, and who else may read them.

use std::{
    fs::{File, metadata},
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::Path,
};

/// What to warn of if others than the owner may read a file that holds a secret. `uid` is the account of this process.
///
/// Only what this account can mend is told, and nothing is refused for it: secrets that a container is given often belong to root
/// with mode 0644, or lie on a file system that is read only, and nobody but the container's programs sees them.
#[must_use]
pub fn exposed(path: &Path, uid: u32) -> Option<String> {
    let about = metadata(path).ok().filter(|about| about.is_file() && about.uid() == uid)?;
    let is_open = about.mode() & 0o044 != 0;
    (is_open && !is_read_only(path)).then(|| {
        let (mode, name) = (about.mode() & 0o7777, path.display());
        format!("others may read {name} (mode {mode:04o}), which holds a secret: chmod 600 {name}")
    })
}

fn is_read_only(path: &Path) -> bool {
    File::options().append(true).open(path).is_err_and(|error| error.kind() == ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_another_account_or_is_no_file_is_not_told() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let owner = metadata(&file).unwrap().uid();
        assert_eq!(exposed(&file, owner + 1), None);
        assert_eq!(exposed(Path::new(env!("CARGO_MANIFEST_DIR")), owner), None);
        assert_eq!(exposed(Path::new("/no/such/file"), owner), None);
    }
}
