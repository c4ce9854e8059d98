//! A backend as a process, from the agent's side: its keeper is started, or found again, and told to end.

use std::{io, process::Stdio, sync::Arc, time::Duration};

use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{
    process::{Child, ChildStdin},
    time::{Instant, sleep},
};

use super::{
    environment::inherited,
    home::Home,
    keeper::GRACE,
    log,
    spec::{End, Journal, Spec},
};
use crate::{
    executor::{ProcessName, kill_below, send, words},
    files,
    reexec::Reexec,
    roster::Roster,
};

/// From one look to the next whether a keeper that an earlier run of the agent has started lives.
const LOOK: Duration = Duration::from_millis(200);
/// What a keeper gets beyond the grace that it gives.
const SLACK: Duration = Duration::from_secs(3);

/// A backend that runs as a process.
#[derive(Debug)]
pub(super) struct Process {
    home: Home,
    keeper: Keeper,
    pid: Pid,
    roster: Arc<Roster>,
    /// Where its log was when it began.
    log_from: u64,
    /// The keeper sees by its end that the agent is gone.
    _pipe: Option<ChildStdin>,
}

#[derive(Debug)]
enum Keeper {
    /// This run of the agent has started it.
    Child(Child),
    /// An earlier one has.
    Found(ProcessName),
}

impl Process {
    /// Starts what `spec` says.
    ///
    /// # Errors
    /// In words.
    pub(super) fn start(home: &Home, spec: &Spec, reexec: &Reexec, roster: &Arc<Roster>) -> Result<Self, String> {
        let try_to = || -> io::Result<Self> {
            files::remove(&home.end())?;
            spec.write(home)?;
            let log_from = log::end_of(&home.log());
            let mut command = reexec.command();
            command.args(["keeper", "--dir"]).arg(home.path());
            // The agent's environment may hold its join token.
            command
                .env_clear()
                .envs(inherited(&spec.inherited))
                .current_dir("/")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.stdin(if spec.keep { Stdio::null() } else { Stdio::piped() });
            // Ctrl-C at the terminal is for the agent.
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
            let mut child = tokio::process::Command::from(command).kill_on_drop(false).spawn()?;
            let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
            let pid = pid.ok_or_else(|| io::Error::other("the keeper has no number"))?;
            roster.add_keeper(pid);
            let pipe = child.stdin.take();
            let (home, keeper, roster) = (home.clone(), Keeper::Child(child), Arc::clone(roster));
            Ok(Self { home, keeper, pid, roster, log_from, _pipe: pipe })
        };
        try_to().map_err(|e| format!("it cannot be started: {}", words(&e)))
    }

    /// Takes over what an earlier run of the agent has left running, if `fits` says that it is what is wanted; ends it
    /// otherwise. Gives the port with it.
    pub(super) async fn find(home: &Home, roster: &Arc<Roster>, fits: impl Fn(&Spec) -> bool) -> Option<(Self, u16)> {
        let journal = Journal::read(home).ok().flatten()?;
        let spec = Spec::read(home).ok().flatten();
        if let Some(pid) = journal.keeper.alive() {
            let log_from = log::end_of(&home.log());
            let (home, roster) = (home.clone(), Arc::clone(roster));
            let mut left = Self { home, keeper: Keeper::Found(journal.keeper), pid, roster, log_from, _pipe: None };
            if let Some(spec) = spec.filter(|spec| spec.keep && fits(spec)) {
                return Some((left, spec.port));
            }
            left.stop().await;
        } else if let Some(main) = journal.main.and_then(|main| main.alive()) {
            // Its keeper was killed. Where the system does not end it with that, this does.
            kill_below(main, Some(main));
            send(main, Signal::SIGKILL);
        }
        None
    }

    /// Waits until it has ended, and says how.
    pub(super) async fn ended(&mut self) -> String {
        match &mut self.keeper {
            // An error means that it is gone already.
            Keeper::Child(child) => drop(child.wait().await),
            Keeper::Found(name) => {
                while name.alive().is_some() {
                    sleep(LOOK).await;
                }
            }
        }
        self.roster.remove_keeper(self.pid);
        End::read(&self.home).map_or_else(|| "its keeper was ended".to_owned(), |end| end.words())
    }

    /// Whether its keeper was ended by force, so that what it watched over may have lost its parent.
    pub(super) fn has_lost_its_keeper(&self) -> bool {
        End::read(&self.home).is_none()
    }

    /// The end of what it said.
    pub(super) fn last_words(&self) -> String {
        log::tail(&self.home.log(), self.log_from)
    }

    /// Ends it and everything below it.
    pub(super) async fn stop(&mut self) {
        let end = Instant::now() + GRACE + SLACK;
        if self.is_gone() {
            return;
        }
        send(self.pid, Signal::SIGTERM);
        while !self.is_gone() && Instant::now() < end {
            sleep(Duration::from_millis(20)).await;
        }
        if !self.is_gone() {
            kill_below(self.pid, None);
            send(self.pid, Signal::SIGKILL);
        }
    }

    fn is_gone(&mut self) -> bool {
        let is_gone = match &mut self.keeper {
            Keeper::Child(child) => !matches!(child.try_wait(), Ok(None)),
            Keeper::Found(name) => name.alive().is_none(),
        };
        if is_gone {
            self.roster.remove_keeper(self.pid);
        }
        is_gone
    }
}
