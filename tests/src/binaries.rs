//! Where the programs under test are: always those of the current sources.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os("TITAN_BIN_DIR") {
    Some(folder) => PathBuf::from(folder),
    None => build(),
});

/// The built program `name`: `titan`, `titan-coordinator` or `titan-agent`.
///
/// `make test` builds them first and says where in `TITAN_BIN_DIR`. Without that (a plain `cargo test`), cargo builds
/// them now: it can't be asked to do so for the tests of another package.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = FOLDER.join(name);
    assert!(path.is_file(), "{} is missing; run `make build`, or unset TITAN_BIN_DIR", path.display());
    path
}

/// Builds all programs: for tests as they were built (`target/<profile>/deps/<test>`), for benches as they ship.
fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let target = folder.parent().unwrap();
    let profile = match folder.file_name().and_then(|n| n.to_str()) {
        Some("debug") | None => "dev",
        // Benches lie in `release` too.
        Some(other) => other,
    };
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--workspace", "--bins", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "the programs don't build:\n{}", String::from_utf8_lossy(&output.stderr));
    folder.to_owned()
}

/// The root of the source tree.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
