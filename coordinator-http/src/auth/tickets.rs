//! Tickets: what a client shows an agent that it calls directly. RS256, since that is what the libraries of all languages can
//! check; the key is made once, at start.

use serde::Serialize;
use titan_api::{
    ids::{AgentId, JobId, PoolName},
    secret::Secret,
    time::Timestamp,
};

use super::{keys::KeyRing, tokens::ISSUER};
use crate::error::ApiError;

const TYP: &str = "titan-ticket+jwt";

/// What a ticket says.
#[derive(Debug, Serialize)]
struct Claims<'a> {
    iss: &'static str,
    /// The one agent that it is good for.
    aud: &'a AgentId,
    /// Who asks.
    sub: &'a str,
    /// The request's id: it is good once.
    jti: &'a JobId,
    model: &'a str,
    pool: &'a PoolName,
    iat: i64,
    exp: i64,
}

/// What a ticket is for.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    pub(crate) agent: &'a AgentId,
    pub(crate) client: &'a str,
    pub(crate) request: &'a JobId,
    pub(crate) model: &'a str,
    pub(crate) pool: &'a PoolName,
    pub(crate) now_s: i64,
    pub(crate) ttl_s: i64,
}

impl Ticket<'_> {
    /// Signs it. Gives it with the time until which it is good.
    pub(crate) async fn sign(&self, keys: &KeyRing) -> Result<(Secret, Timestamp), ApiError> {
        let exp = self.now_s + self.ttl_s;
        let claims = Claims {
            iss: ISSUER,
            aud: self.agent,
            sub: self.client,
            jti: self.request,
            model: self.model,
            pool: self.pool,
            iat: self.now_s,
            exp,
        };
        let token = keys.sign_rs256(TYP, &claims).await;
        let token = token.ok_or_else(|| ApiError::Internal("no ticket could be signed".to_owned()))?;
        Ok((Secret::new(token), Timestamp::from_ms(exp * 1_000)))
    }
}
