//! Who calls: bearers, what they are checked against, and the extractors that let a handler say whom it serves.

pub(crate) mod admin;
pub(crate) mod bearer;
pub(crate) mod cache;
pub(crate) mod callers;
mod jws;
pub(crate) mod keys;
pub(crate) mod principal;
pub(crate) mod proof;
pub(crate) mod receipts;
pub(crate) mod secrets;
mod signer;
pub(crate) mod tickets;
pub(crate) mod tokens;
mod turnstile;
