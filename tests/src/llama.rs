//! A real llama.cpp server with a small real model, as `scripts/setup.sh --clients` fetches them.

use std::{path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::{
    binaries::workspace,
    process::{Process, clean},
    wait::eventually,
};

/// The name under which the server knows its model.
pub const MODEL: &str = "smollm2:135m";

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct LlamaServer {
    /// Where it listens, for example `http://127.0.0.1:40123`.
    pub url: String,
    /// The process.
    pub process: Process,
    _folder: TempDir,
}

impl LlamaServer {
    /// Starts one that answers `slots` requests at once, and waits until it can; none where it could not be fetched.
    pub async fn start(slots: u32) -> Option<Self> {
        let python = python()?;
        let folder = TempDir::with_prefix("titan-llama-").unwrap();
        let mut command = Command::new(python);
        command.arg(workspace().join("scripts/llama_server.py")).args(["--slots", &slots.to_string()]);
        let process = Process::spawn("the llama.cpp server", clean(&mut command), &folder.path().join("log"));
        let url = eventually("the llama.cpp server to listen", async || {
            process.log().lines().find_map(|line| line.strip_prefix("listening ").map(str::to_owned))
        })
        .await;
        Some(Self { url, process, _folder: folder })
    }
}

/// The Python that has the clients of OpenAI and Ollama, and the server; none where they could not be fetched.
#[must_use]
pub fn python() -> Option<PathBuf> {
    fetched("python", "bin/python")
}

/// The folder from which Node finds OpenAI's client; none where it could not be fetched.
#[must_use]
pub fn node_modules() -> Option<PathBuf> {
    fetched("node", "node_modules")
}

/// Something in a folder of `.tools/` whose making was completed.
fn fetched(folder: &str, what: &str) -> Option<PathBuf> {
    let folder = workspace().join(".tools").join(folder);
    folder.join("made-from").exists().then(|| folder.join(what))
}
