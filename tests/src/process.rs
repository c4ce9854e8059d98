//! A child process whose output is kept in a file, shown if the test fails, and which ends with the test.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::wait::within;

/// How many lines of its log a process shows when its test fails.
const SHOWN_LINES: usize = 60;

/// Takes the environment of the test away from a command, but for what programs need to run at all, so that no
/// setting of the developer's gets in.
pub fn clean(command: &mut Command) -> &mut Command {
    let kept = ["PATH", "HOME", "TMPDIR", "LANG", "RUST_BACKTRACE"];
    command.env_clear().envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
}

/// A running (or ended) child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` without input; both its streams are appended to the file `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        let out = File::options().append(true).create(true).open(log).unwrap();
        let error = out.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(error).spawn();
        let child = child.unwrap_or_else(|e| panic!("{name} can't be started: {e} ({command:?})"));
        Self { name: name.to_owned(), child, log: log.to_owned(), status: None }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.poll().is_none()
    }

    /// Sends it a signal. Nothing happens if it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            signal::kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
        }
    }

    /// `kill -9`, and waits until it is gone. Nothing happens if it has ended.
    pub fn kill(&mut self) {
        if self.is_running() {
            self.child.kill().unwrap();
            self.status = Some(self.child.wait().unwrap());
        }
    }

    /// Freezes it (SIGSTOP).
    pub fn pause(&mut self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&mut self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits until it ends by itself.
    pub async fn exited(&mut self, limit: Duration) -> ExitStatus {
        within(limit, format!("{} to exit", self.name.clone()), async || self.poll()).await
    }

    /// What it has written so far, both streams together.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status
    }

    fn show_log(&self) {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let shown = lines.len().saturating_sub(SHOWN_LINES);
        eprintln!("--- the last of what {} (pid {}) wrote:", self.name, self.pid());
        for line in &lines[shown..] {
            eprintln!("    {line}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_log();
        }
        self.kill();
    }
}
