//! `usage/read`: what an API key has had of models.

use std::collections::BTreeMap;

use titan_api::{
    inference::{KeyUsage, ModelUsage},
    pull,
};

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Reads, "usage/read", uses ["calls", "key", "clock", "pool"]);

/// Reads it.
#[derive(Debug, Clone, Copy)]
pub struct ReadUsage<'a> {
    /// The key's id, or `admin`.
    pub owner: &'a str,
}

impl ReadUsage<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<KeyUsage, StoreError> {
        let mut args = Args::new();
        args.push(self.owner).push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        if word != "usage" {
            return Err(unknown_word("usage/read", &word));
        }
        let mut models = BTreeMap::<String, ModelUsage>::new();
        for (field, count) in reply.list()?.rest(|r| Ok((r.text()?, r.parse::<u64>()?)))? {
            // What is noted of the key as a whole has no colon.
            let Some((what, model)) = field.split_once(':') else { continue };
            let usage = models.entry(model.to_owned()).or_insert_with(|| named(model));
            match what {
                "requests" => usage.requests = count,
                "prompt" => usage.prompt_tokens = count,
                "completion" => usage.completion_tokens = count,
                other => return Err(unknown_word("usage/read", other)),
            }
        }
        models.retain(|model, _| !pull::is_puller(model));
        Ok(KeyUsage { models: models.into_values().collect() })
    }
}

fn named(model: &str) -> ModelUsage {
    ModelUsage { model: model.to_owned(), ..ModelUsage::default() }
}
