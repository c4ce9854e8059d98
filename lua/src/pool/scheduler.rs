//! `pool/scheduler`: the weights of a pool.

use titan_api::scheduler::{Profile, Scheduler, Weights};

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Frees, "pool/scheduler", uses ["key", "pool"]);

/// Reads the weights.
#[derive(Debug, Clone, Copy)]
pub struct GetScheduler;

impl GetScheduler {
    /// Reads them.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Scheduler, StoreError> {
        call(pool, "", &Weights { vram: 0.0, load: 0.0, rtt: 0.0, performance: 0.0 }).await
    }
}

/// Sets the weights; agents are scored anew as they are touched. The same weights again change nothing.
#[derive(Debug, Clone, Copy)]
pub struct SetScheduler {
    /// The profile's name.
    pub profile: Profile,
    /// Its weights: none negative, summing to 1.
    pub weights: Weights,
}

impl SetScheduler {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Scheduler, StoreError> {
        call(pool, self.profile.as_str(), &self.weights).await
    }
}

async fn call(pool: &Pool, profile: &str, w: &Weights) -> Result<Scheduler, StoreError> {
    let mut args = Args::new();
    args.push(profile).push(w.vram).push(w.load).push(w.rtt).push(w.performance).push(pool.now());
    let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
    if word != "scheduler" {
        return Err(unknown_word("pool/scheduler", &word));
    }
    let profile = reply.text()?;
    let profile = Profile::from_word(&profile).ok_or_else(|| unknown_word("pool/scheduler", &profile))?;
    let version = reply.parse()?;
    let weights =
        Weights { vram: reply.parse()?, load: reply.parse()?, rtt: reply.parse()?, performance: reply.parse()? };
    Ok(Scheduler { profile, weights, version })
}
