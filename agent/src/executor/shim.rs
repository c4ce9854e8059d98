//! The shim: one process for one attempt. It starts the program, keeps its output, and sees to its end.
//!
//! It heeds three clocks by itself, without its agent: the job's time-out, the end of the lease, and the grace between
//! asking the program to end and ending it. The agent moves the lease's end by writing to a named pipe; if the agent
//! dies, nobody moves it any more until the next one goes on with it.

mod commands;
mod complain;
mod end;
mod launch;
mod log;
mod pipes;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use nix::unistd::Pid;

pub(super) use commands::Command;
pub(crate) use launch::{become_user, explain, restrict};

use super::{
    folder::Folder,
    process::{Journal, ProcessName},
    spec::Spec,
};
use crate::{files, reexec::Reexec};

/// What a shim is told on its command line: nothing that others may not read.
#[derive(Debug, Clone, clap::Args)]
pub struct ShimArgs {
    /// The folder of the attempt.
    #[arg(long)]
    dir: PathBuf,
    /// Become the program itself.
    #[arg(long)]
    launch: bool,
}

/// Runs a shim, or becomes the program that a shim has started.
pub(crate) fn run(args: &ShimArgs, reexec: &Reexec) -> ExitCode {
    let folder = Folder::at(args.dir.clone());
    if args.launch {
        return launch::become_program(&folder);
    }
    match watch_over(&folder, reexec) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            complain::complain(format_args!("{e:#}"));
            ExitCode::FAILURE
        }
    }
}

fn watch_over(folder: &Folder, reexec: &Reexec) -> anyhow::Result<()> {
    use anyhow::Context;
    super::orphans::adopt();
    let shim = ProcessName::of(Pid::this()).context("the system does not name this process")?;
    let journal = Journal { shim, main: None };
    // Before anything runs, so that whatever runs can be found.
    journal.write(folder).context("shim.json cannot be written")?;
    // For what is written once the program may have filled the disk.
    for path in [folder.journal(), folder.exit()] {
        files::reserve(&path).context("there is no room on the disk")?;
    }
    let spec = Spec::read(folder).context("spec.json cannot be read")?.context("the attempt is over already")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(watch::watch(folder, &spec, journal, reexec))?.with_result(folder, &spec);
    end::record(folder, &exit);
    // The agent would do it too, but it may be gone for good.
    let _ = spec.group.remove();
    Ok(())
}
