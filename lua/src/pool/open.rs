//! `pool/open`: makes the pool's hash, which every script needs, and keeps its settings.

use crate::{
    Pool, StoreError, keys,
    reply::unknown_word,
    script::{Args, script},
};

script!(Frees, "pool/open", uses ["calls", "key", "clock", "pool"]);

/// Opens a pool with the settings of its store, and notes it in the index of pools.
pub(crate) async fn open(pool: &Pool) -> Result<(), StoreError> {
    let s = pool.store().settings();
    let mut args = Args::new();
    args.push(s.heartbeat_interval_ms).push(s.heartbeat_timeout_ms).push(s.lease_ttl_ms).push(s.kill_grace_ms);
    args.push(s.claim_timeout_ms).push(s.agent_retention_ms).push(s.job_retention_ms);
    args.push(s.job_retention_max).push(s.output_budget_bytes).push(s.prompt_budget_bytes);
    args.push(pool.store().publish_command()).push(pool.now());
    let (word, _) = pool.call_once(&SCRIPT, &args).await?;
    if word != "opened" {
        return Err(unknown_word("pool/open", &word));
    }
    let mut index = redis::Cmd::new();
    index.arg("SADD").arg(keys::POOLS).arg(pool.name().as_str());
    pool.store().connection().query::<i64>(&index).await?;
    Ok(())
}

/// Settings that scripts need. The coordinator that opened a pool last decides them; all copies should agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// How often agents are heard, milliseconds.
    pub heartbeat_interval_ms: u64,
    /// How much later than announced a heartbeat may be, milliseconds.
    pub heartbeat_timeout_ms: u64,
    /// How long a lease lasts, milliseconds.
    pub lease_ttl_ms: u64,
    /// How long after its lease's end an attempt's processes may last, milliseconds.
    pub kill_grace_ms: u64,
    /// How long a bound job waits for its claim, milliseconds.
    pub claim_timeout_ms: u64,
    /// How long an offline agent is remembered, milliseconds.
    pub agent_retention_ms: u64,
    /// How long an ended job is remembered, milliseconds.
    pub job_retention_ms: u64,
    /// How many ended jobs are remembered; the oldest go first.
    pub job_retention_max: u64,
    /// Bytes of output that are kept; the oldest ended jobs go first.
    pub output_budget_bytes: u64,
    /// Bytes of what models are asked that are held, from the submission until they are forgotten; past that submissions are
    /// refused.
    pub prompt_budget_bytes: u64,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            heartbeat_interval_ms: 10_000,
            heartbeat_timeout_ms: 30_000,
            lease_ttl_ms: 60_000,
            kill_grace_ms: 10_000,
            claim_timeout_ms: 5_000,
            agent_retention_ms: 7 * 24 * 3_600_000,
            job_retention_ms: 24 * 3_600_000,
            job_retention_max: 100_000,
            output_budget_bytes: 1 << 30,
            prompt_budget_bytes: 1 << 29,
        }
    }
}
