//! The work protocol between agent and coordinator: heartbeats, claims, leases and reports.
//!
//! Every duration is relative, so no clock of a box decides anything. An agent measures a lease from the moment when
//! it *sent* the request whose reply granted or renewed it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    agents::{AgentSettings, AgentToken, Measures, Model},
    ids::{JobId, LeaseId},
    inference::{InferenceSpec, Usage},
    jobs::{ProcessSpec, Reason},
    output::{Encoding, Stream},
    trace::{self, Traceparent, Tracestate},
};

/// An attempt that an agent holds, named the way every report names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct HeldLease {
    /// The job.
    pub job_id: JobId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The lease.
    pub lease_id: LeaseId,
}

/// An attempt handed to an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lease {
    /// The job.
    pub job_id: JobId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The lease.
    pub lease_id: LeaseId,
    /// How long it lasts unless it is renewed, milliseconds from when the claim was sent.
    pub lease_ttl_ms: u64,
    /// The program, unless it is a request to a model.
    #[serde(default, skip_serializing_if = "ProcessSpec::is_absent")]
    pub process: ProcessSpec,
    /// The request to a model. The bytes of the backend's answer are reported as the attempt's output (`stdout`), as they
    /// came; `started` when the backend was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference: Option<InferenceSpec>,
    /// The GPUs that it may use, by UUID.
    #[serde(default)]
    pub devices: Vec<String>,
    /// End the attempt if it runs longer, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Main memory that the job asked for, megabytes: hold it to that. 0 asks for no limit.
    #[serde(default)]
    pub ram_mb: u64,
    /// CPUs that the job asked for: hold it to that. 0 asks for no limit.
    #[serde(default)]
    pub cpus: f64,
    /// How much longer than its lease the attempt may run while the agent cannot reach a coordinator, milliseconds.
    #[serde(default)]
    pub disconnect_grace_ms: u64,
    /// Of which trace the attempt is a part, as the header of that name.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trace::lenient")]
    #[schema(value_type = Option<String>)]
    pub traceparent: Option<Traceparent>,
    /// What tracing systems say of that trace to themselves, as the header of that name.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trace::lenient_state")]
    #[schema(value_type = Option<String>)]
    pub tracestate: Option<Tracestate>,
}

impl Lease {
    /// Its name in reports.
    #[must_use]
    pub fn held(&self) -> HeldLease {
        HeldLease { job_id: self.job_id.clone(), attempt: self.attempt, lease_id: self.lease_id.clone() }
    }
}

/// The body of `POST /api/v1/agents/{id}/heartbeat`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatRequest {
    /// The version of the protocol that the agent speaks.
    pub protocol: u32,
    /// Rises with every heartbeat of this run; a heartbeat that arrives late, with a lower one, changes nothing.
    pub seq: u64,
    /// The number of the last claim whose reply was read; 0 before the first. A lease from that claim or an earlier one
    /// that `leases` does not list goes back at once.
    pub last_claim: u64,
    /// What the box has left.
    #[serde(default)]
    pub measures: Measures,
    /// The attempts that the agent holds; each is renewed.
    #[serde(default)]
    pub leases: Vec<HeldLease>,
    /// The models that its backends serve, whole, if that changed since it was last told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<Model>>,
    /// How many models it would pull at once for the pool, at most 16: 0 if it has no backend that can, or its operator does
    /// not allow it. Read together with `models`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pulls: u32,
    /// The agent wants no more work: it is shutting down.
    #[serde(default)]
    pub leaving: bool,
    /// Reports, where one call does all. Answered in order by `answers`.
    #[serde(default)]
    pub reports: Vec<Report>,
    /// A claim, where one call does all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes every field so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The reply to a heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatReply {
    /// When to send the next one, milliseconds from now.
    pub next_heartbeat_ms: u64,
    /// How to behave.
    pub settings: AgentSettings,
    /// Leases in the request that are no longer current: end their processes and report nothing.
    #[serde(default)]
    pub stop: Vec<HeldLease>,
    /// Jobs to cancel: end their processes, then report `cancelled`.
    #[serde(default)]
    pub cancel: Vec<JobId>,
    /// A fresh token, in the second half of the life of the one that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AgentToken>,
    /// Whether an operator drains the agent: finish what runs, claim no more.
    #[serde(default)]
    pub draining: bool,
    /// How long to gather output before sending it, milliseconds.
    pub flush_ms: u64,
    /// The answers to `reports`.
    #[serde(default)]
    pub answers: Vec<Answer>,
    /// The leases for `claim`.
    #[serde(default)]
    pub leases: Vec<Lease>,
}

/// What a claim asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Claim {
    /// The agent's own number for this claim, rising by one within a run from 1. A repeated number gets the same leases
    /// again, a lower one nothing.
    pub claim: u64,
    /// How many more process jobs the agent could begin now. 0 asks for none but keeps cancellations coming.
    pub free_slots: u32,
    /// How many more requests to models it could begin now, at most 256; what each model can take is told with the models.
    #[serde(default)]
    pub free_requests: u32,
}

/// The body of `POST /api/v1/agents/{id}/claim`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct ClaimRequest {
    /// The version of the protocol that the agent speaks.
    pub protocol: u32,
    /// What is claimed.
    #[serde(flatten)]
    pub claim: Claim,
    /// What the box has left; absent if nothing was measured since the last call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measures: Option<Measures>,
    /// How long to wait for work, milliseconds, at most 20,000. Ignored where nobody parks.
    #[serde(default)]
    pub wait_ms: u64,
}

/// The reply to a claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClaimReply {
    /// The attempts that the agent now holds.
    pub leases: Vec<Lease>,
    /// How long the claim had waited when these were handed out, milliseconds. They last from then on; the agent counts from when it
    /// sent the claim, so it adds this.
    #[serde(default)]
    pub waited_ms: u64,
    /// Jobs to cancel: end their processes, then report `cancelled`.
    #[serde(default)]
    pub cancel: Vec<JobId>,
    /// When to claim again, milliseconds from now; 0 while agents park.
    pub poll_after_ms: u64,
    /// How long to gather output before sending it, milliseconds.
    pub flush_ms: u64,
    /// Whether agents park here.
    pub parking: bool,
}

/// The body of `POST /api/v1/agents/{id}/report`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct ReportRequest {
    /// The version of the protocol that the agent speaks.
    pub protocol: u32,
    /// At most 256 reports, done one after the other. Repeats are harmless.
    pub reports: Vec<Report>,
    /// A claim, done after them, of an agent that has no other under way. It does not wait for work. `free_slots` and
    /// `free_requests` count what the reports free, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
}

/// The reply to reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportReply {
    /// One answer for each report, in order.
    pub answers: Vec<Answer>,
    /// The leases for `claim`; absent if nothing was claimed, or the coordinator did not look at the claim: then its number
    /// is still to be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leases: Option<Vec<Lease>>,
    /// Jobs to cancel: end their processes, then report `cancelled`.
    #[serde(default)]
    pub cancel: Vec<JobId>,
    /// How long to gather output before sending it, milliseconds.
    pub flush_ms: u64,
}

/// Something that happened to an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// The attempt.
    #[serde(flatten)]
    pub lease: HeldLease,
    /// What happened.
    #[serde(flatten)]
    pub event: Happening,
    /// With `completed`, for a request that came with a ticket: the receipt that its client got, a JWT that the agent's key
    /// has signed. One that is not good makes the report `invalid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

impl Report {
    /// A report without a receipt.
    #[must_use]
    pub fn new(lease: HeldLease, event: Happening) -> Self {
        Self { lease, event, receipt: None }
    }
}

/// What happened to an attempt. The last three free what the attempt had reserved: its processes are gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Happening {
    /// The program runs.
    Started {},
    /// It wrote something.
    Output {
        /// Bytes of both streams that the attempt wrote before.
        offset: u64,
        /// The stream it was written to.
        stream: Stream,
        /// The bytes, as `encoding` says; at most 64 KiB when decoded.
        data: String,
        /// How `data` holds them.
        #[serde(default)]
        encoding: Encoding,
    },
    /// It exited with code 0.
    Completed {
        /// What the program wrote into the file that `TITAN_RESULT` names, at most 64 KiB of JSON.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<serde_json::Value>,
        /// Why there is no result, though the program wrote one, at most 1,024 bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// What a request to a model took.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
    /// It ended badly, was refused, or could not begin.
    Failed {
        /// Why. `refused` costs no attempt.
        reason: Reason,
        /// Its exit code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// The signal that ended it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        /// What else there is to say, at most 1,024 bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// It was cancelled and its processes are gone.
    Cancelled {},
    /// The agent hands it back: nothing of it runs any more, and another agent may have it. Costs no attempt if the
    /// program never ran.
    Released {},
}

impl Happening {
    /// Whether it ends the attempt.
    #[must_use]
    pub fn is_end(&self) -> bool {
        !matches!(self, Self::Started {} | Self::Output { .. })
    }
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Answer {
    /// It was taken in, now or by an earlier call that said the same.
    Accepted {},
    /// The attempt is no longer current; nothing changed. End its processes and report nothing more of it.
    StaleAttempt {},
    /// The output does not end where the chunk begins; send from `expected_offset` on.
    OffsetMismatch {
        /// Where the stored output ends.
        expected_offset: u64,
    },
    /// The report itself is malformed, and would be so again.
    Invalid {},
}
