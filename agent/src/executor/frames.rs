//! The log of an attempt on disk: both streams in one file, in the order in which they were read.
//!
//! A frame is one byte for the stream (1 standard output, 2 standard error), the length as four bytes (little endian),
//! and that many bytes. A frame at the end that is not whole is not there yet.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use titan_api::output::Stream;

/// Bytes before the content of a frame.
const HEAD: u64 = 5;

/// A frame with `bytes` of `stream`, ready to be appended.
pub(crate) fn frame(stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(bytes.len() + 5);
    frame.push(match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    });
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// Some bytes of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Bytes of both streams before it.
    pub offset: u64,
    pub stream: Stream,
    pub bytes: Vec<u8>,
}

/// Reads a log from its beginning, while it grows.
#[derive(Debug, Clone)]
pub(crate) struct LogReader {
    path: PathBuf,
    place: Place,
}

/// Where in the file a reader is.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Where the current frame begins.
    frame: u64,
    /// How much of its content was read.
    inside: u64,
    /// Bytes of content before this place.
    offset: u64,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    stream: Stream,
    length: u64,
}

impl LogReader {
    /// A reader at the beginning of the log at `path`, which need not exist yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), place: Place::default() }
    }

    /// The next bytes of one stream, at most `most` of them; `None` if there are no more at present.
    ///
    /// # Errors
    /// The file cannot be read or is not a log.
    pub(crate) fn next(&mut self, most: usize) -> io::Result<Option<Piece>> {
        let Some(log) = Log::open(&self.path)? else { return Ok(None) };
        let start = self.place;
        let Some(piece) = log.read(&mut self.place, most)? else { return Ok(None) };
        let whole = piece.bytes.len() - broken_tail(&piece.bytes);
        if piece.bytes.len() < most || whole == 0 || whole == piece.bytes.len() {
            return Ok(Some(piece));
        }
        // A character was cut in two only because the piece was full: it goes into the next one.
        self.place = start;
        log.read(&mut self.place, whole)
    }

    /// Goes to `offset`; `false` if the log does not reach so far.
    ///
    /// # Errors
    /// The file cannot be read or is not a log.
    pub(crate) fn seek(&mut self, offset: u64) -> io::Result<bool> {
        let place = self.walk(offset)?;
        let reached = place.offset == offset;
        if reached {
            self.place = place;
        }
        Ok(reached)
    }

    /// Goes to `most` bytes before the present end, or to the beginning.
    ///
    /// # Errors
    /// The file cannot be read or is not a log.
    pub(crate) fn seek_near_end(&mut self, most: u64) -> io::Result<()> {
        let end = self.walk(u64::MAX)?.offset;
        self.place = self.walk(end.saturating_sub(most))?;
        Ok(())
    }

    /// Bytes of the file that were not read yet. It asks the disk.
    pub(crate) fn unread_bytes(&self) -> u64 {
        let length = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        length.saturating_sub(self.place.frame + self.place.inside)
    }

    /// The place of `offset`, or the end if the log does not reach so far.
    fn walk(&self, offset: u64) -> io::Result<Place> {
        let mut place = Place::default();
        let Some(log) = Log::open(&self.path)? else { return Ok(place) };
        while place.offset < offset {
            let Some(head) = log.head(place.frame)? else { break };
            place.advance(head.length.min(offset - place.offset), head);
        }
        Ok(place)
    }
}

impl Place {
    fn advance(&mut self, bytes: u64, head: Head) {
        self.inside += bytes;
        self.offset += bytes;
        if self.inside == head.length {
            self.frame += HEAD + head.length;
            self.inside = 0;
        }
    }
}

/// A log opened for one reading.
struct Log {
    file: File,
    length: u64,
}

impl Log {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self { length: file.metadata()?.len(), file })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Frames of the same stream are joined, so that a program that writes letter by letter makes no report of each.
    fn read(&self, place: &mut Place, most: usize) -> io::Result<Option<Piece>> {
        let mut piece: Option<Piece> = None;
        while let Some(head) = self.head(place.frame)? {
            let piece = piece.get_or_insert(Piece { offset: place.offset, stream: head.stream, bytes: Vec::new() });
            let room = most - piece.bytes.len();
            if head.stream != piece.stream || room == 0 {
                break;
            }
            let step = (head.length - place.inside).min(room as u64);
            let from = piece.bytes.len();
            piece.bytes.resize(from + usize::try_from(step).unwrap_or(room), 0);
            self.file.read_exact_at(&mut piece.bytes[from..], place.frame + HEAD + place.inside)?;
            place.advance(step, head);
        }
        Ok(piece)
    }

    /// The head of the frame at `at`, if that frame is whole.
    fn head(&self, at: u64) -> io::Result<Option<Head>> {
        if at + HEAD > self.length {
            return Ok(None);
        }
        let mut head = [0; 5];
        match self.file.read_exact_at(&mut head, at) {
            // A frame for which there was no room on the disk was taken back.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let length = u64::from(u32::from_le_bytes([head[1], head[2], head[3], head[4]]));
        let stream = match head[0] {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is no log of an attempt")),
        };
        Ok((at + HEAD + length <= self.length).then_some(Head { stream, length }))
    }
}

/// How many bytes at the end are the beginning of a character.
fn broken_tail(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(e) if e.error_len().is_none() => bytes.len() - e.valid_up_to(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    struct Sample {
        _folder: tempfile::TempDir,
        file: File,
        reader: LogReader,
    }

    fn sample(frames: &[(Stream, &[u8])]) -> Sample {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = File::create(&path).unwrap();
        for (stream, bytes) in frames {
            file.write_all(&frame(*stream, bytes)).unwrap();
        }
        Sample { _folder: folder, file, reader: LogReader::new(&path) }
    }

    fn piece(offset: u64, stream: Stream, bytes: &[u8]) -> Piece {
        Piece { offset, stream, bytes: bytes.to_vec() }
    }

    use Stream::{Stderr, Stdout};

    #[test]
    fn neighbours_of_one_stream_are_joined_and_the_order_of_streams_is_kept() {
        let mut sample = sample(&[(Stdout, b"a"), (Stdout, b"b"), (Stderr, b"c"), (Stdout, b"d")]);
        let log = &mut sample.reader;
        assert_eq!(log.next(100).unwrap(), Some(piece(0, Stdout, b"ab")));
        assert_eq!(log.next(100).unwrap(), Some(piece(2, Stderr, b"c")));
        assert_eq!(log.next(100).unwrap(), Some(piece(3, Stdout, b"d")));
        assert_eq!(log.next(100).unwrap(), None);
    }

    #[test]
    fn a_frame_is_read_only_when_it_is_whole() {
        let mut log = sample(&[(Stdout, b"one")]);
        let next = frame(Stderr, b"two");
        log.file.write_all(&next[..6]).unwrap();
        assert_eq!(log.reader.next(100).unwrap(), Some(piece(0, Stdout, b"one")));
        assert_eq!(log.reader.next(100).unwrap(), None);
        log.file.write_all(&next[6..]).unwrap();
        assert_eq!(log.reader.next(100).unwrap(), Some(piece(3, Stderr, b"two")));
    }

    #[test]
    fn a_piece_is_no_longer_than_asked_and_does_not_cut_a_character() {
        let mut text = sample(&[(Stdout, "aé".as_bytes()), (Stdout, "éb".as_bytes())]);
        let log = &mut text.reader;
        assert_eq!(log.next(2).unwrap(), Some(piece(0, Stdout, b"a")));
        assert_eq!(log.next(3).unwrap(), Some(piece(1, Stdout, "é".as_bytes())));
        assert_eq!(log.next(3).unwrap(), Some(piece(3, Stdout, "éb".as_bytes())));
        let mut binary = sample(&[(Stdout, b"\xff\xfe\xc3")]);
        assert_eq!(binary.reader.next(3).unwrap(), Some(piece(0, Stdout, b"\xff\xfe\xc3")));
    }

    #[test]
    fn a_reader_can_go_back_to_any_offset_but_not_past_the_end() {
        let mut sample = sample(&[(Stdout, b"abc"), (Stderr, b"def")]);
        let log = &mut sample.reader;
        while log.next(100).unwrap().is_some() {}
        assert!(log.seek(4).unwrap());
        assert_eq!(log.next(100).unwrap(), Some(piece(4, Stderr, b"ef")));
        assert!(log.seek(6).unwrap());
        assert!(!log.seek(7).unwrap());
        assert!(log.seek(0).unwrap());
        assert_eq!(log.next(1).unwrap(), Some(piece(0, Stdout, b"a")));
    }

    #[test]
    fn a_reader_can_begin_shortly_before_the_end() {
        let mut sample = sample(&[(Stdout, b"abc"), (Stderr, b"def")]);
        let log = &mut sample.reader;
        log.seek_near_end(2).unwrap();
        assert_eq!(log.next(100).unwrap(), Some(piece(4, Stderr, b"ef")));
        log.seek_near_end(100).unwrap();
        assert_eq!(log.next(100).unwrap(), Some(piece(0, Stdout, b"abc")));
    }

    #[test]
    fn a_log_that_does_not_exist_yet_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogReader::new(&folder.path().join("log"));
        assert_eq!(log.next(10).unwrap(), None);
        assert!(!log.seek(1).unwrap() && log.seek(0).unwrap());
        log.seek_near_end(1).unwrap();
    }
}
