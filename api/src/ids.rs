//! Names that may become part of a Redis key or a URL, checked once where they enter.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A name that holds a character, or a length, that ids may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be 1 to {max} characters of {alphabet}")]
pub struct InvalidId {
    what: &'static str,
    max: usize,
    alphabet: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $alphabet:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[schema(value_type = String, max_length = $max, min_length = 1)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes `text` if it is a valid id.
            ///
            /// # Errors
            /// [`InvalidId`] says which characters and lengths are allowed.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let allowed: fn(u8) -> bool = $allowed;
                if text.is_empty() || text.len() > $max || !text.bytes().all(allowed) {
                    return Err(InvalidId { what: $what, max: $max, alphabet: $alphabet });
                }
                Ok(Self(text))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id!(
    /// A job's id: a UUID of version 7, made by the coordinator that accepts the job, so ids sort by age.
    JobId, "a job id", 128, "A-Z a-z 0-9 . _ -",
    |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
);
id!(
    /// An agent's id, chosen when it joins (`--node-id`) or made then; unique in its pool.
    AgentId, "an agent id", 128, "A-Z a-z 0-9 . _ -",
    |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
);
id!(
    /// The public part of an API key or a join token; the secret part is never stored.
    CredentialId, "a credential id", 64, "A-Z a-z 0-9 . _ -",
    |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
);
id!(
    /// A pool: the unit of sharding and tenancy. It is the hash tag of every key of the pool.
    PoolName, "a pool name", 63, "a-z 0-9 -",
    |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'
);
id!(
    /// The random name of one lease: whoever reports on an attempt must know it.
    LeaseId, "a lease id", 64, "A-Z a-z 0-9 . _ -",
    |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
);
id!(
    /// What an event is about, in words from the general to the special, with dots between them.
    EventTopic, "a topic", 128, "A-Z a-z 0-9 . _ -",
    |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
);

impl Default for PoolName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}
