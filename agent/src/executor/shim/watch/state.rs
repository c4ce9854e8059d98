//! How far an attempt's program has come, and what is to be done with it by when.

use std::time::Duration;

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::{
    cgroups::Group,
    clock,
    executor::{
        exit::{EndedBy, Exit},
        spec::Spec,
        tree,
    },
};

/// The clock that counts sleep cannot be waited for, so it is looked at this often.
const LOOK_MS: u64 = 1_000;
/// From one sweep of kills to the next: at first, and at most.
const KILL_MS: (u64, u64) = (10, 500);

pub(super) struct State {
    main: Pid,
    group: Group,
    /// The exit code or signal of the main process, once it has ended.
    ended: Option<(Option<i32>, Option<i32>)>,
    /// Whether nothing below this process runs any more.
    gone: bool,
    deadline_ms: u64,
    timeout_at_ms: Option<u64>,
    kill_grace_ms: u64,
    ending: Option<Ending>,
}

struct Ending {
    by: EndedBy,
    /// When grace ends.
    kill_at_ms: u64,
    /// From one sweep of kills to the next; 0 before the first.
    kill_every_ms: u64,
}

impl State {
    pub(super) fn new(spec: &Spec, main: Pid, deadline_ms: u64) -> Self {
        Self {
            main,
            group: spec.group.clone(),
            ended: None,
            gone: false,
            deadline_ms,
            timeout_at_ms: spec.timeout_ms.map(|timeout| clock::now_ms().saturating_add(timeout)),
            kill_grace_ms: spec.kill_grace_ms,
            ending: None,
        }
    }

    /// Whether the program has ended and nothing of it is left.
    pub(super) fn is_over(&self) -> bool {
        self.gone && self.ended.is_some()
    }

    pub(super) fn extend(&mut self, deadline_ms: u64) {
        self.deadline_ms = self.deadline_ms.max(deadline_ms);
    }

    /// Begins to end the program, or ends it sooner than was meant before. The first cause is the one that counts.
    pub(super) fn end(&mut self, by: EndedBy, grace_ms: Option<u64>) {
        let kill_at_ms = clock::now_ms().saturating_add(grace_ms.unwrap_or(self.kill_grace_ms));
        if let Some(ending) = &mut self.ending {
            ending.kill_at_ms = ending.kill_at_ms.min(kill_at_ms);
        } else {
            tree::terminate(Pid::this(), Some(self.main));
            self.ending = Some(Ending { by, kill_at_ms, kill_every_ms: 0 });
        }
    }

    /// Takes note of all processes that have ended.
    pub(super) fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => self.note(pid, Some(code), None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.note(pid, None, Some(signal as i32)),
                Ok(WaitStatus::StillAlive) => break,
                // The main process was ended by a signal that has no name here (a real-time one).
                Err(Errno::EINVAL) if nix::sys::signal::kill(self.main, None).is_err() => {
                    self.note(self.main, None, None);
                }
                Ok(_) | Err(Errno::EINTR | Errno::EINVAL) => {}
                Err(_) => {
                    self.gone = cfg!(target_os = "linux") || tree::descendants(Pid::this(), Some(self.main)).is_empty();
                    break;
                }
            }
        }
        if self.ended.is_some() && !self.gone {
            // What the program left running ends with it.
            self.end(EndedBy::Itself, None);
        }
    }

    fn note(&mut self, pid: Pid, code: Option<i32>, signal: Option<i32>) {
        if pid == self.main && self.ended.is_none() {
            self.ended = Some((code, signal));
        }
    }

    /// Does what is due.
    pub(super) fn heed_clocks(&mut self) {
        let now_ms = clock::now_ms();
        if self.ending.is_none() && now_ms >= self.deadline_ms {
            self.end(EndedBy::Lease, None);
        }
        if self.ending.is_none() && self.timeout_at_ms.is_some_and(|at| now_ms >= at) {
            self.end(EndedBy::Timeout, None);
        }
        let main = self.ended.is_none().then_some(self.main);
        if let Some(ending) = self.ending.as_mut().filter(|ending| now_ms >= ending.kill_at_ms) {
            self.group.kill();
            ending.kill(now_ms, self.main, main);
        }
    }

    /// How long nothing is due.
    pub(super) fn pause(&self) -> Duration {
        let next_ms = match &self.ending {
            Some(ending) => ending.kill_at_ms,
            None => self.timeout_at_ms.map_or(self.deadline_ms, |at| at.min(self.deadline_ms)),
        };
        Duration::from_millis(next_ms.saturating_sub(clock::now_ms()).clamp(1, LOOK_MS))
    }

    pub(super) fn exit(&self) -> Exit {
        let (code, signal) = self.ended.unwrap_or_default();
        let ended_by = self.ending.as_ref().map_or(EndedBy::Itself, |ending| ending.by);
        Exit { ended_by, code, signal, ..Exit::default() }
    }
}

impl Ending {
    /// Kills all there is. Something may have begun since it was looked, so there will be a next time.
    fn kill(&mut self, now_ms: u64, group: Pid, living_main: Option<Pid>) {
        if let Some(main) = living_main {
            // In one stroke; only while the main process lives is the group's number surely its own.
            let _ = killpg(main, Signal::SIGKILL);
        }
        tree::kill(Pid::this(), Some(group));
        self.kill_every_ms = (self.kill_every_ms * 2).clamp(KILL_MS.0, KILL_MS.1);
        self.kill_at_ms = now_ms + self.kill_every_ms;
    }
}
