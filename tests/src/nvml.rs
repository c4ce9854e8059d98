//! Boxes with GPUs that are not there: a stand-in for NVIDIA's management library, which agents load as the real one.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A library that says what it was told to say. It goes when this is dropped.
#[derive(Debug)]
pub struct StandIn(TempDir);

impl StandIn {
    /// A box with so many GPUs of that much memory, megabytes: `GPU-0`, `GPU-1` and so on.
    #[must_use]
    pub fn gpus(count: usize, vram_mb: u64) -> Self {
        let stand_in = Self(TempDir::with_prefix("titan-nvml-").unwrap());
        let line = |number| format!("gpu GPU-{number} {vram_mb} {vram_mb} 0 40 Stand-in\n");
        let state: String = (0..count).map(line).collect();
        std::fs::write(stand_in.0.path().join("libnvidia-ml.so.1.state"), state).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/tests/it/nvml/stand_in.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(stand_in.library()).arg(source).arg("-ldl");
        let built = cc.output().expect("a C compiler is at hand, as for every build");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        stand_in
    }

    /// The file to name to an agent (`TITAN_NVML_LIBRARY`).
    #[must_use]
    pub fn library(&self) -> PathBuf {
        self.0.path().join("libnvidia-ml.so.1")
    }
}
