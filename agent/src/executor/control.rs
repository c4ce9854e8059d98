//! The agent's end of a shim: starting it, telling it things, hearing that there is something to see.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{io::AsyncReadExt, net::unix::pipe, process::Child};

use super::{Executor, folder::Folder, process, shim::Command, spec::Spec, tree};
use crate::{reexec, roster::Watched};

/// A shim whose pipe is closed has nothing left to do.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// A running shim.
#[derive(Debug)]
pub(super) struct Shim {
    child: Child,
    pid: Pid,
    commands: pipe::Sender,
    signs: pipe::Receiver,
}

impl Executor {
    /// Starts the shim for the attempt in `folder`.
    pub(super) fn start_shim(&self, folder: &Folder, spec: &Spec) -> io::Result<Shim> {
        let mut command = reexec::command(&self.reexec);
        command
            .args(["shim", "--dir"])
            .arg(folder.path())
            // The agent's environment may hold its join token.
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.shim_errors())?);
        // Ctrl-C at the terminal is for the agent.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = tokio::process::Command::from(command).kill_on_drop(false).spawn()?;
        let missing = || io::Error::other("a pipe of the shim is missing");
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw).ok_or_else(missing)?;
        self.roster.add(pid, Watched { job_id: spec.lease.job_id.clone(), devices: spec.devices.clone() });
        let stdin: OwnedFd = child.stdin.take().ok_or_else(missing)?.into_owned_fd()?;
        let stdout: OwnedFd = child.stdout.take().ok_or_else(missing)?.into_owned_fd()?;
        let (commands, signs) = (pipe::Sender::from_owned_fd(stdin)?, pipe::Receiver::from_owned_fd(stdout)?);
        Ok(Shim { child, pid, commands, signs })
    }

    /// Waits for the end of a shim that has closed its pipe.
    pub(super) async fn wait_for(&self, mut shim: Shim) -> io::Result<ExitStatus> {
        let in_time = tokio::time::timeout(LAST_WAIT, shim.child.wait()).await;
        let status = if let Ok(status) = in_time {
            status
        } else {
            shim.kill_tree();
            shim.child.wait().await
        };
        self.roster.remove(shim.pid);
        status
    }
}

impl Shim {
    /// Says something. A shim that does not listen any more needs no telling, and one that is stopped is not waited
    /// for: the pipe does not block. (The runtime's own writing would refuse until it has asked the system once.)
    pub(super) fn say(&self, command: Command) {
        let _ = nix::unistd::write(&self.commands, command.line().as_bytes());
    }

    /// Waits for signs; `None` once the shim has closed its pipe, which it does when it ends.
    pub(super) async fn signs(&mut self) -> Option<Vec<u8>> {
        let mut signs = Vec::with_capacity(256);
        match self.signs.read_buf(&mut signs).await {
            Ok(read) if read > 0 => Some(signs),
            _ => None,
        }
    }

    /// Ends everything below the shim, and the shim: it did not do it in time by itself.
    pub(super) fn kill_tree(&self) {
        tree::kill(self.pid, None);
        process::send(self.pid, Signal::SIGKILL);
    }
}
