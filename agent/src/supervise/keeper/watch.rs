//! The keeper's one loop: what the backend says, the agent's end, signals, and what is left to be ended.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    executor::{ProcessName, kill_below, terminate_below},
    reexec::Reexec,
    supervise::{
        environment::inherited,
        home::Home,
        log::Log,
        spec::{End, Journal, Spec},
    },
};

/// From being asked to end to being ended.
pub(in crate::supervise) const GRACE: Duration = Duration::from_secs(10);
/// While nothing happens, and while something is being ended.
const LOOK: Duration = Duration::from_secs(1);
const SHORT_LOOK: Duration = Duration::from_millis(20);
/// The last output may take so long to be read.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// Runs the backend and gives how it ended, once nothing of it runs any more.
pub(super) async fn watch(home: &Home, spec: &Spec, mut journal: Journal, reexec: &Reexec) -> anyhow::Result<End> {
    // Before it starts, or its end could be missed.
    let mut listening = Listening::new(spec.keep)?;
    let log = Arc::new(Mutex::new(Log::open(home.log())));
    let (main, readers) = start(home, spec, reexec, &log)?;
    journal.main = ProcessName::of(main);
    journal.write(home)?;
    let end = until_gone(main, &mut listening).await;
    for reader in readers {
        let _ = timeout(LAST_OUTPUT, reader).await;
    }
    Ok(end)
}

fn start(home: &Home, spec: &Spec, reexec: &Reexec, log: &Arc<Mutex<Log>>) -> io::Result<(Pid, [JoinHandle<()>; 2])> {
    let mut child = reexec
        .command()
        .args(["keeper", "--launch-for", &Pid::this().to_string(), "--dir"])
        .arg(home.path())
        .env_clear()
        .envs(inherited(&spec.inherited))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let missing = || io::Error::other("a pipe is missing");
    let stdout = read(child.stdout.take().ok_or_else(missing)?.into(), log)?;
    let stderr = read(child.stderr.take().ok_or_else(missing)?.into(), log)?;
    Ok((Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?), [stdout, stderr]))
}

/// Takes what comes through a pipe into the log, to its end.
fn read(pipe: OwnedFd, log: &Arc<Mutex<Log>>) -> io::Result<JoinHandle<()>> {
    let (mut pipe, log) = (pipe::Receiver::from_owned_fd(pipe)?, Arc::clone(log));
    Ok(tokio::spawn(async move {
        let mut buffer = vec![0; 16 * 1_024];
        while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
            log.lock().unwrap_or_else(PoisonError::into_inner).write(&buffer[..read]);
        }
    }))
}

/// What concerns the keeper.
struct Listening {
    child: Signal,
    terminate: Signal,
    interrupt: Signal,
    /// Ends with the agent; `None` if that is of no concern.
    agent: Option<pipe::Receiver>,
}

impl Listening {
    fn new(keep: bool) -> io::Result<Self> {
        let agent = || pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            agent: if keep { None } else { Some(agent()?) },
        })
    }

    /// Waits for something to happen, at most so long; `true` if the backend is to end.
    async fn next(&mut self, pause: Duration) -> bool {
        let agent_is_gone = async {
            match &mut self.agent {
                // It never says anything.
                Some(pipe) => while let Ok(1..) = pipe.read(&mut [0; 64]).await {},
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.child.recv() => false,
            () = sleep(pause) => false,
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
            () = agent_is_gone => true,
        }
    }
}

async fn until_gone(main: Pid, listening: &mut Listening) -> End {
    let (mut ended, mut kill_at, mut wish) = (None, None, false);
    loop {
        let is_gone = reap(main, &mut ended);
        if ended.is_some() && is_gone {
            return ended.unwrap_or_default();
        }
        if (wish || ended.is_some()) && kill_at.is_none() {
            // What it left running ends with it.
            terminate_below(Pid::this(), Some(main));
            kill_at = Some(Instant::now() + GRACE);
        }
        if kill_at.is_some_and(|at| Instant::now() >= at) {
            kill_below(Pid::this(), Some(main));
        }
        let pause = if kill_at.is_some() { SHORT_LOOK } else { LOOK };
        if wish {
            // A pipe that has ended would be ready for ever.
            sleep(pause).await;
        } else {
            wish = listening.next(pause).await;
        }
    }
}

/// Takes note of all processes that have ended; `true` if none is left.
fn reap(main: Pid, ended: &mut Option<End>) -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == main => *ended = Some(End { code: Some(code), signal: None }),
            Ok(WaitStatus::Signaled(pid, by, _)) if pid == main => {
                *ended = Some(End { code: None, signal: Some(by as i32) });
            }
            Ok(WaitStatus::StillAlive) => return false,
            // It was ended by a signal that has no name here (a real-time one).
            Err(Errno::EINVAL) if nix::sys::signal::kill(main, None).is_err() => *ended = Some(End::default()),
            Ok(_) | Err(Errno::EINTR | Errno::EINVAL) => {}
            Err(_) => return true,
        }
    }
}
