//! `models/aliases`: public names that stand for names of agents. One script serves both wrappers.

use titan_api::inference::ModelAliases;

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Writes, "models/aliases", uses ["calls", "key", "int", "clock", "pool"]);

/// Reads all of them.
#[derive(Debug, Clone, Copy)]
pub struct ReadAliases;

impl ReadAliases {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<ModelAliases, StoreError> {
        call(pool, "").await
    }
}

/// Sets all of them; agents are known by them within seconds.
#[derive(Debug, Clone, Copy)]
pub struct SetAliases<'a> {
    /// The new ones; already checked against the bounds of `titan_api::limits`.
    pub aliases: &'a ModelAliases,
}

impl SetAliases<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<ModelAliases, StoreError> {
        call(pool, &serde_json::to_string(&self.aliases.aliases).map_err(|e| corrupt(&e))?).await
    }
}

async fn call(pool: &Pool, json: &str) -> Result<ModelAliases, StoreError> {
    let mut args = Args::new();
    args.push(json).push(pool.now());
    let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
    match word.as_str() {
        "aliases" => {
            let aliases = reply.some_text()?.map(|json| serde_json::from_str(&json)).transpose();
            Ok(ModelAliases { aliases: aliases.map_err(|e| corrupt(&e))?.unwrap_or_default() })
        }
        other => Err(unknown_word("models/aliases", other)),
    }
}

fn corrupt(e: &serde_json::Error) -> StoreError {
    StoreError::Corrupt(format!("the aliases of models: {e}"))
}
