//! `/metrics`: figures of this agent. GPUs are named by their UUIDs; nothing is named by what a client chose.

use std::sync::Arc;

use titan_api::agents::{Gpu, GpuMeasure};
use titan_telemetry::page::{
    Kind::{Counter, Gauge},
    Page,
};

use crate::{
    agent::Agent,
    space,
    supervise::{Phase, Status},
    vitals::Seen,
};

const MB: u64 = 1_024 * 1_024;

/// All figures at this moment.
pub(super) async fn page(agent: &Arc<Agent>) -> String {
    let mut page = Page::default();
    let seen = agent.vitals.seen();
    page.family("titan_agent_build_info", Gauge, "The version of this agent; always 1.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    way(&mut page, agent, &seen);
    work(&mut page, agent, &seen);
    backends(&mut page, &agent.supervise.statuses());
    disk(&mut page, agent).await;
    the_box(&mut page, &seen);
    gpus(&mut page, &agent.facts.gpus, &seen.measures.gpus);
    page.into_text()
}

fn way(page: &mut Page, agent: &Agent, seen: &Seen) {
    let is_registered = agent.link.session().agent_id.is_some();
    page.family("titan_agent_registered", Gauge, "Whether the coordinator knows this agent.")
        .sample(&[], u8::from(is_registered));
    page.family("titan_agent_heartbeats_total", Counter, "Heartbeats by whether they were answered.")
        .sample(&[("outcome", "ok")], seen.heartbeats_ok)
        .sample(&[("outcome", "failed")], seen.heartbeats_failed);
    if let Some(age_ms) = seen.heartbeat_age_ms() {
        page.family("titan_agent_last_heartbeat_age_seconds", Gauge, "Since the last answered heartbeat was sent.")
            .sample(&[], seconds(age_ms));
    }
    if let Some(rtt_ms) = agent.link.rtt_ms() {
        page.family("titan_agent_round_trip_seconds", Gauge, "Smoothed round trip to the coordinator.")
            .sample(&[], rtt_ms / 1_000.0);
    }
    page.family("titan_agent_draining", Gauge, "Whether an operator of the pool drains this agent.")
        .sample(&[], u8::from(*agent.draining.borrow()));
}

fn work(page: &mut Page, agent: &Agent, seen: &Seen) {
    let (running, held) = (agent.attempts.running(), *agent.attempts.count().borrow());
    page.family("titan_agent_attempts", Gauge, "Attempts by state: running, or ended and not yet reported.")
        .sample(&[("state", "running")], running)
        .sample(&[("state", "reporting")], held.saturating_sub(running));
    page.family("titan_agent_slots", Gauge, "Process jobs that may run at once.").sample(&[], agent.facts.max_jobs);
    page.family("titan_agent_attempts_ended_total", Counter, "Attempts that have ended, by how.");
    for (how, count) in &seen.ended {
        page.sample(&[("how", how)], count);
    }
}

/// Those that this agent has started.
fn backends(page: &mut Page, statuses: &[Status]) {
    if statuses.is_empty() {
        return;
    }
    page.family("titan_agent_backend_state", Gauge, "Backends that this agent has started, by state: 1 for its own.");
    for status in statuses {
        for state in Phase::ALL {
            let is_in = u8::from(state == status.state);
            page.sample(&[("backend", &status.kind), ("state", state.word())], is_in);
        }
    }
    page.family("titan_agent_backend_restarts_total", Counter, "How often each of them was started again.");
    for status in statuses {
        page.sample(&[("backend", &status.kind)], status.restarts);
    }
}

/// What has to be asked of the disk.
async fn disk(page: &mut Page, agent: &Arc<Agent>) {
    let looking = Arc::clone(agent);
    let look = move || (looking.outbox.waiting_bytes(), space::free_bytes(&looking));
    let Ok((waiting_bytes, free)) = tokio::task::spawn_blocking(look).await else { return };
    page.family("titan_agent_outbox_bytes", Gauge, "Output that was written and not yet taken by the coordinator.")
        .sample(&[], waiting_bytes);
    page.family("titan_agent_disk_free_bytes", Gauge, "Free where jobs work, and where their logs are kept.");
    for (folder, free_bytes) in free {
        page.sample(&[("folder", folder)], free_bytes);
    }
    page.family("titan_agent_has_room", Gauge, "Whether the disk has room for jobs.")
        .sample(&[], u8::from(agent.has_room()));
}

fn the_box(page: &mut Page, seen: &Seen) {
    if let Some(free_mb) = seen.measures.ram_free_mb {
        page.family("titan_agent_ram_free_bytes", Gauge, "Free main memory.").sample(&[], free_mb.saturating_mul(MB));
    }
    if let Some(load) = seen.measures.cpu_load {
        page.family("titan_agent_cpu_load", Gauge, "Busy part of all CPUs, 0 to 1.").sample(&[], load);
    }
}

fn gpus(page: &mut Page, gpus: &[Gpu], measures: &[GpuMeasure]) {
    if gpus.is_empty() {
        return;
    }
    page.family("titan_agent_gpu_memory_bytes", Gauge, "Memory of each GPU.");
    for gpu in gpus {
        page.sample(&[("gpu", &gpu.uuid), ("name", &gpu.name)], gpu.vram_mb.saturating_mul(MB));
    }
    let mut family = |name, help, value: &dyn Fn(&GpuMeasure) -> Option<f64>| {
        page.family(name, Gauge, help);
        for gpu in measures {
            if let Some(value) = value(gpu) {
                page.sample(&[("gpu", &gpu.uuid)], value);
            }
        }
    };
    family("titan_agent_gpu_free_bytes", "Free memory; 0 while a GPU does not answer.", &|gpu| {
        Some(bytes(gpu.free_mb))
    });
    family("titan_agent_gpu_used_by_attempts_bytes", "Memory that the agent's own attempts use.", &|gpu| {
        gpu.used_by_attempts_mb.map(bytes)
    });
    family("titan_agent_gpu_utilization", "Busy part of its time, 0 to 1.", &|gpu| gpu.utilization);
    family("titan_agent_gpu_temperature_celsius", "Its temperature.", &|gpu| gpu.temperature_c.map(f64::from));
}

#[expect(clippy::cast_precision_loss, reason = "no GPU has so much memory that it matters")]
fn bytes(mb: u64) -> f64 {
    mb.saturating_mul(MB) as f64
}

#[expect(clippy::cast_precision_loss, reason = "an age need not be exact to the millisecond after 285,000 years")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
