//! The registry: what agents are, have and hold.

mod claim;
mod drain;
mod get;
mod given;
mod heartbeat;
mod join;
mod register;
mod remove;
mod report;
mod survey;
mod work;

pub use claim::{ClaimJobs, ClaimOutcome, Claimed};
pub use drain::{DrainOutcome, SetDraining};
pub use get::{GetAgent, ListAgents};
pub use heartbeat::{Heard, Heartbeat, HeartbeatOutcome};
pub use join::{JoinAgent, JoinOutcome};
pub use register::{RegisterAgent, RegisterOutcome};
pub use remove::{RemoveAgent, RemoveOutcome};
pub use report::{ReportBatch, ReportOutcome, Reported};
pub(crate) use survey::{Survey, Surveyed};
pub use work::NextClaim;
pub(crate) use work::{Calls, nonce};

use serde_json::{Value, json};
use titan_api::{
    agents::{Measures, Model},
    work::HeldLease,
};

use crate::StoreError;

use crate::script::Script;

/// The scripts of this noun.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![
        &drain::SCRIPT,
        &get::SCRIPT,
        &heartbeat::SCRIPT,
        &join::SCRIPT,
        &register::SCRIPT,
        &remove::SCRIPT,
        &survey::SCRIPT,
        &work::SCRIPT,
    ]
}

/// Why a call of an agent was turned away before anything else was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// The registry does not know it; it should register again.
    Unknown,
    /// A newer incarnation has registered.
    Superseded,
    /// An operator removed it.
    Removed,
}

impl TurnedAway {
    /// The word that scripts have for it.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "unknown_agent" => Some(Self::Unknown),
            "superseded" => Some(Self::Superseded),
            "removed" => Some(Self::Removed),
            _ => None,
        }
    }
}

/// Leases as scripts read them: `[[job, attempt, lease]…]`.
fn lease_list(leases: &[HeldLease]) -> String {
    let rows: Vec<_> =
        leases.iter().map(|l| serde_json::json!([l.job_id.as_str(), l.attempt, l.lease_id.as_str()])).collect();
    serde_json::Value::Array(rows).to_string()
}

/// What scheduling needs of models, by their names.
fn model_capabilities(models: &[Model]) -> Value {
    let of = |m: &Model| {
        let mut capabilities = json!({ "vram": m.vram_mb, "parallel": m.parallel, "backend": m.backend });
        if m.loaded {
            capabilities["loaded"] = json!(true);
        }
        if let Some(size_mb) = m.size_mb {
            capabilities["size"] = json!(size_mb);
        }
        capabilities
    };
    models.iter().map(|m| (m.name.clone(), of(m))).collect::<serde_json::Map<_, _>>().into()
}

fn models_json(models: &[Model]) -> Result<String, StoreError> {
    serde_json::to_string(models).map_err(|e| StoreError::Corrupt(e.to_string()))
}

fn measures_json(measures: &Measures) -> Result<String, StoreError> {
    serde_json::to_string(measures).map_err(|e| StoreError::Corrupt(e.to_string()))
}
