//! The agent's end of a shim: starting it, or finding it again, telling it things, hearing that there is something to
//! see.

use std::{fs::File, io, process::Stdio, time::Duration};

use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{io::AsyncReadExt, net::unix::pipe, process::Child, time::sleep};

use super::{
    Executor, channels,
    folder::Folder,
    process::{self, ProcessName},
    shim::Command,
    spec::Spec,
    tree,
};
use crate::roster::Watched;

/// From one look to the next whether a shim whose signs have ended is gone.
const LOOK: Duration = Duration::from_millis(20);

/// A running shim.
#[derive(Debug)]
pub(super) struct Shim {
    process: Process,
    pid: Pid,
    commands: File,
    signs: pipe::Receiver,
}

#[derive(Debug)]
enum Process {
    /// This run of the agent has started it.
    Child(Child),
    /// An earlier one has.
    Found(ProcessName),
}

impl Executor {
    /// Starts the shim for the attempt in `folder`.
    pub(super) fn start_shim(&self, folder: &Folder, spec: &Spec) -> io::Result<Shim> {
        let (commands, signs) = (channels::commands_to(folder)?, channels::signs_from(folder)?);
        let mut command = self.reexec.command();
        command
            .args(["shim", "--dir"])
            .arg(folder.path())
            // The agent's environment may hold its join token.
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.shim_errors())?);
        // Ctrl-C at the terminal is for the agent.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = tokio::process::Command::from(command).kill_on_drop(false).spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the shim has no number"))?;
        self.enlist(pid, spec);
        Ok(Shim { process: Process::Child(child), pid, commands, signs })
    }

    /// Takes over the shim that an earlier run of the agent has started.
    pub(super) fn find_shim(&self, folder: &Folder, spec: &Spec, name: ProcessName) -> io::Result<Shim> {
        let (commands, signs) = (channels::commands_to(folder)?, channels::signs_from(folder)?);
        let pid = Pid::from_raw(name.pid);
        self.enlist(pid, spec);
        Ok(Shim { process: Process::Found(name), pid, commands, signs })
    }

    fn enlist(&self, shim: Pid, spec: &Spec) {
        self.roster.add(shim, Watched { job_id: spec.lease.job_id.clone(), devices: spec.devices.clone() });
    }

    /// Waits for the end of a shim that gives no signs any more.
    pub(super) async fn wait_for(&self, mut shim: Shim) -> io::Result<()> {
        let end = match &mut shim.process {
            Process::Child(child) => child.wait().await.map(drop),
            Process::Found(name) => {
                while name.alive().is_some() {
                    sleep(LOOK).await;
                }
                Ok(())
            }
        };
        self.roster.remove(shim.pid);
        end
    }
}

impl Shim {
    /// Says something. A shim that does not listen any more needs no telling, and one that is stopped is not waited
    /// for: the pipe does not block.
    pub(super) fn say(&self, command: Command) {
        let _ = nix::unistd::write(&self.commands, command.line().as_bytes());
    }

    /// Waits for signs; `None` once the shim has ended.
    pub(super) async fn signs(&mut self) -> Option<Vec<u8>> {
        let mut signs = Vec::with_capacity(256);
        loop {
            match self.signs.read_buf(&mut signs).await {
                Ok(read) if read > 0 => return Some(signs),
                _ if self.is_gone() => return None,
                // It has not opened its end yet, or has closed it and writes down how it ended.
                _ => sleep(LOOK).await,
            }
        }
    }

    /// Whether it has ended.
    pub(super) fn is_gone(&mut self) -> bool {
        match &mut self.process {
            Process::Child(child) => !matches!(child.try_wait(), Ok(None)),
            Process::Found(name) => name.alive().is_none(),
        }
    }

    /// Ends everything below the shim, and the shim: it did not do it in time by itself.
    pub(super) fn kill_tree(&mut self) {
        // A number that is not its own any more may be somebody else's.
        if !self.is_gone() {
            tree::kill(self.pid, None);
            process::send(self.pid, Signal::SIGKILL);
        }
    }
}
