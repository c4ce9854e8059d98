//! What a job writes: chunks of two streams in the order in which they were read, addressed by byte offset.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

use crate::jobs::{JobState, Reason};

/// Which stream a chunk was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How `data` holds its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As text: the bytes are valid UTF-8.
    #[default]
    Utf8,
    /// In base64 (standard alphabet, padded): they are not.
    Base64,
}

/// Some bytes of a job's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Chunk {
    /// Where the chunk begins: bytes of both streams that the attempt wrote before it.
    pub offset: u64,
    /// The stream it was written to.
    pub stream: Stream,
    /// The bytes, as `encoding` says; at most 64 KiB when decoded.
    pub data: String,
    /// How `data` holds them.
    #[serde(default, skip_serializing_if = "is_utf8")]
    pub encoding: Encoding,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_utf8(encoding: &Encoding) -> bool {
    *encoding == Encoding::Utf8
}

/// What tells an attempt from another one of the same number, which a failover of Redis that loses an attempt brings about: 8
/// hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String)]
pub struct Mark(pub u32);

/// A text that is no mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the 8 hexadecimal digits of an attempt's mark")]
pub struct NotAMark;

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for Mark {
    type Err = NotAMark;

    fn from_str(text: &str) -> Result<Self, NotAMark> {
        let is_one = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_one.then(|| u32::from_str_radix(text, 16)).and_then(Result::ok).map(Self).ok_or(NotAMark)
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The reply to `GET /api/v1/jobs/{id}/output`, and the data of each SSE event `output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Output {
    /// The attempt that wrote it.
    pub attempt: u32,
    /// What tells that attempt from another one of the same number; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// The job's state when this was read.
    pub state: JobState,
    /// The chunks from the offset asked for on, in order.
    pub chunks: Vec<Chunk>,
    /// Bytes between the offset asked for and the first chunk that are kept no more: of long outputs only the first
    /// 64 KiB and the latest 960 KiB stay in the store, the whole log stays on the agent's disk.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_bytes: u64,
    /// The offset to ask for next.
    pub next_offset: u64,
    /// Whether nothing will follow: the job has ended and all of its output was read.
    pub complete: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The data of the SSE event `attempt`: from here on the output is that of another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputAttempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// What tells it from another one of the same number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// The data of the SSE event `gap`: bytes that are kept no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputGap {
    /// The attempt that wrote them.
    pub attempt: u32,
    /// How many they are.
    pub skipped_bytes: u64,
}

/// The data of the SSE event `end`, the last one: the job has ended and all of its output was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputEnd {
    /// How the job ended.
    pub state: JobState,
    /// The number of its last attempt; 0 if it had none.
    pub attempt: u32,
    /// The exit code of that attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it ended other than well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}
