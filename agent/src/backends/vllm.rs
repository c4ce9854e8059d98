//! vLLM: one model (and adapters of it), always loaded, many requests at once.

use super::{
    dialect::{Dialect, Found, Soon},
    http::Http,
    openai::listed,
};

#[derive(Debug)]
pub(super) struct Vllm;

impl Dialect for Vllm {
    fn is_this<'a>(&'a self, http: &'a Http) -> Soon<'a, bool> {
        Box::pin(async move { Ok(listed(http).await?.iter().any(|model| model.owned_by.as_deref() == Some("vllm"))) })
    }

    fn models<'a>(&'a self, http: &'a Http) -> Soon<'a, Vec<Found>> {
        Box::pin(async move { Ok(listed(http).await?.into_iter().map(|model| Found::loaded(model.id)).collect()) })
    }

    /// It batches what comes together; what is more waits in the pool, where others can take it.
    fn usual_parallel(&self) -> u32 {
        32
    }

    fn to_continue(&self) -> &'static [(&'static str, &'static str)] {
        &[("add_generation_prompt", "false"), ("continue_final_message", "true")]
    }
}
