//! `output/read`: a piece of a job's output.

use titan_api::{ids::JobId, jobs::JobState, output::Stream};

use crate::{Pool, StoreError};

/// Reads output.
#[derive(Debug, Clone, Copy)]
pub struct ReadOutput<'a> {
    /// The job.
    pub job: &'a JobId,
    /// The attempt that the reader was at; another one is read from its start.
    pub attempt: Option<u32>,
    /// From which byte on.
    pub offset: u64,
    /// Whether the reader waits for more, so that the agent should send output sooner for a while.
    pub follow: bool,
}

/// A piece of output, at most 256 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The attempt that wrote it: the latest.
    pub attempt: u32,
    /// The job's state.
    pub state: JobState,
    /// The chunks, in order.
    pub chunks: Vec<StoredChunk>,
    /// Bytes between the offset asked for and the first chunk that are kept no more.
    pub skipped_bytes: u64,
    /// Where to go on.
    pub next_offset: u64,
    /// Whether nothing will follow.
    pub complete: bool,
}

/// Some bytes of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChunk {
    /// Where it begins.
    pub offset: u64,
    /// The stream.
    pub stream: Stream,
    /// The bytes; not always valid UTF-8.
    pub data: Vec<u8>,
}

impl ReadOutput<'_> {
    /// Runs the script; none if there is no such job.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Option<Slice>, StoreError> {
        let _ = pool;
        todo!()
    }
}
