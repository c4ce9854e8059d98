//! The layout of stored output, written by `lib/output.lua`: segments of 64 KiB of both streams together, each a run of
//! frames of one byte for the stream (`o` or `e`), two for the length (big-endian), and the bytes.

use titan_api::output::Stream;

use crate::StoreError;

/// Bytes of output in one segment, its frames' headers not counted.
const SEGMENT_BYTES: u64 = 65_536;

/// A run of bytes of one stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) offset: u64,
    pub(super) stream: Stream,
    pub(super) data: &'a [u8],
}

/// The frames of the segment of that number.
pub(super) fn frames(number: u64, mut segment: &[u8]) -> Result<Vec<Frame<'_>>, StoreError> {
    let (mut offset, mut frames) = (number * SEGMENT_BYTES, Vec::new());
    while !segment.is_empty() {
        let (frame, rest) = split(segment, offset).ok_or_else(|| {
            StoreError::Corrupt(format!("segment {number} of an output is broken near byte {offset}"))
        })?;
        offset += frame.data.len() as u64;
        frames.push(frame);
        segment = rest;
    }
    Ok(frames)
}

fn split(segment: &[u8], offset: u64) -> Option<(Frame<'_>, &[u8])> {
    let (header, rest) = segment.split_first_chunk::<3>()?;
    let stream = match header[0] {
        b'o' => Stream::Stdout,
        b'e' => Stream::Stderr,
        _ => return None,
    };
    let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([header[1], header[2]])))?;
    Some((Frame { offset, stream, data }, rest))
}
