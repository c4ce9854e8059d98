//! `output/read`: a piece of a job's output.

use titan_api::{
    ids::{AgentId, JobId, LeaseId},
    inference::Usage,
    jobs::{JobKind, JobState, Reason},
    output::Stream,
    time::Since,
};

use super::segment::Segment;
use crate::{
    Pool, StoreError,
    reply::{Reply, unknown_word},
    script::{Args, script},
};

script!(Frees, "output/read", uses ["calls", "key", "int", "clock", "pool", "record", "segment", "job", "terms", "agent"]);

/// Chunks in one slice. A program that writes byte by byte makes a frame of each, which is far longer as JSON.
const MOST_CHUNKS: usize = 4_096;
/// Bytes of one chunk.
const MOST_CHUNK_BYTES: usize = 65_535;

/// Reads output.
#[derive(Debug, Clone, Copy)]
pub struct ReadOutput<'a> {
    /// The job.
    pub job: &'a JobId,
    /// The attempt that the reader was at; another one is read from its start.
    pub attempt: Option<u32>,
    /// From which byte on.
    pub offset: u64,
    /// Only what was accepted from then on, as far as is known: a little of what came before may be there too.
    pub since: Option<Since>,
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
    /// The lease of the latest attempt, which no other one has ever had: after a failover that lost writes, numbers of attempts
    /// come again.
    pub lease: Option<LeaseId>,
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
            .push(self.since.map(in_milliseconds).unwrap_or_default())
            .push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        match word.as_str() {
            "output" => {
                let state = reply.text()?;
                let state = JobState::from_word(&state).ok_or_else(|| unknown_word("output/read", &state))?;
                let (attempt, offset, written) = (reply.parse()?, reply.parse()?, reply.parse()?);
                let segments = reply.list()?.rest(|r| Ok((r.parse()?, r.bytes()?)))?;
                let about = about(&mut reply)?;
                let offset = match reply.some()? {
                    Some(since_ms) => begin(offset, &segments, since_ms)?,
                    None => offset,
                };
                slice(state, attempt, offset, written, &segments, about).map(Some)
            }
            "not_found" => Ok(None),
            other => Err(unknown_word("output/read", other)),
        }
    }
}

/// A time as the script takes it; below 1 counts from now. Lua counts exactly up to 2^53.
fn in_milliseconds(since: Since) -> String {
    match since {
        Since::At(time) => time.as_ms().clamp(1, 1 << 52).to_string(),
        Since::LastMs(ms) => format!("-{}", ms.min(1 << 52)),
    }
}

/// Where to begin, at `offset` or later, so that nothing is missed that was accepted at a time or after it.
fn begin(offset: u64, segments: &[(u64, Vec<u8>)], since_ms: i64) -> Result<u64, StoreError> {
    let mut begin = offset;
    for (number, segment) in segments {
        let marks = Segment::read(*number, segment)?.marks;
        let before = marks.iter().take_while(|(_, ms)| *ms <= since_ms).last();
        begin = before.map_or(begin, |(at, _)| begin.max(*at));
    }
    Ok(begin)
}

fn about(reply: &mut Reply) -> Result<About, StoreError> {
    let (kind, owner, agent) = (reply.text()?, reply.text()?, reply.some()?);
    let (started, exit_code, reason) = (reply.some_text()?, reply.some()?, reply.text()?);
    let (message, usage, lease) = (reply.some_text()?, reply.some_text()?, reply.some()?);
    Ok(About {
        kind: JobKind::from_word(&kind).ok_or_else(|| unknown_word("output/read", &kind))?,
        owner,
        agent,
        has_begun: started.is_some(),
        exit_code,
        reason: Reason::from_word(&reason),
        message,
        usage: usage.and_then(|json| serde_json::from_str(&json).ok()),
        lease,
    })
}

/// Adds a run of bytes. What is one for a reader may lie in several frames, with a mark between them.
fn append(chunks: &mut Vec<StoredChunk>, offset: u64, stream: Stream, data: &[u8]) {
    match chunks.last_mut() {
        Some(last)
            if last.stream == stream
                && last.offset + last.data.len() as u64 == offset
                && last.data.len() + data.len() <= MOST_CHUNK_BYTES =>
        {
            last.data.extend_from_slice(data);
        }
        _ => chunks.push(StoredChunk { offset, stream, data: data.to_vec() }),
    }
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
        for frame in Segment::read(*number, segment)?.frames {
            let end = frame.offset + frame.data.len() as u64;
            if end <= next_offset {
                continue;
            }
            let missing = frame.offset.saturating_sub(next_offset);
            // What is missing is told before what follows it, never amid a piece.
            if chunks.len() == MOST_CHUNKS || (missing > 0 && !chunks.is_empty()) {
                break 'all;
            }
            skipped_bytes += missing;
            let seen = usize::try_from(next_offset.saturating_sub(frame.offset)).unwrap_or(usize::MAX);
            append(&mut chunks, frame.offset.max(next_offset), frame.stream, &frame.data[seen..]);
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
            lease: None,
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

    #[test]
    fn a_piece_ends_where_bytes_are_missing_and_the_next_one_says_how_many() {
        let segments = [(0, b"o\0\x03one".to_vec()), (5, b"o\0\x03two".to_vec())];
        let piece = |offset| {
            let found = slice(JobState::Completed, 1, offset, 5 * 65_536 + 3, &segments, about());
            let found = found.unwrap_or_else(|e| panic!("{e}"));
            (found.skipped_bytes, found.chunks.len(), found.next_offset, found.complete)
        };
        assert_eq!(piece(0), (0, 1, 3, false));
        assert_eq!(piece(3), (5 * 65_536 - 3, 1, 5 * 65_536 + 3, true));
    }

    #[test]
    fn reading_from_a_time_on_begins_at_the_last_mark_before_it() {
        let mark = |seconds: u8| [b't', 0, 4, 0, 0, 0, seconds];
        let mut segment = [mark(10).as_slice(), b"o\0\x03one"].concat();
        segment.extend_from_slice(&[mark(20).as_slice(), b"e\0\x03two"].concat());
        segment.extend_from_slice(&[mark(30).as_slice(), b"o\0\x05three"].concat());
        let from = |seconds: i64| begin(1, &[(0, segment.clone())], seconds * 1_000).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!([5, 10, 19, 20, 29, 30, 99].map(from), [1, 1, 1, 3, 3, 6, 6]);
        segment.extend_from_slice(&[mark(40).as_slice(), b"o\0\x04four"].concat());
        let whole = slice(JobState::Completed, 1, 0, 15, &[(0, segment)], about()).unwrap_or_else(|e| panic!("{e}"));
        let texts: Vec<_> = whole.chunks.iter().map(|chunk| String::from_utf8_lossy(&chunk.data)).collect();
        assert_eq!(texts, ["one", "two", "threefour"], "marks are no output");
    }
}
