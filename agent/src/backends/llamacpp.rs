//! The server of llama.cpp: one model, loaded, with a fixed number of slots.

use serde::Deserialize;

use super::{
    dialect::{Dialect, Found, Soon},
    http::Http,
    openai::listed,
};

#[derive(Debug)]
pub(super) struct LlamaCpp;

#[derive(Deserialize)]
struct Props {
    total_slots: u32,
}

#[derive(Deserialize)]
struct Slot {}

/// How many requests it serves at once. Either route may be turned off.
async fn slots(http: &Http) -> Option<u32> {
    if let Ok(props) = http.list::<Props>("/props").await {
        return Some(props.total_slots);
    }
    let slots = http.list::<Vec<Slot>>("/slots").await.ok()?;
    u32::try_from(slots.len()).ok()
}

impl Dialect for LlamaCpp {
    fn is_this<'a>(&'a self, http: &'a Http) -> Soon<'a, bool> {
        Box::pin(async move { http.list::<Props>("/props").await.map(|_| true) })
    }

    fn models<'a>(&'a self, http: &'a Http) -> Soon<'a, Vec<Found>> {
        Box::pin(async move {
            // It answers 503 while it loads its model: then it serves none yet.
            let models = listed(http).await?;
            let parallel = slots(http).await.filter(|slots| *slots > 0);
            Ok(models.into_iter().map(|model| Found { parallel, ..Found::loaded(model.id) }).collect())
        })
    }

    /// What it does unless `--parallel` says otherwise.
    fn usual_parallel(&self) -> u32 {
        1
    }
    // It goes on with an assistant's last message by itself.
}
