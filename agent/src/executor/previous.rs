//! What an earlier run of the agent has left: attempts that run, and attempts whose ends were not reported. This run
//! takes all of them over.

use std::{path::PathBuf, sync::atomic::AtomicBool, thread, time::Duration};

use nix::sys::signal::Signal;
use titan_api::work::{Happening, HeldLease};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    Executor,
    attempt::Sign,
    exit::Exit,
    folder::Folder,
    leftover::{self, tidy},
    outcome,
    owed::Owed,
    process::{Journal, ProcessName, send},
    shim::Command,
    spec::Spec,
    tree,
};
use crate::{
    attempts::{Orders, Stop},
    files,
};

/// From one look to the next whether processes that were killed are gone.
const LOOK: Duration = Duration::from_millis(20);

/// An attempt of an earlier run.
#[derive(Debug)]
pub(crate) struct Left {
    pub owed: Owed,
    folder: Folder,
    /// `None` if it was tidied up after.
    spec: Option<Spec>,
    /// Its shim, if that lives.
    shim: Option<ProcessName>,
}

impl Left {
    /// The lease that it is held under.
    pub(crate) fn lease(&self) -> &HeldLease {
        &self.owed.lease
    }

    /// Whether it was given GPUs.
    pub(crate) fn has_devices(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| !spec.devices.is_empty())
    }

    /// Where what it wrote is kept.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.log()
    }
}

impl Executor {
    /// Everything that an earlier run of the agent has to answer for. What nothing is owed of is ended and tidied up.
    pub(crate) fn left(&self) -> Vec<Left> {
        self.folders().filter_map(left).collect()
    }

    /// Goes on with an attempt of an earlier run, and gives what is to be reported of its end; `None` if it was disowned.
    ///
    /// When this comes back, no process of the attempt is left.
    pub(crate) async fn resume(
        &self,
        left: Left,
        orders: watch::Receiver<Orders>,
        see: impl Fn(Sign),
    ) -> Option<Happening> {
        let (lease, told) = (left.lease().clone(), orders.clone());
        // It may have begun, and then it must not count as if it had not.
        let began = AtomicBool::new(true);
        self.guarded(self.resume_unguarded(left, orders, see), &lease, &told, &began).await
    }

    async fn resume_unguarded(
        &self,
        left: Left,
        mut orders: watch::Receiver<Orders>,
        see: impl Fn(Sign),
    ) -> Option<Happening> {
        let Left { owed, folder, spec, shim } = left;
        info!(job.id = %owed.lease.job_id, attempt = owed.lease.attempt, "an attempt of an earlier run is taken over");
        see(Sign::Output);
        let Some(spec) = spec else { return ended_before(folder, &orders, see).await };
        let found = shim.and_then(|name| match self.find_shim(&folder, &spec, name.clone()) {
            Ok(shim) => Some(shim),
            Err(e) => {
                warn!(job.id = %owed.lease.job_id, "its shim cannot be spoken to, so it is ended: {e}");
                end_shim(&name);
                None
            }
        });
        let end = if let Some(shim) = found {
            shim.say(Command::Tell);
            self.watch(shim, &folder, &spec, &mut orders, see).await
        } else {
            self.end_strays(&folder, &spec).await;
            ended_before(folder.clone(), &orders, see).await
        };
        self.tidy_later(folder, spec);
        end
    }
}

/// The end of an attempt of which nothing runs any more.
async fn ended_before(folder: Folder, orders: &watch::Receiver<Orders>, see: impl Fn(Sign)) -> Option<Happening> {
    let read = tokio::task::spawn_blocking(move || (Exit::read(&folder), Journal::read(&folder)));
    let (exit, journal) = read.await.unwrap_or((Ok(None), Ok(None)));
    let stop = orders.borrow().stop;
    if let Ok(Some(exit)) = exit {
        if exit.start_error.is_none() {
            see(Sign::Started);
        }
        return outcome::of(Ok(exit), stop);
    }
    let began = !matches!(journal, Ok(None | Some(Journal { main: None, .. })));
    if began { outcome::restarted(stop) } else { outcome::unstarted(stop.unwrap_or(Stop::Release)) }
}

fn left(folder: Folder) -> Option<Left> {
    let shim = Journal::read(&folder).ok().flatten().map(|journal| journal.shim).filter(|shim| shim.alive().is_some());
    let spec = Spec::read(&folder);
    let owed = Owed::read(&folder);
    match (owed, spec) {
        (Ok(Some(owed)), Ok(spec)) => {
            if let Some(spec) = spec.as_ref().filter(|_| shim.is_none()) {
                // At once, however long it takes until the agent has registered: nobody watches over them any more.
                end_strays(&folder, spec);
            }
            Some(Left { owed, folder, spec, shim })
        }
        (Ok(None), Ok(None)) => None,
        (_, spec) => {
            abandon(&folder, spec.ok().flatten(), shim.as_ref());
            None
        }
    }
}

/// Ends and removes what nobody can answer for.
fn abandon(folder: &Folder, spec: Option<Spec>, shim: Option<&ProcessName>) {
    warn!("{} cannot be made sense of; what it names is ended", folder.path().display());
    shim.into_iter().for_each(end_shim);
    if let Some(spec) = spec {
        end_strays(folder, &spec);
        tidy(folder, &spec);
    }
    if let Err(e) = files::remove(folder.path()) {
        warn!("{} cannot be removed: {e}", folder.path().display());
    }
}

/// Ends what a dead shim has left, until nothing is left.
fn end_strays(folder: &Folder, spec: &Spec) {
    while leftover::end_strays(folder, spec) > 0 {
        thread::sleep(LOOK);
    }
}

/// Ends a shim with everything below it.
fn end_shim(name: &ProcessName) {
    if let Some(shim) = name.alive() {
        tree::kill(shim, None);
        send(shim, Signal::SIGKILL);
    }
}
