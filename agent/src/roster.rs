//! Which shim watches over which attempt: everything that runs below a shim belongs to its attempt. Beside the shims
//! stand the keepers of backends, which belong to no attempt.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::unistd::Pid;
use titan_api::ids::JobId;

/// The shims and keepers that live, as far as this run of the agent knows.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    shims: Mutex<BTreeMap<Pid, Watched>>,
    keepers: Mutex<BTreeSet<Pid>>,
}

/// What a shim watches over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    pub job_id: JobId,
    /// The GPUs that the attempt was given, by UUID.
    pub devices: Vec<String>,
}

impl Roster {
    pub(crate) fn add(&self, shim: Pid, watched: Watched) {
        lock(&self.shims).insert(shim, watched);
    }

    pub(crate) fn remove(&self, shim: Pid) {
        lock(&self.shims).remove(&shim);
    }

    pub(crate) fn add_keeper(&self, keeper: Pid) {
        lock(&self.keepers).insert(keeper);
    }

    pub(crate) fn remove_keeper(&self, keeper: Pid) {
        lock(&self.keepers).remove(&keeper);
    }

    /// Whether it is a shim or a keeper.
    pub(crate) fn contains(&self, pid: Pid) -> bool {
        lock(&self.shims).contains_key(&pid) || lock(&self.keepers).contains(&pid)
    }

    /// All shims, as they are now.
    pub(crate) fn snapshot(&self) -> BTreeMap<Pid, Watched> {
        lock(&self.shims).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
