//! Writing an attempt's log. A full disk stops the reading of the program's output, and so the program, but only for
//! as long as old logs may take to make room: then the log says so, and the program goes on. What it writes from then on is
//! read and, but for its last 64 KiB, forgotten; those follow, with how much is missing, when there is room again
//! or the program has ended. One job cannot fill the disk by itself: after 1 GiB a line says so, and what follows is read
//! from the program and not kept.

mod lost;
mod reserve;

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    time::{Duration, Instant},
};

use titan_api::output::Stream;

use super::complain::complain;
use crate::executor::{folder::Folder, frames::frame, prepare::words};
use lost::Lost;
use reserve::Reserve;

/// Bytes that are kept of one attempt.
const MOST_BYTES: u64 = 1_024 * 1_024 * 1_024;
/// The last words of a log that has grown so far.
const FULL: &[u8] = b"\n[titan-agent: the job has written 1 GiB, and what follows is not kept]\n";
/// For as long the program waits for room: the agent looks every 5 s whether old logs have to make some.
const PATIENCE: Duration = Duration::from_secs(10);
/// From one look for room to the next, once the program goes on without.
const LOOK: Duration = Duration::from_secs(1);
/// Room for the end of the log on a full disk: its last output, and the lines that say what is missing.
const SPARE_BYTES: u64 = lost::TAIL_BYTES as u64 + 1_024;
/// So much room there must be to go on, or each block that somebody gives back would be an end and a beginning.
const ENOUGH_BYTES: u64 = 1_024 * 1_024;

/// The log, and what could not be written yet.
pub(super) struct Log {
    file: File,
    /// Its length.
    bytes: u64,
    reserve: Reserve,
    waiting: Vec<(Stream, Vec<u8>)>,
    /// Bytes that it may still grow by.
    left_bytes: u64,
    is_full: bool,
    /// Since when nothing can be written.
    stuck: Option<Instant>,
    /// Why nothing could be written, if that ever was so.
    why: String,
    /// What the program has written since it goes on without room.
    lost: Option<Lost>,
    /// Of earlier times without room.
    lost_bytes: u64,
    /// Whether it has grown since somebody asked.
    grew: bool,
}

impl Log {
    pub(super) fn create(folder: &Folder) -> io::Result<Self> {
        let file = File::options().create(true).append(true).mode(0o600).open(folder.log())?;
        Ok(Self {
            bytes: file.metadata()?.len(),
            file,
            reserve: Reserve::default(),
            waiting: Vec::new(),
            left_bytes: MOST_BYTES,
            is_full: false,
            stuck: None,
            why: String::new(),
            lost: None,
            lost_bytes: 0,
            grew: false,
        })
    }

    /// Whether more may come.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether there is more in it than when this was asked last.
    pub(super) fn has_grown(&mut self) -> bool {
        std::mem::take(&mut self.grew)
    }

    pub(super) fn append(&mut self, stream: Stream, bytes: &[u8]) {
        if self.is_full {
            return;
        }
        if let Some(lost) = &mut self.lost {
            lost.take(stream, bytes);
            return;
        }
        let kept = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(bytes.len());
        if kept > 0 {
            self.waiting.push((stream, bytes[..kept].to_vec()));
            self.left_bytes -= kept as u64;
        }
        if kept < bytes.len() {
            self.is_full = true;
            self.waiting.push((Stream::Stderr, FULL.to_vec()));
        }
        self.retry();
    }

    /// Writes what waits, if there is room.
    pub(super) fn retry(&mut self) {
        if self.lost.as_mut().is_some_and(|lost| lost.is_due(LOOK)) {
            self.go_on();
        }
        if self.waiting.is_empty() {
            return;
        }
        let frames = framed(&self.waiting);
        let Err(e) = self.write(&frames, SPARE_BYTES) else {
            (self.waiting, self.stuck) = (Vec::new(), None);
            return;
        };
        if self.stuck.is_none() {
            self.why = why(&e);
            complain(&self.why);
        }
        if self.stuck.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
            self.give_up();
        }
    }

    /// Waits no longer for room.
    pub(super) fn give_up(&mut self) {
        let mut lost = Lost::default();
        self.waiting.drain(..).for_each(|(stream, bytes)| lost.take(stream, &bytes));
        self.lost = Some(lost);
        let line = format!("\n[titan-agent: {}: what follows is not kept until that changes]\n", self.why);
        // There is no room for it either where none can be reserved.
        let _ = self.write(&frame(Stream::Stderr, line.as_bytes()), 0);
    }

    /// Nothing follows. Gives what there is to say of output that was not kept, if any was not.
    pub(super) fn close(mut self) -> Option<String> {
        let mut bytes = self.lost_bytes;
        if let Some(lost) = self.lost.take() {
            let is_written = self.write(&framed(&lost.pieces()), 0).is_ok();
            bytes += if is_written { lost.forgotten() } else { lost.all() };
        }
        self.reserve.give_back(&self.file, self.bytes);
        (bytes > 0).then(|| format!("{bytes} bytes of its output were not kept: {}", self.why))
    }

    /// Adds what was lost last, and how much is missing before it, if there is enough room.
    fn go_on(&mut self) {
        let Some(lost) = &self.lost else { return };
        let (frames, forgotten) = (framed(&lost.pieces()), lost.forgotten());
        if self.write(&frames, SPARE_BYTES + ENOUGH_BYTES).is_ok() {
            (self.lost, self.stuck) = (None, None);
            self.lost_bytes += forgotten;
        }
    }

    /// Writes all of it or nothing, with so much room to spare.
    fn write(&mut self, frames: &[u8], spare_bytes: u64) -> io::Result<()> {
        let end = self.bytes + frames.len() as u64;
        if spare_bytes > 0 {
            self.reserve.reach(&self.file, end + spare_bytes)?;
        }
        if let Err(e) = self.file.write_all(frames) {
            // A frame that is not whole would hide what follows it. Where room can be reserved there is none.
            let _ = self.file.set_len(self.bytes);
            return Err(e);
        }
        (self.bytes, self.grew) = (end, true);
        Ok(())
    }
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk of this box is full".to_owned(),
        _ => format!("the log cannot be written ({})", words(error)),
    }
}

fn framed(pieces: &[(Stream, Vec<u8>)]) -> Vec<u8> {
    pieces.iter().flat_map(|(stream, bytes)| frame(*stream, bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::{LogReader, Piece};

    #[test]
    fn a_log_grows_to_its_bound_and_ends_with_a_line_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = Folder::at(folder.path().into());
        let mut log = Log { left_bytes: 5, ..Log::create(&path).unwrap() };
        log.append(Stream::Stdout, b"abc");
        assert!(!log.is_full && log.has_grown() && !log.has_grown());
        for _ in 0..3 {
            log.append(Stream::Stdout, b"defg");
        }
        assert!(log.is_full && log.has_room());
        let mut reader = LogReader::new(&path.log());
        let out = Piece { offset: 0, stream: Stream::Stdout, bytes: b"abcde".to_vec() };
        assert_eq!(reader.next(100).unwrap(), Some(out));
        let end = Piece { offset: 5, stream: Stream::Stderr, bytes: FULL.to_vec() };
        assert_eq!(reader.next(100).unwrap(), Some(end));
        assert_eq!(reader.next(100).unwrap(), None);
    }

    fn text(folder: &Folder) -> String {
        let mut reader = LogReader::new(&folder.log());
        let mut all = Vec::new();
        while let Some(piece) = reader.next(1_000_000).unwrap() {
            all.extend(piece.bytes);
        }
        String::from_utf8(all).unwrap()
    }

    /// A log that has stopped before `lost`, as if the disk were full.
    fn cut_off(folder: &Folder, lost: &[u8]) -> Log {
        let mut log = Log::create(folder).unwrap();
        log.append(Stream::Stdout, b"kept");
        "the disk of this box is full".clone_into(&mut log.why);
        log.give_up();
        log.append(Stream::Stdout, lost);
        log
    }

    #[test]
    fn a_log_that_stopped_goes_on_when_there_is_room_and_says_what_is_missing() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::at(home.path().into());
        let mut log = cut_off(&folder, &vec![b'x'; 70_000]);
        let line = "kept\n[titan-agent: the disk of this box is full: what follows is not kept until that changes]\n";
        assert_eq!(text(&folder), line);
        log.go_on();
        log.append(Stream::Stdout, b"more");
        assert!(text(&folder).starts_with(&format!("{line}\n[titan-agent: 4469 bytes are missing here")));
        assert!(text(&folder).ends_with("xxmore"));
        let said = log.close().unwrap();
        assert_eq!(said, "4469 bytes of its output were not kept: the disk of this box is full");
        let file = std::fs::metadata(folder.log()).unwrap();
        assert!(
            std::os::unix::fs::MetadataExt::blocks(&file) * 512 < file.len() + 8_192,
            "the spare room is given back"
        );
    }

    #[test]
    fn a_log_that_stopped_ends_with_the_last_that_was_written() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::at(home.path().into());
        let log = cut_off(&folder, b"the end");
        assert_eq!(log.close(), None, "no byte is missing");
        assert!(text(&folder).ends_with("]\nthe end"));
    }
}
