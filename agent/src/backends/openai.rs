//! Anything that speaks OpenAI's interface: it says which models it serves, and no more.

use serde::Deserialize;

use super::{
    NoAnswer,
    dialect::{Dialect, Found, Soon},
    http::Http,
};

#[derive(Debug)]
pub(super) struct OpenAi;

#[derive(Deserialize)]
pub(super) struct List {
    pub data: Vec<Listed>,
}

#[derive(Deserialize)]
pub(super) struct Listed {
    pub id: String,
    #[serde(default)]
    pub owned_by: Option<String>,
}

/// The models of `/v1/models`.
pub(super) async fn listed(http: &Http) -> Result<Vec<Listed>, NoAnswer> {
    Ok(http.list::<List>("/v1/models").await?.data)
}

impl Dialect for OpenAi {
    fn is_this<'a>(&'a self, http: &'a Http) -> Soon<'a, bool> {
        Box::pin(async move { listed(http).await.map(|_| true) })
    }

    fn models<'a>(&'a self, http: &'a Http) -> Soon<'a, Vec<Found>> {
        Box::pin(async move { Ok(listed(http).await?.into_iter().map(|model| Found::loaded(model.id)).collect()) })
    }

    fn usual_parallel(&self) -> u32 {
        8
    }
}
