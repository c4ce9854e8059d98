//! The names that are spelled outside of scripts: a pool's two declared keys, its channels, and what belongs to no pool.
//!
//! Everything else in a pool is named by `lua/scripts/lib/key.lua`.

use titan_api::ids::{CredentialId, PoolName};

use crate::watch::Topic;

/// The set of all pools ever opened.
pub(crate) const POOLS: &str = "titan:pools";

/// The pool's hash, which always exists, and the prefix of all its other keys.
pub(crate) fn pool(name: &PoolName) -> String {
    ["titan:{", name.as_str(), "}"].concat()
}

/// The key that never exists: naming it beside the pool's hash makes Redis answer TRYAGAIN while the slot is moved.
pub(crate) fn absent(name: &PoolName) -> String {
    ["titan:{", name.as_str(), "}:absent"].concat()
}

/// The channel on which scripts announce changes of a topic; `lib/pool.lua` spells it the same way.
pub(crate) fn channel(pool: &PoolName, topic: &Topic) -> String {
    match topic {
        Topic::Agent(id) => format!("titan:{{{pool}}}:agent:{id}"),
        Topic::Job(id) => format!("titan:{{{pool}}}:job:{id}"),
        Topic::Events => format!("titan:{{{pool}}}:events"),
    }
}

/// One API key's record.
pub(crate) fn api_key(id: &CredentialId) -> String {
    format!("titan:api-key:{id}")
}

/// What is there once any API key was made, and stays when all are revoked.
pub(crate) const API_KEYS_WERE_MADE: &str = "titan:api-keys-were-made";

/// What one API key has spent of its limits.
pub(crate) fn api_key_spent(id: &CredentialId) -> String {
    format!("titan:api-key-spent:{id}")
}

/// The ids of a pool's API keys, in a sorted set by id.
pub(crate) fn api_keys(pool: &PoolName) -> String {
    format!("titan:api-keys:{pool}")
}

/// One join token's record.
pub(crate) fn join_token(id: &CredentialId) -> String {
    format!("titan:join-token:{id}")
}

/// The ids of a pool's join tokens, in a sorted set by id.
pub(crate) fn join_tokens(pool: &PoolName) -> String {
    format!("titan:join-tokens:{pool}")
}

/// A key that holds nothing, in the slot of another one.
pub(crate) fn mark(key: &str) -> String {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or(key, |(tag, _)| tag);
    format!("titan:mark:{{{tag}}}")
}
