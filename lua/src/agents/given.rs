//! What a claim brings, as the scripts tell it.

use titan_api::{
    ids::AgentId,
    inference::InferenceSpec,
    jobs::Reason,
    work::{Happening, HeldLease, Lease, Report},
};

use super::ReportBatch;
use crate::{Pool, StoreError, jobs::Spec, reply::Reply};

/// A lease, or the one of a job of which the rest can't be read, and why.
pub(super) type Given = Result<Lease, (HeldLease, StoreError)>;

/// Reads the next value: a list of leases.
pub(super) fn read(reply: &mut Reply, pool: &Pool) -> Result<Vec<Given>, StoreError> {
    let ttl = pool.store().settings().lease_ttl_ms;
    reply.list()?.rest(|reply| lease(reply.list()?, ttl))
}

/// What can be handed to the agent. Of a job that can't be read the attempt ends here, as one that could not be started: else
/// the agent, which never hears of it, would be given it again and again.
pub(super) async fn readable(
    pool: &Pool,
    agent: &AgentId,
    epoch: i64,
    given: Vec<Given>,
) -> Result<Vec<Lease>, StoreError> {
    let (mut leases, mut broken) = (Vec::new(), Vec::new());
    for given in given {
        match given {
            Ok(lease) => leases.push(lease),
            Err((lease, why)) => {
                let message = Some(format!("what was submitted can't be read: {why}"));
                let event = Happening::Failed { reason: Reason::StartFailed, exit_code: None, signal: None, message };
                broken.push(Report::new(lease, event));
            }
        }
    }
    if !broken.is_empty() {
        ReportBatch { agent, epoch, reports: &broken }.run(pool).await?;
    }
    Ok(leases)
}

fn lease(mut reply: Reply, lease_ttl_ms: u64) -> Result<Given, StoreError> {
    let held = reply.line()?.lease()?;
    Ok(work(held.clone(), reply, lease_ttl_ms).map_err(|why| (held, why)))
}

fn work(held: HeldLease, mut reply: Reply, lease_ttl_ms: u64) -> Result<Lease, StoreError> {
    let spec = Spec::from_json(&reply.bytes()?)?;
    let is_plain = reply.is_empty();
    let [devices, model, prompt] =
        if is_plain { [const { String::new() }; 3] } else { [reply.text()?, reply.text()?, reply.text()?] };
    let devices = devices.split(',').filter(|d| !d.is_empty()).map(str::to_owned).collect();
    let (traceparent, tracestate) = spec.trace.map(|trace| (trace.parent, trace.state)).unzip();
    Ok(Lease {
        job_id: held.job_id,
        attempt: held.attempt,
        lease_id: held.lease_id,
        lease_ttl_ms,
        process: spec.job.process,
        inference: spec.job.inference.map(|asked| InferenceSpec { model, body: prompt, ..asked }),
        devices,
        timeout_ms: spec.job.timeout_ms,
        ram_mb: spec.job.requirements.ram_mb,
        cpus: spec.job.requirements.cpus,
        disconnect_grace_ms: spec.job.disconnect_grace_ms,
        traceparent,
        tracestate: tracestate.flatten(),
    })
}
