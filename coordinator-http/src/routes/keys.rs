//! API keys of a pool.

pub(super) mod create;
pub(super) mod delete;
pub(super) mod list;
