//! A stand-in for NVIDIA's management library, built from C and loaded by the agent as the real one would be.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// A library of one test's own.
pub(crate) struct StandIn {
    folder: tempfile::TempDir,
}

impl StandIn {
    /// A library that says what `state` says (`stand_in.c` tells how).
    pub(crate) fn new(state: &str) -> Self {
        let stand_in = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::copy(built(), stand_in.path()).unwrap();
        stand_in.says(state);
        stand_in
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("libnvidia-ml.so.1")
    }

    /// From now on it says this.
    pub(crate) fn says(&self, state: &str) {
        let path = self.folder.path().join("libnvidia-ml.so.1.state");
        let new = path.with_extension("new");
        std::fs::write(&new, state).unwrap();
        std::fs::rename(new, path).unwrap();
    }
}

/// The library, compiled once for all tests.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/nvml/stand_in.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nvml-{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let built = cc.output().expect("a C compiler is at hand, as for every build");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        library
    })
}
