//! What everybody may ask.

pub(super) mod docs;
pub(super) mod health;
pub(super) mod jwks;
pub(super) mod metrics;
pub(super) mod openapi;
pub(super) mod public_key;
pub(super) mod ready;
