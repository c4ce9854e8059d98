//! What API keys may do in a time. Redis keeps the count, so all copies together give no more than a key has.
//!
//! A key that calls often would cost a script more for each of its requests, so a copy takes some in advance and hands
//! them out by itself for a second: never more than a hundredth of the quota, so small quotas are exact to the request.

mod account;

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use titan_api::{
    credentials::{ApiKey, KeyLimits, Quota},
    ids::CredentialId,
};
use titan_lua::{
    Store,
    credentials::spend::{Draw, Policy, Spend, SpendOutcome},
};

use self::account::Account;
use crate::error::ApiError;

/// What a key may do, and what is left of it, as the IETF's draft `ratelimit-headers` has it.
pub(crate) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(crate) const LEFT: HeaderName = HeaderName::from_static("ratelimit");
/// How many keys a copy keeps an account of.
const ACCOUNTS: usize = 20_000;
/// Stands for a quota that is switched off: it is never used up, and never shown.
const ENDLESS: Quota = Quota { quota: 1 << 50, window_ms: 1_000 };

/// The accounts of this copy. Losing them is harmless: what they hold was taken and is not spent.
#[derive(Debug)]
pub(crate) struct Quotas {
    usual: KeyLimits,
    accounts: Mutex<HashMap<CredentialId, Account>>,
}

/// What one request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cost {
    pub(crate) requests: u64,
    pub(crate) body_bytes: u64,
}

impl Cost {
    /// What it takes of quotas that there are.
    fn limited_by(self, limits: &KeyLimits) -> Self {
        Self {
            requests: if limits.requests.is_some() { self.requests } else { 0 },
            body_bytes: if limits.body_bytes.is_some() { self.body_bytes } else { 0 },
        }
    }
}

/// How a key stands after a request: the values of the headers that say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// `RateLimit-Policy`: what the key may do.
    pub(crate) policy: HeaderValue,
    /// `RateLimit`: what is left of it.
    pub(crate) left: HeaderValue,
}

impl Standing {
    /// Says it in a reply.
    pub(crate) fn write_to(&self, headers: &mut HeaderMap) {
        headers.insert(POLICY, self.policy.clone());
        headers.insert(LEFT, self.left.clone());
    }
}

/// What the caller is told whose key has used up one of its quotas.
#[derive(Debug)]
pub(crate) struct Exhausted {
    /// The quota's name.
    pub(crate) policy: &'static str,
    pub(crate) detail: String,
    /// At least 1.
    pub(crate) retry_after_s: u64,
    pub(crate) standing: Standing,
}

/// A request for which there was not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shortage {
    policy: Policy,
    wait: Duration,
}

impl Quotas {
    /// `usual` is for keys that were made without limits of their own; without a quota nothing is limited.
    pub(crate) fn new(usual: KeyLimits) -> Self {
        Self { usual, accounts: Mutex::default() }
    }

    /// Takes what a request costs from its key's quotas. None if that is nothing, since the key has no such limit.
    pub(crate) async fn spend(&self, store: &Store, key: &ApiKey, cost: Cost) -> Result<Option<Standing>, ApiError> {
        let limits = self.of(key);
        let cost = cost.limited_by(&limits);
        if cost == Cost::default() {
            return Ok(None);
        }
        let outcome = match self.with(&key.id, |account| account.take(cost, Instant::now())) {
            Some(known) => known,
            // Boxed, since the future of every request has room for what its extractors wait for.
            None => Box::pin(self.draw(store, &key.id, limits, cost)).await?,
        };
        let standing = self.with(&key.id, |account| account.standing(&limits, Instant::now()));
        match outcome {
            Ok(()) => Ok(Some(standing)),
            Err(shortage) => Err(refusal(&limits, shortage, standing.policy)),
        }
    }

    async fn draw(
        &self,
        store: &Store,
        key: &CredentialId,
        limits: KeyLimits,
        cost: Cost,
    ) -> Result<Result<(), Shortage>, ApiError> {
        let (requests, body_bytes) = self.with(key, |account| account.ahead(&limits, Instant::now()));
        let requests = Draw { cost: cost.requests, more: requests, of: limits.requests.unwrap_or(ENDLESS) };
        let body_bytes = Draw { cost: cost.body_bytes, more: body_bytes, of: limits.body_bytes.unwrap_or(ENDLESS) };
        let outcome = Spend { key, requests, body_bytes, now_ms: None }.run(store).await?;
        Ok(self.with(key, |account| match outcome {
            SpendOutcome::Spent { requests, body_bytes } => {
                account.fill(requests, body_bytes, cost, Instant::now());
                Ok(())
            }
            SpendOutcome::Refused { policy, wait } => {
                let shortage = Shortage { policy, wait };
                account.refuse(shortage, Instant::now());
                Err(shortage)
            }
        }))
    }

    /// The limits of a key: its own, and for what those don't say the usual ones.
    fn of(&self, key: &ApiKey) -> KeyLimits {
        KeyLimits {
            requests: key.limits.requests.or(self.usual.requests),
            body_bytes: key.limits.body_bytes.or(self.usual.body_bytes),
        }
    }

    fn with<T>(&self, key: &CredentialId, change: impl FnOnce(&mut Account) -> T) -> T {
        let mut accounts = self.lock();
        if let Some(known) = accounts.get_mut(key) {
            return change(known);
        }
        if accounts.len() >= ACCOUNTS {
            let now = Instant::now();
            accounts.retain(|_, account| account.is_current(now));
            if accounts.len() >= ACCOUNTS {
                accounts.clear();
            }
        }
        change(accounts.entry(key.clone()).or_insert_with(|| Account::new(Instant::now())))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CredentialId, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a quota is called in headers and problems, and its unit there.
fn name(policy: Policy) -> (&'static str, &'static str) {
    match policy {
        Policy::Requests => ("requests", "requests"),
        Policy::BodyBytes => ("body-bytes", "content-bytes"),
    }
}

/// A quota that there is, for the headers.
fn each(limits: &KeyLimits) -> impl Iterator<Item = (Policy, Quota)> {
    let all = [(Policy::Requests, limits.requests), (Policy::BodyBytes, limits.body_bytes)];
    all.into_iter().filter_map(|(policy, quota)| Some((policy, quota?)))
}

/// `RateLimit-Policy`.
fn policies(limits: &KeyLimits) -> HeaderValue {
    let items = each(limits).map(|(policy, quota)| {
        let (name, unit) = name(policy);
        format!(r#""{name}";q={};w={};qu="{unit}""#, quota.quota, quota.window_ms.div_ceil(1_000))
    });
    header(items.collect::<Vec<_>>().join(", "))
}

/// `RateLimit`, of what is left and when all is there again.
fn left(items: impl Iterator<Item = (Policy, u64, Duration)>) -> HeaderValue {
    let mut text = String::new();
    for (policy, left, whole_in) in items {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, r#"{comma}"{}";r={left};t={}"#, name(policy).0, seconds(whole_in));
    }
    header(text)
}

fn header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// Whole seconds, rounded up: who comes back then does not come too early.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_millis() > 0)
}

fn refusal(limits: &KeyLimits, shortage: Shortage, policy: HeaderValue) -> ApiError {
    let name = name(shortage.policy).0;
    let quota = each(limits).find(|(policy, _)| *policy == shortage.policy).map_or(ENDLESS, |(_, quota)| quota);
    let left = left([(shortage.policy, 0, shortage.wait)].into_iter());
    ApiError::TooMany(Box::new(Exhausted {
        policy: name,
        detail: format!(
            "the API key's limit `{name}` is {} in {} s; come back as `Retry-After` says, or ask an administrator for a key with another limit",
            quota.quota,
            quota.window_ms.div_ceil(1_000)
        ),
        retry_after_s: seconds(shortage.wait).max(1),
        standing: Standing { policy, left },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_are_lists_of_items_with_parameters() {
        let limits = KeyLimits {
            requests: Some(Quota { quota: 600, window_ms: 60_000 }),
            body_bytes: Some(Quota { quota: 1_024, window_ms: 1_500 }),
        };
        assert_eq!(
            policies(&limits),
            r#""requests";q=600;w=60;qu="requests", "body-bytes";q=1024;w=2;qu="content-bytes""#
        );
        let purses = [(Policy::Requests, 599, Duration::from_millis(100)), (Policy::BodyBytes, 0, Duration::ZERO)];
        assert_eq!(left(purses.into_iter()), r#""requests";r=599;t=1, "body-bytes";r=0;t=0"#);
    }
}
