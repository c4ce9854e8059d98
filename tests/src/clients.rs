//! Clients that others wrote, and a real model: got by their own package managers in versions that `scripts/pins/clients/`
//! names, once for all test runs, into `.tools/`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::fcntl::{Flock, FlockArg};

use crate::{
    binaries::workspace,
    process::{Process, clean},
};

/// A Python that has OpenAI's client; why there is none otherwise.
///
/// # Errors
/// What this machine lacks.
pub fn python() -> Result<PathBuf, String> {
    environment("python-clients", &["python.txt"], &[])
}

/// A Python that has a llama.cpp server and a small model; why there is none otherwise.
///
/// # Errors
/// What this machine lacks.
pub fn python_with_model() -> Result<PathBuf, String> {
    environment("python-model", &["model.txt"], &["--no-deps"])
}

/// A folder whose `node_modules` has OpenAI's client for JavaScript; why there is none otherwise.
///
/// # Errors
/// What this machine lacks.
pub fn node() -> Result<PathBuf, String> {
    let folder = tools().join("node-clients");
    once(&folder, || {
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(pins().join(file), folder.join(file)).map_err(|e| e.to_string())?;
        }
        let mut npm = Command::new("npm");
        run(npm.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder))
    })?;
    Ok(folder)
}

/// Starts a llama.cpp server with a small model, `smollm2:135m`, on a port of loopback.
#[must_use]
pub fn start_model(python: &Path, port: u16, folder: &Path) -> Process {
    let script = workspace().join("tests/tests/large/clients/model.py");
    let mut command = Command::new(python);
    clean(&mut command).arg(script).arg(port.to_string());
    Process::spawn("llama.cpp", &mut command, &folder.join("model.log"))
}

fn environment(name: &str, requirements: &[&str], flags: &[&str]) -> Result<PathBuf, String> {
    let folder = tools().join(name);
    let python = folder.join("bin/python");
    once(&folder, || {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--disable-pip-version-check"]).args(flags);
        for file in requirements {
            pip.arg("-r").arg(pins().join(file));
        }
        run(&mut pip)
    })?;
    Ok(python)
}

/// Does it unless it was done before. Several test programs may come at once.
fn once(folder: &Path, make: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    std::fs::create_dir_all(tools()).map_err(|e| e.to_string())?;
    let lock = File::create(folder.with_extension("lock")).map_err(|e| e.to_string())?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| e.to_string())?;
    let done = folder.join(".done");
    if done.is_file() {
        return Ok(());
    }
    make()?;
    File::create(done).map(drop).map_err(|e| e.to_string())
}

fn run(command: &mut Command) -> Result<(), String> {
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?} failed: {}", told(&output))),
        Err(error) => Err(format!("{command:?} could not be run: {error}")),
    }
}

fn tools() -> PathBuf {
    workspace().join(".tools")
}

fn pins() -> PathBuf {
    workspace().join("scripts/pins/clients")
}
