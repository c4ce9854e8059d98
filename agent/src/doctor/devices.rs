//! NVIDIA's GPUs: the driver, its library, and each of them.

use std::{fs, path::PathBuf, time::Duration};

use tokio::{task::spawn_blocking, time::timeout};

use super::finding::Findings;
use crate::{
    executor::SEARCH_PATH,
    hardware::{Diagnosis, diagnose},
};

/// Drivers that wake sleeping GPUs take seconds; one that hangs takes for ever.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn look(library: Option<PathBuf>, findings: &mut Findings) {
    let Ok(diagnosis) = timeout(PATIENCE, spawn_blocking(move || diagnose(library.as_deref()))).await else {
        let advice = "`nvidia-smi` will hang too: look into the kernel's log, and reboot the box";
        return findings.failed("gpus", "the NVIDIA driver does not answer", advice);
    };
    match diagnosis {
        Ok(Diagnosis::Works { versions, gpus, silent }) => {
            let words = versions.iter().map(|(name, version)| format!("{} {version}", name.replace('_', " ")));
            findings.ok("gpus", words.collect::<Vec<_>>().join(", "));
            for gpu in &gpus {
                findings.ok("gpu", format!("{}, {} MB ({})", gpu.name, gpu.vram_mb, gpu.uuid));
            }
            for why in silent {
                findings.warning("gpu", why, "it is not offered until the agent is started again");
            }
            toolkit(findings);
        }
        Ok(Diagnosis::Broken(why)) => findings.failed("gpus", why, "`nvidia-smi` shows whether the driver works"),
        Ok(Diagnosis::Absent) if has_nvidia() => findings.warning(
            "gpus",
            "there is a GPU of NVIDIA, and the driver's library (libnvidia-ml.so.1) is not found",
            "install the driver, 510 or newer; in a container hand the GPUs in; or name the library with --nvml-library",
        ),
        Ok(Diagnosis::Absent) => findings.ok("gpus", "none of NVIDIA; others are declared in the settings file"),
        Err(e) => findings.failed("gpus", format!("the driver's library cannot be asked: {e}"), "reinstall the driver"),
    }
}

/// Whether the box has such a GPU, as the bus tells it, driver or not.
pub(super) fn has_nvidia() -> bool {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let mut devices = fs::read_dir("/sys/bus/pci/devices").into_iter().flatten().flatten();
    devices.any(|device| {
        // Class 3 are displays; a network card of theirs is no GPU.
        read(device.path().join("vendor")).trim() == "0x10de" && read(device.path().join("class")).starts_with("0x03")
    })
}

/// Whether a program of that name is where programs usually are.
pub(super) fn has_program(name: &str) -> bool {
    SEARCH_PATH.split(':').any(|folder| PathBuf::from(folder).join(name).exists())
}

/// Jobs that start containers need it for their GPUs.
fn toolkit(findings: &mut Findings) {
    if has_program("nvidia-ctk") {
        findings.ok("containers", "the NVIDIA container toolkit is installed");
    } else if has_program("docker") || has_program("podman") {
        let advice = "install the NVIDIA container toolkit if jobs start containers with GPUs";
        findings.warning("containers", "containers get no GPUs: there is no nvidia-ctk", advice);
    }
}
