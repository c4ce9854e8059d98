//! What is kept of a submission, and what scheduling needs of it.

use serde::Serialize;
use serde_json::json;
use titan_api::jobs::{JobKind, SubmitJob};

use crate::StoreError;

/// A job as it was submitted, and by whom.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Spec {
    #[serde(flatten)]
    pub(crate) job: SubmitJob,
    #[serde(rename = "submitted_by")]
    pub(crate) owner: String,
}

impl Spec {
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, StoreError> {
        // `SubmitJob` refuses unknown fields, and serde does not look inside a flattened type that does.
        let corrupt = |e: serde_json::Error| StoreError::Corrupt(format!("a job's spec: {e}"));
        let mut value: serde_json::Value = serde_json::from_slice(json).map_err(corrupt)?;
        let owner = value.as_object_mut().and_then(|o| o.remove("submitted_by"));
        let owner = owner.and_then(|o| o.as_str().map(str::to_owned)).unwrap_or_default();
        Ok(Self { job: serde_json::from_value(value).map_err(corrupt)?, owner })
    }
}

/// What a job takes of an agent, in whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        json!({ "gpus": job.requirements.gpus, "kind": kind_word(job.kind), "labels": labels, "model": "" });
    if job.requirements.exclusive {
        class["exclusive"] = json!(true);
    }
    class.to_string()
}

/// The word that scripts have for a kind.
pub(crate) fn kind_word(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Process => "process",
    }
}
