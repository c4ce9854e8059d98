//! NVIDIA's management library (NVML), loaded when the agent starts: what it says of each GPU.
//!
//! It is part of the driver and may be missing, of another version than the driver, or hang. Every reply is looked at
//! as if it could be anything; a value that makes no sense is left out, and the rest stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::Path,
};

use nix::unistd::Pid;
use nvml_wrapper::{
    Device, Nvml, enum_wrappers::device::TemperatureSensor, enums::device::UsedGpuMemory, error::NvmlError,
    struct_wrappers::device::ProcessInfo,
};
use titan_api::{agents::Gpu, limits};
use tracing::{debug, warn};

use crate::hardware::MB;

/// Where the library is if the system's loader does not know it.
const PLACES: [&str; 3] =
    ["libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1", "/run/opengl-driver/lib/libnvidia-ml.so.1"];

/// The loaded library.
#[derive(Debug)]
pub(super) struct Library(Nvml);

/// Why there is no library to ask.
#[derive(Debug)]
pub(super) enum Missing {
    /// There is none on this box, so it has no NVIDIA GPU that could be used.
    Absent,
    /// It is there and does not work.
    Broken(String),
}

/// What one GPU has left.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct State {
    pub free_mb: u64,
    pub utilization: Option<f64>,
    pub temperature_c: Option<u32>,
    /// Megabytes by process; `None` where that can't be read.
    pub processes: Option<BTreeMap<Pid, u64>>,
}

impl Library {
    /// Loads the library at `path`, or else where it usually is, and starts it.
    pub(super) fn load(path: Option<&Path>) -> Result<Self, Missing> {
        let usual = PLACES.iter().map(OsStr::new);
        let places: Vec<_> = path.map_or_else(|| usual.collect(), |path| vec![path.as_os_str()]);
        for place in places {
            match Nvml::builder().lib_path(place).init() {
                Ok(nvml) => return Ok(Self(nvml)),
                Err(NvmlError::LibloadingError(e)) if path.is_none() => debug!("no NVML at {}: {e}", place.display()),
                Err(e) => return Err(Missing::Broken(format!("{}: {e}{}", place.display(), advice(&e)))),
            }
        }
        Err(Missing::Absent)
    }

    /// The version of the driver, for example `580.82.07`, and of the newest CUDA that it speaks, for example `13.0`.
    pub(super) fn versions(&self) -> BTreeMap<String, String> {
        let driver = self.0.sys_driver_version().ok().map(|version| cut(version, limits::LABEL_BYTES));
        let cuda = self.0.sys_cuda_driver_version().ok().filter(|version| (1_000..1_000_000).contains(version));
        let cuda = cuda.map(|version| format!("{}.{}", version / 1_000, version % 1_000 / 10));
        let known = [("nvidia_driver", driver), ("cuda", cuda)];
        known.into_iter().filter_map(|(name, version)| Some((name.to_owned(), version?))).collect()
    }

    /// All GPUs that jobs can be given, by index, and a sentence for each that does not answer. One that is divided (MIG)
    /// counts as its parts.
    pub(super) fn list(&self) -> (Vec<Gpu>, Vec<String>) {
        let (mut found, mut silent) = (Vec::<Gpu>::new(), Vec::new());
        let count = self.0.device_count().unwrap_or_else(|e| {
            silent.push(format!("the GPUs cannot be counted: {e}"));
            0
        });
        for index in 0..count.min(u32::try_from(limits::GPUS).unwrap_or(u32::MAX)) {
            match self.0.device_by_index(index).and_then(|device| parts(&device)) {
                Ok(parts) => found.extend(parts),
                Err(e) => silent.push(format!("GPU {index} does not answer and is not offered: {e}{}", advice(&e))),
            }
        }
        let mut known = BTreeSet::new();
        found.retain(|gpu| known.insert(gpu.uuid.clone()));
        found.truncate(limits::GPUS);
        (found, silent)
    }

    /// What the GPU of that name has left now.
    pub(super) fn state(&self, gpu: &Gpu) -> Result<State, NvmlError> {
        let device = self.0.device_by_uuid(gpu.uuid.as_str())?;
        let memory = device.memory_info()?;
        Ok(State {
            free_mb: (memory.free / MB).min(gpu.vram_mb),
            utilization: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu.min(100)) / 100.0),
            temperature_c: device.temperature(TemperatureSensor::Gpu).ok().filter(|degrees| *degrees < 1_000),
            processes: processes(&device),
        })
    }
}

/// The GPU itself, or its parts if it is divided; then it cannot be used as a whole.
fn parts(device: &Device<'_>) -> Result<Vec<Gpu>, NvmlError> {
    // Most GPUs cannot be divided and answer with an error.
    if device.mig_mode().is_ok_and(|mode| mode.current == 1) {
        let most = device.mig_device_count()?.min(u32::try_from(limits::GPUS).unwrap_or(u32::MAX));
        let parts: Vec<_> = (0..most).filter_map(|index| gpu(&device.mig_device_by_index(index).ok()?).ok()?).collect();
        if parts.is_empty() {
            warn!("{} is set to be divided (MIG) and has no parts: it is not offered", name(device));
        }
        return Ok(parts);
    }
    Ok(gpu(device)?.into_iter().collect())
}

fn gpu(device: &Device<'_>) -> Result<Option<Gpu>, NvmlError> {
    let uuid = device.uuid()?;
    let vram_mb = device.memory_info()?.total / MB;
    let sane = (1..=limits::LABEL_BYTES).contains(&uuid.len())
        && uuid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':'));
    if !sane || !(1..=limits::MEMORY_MB).contains(&vram_mb) {
        warn!("a GPU with the name `{uuid}` and {vram_mb} MB of memory makes no sense and is not offered");
        return Ok(None);
    }
    Ok(Some(Gpu { uuid, name: name(device), vram_mb }))
}

fn name(device: &Device<'_>) -> String {
    let name = device.name().unwrap_or_else(|_| "NVIDIA GPU".to_owned());
    cut(name.chars().filter(|c| !c.is_control()).collect(), limits::LABEL_BYTES)
}

/// What each process uses; one that computes and draws is listed twice with the same number.
fn processes(device: &Device<'_>) -> Option<BTreeMap<Pid, u64>> {
    let computing = device.running_compute_processes().ok()?;
    // Not all drivers tell these.
    let drawing = device.running_graphics_processes().unwrap_or_default();
    let mut all = BTreeMap::new();
    for process in computing.into_iter().chain(drawing) {
        let (pid, used_mb) = used(&process)?;
        let known = all.entry(pid).or_insert(0_u64);
        *known = used_mb.max(*known);
    }
    Some(all)
}

fn used(process: &ProcessInfo) -> Option<(Pid, u64)> {
    let pid = Pid::from_raw(i32::try_from(process.pid).ok()?);
    match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) if bytes / MB <= limits::MEMORY_MB => Some((pid, bytes / MB)),
        UsedGpuMemory::Used(_) | UsedGpuMemory::Unavailable => None,
    }
}

/// What a person can do about it.
fn advice(error: &NvmlError) -> &'static str {
    match error {
        NvmlError::DriverNotLoaded => ". Load the driver (`nvidia-smi` shows if it works), then start the agent again",
        NvmlError::LibRmVersionMismatch => {
            ". The driver was upgraded and the old one still runs: reboot the box, then start the agent again"
        }
        NvmlError::NoPermission | NvmlError::OperatingSystem => {
            ". The agent's account must be allowed to use /dev/nvidia*"
        }
        NvmlError::FailedToLoadSymbol(_) => ". The driver is too old: 510 or newer is needed",
        NvmlError::GpuLost | NvmlError::ResetRequired => ". The GPU has to be reset, or the box rebooted",
        _ => "",
    }
}

fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}
