//! One process that `titan dev` started: its log, its end, and how to bring that about.

use std::{
    ffi::OsString,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{ChildStdin, Command};

use crate::render;

/// How much of the end of a log is read to show its last lines.
const TAIL_BYTES: u64 = 16 * 1_024;
const TAIL_LINES: usize = 15;
/// Settings that would contradict those that `titan dev` makes.
const SETTINGS_OF_SERVERS: [&str; 6] =
    ["REDIS_URL", "ADMIN_TOKEN", "ADMIN_TOKEN_FILE", "SIGNING_KEY", "PORT_FILE", "LOG_FILE"];

/// A running process. Its standard input is a pipe whose other end is here: when this process is gone, however that came
/// about, the pipe ends, and so does the child.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    process: tokio::process::Child,
    log: PathBuf,
    /// The child ends when this is dropped, so it is kept apart from `process`, whose `wait` would drop it.
    _lifeline: Option<ChildStdin>,
}

impl Child {
    /// Starts a process, in a process group of its own so that Ctrl-C reaches it only through us.
    pub(super) fn start(name: impl Into<String>, mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let name = name.into();
        let file = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        let errors = file.try_clone().with_context(|| format!("{} cannot be written", log.display()))?;
        hide_settings(&mut command);
        let started = command.stdin(Stdio::piped()).stdout(file).stderr(errors).process_group(0).spawn();
        let mut process = started.with_context(|| format!("{name} cannot be started"))?;
        let lifeline = process.stdin.take();
        Ok(Self { name, process, log, _lifeline: lifeline })
    }

    /// What it is.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its log file.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id; none once it has ended.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Returns when it has ended, with what there is to say about it.
    pub(super) async fn death(&mut self) -> anyhow::Error {
        let ended = self.process.wait().await;
        self.obituary(ended)
    }

    /// An error if it has ended.
    pub(super) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.obituary(Ok(status))),
            Err(error) => Err(self.obituary(Err(error))),
        }
    }

    /// Asks it to end, and ends it by force if it has not in `grace`.
    pub(super) async fn stop(&mut self, grace: Duration) {
        self.signal(Signal::SIGTERM);
        if tokio::time::timeout(grace, self.process.wait()).await.is_err() {
            eprintln!("{} did not end within {} s and is killed", self.name, grace.as_secs());
            self.kill();
            let _ = self.process.wait().await;
        }
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()) {
            // The process is our child and not yet waited for, so the id is still its own.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    fn obituary(&self, ended: std::io::Result<ExitStatus>) -> anyhow::Error {
        let how =
            ended.map_or_else(|error| format!("cannot be waited for: {error}"), |status| format!("ended: {status}"));
        let tail = self.log_tail().unwrap_or_else(|error| format!("  (the log cannot be read: {error})\n"));
        anyhow::anyhow!("{} {how}\nthe last lines of {}:\n{tail}", self.name, self.log.display())
    }

    /// The last lines of the log, indented.
    fn log_tail(&self) -> std::io::Result<String> {
        let mut file = File::open(&self.log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        Ok(render::lines(last.iter().map(|line| format!("  {}", render::clean(line)))))
    }
}

/// Keeps from a child what this process's environment says to people's commands or to other servers, keys among it.
fn hide_settings(command: &mut Command) {
    let given: Vec<OsString> = command.as_std().get_envs().map(|(name, _)| name.to_owned()).collect();
    let ours = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("TITAN_") || SETTINGS_OF_SERVERS.contains(&name.as_ref())
    };
    for name in std::env::vars_os().map(|(name, _)| name).filter(|name| ours(name) && !given.contains(name)) {
        command.env_remove(name);
    }
}
