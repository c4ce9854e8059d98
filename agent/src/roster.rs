//! Which shim watches over which attempt: everything that runs below a shim belongs to its attempt.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::unistd::Pid;
use titan_api::ids::JobId;

/// The shims that live, as far as this run of the agent knows.
#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<BTreeMap<Pid, Watched>>);

/// What a shim watches over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    pub job_id: JobId,
    /// The GPUs that the attempt was given, by UUID.
    pub devices: Vec<String>,
}

impl Roster {
    pub(crate) fn add(&self, shim: Pid, watched: Watched) {
        self.lock().insert(shim, watched);
    }

    pub(crate) fn remove(&self, shim: Pid) {
        self.lock().remove(&shim);
    }

    pub(crate) fn contains(&self, shim: Pid) -> bool {
        self.lock().contains_key(&shim)
    }

    /// All of it, as it is now.
    pub(crate) fn snapshot(&self) -> BTreeMap<Pid, Watched> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Pid, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
