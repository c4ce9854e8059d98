//! `credentials/spend`: takes from what an API key may do in a time.

use std::time::Duration;

use titan_api::{credentials::Quota, ids::CredentialId};

use crate::{
    Store, StoreError, keys,
    reply::{Reply, unknown_word},
    script::{Args, script},
};

// A key's caller may also want to cancel something, so this must work when memory is short; what it writes is small, and
// gone when the quotas are whole again.
script!(Frees, "credentials/spend", uses["clock"]);

/// What is taken of one quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// What is needed now; more than the whole quota is taken for the whole quota.
    pub cost: u64,
    /// What is taken in advance, as far as it is there, to be spent without asking again.
    pub more: u64,
    /// The quota.
    pub of: Quota,
}

/// Takes requests and bytes of bodies from an API key's quotas, both or neither.
#[derive(Debug, Clone, Copy)]
pub struct Spend<'a> {
    /// The key.
    pub key: &'a CredentialId,
    /// Requests.
    pub requests: Draw,
    /// Bytes of bodies.
    pub body_bytes: Draw,
    /// The time, for tests; that of Redis if absent.
    pub now_ms: Option<i64>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpendOutcome {
    /// Both were taken.
    Spent {
        /// Of the requests.
        requests: Purse,
        /// Of the bytes.
        body_bytes: Purse,
    },
    /// There was not enough, and nothing was taken.
    Refused {
        /// Of what there was not enough.
        policy: Policy,
        /// When there will be.
        wait: Duration,
    },
}

/// A quota after something was taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purse {
    /// What was taken in advance.
    pub ahead: u64,
    /// What is left.
    pub left: u64,
    /// When it will be whole again.
    pub whole_in: Duration,
}

/// One of a key's two quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Requests.
    Requests,
    /// Bytes of their bodies.
    BodyBytes,
}

impl Spend<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, store: &Store) -> Result<SpendOutcome, StoreError> {
        let key = keys::api_key_spent(self.key);
        let mut args = Args::new();
        for draw in [&self.requests, &self.body_bytes] {
            args.push(draw.cost).push(draw.more).push(draw.of.quota).push(draw.of.window_ms);
        }
        args.push(self.now_ms.map(|ms| ms.to_string()).unwrap_or_default());
        let mut reply = Reply::new(SCRIPT.run(store.connection(), [&key, &key], &args).await?)?;
        match reply.text()?.as_str() {
            "spent" => Ok(SpendOutcome::Spent { requests: purse(&mut reply)?, body_bytes: purse(&mut reply)? }),
            "refused" => Ok(SpendOutcome::Refused { policy: policy(&mut reply)?, wait: millis(&mut reply)? }),
            other => Err(unknown_word("credentials/spend", other)),
        }
    }
}

fn purse(reply: &mut Reply) -> Result<Purse, StoreError> {
    Ok(Purse { ahead: reply.parse()?, left: reply.parse()?, whole_in: millis(reply)? })
}

fn policy(reply: &mut Reply) -> Result<Policy, StoreError> {
    match reply.text()?.as_str() {
        "1" => Ok(Policy::Requests),
        "2" => Ok(Policy::BodyBytes),
        other => Err(unknown_word("credentials/spend", other)),
    }
}

fn millis(reply: &mut Reply) -> Result<Duration, StoreError> {
    reply.parse().map(Duration::from_millis)
}
