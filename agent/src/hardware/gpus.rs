//! The GPUs of the box: which there are, and what each has left.

mod attribution;
mod library;
mod watcher;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use titan_api::{
    agents::{Gpu, GpuMeasure},
    ids::JobId,
};

use crate::roster::Roster;
use library::{Library, Missing};
use watcher::{DeviceLook, Found, Watcher};

/// The GPUs that were found when the agent started.
#[derive(Debug, Default)]
pub(crate) struct Gpus {
    found: Found,
    watcher: Option<Watcher>,
}

/// What there is to say about the driver.
#[derive(Debug)]
pub(crate) enum Diagnosis {
    /// It answers. `silent` has a sentence for each GPU that does not.
    Works { versions: BTreeMap<String, String>, gpus: Vec<Gpu>, silent: Vec<String> },
    /// Its library is there and does not work.
    Broken(String),
    /// There is no library.
    Absent,
}

/// Asks the driver for everything once. It may take as long as the driver does.
pub(crate) fn diagnose(library: Option<&Path>) -> Diagnosis {
    match Library::load(library) {
        Ok(library) => {
            let (gpus, silent) = library.list();
            Diagnosis::Works { versions: library.versions(), gpus, silent }
        }
        Err(Missing::Broken(why)) => Diagnosis::Broken(why),
        Err(Missing::Absent) => Diagnosis::Absent,
    }
}

/// What the GPUs have left.
#[derive(Debug, Default)]
pub(crate) struct GpuMeasures {
    pub gpus: Vec<GpuMeasure>,
    /// The jobs whose use of memory is part of it.
    pub seen: Vec<JobId>,
    /// The GPUs that do not answer, by UUID.
    pub silent: Vec<String>,
}

impl Gpus {
    /// Looks for GPUs, by the driver's library at `library` or where it usually is. `roster` says which processes are
    /// whose.
    pub(crate) fn detect(library: Option<PathBuf>, roster: Arc<Roster>) -> Self {
        let (found, watcher) = watcher::start(library, roster).unzip();
        Self { found: found.unwrap_or_default(), watcher }
    }

    /// Those there are.
    pub(crate) fn list(&self) -> &[Gpu] {
        &self.found.gpus
    }

    /// The versions of their driver and of the CUDA that it speaks.
    pub(crate) fn versions(&self) -> &BTreeMap<String, String> {
        &self.found.versions
    }

    /// What each of them has left now, or had when the driver answered last. Never takes much longer than half a second.
    pub(crate) async fn measure(&self) -> GpuMeasures {
        let Some(watcher) = &self.watcher else { return GpuMeasures::default() };
        let look = watcher.look().await.unwrap_or_default();
        let seen = |gpu: &Gpu| look.devices.iter().find(|device| device.uuid == gpu.uuid);
        let gpus = self.found.gpus.iter().map(|gpu| seen(gpu).map_or_else(|| lost(gpu), measure)).collect();
        let silent = self.found.gpus.iter().filter(|gpu| seen(gpu).is_none_or(|device| device.state.is_none()));
        let silent = silent.map(|gpu| gpu.uuid.clone()).collect();
        GpuMeasures { gpus, silent, seen: look.seen }
    }
}

fn measure(device: &DeviceLook) -> GpuMeasure {
    let state = device.state.as_ref();
    GpuMeasure {
        uuid: device.uuid.clone(),
        free_mb: state.map_or(0, |state| state.free_mb),
        used_by_attempts_mb: device.used_by_attempts_mb,
        utilization: state.and_then(|state| state.utilization),
        temperature_c: state.and_then(|state| state.temperature_c),
    }
}

/// Left out of the measures it would count as wholly free.
fn lost(gpu: &Gpu) -> GpuMeasure {
    GpuMeasure { uuid: gpu.uuid.clone(), ..GpuMeasure::default() }
}
