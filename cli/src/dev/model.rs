//! The small real model that the demonstration chats with: where `scripts/setup.sh --model` has put it, and its server.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::bail;
use tokio::{process::Command, time::Instant};

use super::{child::Child, find_redis, folder::DataFolder};

/// The name under which the pool knows it.
pub(super) const NAME: &str = "smollm2:135m";

/// How long its server may take to load it, on a machine that has much else to do.
const LOAD_LIMIT: Duration = Duration::from_mins(3);
const POLL: Duration = Duration::from_millis(50);
/// Where it is, with the clients that the tests use or alone.
const FOLDERS: [&str; 2] = [".tools/python", ".tools/model"];

/// What it takes to serve the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelServer {
    /// A Python that has the server and the model.
    pub python: PathBuf,
    /// The script that starts the server.
    pub script: PathBuf,
}

/// Finds what was fetched, in one of the folders or above it.
///
/// # Errors
/// If it is not there; the message says how to get it.
pub fn find_model(folders: &[PathBuf]) -> anyhow::Result<ModelServer> {
    for root in folders.iter().flat_map(|folder| folder.ancestors()) {
        let script = root.join("scripts/llama_server.py");
        let fetched = FOLDERS.map(|folder| root.join(folder)).into_iter().find(|folder| is_whole(folder));
        if let Some(folder) = fetched.filter(|_| script.is_file()) {
            return Ok(ModelServer { python: folder.join("bin/python"), script });
        }
    }
    bail!(
        "there is no model here. In a clone of the repository `make demo` or `scripts/setup.sh --model` fetches a small \
         one, which needs Python 3 with pip"
    )
}

/// Whether a folder of `.tools/` was completed.
fn is_whole(folder: &Path) -> bool {
    folder.join("made-from").is_file() && folder.join("bin/python").exists()
}

/// Starts its server, and waits until it answers. Gives it with its URL.
///
/// # Errors
/// If there is none, or it does not start: why, in words that say what to do.
pub(super) async fn start(folder: &DataFolder) -> anyhow::Result<(Child, String)> {
    let server = find_model(&find_redis::nearby())?;
    eprintln!("starting {NAME}, a small model");
    let mut command = Command::new(&server.python);
    command.arg(&server.script).args(["--alias", NAME, "--until-stdin-ends"]);
    let mut child = Child::start("model", command, folder.log("model")?)?;
    match listening(&mut child).await {
        Ok(url) => Ok((child, url)),
        Err(error) => {
            child.kill();
            Err(error)
        }
    }
}

/// Its URL, once it says so in its log.
async fn listening(child: &mut Child) -> anyhow::Result<String> {
    let deadline = Instant::now() + LOAD_LIMIT;
    while Instant::now() < deadline {
        let log = std::fs::read(child.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        // A line that is not whole may name half a port.
        let mut whole = log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        if let Some(url) = whole.find_map(|line| line.strip_prefix("listening ")) {
            return Ok(url.trim().to_owned());
        }
        child.check_alive()?;
        tokio::time::sleep(POLL).await;
    }
    bail!("its server did not listen within {} s; the log is {}", LOAD_LIMIT.as_secs(), child.log().display())
}
