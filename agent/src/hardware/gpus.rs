//! The GPUs of the box: which there are, and what each has left.

mod attribution;
mod library;
mod watcher;

use std::{path::PathBuf, sync::Arc};

use titan_api::{
    agents::{Gpu, GpuMeasure},
    ids::JobId,
};

use crate::roster::Roster;
use watcher::{DeviceLook, Found, Watcher};

/// The GPUs that were found when the agent started.
#[derive(Debug, Default)]
pub(crate) struct Gpus {
    found: Found,
    watcher: Option<Watcher>,
}

/// What the GPUs have left.
#[derive(Debug, Default)]
pub(crate) struct GpuMeasures {
    pub gpus: Vec<GpuMeasure>,
    /// The jobs whose use of memory is part of it.
    pub seen: Vec<JobId>,
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

    /// The version of their driver.
    pub(crate) fn driver(&self) -> Option<&str> {
        self.found.driver.as_deref()
    }

    /// What each of them has left now, or had when the driver answered last. Never takes much longer than half a second.
    pub(crate) async fn measure(&self) -> GpuMeasures {
        let Some(watcher) = &self.watcher else { return GpuMeasures::default() };
        let look = watcher.look().await.unwrap_or_default();
        let gpus = self.found.gpus.iter().map(|gpu| {
            let seen = look.devices.iter().find(|device| device.uuid == gpu.uuid);
            seen.map_or_else(|| lost(gpu), measure)
        });
        GpuMeasures { gpus: gpus.collect(), seen: look.seen }
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
