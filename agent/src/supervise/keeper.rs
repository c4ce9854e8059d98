//! The keeper: one process for one backend that the agent has started as a process. It starts the backend, keeps what it
//! says, and ends it, with everything that it has started in turn, when the agent says so or is gone, unless the backend
//! is to go on without the agent.

mod launch;
mod watch;

pub(super) use watch::GRACE;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use nix::unistd::Pid;

use super::{
    home::Home,
    spec::{Journal, Spec},
};
use crate::{
    executor::{ProcessName, adopt_orphans},
    reexec::Reexec,
};

/// What a keeper is told on its command line: nothing that others may not read.
#[derive(Debug, Clone, clap::Args)]
pub struct KeeperArgs {
    /// The folder of the backend.
    #[arg(long)]
    dir: PathBuf,
    /// Become the backend itself, as a child of the keeper with that process id.
    #[arg(long)]
    launch_for: Option<i32>,
}

/// Runs a keeper, or becomes the backend that a keeper has started.
pub(crate) fn run(args: &KeeperArgs, reexec: &Reexec) -> ExitCode {
    let home = Home::at(args.dir.clone());
    if let Some(keeper) = args.launch_for {
        return launch::become_backend(&home, Pid::from_raw(keeper));
    }
    match keep(&home, reexec) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            super::log::Log::open(home.log()).write(format!("the keeper failed: {e:#}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn keep(home: &Home, reexec: &Reexec) -> anyhow::Result<()> {
    adopt_orphans();
    let keeper = ProcessName::of(Pid::this()).context("the system does not name this process")?;
    let journal = Journal { keeper, main: None };
    // Before anything runs, so that whatever runs can be found.
    journal.write(home).context("keeper.json cannot be written")?;
    let spec = Spec::read(home).context("spec.json cannot be read")?.context("there is nothing to start")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(watch::watch(home, &spec, journal, reexec))?;
    end.write(home).context("end.json cannot be written")
}
