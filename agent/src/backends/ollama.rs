//! Ollama: models on its disk (`/api/tags`), of which some are in memory (`/api/ps`).

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{
    dialect::{Dialect, Found, Soon},
    http::Http,
};

const MB: u64 = 1_024 * 1_024;

#[derive(Debug)]
pub(super) struct Ollama;

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "version")]
    _version: String,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    #[serde(default)]
    size: u64,
}

impl Dialect for Ollama {
    fn is_this<'a>(&'a self, http: &'a Http) -> Soon<'a, bool> {
        Box::pin(async move {
            http.list::<Version>("/api/version").await?;
            http.list::<Tags>("/api/tags").await.map(|_| true)
        })
    }

    fn models<'a>(&'a self, http: &'a Http) -> Soon<'a, Vec<Found>> {
        Box::pin(async move {
            let tags: Tags = http.list("/api/tags").await?;
            let loaded: Tags = http.list("/api/ps").await?;
            let loaded: BTreeSet<_> = loaded.models.iter().map(|tag| tag.name.as_str()).collect();
            let found = |tag: &Tag| Found {
                name: tag.name.clone(),
                loaded: loaded.contains(tag.name.as_str()),
                size_mb: (tag.size > 0).then(|| tag.size.div_ceil(MB)),
                parallel: None,
            };
            Ok(tags.models.iter().map(found).collect())
        })
    }

    fn is_loaded<'a>(&'a self, http: &'a Http, model: &'a str) -> Soon<'a, bool> {
        Box::pin(async move {
            let loaded: Tags = http.list("/api/ps").await?;
            Ok(loaded.models.iter().any(|tag| tag.name == model))
        })
    }

    fn pulls(&self) -> bool {
        true
    }

    /// What Ollama does unless `OLLAMA_NUM_PARALLEL` says otherwise.
    fn usual_parallel(&self) -> u32 {
        1
    }
    // It goes on with an assistant's last message by itself.
}
