//! What is kept of a submission, and what scheduling needs of it.

mod apart;
mod kept;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use titan_api::{jobs::SubmitJob, trace::TraceContext};

pub(crate) use self::kept::Kept;
use crate::StoreError;

/// A job as it was submitted, and by whom, read from what [`Kept`] wrote.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) job: SubmitJob,
    pub(crate) owner: String,
    /// What submitted it, in its trace.
    pub(crate) trace: Option<TraceContext>,
}

impl Spec {
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, StoreError> {
        let corrupt = |e: serde_json::Error| StoreError::Corrupt(format!("a job's spec: {e}"));
        let (job, beside) = apart::read(json).map_err(corrupt)?;
        let state = beside.tracestate.and_then(|text| text.parse().ok());
        let parent = beside.traceparent.and_then(|text| text.parse().ok());
        let trace = parent.map(|parent| TraceContext { parent, state });
        Ok(Self { job, owner: beside.submitted_by.unwrap_or_default(), trace })
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

/// Who may run a job, spelled with the names in their order.
#[derive(Serialize)]
struct Class<'a> {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    exclusive: bool,
    gpus: u32,
    kind: &'a str,
    labels: Vec<(&'a String, &'a String)>,
    model: &'a str,
}

/// Who may run the job: kind, model, GPUs, whether it shares them, and labels, always spelled the same way, since its hash
/// is the class's id.
pub(crate) fn class_of(job: &SubmitJob) -> String {
    let r = &job.requirements;
    let labels = r.agent_labels.iter().collect();
    let class = Class { exclusive: r.exclusive, gpus: r.gpus, kind: job.kind.as_str(), labels, model: model_of(job) };
    serde_json::to_string(&class).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use titan_api::jobs::Requirements;

    use super::*;

    #[test]
    fn a_class_is_always_spelled_the_same_way() {
        assert_eq!(class_of(&SubmitJob::default()), r#"{"gpus":0,"kind":"process","labels":[],"model":""}"#);
        let labels = [("zone", "b"), ("disk", "a\"b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let requirements =
            Requirements { gpus: 2, exclusive: true, agent_labels: labels.into(), ..Requirements::default() };
        let job = SubmitJob { requirements, ..SubmitJob::default() };
        let class =
            r#"{"exclusive":true,"gpus":2,"kind":"process","labels":[["disk","a\"b"],["zone","b"]],"model":""}"#;
        assert_eq!(class_of(&job), class);
    }

    #[test]
    fn what_no_submission_says_is_corrupt() {
        for json in
            [r#"{"kind":"process","submitted_by":"key","unknown":1}"#, r#"{"submitted_by":7}"#, "{} {}", "", "[]"]
        {
            assert!(matches!(Spec::from_json(json.as_bytes()), Err(StoreError::Corrupt(_))), "{json}");
        }
    }
}
