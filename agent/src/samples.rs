//! What tests of several parts of the agent begin with.

use titan_api::{
    ids::{JobId, LeaseId},
    jobs::ProcessSpec,
    work::Lease,
};

/// The first attempt of a job that names no program.
pub(crate) fn lease(job: &str, lease: &str) -> Lease {
    Lease {
        job_id: JobId::new(job).unwrap(),
        attempt: 1,
        lease_id: LeaseId::new(lease).unwrap(),
        lease_ttl_ms: 1_000,
        process: ProcessSpec::default(),
        inference: None,
        devices: Vec::new(),
        timeout_ms: None,
        ram_mb: 0,
        cpus: 0.0,
        disconnect_grace_ms: 0,
        traceparent: None,
        tracestate: None,
    }
}
