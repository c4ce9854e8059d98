//! `pool/scheduler`: the weights of a pool.

use titan_api::scheduler::{Profile, Scheduler, Strategy, Weights};

use crate::{
    Pool, StoreError,
    reply::{Reply, unknown_word},
    script::{Args, script},
};

script!(Frees, "pool/scheduler", uses ["calls", "key", "int", "clock", "pool"]);

/// Reads the weights.
#[derive(Debug, Clone, Copy)]
pub struct GetScheduler;

impl GetScheduler {
    /// Reads them.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Scheduler, StoreError> {
        call(pool, "", &Weights { vram: 0.0, load: 0.0, rtt: 0.0, performance: 0.0, cost: 0.0 }, Strategy::Score).await
    }
}

/// Sets how agents are chosen; all are scored anew, a few with each script that settles things, and each when it calls. The
/// same again changes nothing.
#[derive(Debug, Clone, Copy)]
pub struct SetScheduler {
    /// The profile's name.
    pub profile: Profile,
    /// Its weights: none negative, summing to 1.
    pub weights: Weights,
    /// Whether scores decide at all.
    pub strategy: Strategy,
}

impl SetScheduler {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Scheduler, StoreError> {
        call(pool, self.profile.as_str(), &self.weights, self.strategy).await
    }
}

async fn call(pool: &Pool, profile: &str, w: &Weights, strategy: Strategy) -> Result<Scheduler, StoreError> {
    let mut args = Args::new();
    args.push(profile).push(w.vram).push(w.load).push(w.rtt).push(w.performance).push(w.cost);
    args.push(strategy.as_str()).push(pool.now());
    let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
    if word != "scheduler" {
        return Err(unknown_word("pool/scheduler", &word));
    }
    let profile = reply.text()?;
    let profile = Profile::from_word(&profile).ok_or_else(|| unknown_word("pool/scheduler", &profile))?;
    let (version, strategy) = (reply.parse()?, reply.text()?);
    let strategy = Strategy::from_word(&strategy).ok_or_else(|| unknown_word("pool/scheduler", &strategy))?;
    let weights = weights(&mut reply)?;
    Ok(Scheduler { profile, strategy, weights, version })
}

/// Weights as scripts give them.
pub(crate) fn weights(r: &mut Reply) -> Result<Weights, StoreError> {
    Ok(Weights { vram: r.parse()?, load: r.parse()?, rtt: r.parse()?, performance: r.parse()?, cost: r.parse()? })
}
