//! What a job writes: chunks of two streams in the order in which they were read, addressed by byte offset.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    jobs::{JobState, Reason},
    time::Timestamp,
};

/// Which stream a chunk was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// From when on output is wanted, by when it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// From that time on.
    At(Timestamp),
    /// So many milliseconds before now, both on the clock of Redis.
    LastMs(u64),
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

/// The reply to `GET /api/v1/jobs/{id}/output`, and the data of each SSE event `output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Output {
    /// The attempt that wrote it.
    pub attempt: u32,
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
