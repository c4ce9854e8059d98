//! An agent as a process: the program that ships, with a state folder of its own.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    binaries::program,
    namespace::Namespace,
    process::{Process, clean},
};

/// How long a shutdown may take, besides what its jobs get.
const SHUTDOWN: Duration = Duration::from_mins(1);

/// How to start an agent. What is not set has its usual value, but jobs are allowed.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Its id.
    pub id: String,
    /// URLs of coordinators, in the order to try them.
    pub coordinators: Vec<String>,
    /// What it joins with.
    pub join_token: String,
    /// Other settings by the names of their environment variables.
    pub settings: BTreeMap<String, String>,
}

/// An agent. Dropping it kills it and the jobs that it ran.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    options: AgentOptions,
    folder: PathBuf,
    log: PathBuf,
    namespace: Option<Arc<Namespace>>,
}

impl Agent {
    /// Starts one; it may not have joined yet. Its log and its state go to `folder`.
    #[must_use]
    pub fn start(folder: &Path, options: AgentOptions) -> Self {
        Self::start_in(None, folder, options)
    }

    /// The same in a network of its own.
    #[must_use]
    pub fn start_in(namespace: Option<Arc<Namespace>>, folder: &Path, options: AgentOptions) -> Self {
        let log = folder.join(format!("{}.log", options.id));
        let folder = folder.join(&options.id);
        let process = spawn(&options, &folder, &log, namespace.as_deref());
        Self { process, options, folder, log, namespace }
    }

    /// Where its state is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.options.id
    }

    /// The process, to freeze it or look at its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// `kill -9` of the agent alone: what it started goes on, as far as it can.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with the state that it had, after [`Agent::kill`] or [`Agent::stop`].
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.options, &self.folder, &self.log, self.namespace.as_deref());
    }

    /// Asks it to shut down (SIGTERM) and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process.signal(Signal::SIGTERM);
        self.process.exited(SHUTDOWN).await
    }

    /// The processes that work in the folders of its jobs. Always empty where there is no `/proc`.
    #[must_use]
    pub fn job_processes(&self) -> Vec<u32> {
        let folder = fs::canonicalize(&self.folder).unwrap_or_else(|_| self.folder.clone());
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let works_here =
            |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&folder));
        pids.filter(|pid| *pid != self.process.pid() && works_here(pid)).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
        for pid in self.job_processes() {
            // It may have ended since it was found.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }
}

fn spawn(options: &AgentOptions, folder: &Path, log: &Path, namespace: Option<&Namespace>) -> Process {
    let mut command = Command::new(program("titan-agent"));
    clean(&mut command)
        .env("TITAN_COORDINATOR", options.coordinators.join(","))
        .env("TITAN_JOIN_TOKEN", &options.join_token)
        .env("TITAN_NODE_ID", &options.id)
        .env("TITAN_STATE_DIR", folder)
        .env("TITAN_ALLOW_JOBS", "true")
        // Tests may run as root, on machines that are made for that.
        .env("TITAN_ALLOW_ROOT_JOBS", "true")
        // One port for all of them would be taken.
        .env("TITAN_LISTEN", "off")
        // What listens elsewhere on the machine is no part of a test.
        .env("TITAN_PROBE_BACKENDS", "false")
        .env("LOG_FORMAT", "json")
        .envs(&options.settings);
    let (id, log) = (options.id.clone(), log.to_owned());
    let mut start = move || Process::spawn(&id, &mut command, &log);
    match namespace {
        Some(namespace) => namespace.run(start),
        None => start(),
    }
}
