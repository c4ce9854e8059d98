//! The one thread that asks the driver. It may wait as long as the driver does; nobody else waits for long.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use nix::unistd::Pid;
use titan_api::{agents::Gpu, ids::JobId};
use tokio::{sync::watch, time::timeout};
use tracing::{info, warn};

use super::{
    attribution,
    library::{Library, Missing, State},
};
use crate::roster::{Roster, Watched};

/// Drivers that wake a sleeping GPU take seconds, and boxes have up to sixteen.
const FIRST: Duration = Duration::from_mins(1);
/// How long a caller waits for a fresh look.
const PATIENCE: Duration = Duration::from_millis(500);
/// What was seen longer ago than this is not believed any more.
const STALE: Duration = Duration::from_secs(45);
/// From one fresh start of the library to the next while a GPU is lost: at first, and at most.
const REVIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_mins(10));

/// What was seen of all GPUs at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    /// When it was begun; `None` before the first.
    pub at: Option<Instant>,
    pub devices: Vec<DeviceLook>,
    /// The jobs whose use of memory is part of it.
    pub seen: Vec<JobId>,
}

/// What was seen of one GPU.
#[derive(Debug, Clone, Default)]
pub(super) struct DeviceLook {
    pub uuid: String,
    /// `None` while it does not answer.
    pub state: Option<State>,
    /// Of the memory in use, what our attempts use, megabytes; `None` where that can't be read.
    pub used_by_attempts_mb: Option<u64>,
}

/// What was found when the thread began.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub gpus: Vec<Gpu>,
    pub versions: BTreeMap<String, String>,
}

/// The way to that thread.
#[derive(Debug)]
pub(super) struct Watcher {
    ask: SyncSender<()>,
    looks: watch::Receiver<Look>,
    asked: Mutex<Option<Instant>>,
}

/// Loads the library and begins to watch what it finds. `None` if there is nothing to watch.
pub(super) fn start(library: Option<PathBuf>, roster: Arc<Roster>) -> Option<(Found, Watcher)> {
    let (ask, asked) = sync_channel(1);
    let (tell_found, found) = sync_channel(1);
    let (tell, looks) = watch::channel(Look::default());
    let work = move || work(library, &roster, &tell_found, &asked, &tell);
    if let Err(e) = thread::Builder::new().name("gpus".into()).spawn(work) {
        warn!("GPUs cannot be looked at, since a thread cannot be started: {e}");
        return None;
    }
    let Ok(found) = found.recv_timeout(FIRST) else {
        warn!("the NVIDIA driver did not answer within {FIRST:?}: this run of the agent offers no GPUs");
        return None;
    };
    Some((found?, Watcher { ask, looks, asked: Mutex::default() }))
}

impl Watcher {
    /// What the GPUs have left: as it is now if the driver answers soon, else as it was. `None` if that is too old.
    pub(super) async fn look(&self) -> Option<Look> {
        let mut looks = self.looks.clone();
        if self.is_prompt() {
            looks.mark_unchanged();
            let now = Instant::now();
            // A request that waits already will do, and a thread that is gone shows by the age of its last look.
            if self.ask.try_send(()).is_ok() {
                *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
            }
            let _ = timeout(PATIENCE, looks.changed()).await;
        }
        let look = looks.borrow().clone();
        look.at.is_some_and(|at| at.elapsed() < STALE).then_some(look)
    }

    /// Whether the thread is not known to be waiting for the driver.
    fn is_prompt(&self) -> bool {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = self.looks.borrow().at;
        asked.is_none_or(|asked| asked.elapsed() < PATIENCE || answered.is_some_and(|at| at >= asked))
    }
}

fn work(
    path: Option<PathBuf>,
    roster: &Roster,
    found: &SyncSender<Option<Found>>,
    asked: &Receiver<()>,
    tell: &watch::Sender<Look>,
) {
    let library = match Library::load(path.as_deref()) {
        Ok(library) => library,
        Err(missing) => {
            if let Missing::Broken(why) = missing {
                warn!("the GPUs cannot be used: {why}");
            }
            let _ = found.send(None);
            return;
        }
    };
    let (gpus, silent) = library.list();
    for why in &silent {
        warn!("{why}");
    }
    let versions = library.versions();
    if gpus.is_empty() || found.send(Some(Found { gpus: gpus.clone(), versions })).is_err() {
        let _ = found.try_send(None);
        return;
    }
    let mut eyes = Eyes::new(path, library, gpus);
    while asked.recv().is_ok() {
        if tell.send(eyes.look(roster)).is_err() {
            return;
        }
    }
}

/// The library, and what is known of the GPUs.
struct Eyes {
    path: Option<PathBuf>,
    library: Option<Library>,
    gpus: Vec<Gpu>,
    /// Those that did not answer at the last look.
    lost: Vec<bool>,
    pids_are_ours: bool,
    revival: Revival,
}

impl Eyes {
    fn new(path: Option<PathBuf>, library: Library, gpus: Vec<Gpu>) -> Self {
        let lost = vec![false; gpus.len()];
        let pids_are_ours = attribution::pids_are_ours();
        Self { path, library: Some(library), gpus, lost, pids_are_ours, revival: Revival::default() }
    }

    fn look(&mut self, roster: &Roster) -> Look {
        let at = Instant::now();
        if self.revival.is_due(at) {
            // The old one goes first: it counts who uses it, and only the first start of it is a start.
            self.library = None;
            self.library = Library::load(self.path.as_deref()).ok();
        }
        // Before the driver is asked: an attempt that begins later may or may not be part of what it says.
        let shims = roster.snapshot();
        let devices: Vec<_> = (0..self.gpus.len()).map(|index| self.device(index, &shims)).collect();
        self.revival.plan(self.lost.contains(&true), at);
        Look { at: Some(at), seen: attribution::seen(&devices, &shims), devices }
    }

    fn device(&mut self, index: usize, shims: &BTreeMap<Pid, Watched>) -> DeviceLook {
        let gpu = &self.gpus[index];
        let state = match &self.library {
            Some(library) => library.state(gpu).map_err(|e| e.to_string()),
            None => Err("the driver's library does not start".to_owned()),
        };
        let was_lost = std::mem::replace(&mut self.lost[index], state.is_err());
        match &state {
            Err(e) if !was_lost => {
                warn!("the GPU {} is lost, and nothing is placed on it until it is back: {e}", gpu.uuid);
            }
            Ok(_) if was_lost => info!("the GPU {} is back", gpu.uuid),
            _ => {}
        }
        let state = state.ok();
        let processes = state.as_ref().and_then(|state| state.processes.as_ref()).filter(|_| self.pids_are_ours);
        let used_by_attempts_mb = processes.map(|processes| attribution::used_by(processes, shims).min(gpu.vram_mb));
        DeviceLook { uuid: gpu.uuid.clone(), state, used_by_attempts_mb }
    }
}

/// When the library is started anew: a GPU that was lost often comes back only to a library that began after that.
#[derive(Debug, Default)]
struct Revival {
    at: Option<Instant>,
    /// How long the wait before it is.
    after: Duration,
}

impl Revival {
    fn is_due(&mut self, now: Instant) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }

    fn plan(&mut self, is_lost: bool, now: Instant) {
        if !is_lost {
            *self = Self::default();
        } else if self.at.is_none() {
            self.after = (self.after * 2).clamp(REVIVE.0, REVIVE.1);
            self.at = Some(now + self.after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher(seen_ago: Duration) -> (Watcher, watch::Sender<Look>, Receiver<()>) {
        let at = Instant::now().checked_sub(seen_ago);
        let (tell, looks) = watch::channel(Look { at, ..Look::default() });
        let (ask, asked) = sync_channel(1);
        (Watcher { ask, looks, asked: Mutex::default() }, tell, asked)
    }

    #[tokio::test]
    async fn what_was_seen_too_long_ago_is_not_believed() {
        let (fresh, _tell, _asked) = watcher(Duration::from_secs(1));
        assert!(fresh.look().await.is_some());
        let (stale, _tell, _asked) = watcher(STALE);
        assert!(stale.look().await.is_none());
    }

    #[test]
    fn the_library_is_started_anew_ever_more_seldom_while_a_gpu_is_lost() {
        let (mut revival, mut now, mut waits) = (Revival::default(), Instant::now(), Vec::new());
        for _ in 0..6 {
            revival.plan(true, now);
            assert!(!revival.is_due(now));
            let after = revival.after;
            revival.plan(true, now + after / 2);
            assert!(revival.is_due(now + after));
            (now, waits) = (now + after, [waits, vec![after.as_secs()]].concat());
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 600]);
        revival.plan(false, now);
        assert!(!revival.is_due(now + Duration::from_hours(1)));
    }

    #[tokio::test]
    async fn a_thread_that_is_gone_is_not_waited_for() {
        let (orphan, tell, asked) = watcher(Duration::from_secs(1));
        drop((tell, asked));
        let begin = Instant::now();
        assert!(orphan.look().await.is_some());
        assert!(begin.elapsed() < PATIENCE);
    }
}
