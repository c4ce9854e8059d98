//! `Idempotency-Key`: which calls are repeats of each other. A key belongs to the API key that sent it.

use aws_lc_rs::digest::{Context, SHA256};
use axum::extract::FromRequestParts;
use http::{HeaderMap, request::Parts};
use serde::Serialize;
use titan_api::limits::IDEMPOTENCY_KEY_BYTES;
use titan_lua::jobs::Idempotency;

use crate::error::ApiError;

const HEADER: &str = "idempotency-key";

/// What the header says, before it is known who sent it and with what body. None if there is no header.
#[derive(Debug)]
pub(crate) struct GivenKey(Option<String>);

impl GivenKey {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        let key = value.to_str().unwrap_or_default();
        let is_good = (1..=IDEMPOTENCY_KEY_BYTES).contains(&key.len()) && values.next().is_none();
        if !is_good {
            return Err(ApiError::BadRequest(format!(
                "`Idempotency-Key` must be one header of 1 to {IDEMPOTENCY_KEY_BYTES} printable ASCII characters"
            )));
        }
        Ok(Self(Some(key.to_owned())))
    }

    /// The key of the call, which `owner` sent with `body`.
    pub(crate) fn with(&self, owner: &str, body: &impl Serialize) -> Result<Option<KeyOfCall>, ApiError> {
        let Self(Some(key)) = self else { return Ok(None) };
        let body = serde_json::to_vec(body).map_err(|e| ApiError::Internal(e.to_string()))?;
        Ok(Some(KeyOfCall { key: hash([owner.as_bytes(), key.as_bytes()]), body: hash([&body]) }))
    }
}

impl<S: Sync> FromRequestParts<S> for GivenKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::of(&parts.headers)
    }
}

/// There is no header, on a route whose repeat could not give the same answer: what it makes is shown once, and only its hash is
/// kept. A key that was passed over would promise what is not so.
#[derive(Debug)]
pub(crate) struct NoKey;

impl<S: Sync> FromRequestParts<S> for NoKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        if parts.headers.contains_key(HEADER) { Err(ApiError::KeyUseless) } else { Ok(Self) }
    }
}

/// A key of one owner, and a hash of the body that it was sent with.
#[derive(Debug)]
pub(crate) struct KeyOfCall {
    key: String,
    body: String,
}

impl KeyOfCall {
    /// For the call as a whole, where the store compares what it makes.
    pub(crate) fn of_call(&self) -> &str {
        &self.key
    }

    /// For the job of that index in the call.
    pub(crate) fn of_job(&self, index: usize) -> Idempotency {
        Idempotency { key: format!("{}.{index}", self.key), body: self.body.clone() }
    }
}

/// The first 128 bits of a hash, in hex; each part is hashed with its length, so that parts can't run into each other.
fn hash<const N: usize>(parts: [&[u8]; N]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&context.finish().as_ref()[..16]);
    format!("{:032x}", u128::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(header: &str, owner: &str, body: &str) -> KeyOfCall {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, header.parse().unwrap());
        GivenKey::of(&headers).unwrap().with(owner, &body).unwrap().unwrap()
    }

    #[test]
    fn calls_are_repeats_if_owner_key_and_body_are_the_same() {
        let first = key("order-1", "key-1", "a").of_job(0);
        assert_eq!(key("order-1", "key-1", "a").of_job(0), first);
        assert_ne!(key("order-2", "key-1", "a").of_job(0).key, first.key);
        assert_ne!(key("order-1", "key-2", "a").of_job(0).key, first.key);
        assert_ne!(key("1order-", "key-", "a").of_job(0).key, first.key);
        assert_ne!(key("order-1", "key-1", "a").of_job(1).key, first.key);
        assert_ne!(key("order-1", "key-1", "b").of_job(0).body, first.body);
    }

    #[test]
    fn a_key_that_is_empty_long_or_twice_there_is_refused() {
        let read = |values: &[&str]| {
            let all = values.iter().map(|v| (HEADER.parse().unwrap(), v.parse().unwrap()));
            GivenKey::of(&all.collect()).is_err()
        };
        assert!(read(&[""]) && read(&["a", "b"]) && read(&[&"k".repeat(256)]) && !read(&[]) && !read(&["a"]));
    }
}
