//! `output/read`: a piece of a job's output.

use titan_api::{
    ids::{AgentId, JobId},
    inference::Usage,
    jobs::{JobKind, JobState, Reason},
    output::Stream,
};

use super::segment::frames;
use crate::{
    Pool, StoreError,
    jobs::kind_word,
    reply::{Reply, unknown_word},
    script::{Args, script},
};

script!(Frees, "output/read", uses ["key", "clock", "pool", "record", "segment", "job", "agent"]);

/// Chunks in one slice. A program that writes byte by byte makes a frame of each, which is far longer as JSON.
const MOST_CHUNKS: usize = 4_096;

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

/// A piece of output, at most 256 KiB in at most 4,096 chunks.
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
    /// Bytes that the attempt has written; none once what it wrote is forgotten.
    pub written: u64,
    /// Whether nothing will follow.
    pub complete: bool,
    /// What else is known of the job.
    pub about: About,
}

/// What a reader may want to know of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What kind of work it is.
    pub kind: JobKind,
    /// Who submitted it.
    pub owner: String,
    /// The agent that it is bound to, or that ran the latest attempt.
    pub agent: Option<AgentId>,
    /// Whether the latest attempt has begun.
    pub has_begun: bool,
    /// The exit code of the latest attempt.
    pub exit_code: Option<i32>,
    /// Why it ended other than well.
    pub reason: Option<Reason>,
    /// What the agent said of that.
    pub message: Option<String>,
    /// What the answer of a model took.
    pub usage: Option<Usage>,
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
        let mut args = Args::new();
        args.push(self.job.as_str())
            .push(self.attempt.map(|n| n.to_string()).unwrap_or_default())
            .push(self.offset.min(1 << 52))
            .push(if self.follow { "1" } else { "" })
            .push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        match word.as_str() {
            "output" => {
                let state = reply.text()?;
                let state = JobState::from_word(&state).ok_or_else(|| unknown_word("output/read", &state))?;
                let (attempt, offset, written) = (reply.parse()?, reply.parse()?, reply.parse()?);
                let segments = reply.list()?.rest(|r| Ok((r.parse()?, r.bytes()?)))?;
                let about = about(&mut reply)?;
                slice(state, attempt, offset, written, &segments, about).map(Some)
            }
            "not_found" => Ok(None),
            other => Err(unknown_word("output/read", other)),
        }
    }
}

fn about(reply: &mut Reply) -> Result<About, StoreError> {
    let (kind, owner, agent) = (reply.text()?, reply.text()?, reply.some()?);
    let (started, exit_code, reason) = (reply.some_text()?, reply.some()?, reply.text()?);
    let (message, usage) = (reply.some_text()?, reply.some_text()?);
    Ok(About {
        kind: if kind == kind_word(JobKind::Inference) { JobKind::Inference } else { JobKind::Process },
        owner,
        agent,
        has_begun: started.is_some(),
        exit_code,
        reason: Reason::from_word(&reason),
        message,
        usage: usage.and_then(|json| serde_json::from_str(&json).ok()),
    })
}

/// Puts the frames of some segments together, from `offset` on.
fn slice(
    state: JobState,
    attempt: u32,
    offset: u64,
    written: u64,
    segments: &[(u64, Vec<u8>)],
    about: About,
) -> Result<Slice, StoreError> {
    let mut chunks: Vec<StoredChunk> = Vec::new();
    let (mut next_offset, mut skipped_bytes) = (offset, 0);
    'all: for (number, segment) in segments {
        for frame in frames(*number, segment)? {
            let end = frame.offset + frame.data.len() as u64;
            if end <= next_offset {
                continue;
            }
            if chunks.len() == MOST_CHUNKS {
                break 'all;
            }
            skipped_bytes += frame.offset.saturating_sub(next_offset);
            let seen = usize::try_from(next_offset.saturating_sub(frame.offset)).unwrap_or(usize::MAX);
            let data = frame.data[seen..].to_vec();
            chunks.push(StoredChunk { offset: frame.offset.max(next_offset), stream: frame.stream, data });
            next_offset = end;
        }
    }
    let complete = state.is_ended() && next_offset >= written;
    Ok(Slice { attempt, state, chunks, skipped_bytes, next_offset, written, complete, about })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About {
            kind: JobKind::Process,
            owner: String::new(),
            agent: None,
            has_begun: true,
            exit_code: None,
            reason: None,
            message: None,
            usage: None,
        }
    }

    #[test]
    fn output_in_many_small_frames_is_read_piece_by_piece() {
        let frames = (0..10_000_u32).map(|n| [if n % 2 == 0 { b'o' } else { b'e' }, 0, 1, b'x']);
        let segments = [(0, frames.flatten().collect::<Vec<u8>>())];
        let (mut offset, mut seen) = (0, Vec::new());
        loop {
            let piece =
                slice(JobState::Completed, 1, offset, 10_000, &segments, about()).unwrap_or_else(|e| panic!("{e}"));
            seen.push(piece.chunks.len());
            assert_eq!((piece.next_offset, piece.skipped_bytes), (offset + piece.chunks.len() as u64, 0));
            offset = piece.next_offset;
            if piece.complete {
                break;
            }
        }
        assert_eq!(seen, [4_096, 4_096, 1_808]);
    }
}
