//! The boxes and the kinds of jobs of the test.

use std::collections::BTreeMap;

use titan_api::{
    agents::{Facts, GpuMeasure, Measures},
    ids::JobId,
    jobs::{Requirements, SubmitJob},
};

use super::steps::Measuring;
use crate::store::world::{facts, process, with_gpus};

/// How many kinds of jobs there are.
pub(super) const NEEDS: usize = 11;

fn zone() -> BTreeMap<String, String> {
    BTreeMap::from([("zone".to_owned(), "b".to_owned())])
}

pub(super) fn box_name(number: usize) -> &'static str {
    ["a", "b", "c", "d", "e"][number]
}

/// What a box has: two are alike, two have GPUs, two are in zone b.
pub(super) fn box_facts(number: usize, is_smaller: bool) -> Facts {
    let whole = match number {
        0 | 1 => Facts { max_jobs: 2, ..facts() },
        2 => Facts { max_jobs: 3, ..with_gpus(&[24_576]) },
        3 => Facts { labels: zone(), ..with_gpus(&[12_288, 24_576]) },
        _ => Facts { labels: zone(), max_jobs: 1, ram_mb: 16_384, cpus: 4, ..facts() },
    };
    if is_smaller { Facts { ram_mb: whole.ram_mb / 2, max_jobs: 1, ..whole } } else { whole }
}

/// What a job needs. Nobody has what number 8 needs.
pub(super) fn need(number: usize) -> SubmitJob {
    let none = Requirements::default;
    let requirements = match number {
        0 => none(),
        1 => Requirements { ram_mb: 12_000, ..none() },
        2 => Requirements { cpus: 3.5, ..none() },
        3 => Requirements { gpus: 1, vram_mb: 8_000, ..none() },
        4 => Requirements { gpus: 1, vram_mb: 20_000, ram_mb: 1_000, ..none() },
        5 => Requirements { gpus: 2, vram_mb: 6_000, ..none() },
        6 => Requirements { agent_labels: zone(), ..none() },
        7 => Requirements { gpus: 1, vram_mb: 11_000, agent_labels: zone(), ..none() },
        8 => Requirements { gpus: 1, vram_mb: 80_000, ..none() },
        9 => Requirements { gpus: 1, exclusive: true, ..none() },
        _ => Requirements { gpus: 2, vram_mb: 10_000, exclusive: true, ..none() },
    };
    SubmitJob { requirements, ..process() }
}

pub(super) fn measures(facts: &Facts, m: &Measuring, seen: Vec<JobId>) -> Measures {
    let gpus = facts.gpus.iter().map(|g| GpuMeasure {
        uuid: g.uuid.clone(),
        free_mb: g.vram_mb * m.free / 8,
        used_by_attempts_mb: m.used.map(|used| g.vram_mb * used / 8),
        ..GpuMeasure::default()
    });
    Measures {
        gpus: gpus.collect(),
        ram_free_mb: m.has_ram.then_some(facts.ram_mb * m.free / 8),
        cpu_load: None,
        rtt_ms: m.rtt_ms,
        seen: if m.has_seen { seen } else { Vec::new() },
        hindered_by: Vec::new(),
    }
}
