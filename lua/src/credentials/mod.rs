//! API keys and join tokens. They belong to no pool's slot: one key a record, with an index written after the record.

pub mod api_keys;
mod create_join_token;
mod forget_join_token_use;
mod index;
pub mod join_tokens;
pub mod spend;
mod use_join_token;

use crate::script::Script;

/// The scripts of this noun.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&create_join_token::SCRIPT, &forget_join_token_use::SCRIPT, &spend::SCRIPT, &use_join_token::SCRIPT]
}
