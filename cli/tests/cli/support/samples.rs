//! Jobs, agents and output to show.

use std::collections::BTreeMap;

use titan_api::{
    agents::{Agent, AgentGpu, AgentState, Facts},
    jobs::{AttemptFailure, Job, JobKind, JobState, JobSummary, ProcessSpec, Reason, Requirements},
    output::{Chunk, Encoding, Output, Stream},
    time::Timestamp,
};

/// The time that the samples are shown at.
pub(crate) const NOW_MS: i64 = 1_800_000_000_000;

/// So many seconds before [`NOW_MS`].
pub(crate) fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_ms(NOW_MS - seconds * 1_000)
}

pub(crate) fn now() -> Timestamp {
    ago(0)
}

pub(crate) fn agent(id: &str) -> Agent {
    Agent {
        speeds: Vec::new(),
        id: id.parse().unwrap(),
        state: AgentState::Healthy,
        breaker: titan_api::agents::Breaker::default(),
        draining: false,
        leaving: false,
        score: 0.812_345,
        live_attempts: 1,
        max_jobs: 4,
        last_seen_at: ago(3),
        registered_at: ago(7_200),
        rtt_ms: Some(1.25),
        ram_free_mb: 15_974,
        gpus: vec![AgentGpu { uuid: "GPU-1".into(), name: "A100".into(), vram_mb: 81_920, vram_free_mb: 40_960 }],
        held_for: None,
        hindered_by: Vec::new(),
        facts: Facts {
            hostname: "attic".into(),
            os: "linux 6.1".into(),
            arch: "x86_64".into(),
            cpu_model: "Some CPU".into(),
            cpus: 8,
            ram_mb: 32_000,
            accepts_processes: true,
            max_jobs: 4,
            labels: BTreeMap::from([("gpu".into(), "a100".into())]),
            version: "0.1.0".into(),
            ..Facts::default()
        },
    }
}

pub(crate) fn summary(id: &str, state: JobState, command: &str) -> JobSummary {
    JobSummary {
        id: id.parse().unwrap(),
        kind: JobKind::Process,
        state,
        agent_id: Some("box-1".parse().unwrap()),
        attempt: 1,
        priority: 0,
        created_at: ago(200),
        started_at: Some(ago(190)),
        ended_at: state.is_ended().then(|| ago(185)),
        exit_code: (state == JobState::Completed).then_some(0),
        reason: (state == JobState::Cancelled).then_some(Reason::Cancelled),
        command: command.to_owned(),
        labels: BTreeMap::new(),
    }
}

pub(crate) fn job(id: &str, state: JobState) -> Job {
    let failed = state == JobState::Failed;
    Job {
        inference: None,
        usage: None,
        receipt: None,
        submitted_by: "admin".into(),
        waiting: None,
        id: id.parse().unwrap(),
        kind: JobKind::Process,
        state,
        agent_id: Some("box-1".parse().unwrap()),
        attempt: if failed { 2 } else { 1 },
        max_attempts: 3,
        priority: 0,
        created_at: ago(200),
        started_at: Some(ago(190)),
        ended_at: state.is_ended().then(|| ago(125)),
        exit_code: if failed { Some(3) } else { (state == JobState::Completed).then_some(0) },
        signal: None,
        reason: failed.then_some(Reason::ExitCode),
        message: None,
        cancelling: false,
        output_bytes: 70_000,
        process: ProcessSpec { command: vec!["sh".into(), "-c".into(), "exit 3".into()], ..ProcessSpec::default() },
        requirements: Requirements { gpus: 1, vram_mb: 8_192, ..Requirements::default() },
        timeout_ms: None,
        backoff_ms: 1_000,
        on_disconnect: titan_api::jobs::OnDisconnect::Stop,
        disconnect_grace_ms: 0,
        not_before: None,
        depends_on: Vec::new(),
        waits_for: None,
        on_dependency_failure: titan_api::jobs::OnDependencyFailure::Cancel,
        result: None,
        labels: BTreeMap::new(),
        devices: Vec::new(),
        failures: if failed { vec![failure()] } else { Vec::new() },
    }
}

fn failure() -> AttemptFailure {
    AttemptFailure {
        attempt: 1,
        agent_id: "box-2".parse().unwrap(),
        at: ago(195),
        reason: Reason::Signal,
        exit_code: None,
        signal: Some(9),
        message: Some("killed\n\u{1b}[31mby someone".into()),
    }
}

/// Output of an attempt: each chunk is stream, offset, text.
pub(crate) fn output(attempt: u32, chunks: &[(Stream, u64, &str)], complete: bool) -> Output {
    let end = chunks.last().map_or(0, |(_, offset, data)| offset + data.len() as u64);
    Output {
        attempt,
        mark: None,
        state: if complete { JobState::Completed } else { JobState::Running },
        chunks: chunks.iter().map(|&(stream, offset, data)| chunk(stream, offset, data)).collect(),
        skipped_bytes: 0,
        next_offset: end,
        complete,
    }
}

pub(crate) fn chunk(stream: Stream, offset: u64, data: &str) -> Chunk {
    Chunk { offset, stream, data: data.to_owned(), encoding: Encoding::Utf8 }
}
