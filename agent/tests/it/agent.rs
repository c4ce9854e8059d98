//! The real agent as a child process, and leases for it.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::{Instant, timeout},
};

use crate::coordinator::{Coordinator, PATIENCE};

/// An agent with folders of its own.
pub(crate) struct Agent {
    child: Child,
    home: Arc<tempfile::TempDir>,
}

/// How to start one.
pub(crate) struct Start {
    home: Arc<tempfile::TempDir>,
    command: Command,
}

impl Start {
    /// An agent of `coordinator` that takes jobs.
    pub(crate) fn of(coordinator: &Coordinator) -> Self {
        Self::in_home(coordinator, Arc::new(tempfile::tempdir().unwrap()))
    }

    /// The same in folders that another one has used.
    pub(crate) fn in_home(coordinator: &Coordinator, home: Arc<tempfile::TempDir>) -> Self {
        // A job's account must be able to pass through.
        std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self::of_program(Path::new(env!("CARGO_BIN_EXE_titan-agent")), coordinator, home)
    }

    /// The same with a program that lies elsewhere.
    pub(crate) fn of_program(program: &Path, coordinator: &Coordinator, home: Arc<tempfile::TempDir>) -> Self {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("TITAN_JOIN_TOKEN", "join-secret")
            .env("SECRET_OF_THE_AGENT", "hidden")
            .env("TITAN_MAX_JOBS", "4")
            .env("TITAN_LISTEN", "off")
            .env("TITAN_ALLOW_JOBS", "true")
            // What listens elsewhere on the machine is no part of a test.
            .env("TITAN_PROBE_BACKENDS", "false")
            .env("LOG_LEVEL", "titan_agent=debug")
            .args(["--coordinator", &coordinator.url, "--allow-root-jobs"])
            .arg("--state-dir")
            .arg(home.path().join("state"));
        Self { home, command }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn spawn(mut self) -> Agent {
        let log = std::fs::File::options().create(true).append(true).open(self.home.path().join("agent.log")).unwrap();
        let child = self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn();
        Agent { child: child.unwrap(), home: self.home }
    }
}

impl Agent {
    /// Starts an agent that takes jobs.
    pub(crate) fn start(coordinator: &Coordinator) -> Self {
        Start::of(coordinator).spawn()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.state().join("work")
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().expect("the agent runs")).unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("the agent ends").unwrap()
    }

    /// Kills it as a crash would, and gives its folders.
    pub(crate) async fn crash(mut self) -> Arc<tempfile::TempDir> {
        self.child.kill().await.unwrap();
        Arc::clone(&self.home)
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("agent.log")).unwrap()
    }

    /// The folder that it keeps about the attempt under `lease`.
    pub(crate) fn folder(&self, lease: &str) -> PathBuf {
        self.state().join("attempts").join(format!("job-of-{lease}.1.{lease}"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the agent said\n{}", self.log());
        }
    }
}

/// A lease for `command`.
pub(crate) fn lease(command: &[&str]) -> Value {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let id = format!("lease-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    json!({
        "job_id": format!("job-of-{id}"), "attempt": 1, "lease_id": id, "lease_ttl_ms": 20_000,
        "process": { "command": command, "env": {}, "working_dir": null, "stdin": null }, "devices": [],
    })
}

/// A lease for a line of shell.
pub(crate) fn sh(script: &str) -> Value {
    lease(&["sh", "-c", script])
}

/// Waits until no process of that number lives (a dead one that nobody has waited for does not count).
pub(crate) async fn gone(pid: i32) {
    until(&format!("process {pid} is gone"), || !lives(pid)).await;
}

/// Whether that process lives.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z") && !rest.starts_with(" X"))
}

/// Looks again and again until `what` is so.
pub(crate) async fn until(name: &str, mut what: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end, "waited in vain until {name}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The number that stands in a file, once it is there.
pub(crate) async fn number_in(path: &Path) -> i32 {
    let read = || std::fs::read_to_string(path).ok()?.trim().parse().ok();
    until(&format!("{} holds a number", path.display()), || read().is_some()).await;
    read().unwrap()
}
