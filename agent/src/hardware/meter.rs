//! What the box has left at the moment.

use std::time::{Duration, Instant};

use sysinfo::{MemoryRefreshKind, System};
use titan_api::agents::Measures;

use super::{Gpus, MB, facts::total_bytes};

/// Measured more often, the numbers would not mean more.
const EVERY: Duration = Duration::from_secs(1);

/// Measures memory, load and GPUs.
#[derive(Debug)]
pub(crate) struct Meter {
    system: Option<System>,
    gpus: Box<dyn Gpus>,
    last: Option<Instant>,
}

impl Meter {
    pub(crate) fn new(gpus: Box<dyn Gpus>) -> Self {
        Self { system: System::new().ok(), gpus, last: None }
    }

    /// What is left now, with the smoothed round-trip time `rtt_ms` put in.
    pub(crate) fn measure(&mut self, rtt_ms: Option<f64>) -> Measures {
        let first = self.last.replace(Instant::now()).is_none();
        let mut measures = Measures { gpus: self.gpus.measure(), rtt_ms, ..Measures::default() };
        if let Some(system) = &mut self.system {
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            system.refresh_cpu_usage();
            measures.ram_free_mb = Some(free_bytes(system) / MB);
            // The load is that of the time since the last look, so the first look knows none.
            measures.cpu_load = (!first).then(|| f64::from(system.global_cpu_usage() / 100.0).clamp(0.0, 1.0));
        }
        measures
    }

    /// The same, but nothing if that was just measured.
    pub(crate) fn measure_if_due(&mut self, rtt_ms: Option<f64>) -> Option<Measures> {
        self.last.is_none_or(|last| last.elapsed() >= EVERY).then(|| self.measure(rtt_ms))
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
    use crate::hardware::detect_gpus;

    #[test]
    fn measures_are_within_their_bounds_and_the_load_comes_with_the_second_look() {
        let mut meter = Meter::new(detect_gpus());
        let first = meter.measure(None);
        assert!(first.ram_free_mb.unwrap() > 0 && first.cpu_load.is_none() && first.rtt_ms.is_none());
        assert!(meter.measure_if_due(None).is_none(), "just measured");
        let second = meter.measure(Some(1.5));
        assert!((0.0..=1.0).contains(&second.cpu_load.unwrap()));
        assert_eq!(second.rtt_ms, Some(1.5));
    }
}
