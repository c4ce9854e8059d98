//! What the box says of itself, once, when the agent starts.

use std::{collections::BTreeMap, env::consts, fmt, fs};

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};
use titan_api::{
    agents::{Facts, Gpu},
    limits,
};

use super::{Accelerator, Gpus, MB, programs};
use crate::config::Config;

/// What was found on the box.
#[derive(Debug, Clone)]
pub(crate) struct Detected {
    pub hostname: String,
    /// With its version, for example `linux (Debian GNU/Linux 13)`.
    pub os: String,
    pub cpu_model: String,
    /// Those that this process may use.
    pub cpus: u32,
    /// All there is, or as much as the agent's container may use.
    pub ram_mb: u64,
    pub gpus: Vec<Gpu>,
    /// Versions of what jobs depend on.
    pub versions: BTreeMap<String, String>,
    pub boot_id: String,
}

impl Detected {
    /// Looks around; what cannot be found out is left empty.
    pub(crate) fn look(gpus: &Gpus, declared: &[Accelerator]) -> Self {
        let what = RefreshKind::nothing()
            .with_memory(MemoryRefreshKind::nothing().with_ram())
            .with_cpu(CpuRefreshKind::nothing());
        let system = System::new_with_specifics(what).ok();
        let cpu_model = system.as_ref().and_then(|s| s.cpus().first()).map(|cpu| cpu.brand().trim().to_owned());
        Self {
            hostname: short(System::host_name().unwrap_or_else(|_| "unnamed".to_owned())),
            os: short(os()),
            cpu_model: short(cpu_model.unwrap_or_default()),
            cpus: cpus(),
            ram_mb: system.as_ref().map_or(0, total_bytes) / MB,
            gpus: gpus.list().iter().cloned().chain(declared.iter().map(Accelerator::gpu)).take(limits::GPUS).collect(),
            versions: versions(gpus),
            boot_id: boot_id(),
        }
    }

    /// What the agent tells the coordinator of the box, as its operator wants it.
    pub(crate) fn facts(&self, config: &Config) -> Facts {
        Facts {
            hostname: config.hostname.clone().unwrap_or_else(|| self.hostname.clone()),
            os: self.os.clone(),
            arch: consts::ARCH.to_owned(),
            cpu_model: self.cpu_model.clone(),
            cpus: self.cpus,
            ram_mb: self.ram_mb,
            gpus: self.gpus.clone(),
            models: Vec::new(),
            accepts_processes: config.allow_jobs,
            max_jobs: config.max_jobs,
            endpoint: config.endpoint.clone(),
            labels: config.labels.clone(),
            boot_id: self.boot_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            versions: self.versions.clone(),
            enforces: Vec::new(),
            price_per_hour: config.price_per_hour,
            ephemeral: config.ephemeral,
        }
    }
}

/// Versions of what jobs depend on, by name.
fn versions(gpus: &Gpus) -> BTreeMap<String, String> {
    let kernel = System::kernel_version().ok().map(short);
    let own = [("kernel", kernel), ("docker", programs::version("docker")), ("podman", programs::version("podman"))];
    let own = own.into_iter().filter_map(|(name, version)| Some((name.to_owned(), version?)));
    own.chain(gpus.versions().clone()).collect()
}

impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hostname, os, cpus, cpu_model, ram_mb, gpus, .. } = self;
        write!(f, "box {hostname}: {os} on {}, {cpus} CPUs ({cpu_model}), {ram_mb} MB of RAM, ", consts::ARCH)?;
        match gpus.as_slice() {
            [] => f.write_str("no GPU found"),
            gpus => {
                let names: Vec<_> = gpus.iter().map(|gpu| format!("{} ({} MB)", gpu.name, gpu.vram_mb)).collect();
                write!(f, "{} GPUs: {}", gpus.len(), names.join(", "))
            }
        }
    }
}

/// Changes whenever the box boots.
pub(crate) fn boot_id() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => id.trim().to_owned(),
        Err(_) => System::boot_time().map(|at| at.to_string()).unwrap_or_default(),
    }
}

/// Memory that there is, or that the agent's control group may use.
pub(super) fn total_bytes(system: &System) -> u64 {
    let total = system.total_memory();
    system.cgroup_limits().map_or(total, |limit| limit.total_memory.min(total))
}

fn os() -> String {
    match (System::name(), System::os_version()) {
        (Ok(name), Ok(version)) => format!("{} ({name} {version})", consts::OS),
        (Ok(name), Err(_)) => format!("{} ({name})", consts::OS),
        (Err(_), _) => consts::OS.to_owned(),
    }
}

fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limits::TEXT_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_box_is_described_in_one_line() {
        let found = Detected::look(&Gpus::default(), &[]);
        assert!(found.cpus >= 1 && found.ram_mb > 64 && !found.hostname.is_empty() && !found.boot_id.is_empty());
        let line = found.to_string();
        assert!(line.contains("MB of RAM") && line.contains("no GPU") && !line.contains('\n'), "{line}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_what_the_kernel_says_unless_a_container_may_use_less() {
        let text = fs::read_to_string("/proc/meminfo").unwrap();
        let kb: u64 = text.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
        let found = Detected::look(&Gpus::default(), &[]).ram_mb;
        assert!(found <= kb / 1_024 && found > 0, "{found} MB of {kb} kB");
    }
}
