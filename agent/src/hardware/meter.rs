//! What the box has left at the moment.

use std::time::{Duration, Instant};

use sysinfo::{MemoryRefreshKind, System};
use titan_api::agents::Measures;

use super::{GpuMeasures, MB, facts::total_bytes};

/// Measured more often, the numbers would not mean more.
const EVERY: Duration = Duration::from_secs(1);

/// Measures memory and load, and puts what is known of the GPUs beside it.
#[derive(Debug)]
pub(crate) struct Meter {
    system: Option<System>,
    last: Option<Instant>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self { system: System::new().ok(), last: None }
    }

    /// What is left now, with the GPUs and the smoothed round-trip time `rtt_ms` put in.
    pub(crate) fn measure(&mut self, gpus: GpuMeasures, rtt_ms: Option<f64>) -> Measures {
        let first = self.last.replace(Instant::now()).is_none();
        let mut measures = Measures { gpus: gpus.gpus, seen: gpus.seen, rtt_ms, ..Measures::default() };
        if let Some(system) = &mut self.system {
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            system.refresh_cpu_usage();
            measures.ram_free_mb = Some(free_bytes(system) / MB);
            // The load is that of the time since the last look, so the first look knows none.
            measures.cpu_load = (!first).then(|| f64::from(system.global_cpu_usage() / 100.0).clamp(0.0, 1.0));
        }
        measures
    }

    /// Whether the last measurement is so old that another one would say more.
    pub(crate) fn is_due(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= EVERY)
    }
}

fn free_bytes(system: &System) -> u64 {
    let free = system.available_memory();
    let limit = system.cgroup_limits().filter(|_| total_bytes(system) < system.total_memory());
    limit.map_or(free, |limit| limit.free_memory.min(free))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_within_their_bounds_and_the_load_comes_with_the_second_look() {
        let mut meter = Meter::new();
        assert!(meter.is_due());
        let first = meter.measure(GpuMeasures::default(), None);
        assert!(first.ram_free_mb.unwrap() > 0 && first.cpu_load.is_none() && first.rtt_ms.is_none());
        assert!(!meter.is_due(), "just measured");
        let second = meter.measure(GpuMeasures::default(), Some(1.5));
        assert!((0.0..=1.0).contains(&second.cpu_load.unwrap()));
        assert_eq!(second.rtt_ms, Some(1.5));
    }
}
