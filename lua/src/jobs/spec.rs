//! What is kept of a submission, and what scheduling needs of it.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::json;
use titan_api::{
    jobs::SubmitJob,
    trace::{TRACEPARENT, TRACESTATE, TraceContext},
};

use crate::StoreError;

/// A job as it was submitted, and by whom.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Spec {
    #[serde(flatten)]
    pub(crate) job: SubmitJob,
    #[serde(rename = "submitted_by")]
    pub(crate) owner: String,
    /// What submitted it, in its trace: as `traceparent` and `tracestate`.
    #[serde(flatten, serialize_with = "as_headers")]
    pub(crate) trace: Option<TraceContext>,
}

#[expect(clippy::ref_option, reason = "serde passes a reference")]
fn as_headers<S: Serializer>(trace: &Option<TraceContext>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut headers = serializer.serialize_map(None)?;
    if let Some(TraceContext { parent, state }) = trace {
        headers.serialize_entry(TRACEPARENT, parent)?;
        if let Some(state) = state {
            headers.serialize_entry(TRACESTATE, state)?;
        }
    }
    headers.end()
}

impl Spec {
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, StoreError> {
        // `SubmitJob` refuses unknown fields, and serde does not look inside a flattened type that does.
        let corrupt = |e: serde_json::Error| StoreError::Corrupt(format!("a job's spec: {e}"));
        let mut value: serde_json::Value = serde_json::from_slice(json).map_err(corrupt)?;
        let mut take = |name| value.as_object_mut()?.remove(name)?.as_str().map(str::to_owned);
        let owner = take("submitted_by").unwrap_or_default();
        let (parent, state) = (take(TRACEPARENT), take(TRACESTATE).and_then(|text| text.parse().ok()));
        let trace = parent.and_then(|text| text.parse().ok()).map(|parent| TraceContext { parent, state });
        Ok(Self { job: serde_json::from_value(value).map_err(corrupt)?, owner, trace })
    }
}

/// What a job takes of an agent, in whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    pub(crate) gpus: u32,
    pub(crate) vram_mb: u64,
    pub(crate) ram_mb: u64,
    pub(crate) cpus_milli: u64,
    pub(crate) exclusive: bool,
}

impl Need {
    pub(crate) fn of(job: &SubmitJob) -> Self {
        let r = &job.requirements;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded by limits::CPUS, not negative"
        )]
        let cpus_milli = (r.cpus * 1_000.0).ceil().max(0.0) as u64;
        Self { gpus: r.gpus, vram_mb: r.vram_mb, ram_mb: r.ram_mb, cpus_milli, exclusive: r.exclusive }
    }
}

/// Who may run the job: kind, model, GPUs, whether it shares them, and labels, always spelled the same way, since its hash
/// is the class's id.
pub(crate) fn class_of(job: &SubmitJob) -> String {
    let labels: Vec<_> = job.requirements.agent_labels.iter().map(|(name, value)| json!([name, value])).collect();
    let mut class =
        json!({ "gpus": job.requirements.gpus, "kind": job.kind.as_str(), "labels": labels, "model": model_of(job) });
    if job.requirements.exclusive {
        class["exclusive"] = json!(true);
    }
    class.to_string()
}

/// The model that a job asks; empty for a process.
pub(crate) fn model_of(job: &SubmitJob) -> &str {
    job.inference.as_ref().map(|asked| asked.model.as_str()).unwrap_or_default()
}

/// Labels as a job's record keeps them: a line of JSON for each, so that a script can look for one as a text.
pub(crate) fn labels_text(labels: &BTreeMap<String, String>) -> String {
    let lines: Vec<_> = labels.iter().map(|(name, value)| label_line(name, value)).collect();
    lines.join("\n")
}

/// One label as its line.
pub(crate) fn label_line(name: &str, value: &str) -> String {
    json!([name, value]).to_string()
}

/// The labels of such a text.
pub(crate) fn labels_of(text: &str) -> Result<BTreeMap<String, String>, StoreError> {
    let label = |line| serde_json::from_str(line).map_err(|e| StoreError::Corrupt(format!("a job's label: {e}")));
    text.lines().map(label).collect()
}
