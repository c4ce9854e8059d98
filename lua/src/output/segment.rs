//! The layout of stored output, written by `lib/output.lua`: segments of 64 KiB of both streams together, each a run of
//! frames of one byte for the stream (`o` or `e`), two for the length (big-endian), and the bytes; and of frames `t`, which
//! say when that which follows was accepted.

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

/// A segment, taken apart.
#[derive(Debug, Default)]
pub(super) struct Segment<'a> {
    pub(super) frames: Vec<Frame<'a>>,
    /// Where there is word of the time: the offset, and when the bytes from there on were accepted at the earliest,
    /// milliseconds. All before it came before that.
    pub(super) marks: Vec<(u64, i64)>,
}

impl<'a> Segment<'a> {
    /// The segment of that number.
    pub(super) fn read(number: u64, mut bytes: &'a [u8]) -> Result<Self, StoreError> {
        let (mut offset, mut segment) = (number * SEGMENT_BYTES, Self::default());
        while !bytes.is_empty() {
            bytes = segment.take(bytes, &mut offset).ok_or_else(|| {
                StoreError::Corrupt(format!("segment {number} of an output is broken near byte {offset}"))
            })?;
        }
        Ok(segment)
    }

    /// Takes the first frame; what follows it.
    fn take(&mut self, bytes: &'a [u8], offset: &mut u64) -> Option<&'a [u8]> {
        let (header, rest) = bytes.split_first_chunk::<3>()?;
        let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([header[1], header[2]])))?;
        let stream = match header[0] {
            b'o' => Stream::Stdout,
            b'e' => Stream::Stderr,
            b't' => {
                let seconds = u32::from_be_bytes(data.try_into().ok()?);
                self.marks.push((*offset, i64::from(seconds) * 1_000));
                return Some(rest);
            }
            _ => return None,
        };
        self.frames.push(Frame { offset: *offset, stream, data });
        *offset += data.len() as u64;
        Some(rest)
    }
}
