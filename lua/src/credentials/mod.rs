//! API keys and join tokens. They belong to no pool's slot: one key a record, with an index written after the record.

pub mod api_keys;
mod index;
pub mod join_tokens;
mod return_join_token;
pub mod spend;
mod use_join_token;
