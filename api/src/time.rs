//! Points in time as the interface shows them: RFC 3339, UTC, milliseconds.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::ToSchema;

/// A point in time on the clock of Redis, shown as RFC 3339 in UTC, for example `2026-11-21T06:18:45.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[schema(value_type = String, format = DateTime)]
#[serde(transparent)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// The time `ms` milliseconds after the Unix epoch; a value outside of jiff's range becomes the nearest in it.
    #[must_use]
    pub fn from_ms(ms: i64) -> Self {
        let fallback = if ms < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        Self(jiff::Timestamp::from_millisecond(ms).unwrap_or(fallback))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn as_ms(self) -> i64 {
        self.0.as_millisecond()
    }
}

/// A text that is no point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a time with its distance from UTC, for example 2026-11-21T06:18:45Z or 2026-11-21T07:18:45+01:00")]
pub struct NotATime;

impl std::str::FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        text.parse().map(Self).map_err(|_| NotATime)
    }
}

/// With our words for a text that is none.
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// From when on something is wanted, by when it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// From that time on.
    At(Timestamp),
    /// So many milliseconds before now, both on the clock of Redis.
    LastMs(u64),
}
