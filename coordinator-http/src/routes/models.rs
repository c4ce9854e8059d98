//! The models of a pool: as OpenAI's clients list them, as ours do, the aliases that an administrator sets, and getting
//! more of them.

pub(super) mod aliases;
pub(super) mod fleet;
pub(super) mod get;
pub(super) mod list;
pub(super) mod pull;

use serde_json::{Value, json};
use titan_api::inference::FleetModel;

/// A model as OpenAI's clients see it.
fn entry(model: &FleetModel) -> Value {
    json!({
        "id": model.model.name,
        "object": "model",
        "created": model.since.as_ms() / 1_000,
        "owned_by": if model.model.backend.is_empty() { "titan" } else { &model.model.backend },
    })
}
