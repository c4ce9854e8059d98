//! Writing an attempt's log. A full disk stops the reading of the program's output, and so at last the program, but
//! loses nothing: writing goes on when there is room again. One job cannot fill the disk with it: after 1 GiB a line says
//! so, and what follows is read from the program and not kept.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
};

use titan_api::output::Stream;

use super::complain::complain;
use crate::executor::{folder::Folder, frames::frame, prepare::words};

/// Bytes that are kept of one attempt.
const MOST_BYTES: u64 = 1_024 * 1_024 * 1_024;
/// The last words of a log that has grown so far.
const FULL: &[u8] = b"\n[titan-agent: the job has written 1 GiB, and what follows is not kept]\n";

/// The log, and what could not be written yet.
pub(super) struct Log {
    file: File,
    waiting: Vec<u8>,
    /// Bytes that it may still grow by.
    left_bytes: u64,
    is_full: bool,
    /// Whether the last try to write failed.
    is_stuck: bool,
}

impl Log {
    pub(super) fn create(folder: &Folder) -> io::Result<Self> {
        let file = File::options().create(true).append(true).mode(0o600).open(folder.log())?;
        Ok(Self { file, waiting: Vec::new(), left_bytes: MOST_BYTES, is_full: false, is_stuck: false })
    }

    /// Whether the last bytes are on disk, so that more may come.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether nothing more is kept.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn append(&mut self, stream: Stream, bytes: &[u8]) {
        if self.is_full {
            return;
        }
        let kept = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(bytes.len());
        if kept > 0 {
            self.waiting = frame(stream, &bytes[..kept]);
            self.left_bytes -= kept as u64;
        }
        if kept < bytes.len() {
            self.is_full = true;
            self.waiting.extend(frame(Stream::Stderr, FULL));
        }
        self.retry();
    }

    /// Writes what waits; tells whether all of it is on disk.
    pub(super) fn retry(&mut self) -> bool {
        while !self.waiting.is_empty() {
            match self.file.write(&self.waiting) {
                Ok(written) if written > 0 => drop(self.waiting.drain(..written)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) => return false,
                Err(e) => {
                    // Once, however often it is tried.
                    if !std::mem::replace(&mut self.is_stuck, true) {
                        complain(format_args!("the log cannot be written: {}", words(&e)));
                    }
                    return false;
                }
            }
        }
        self.is_stuck = false;
        true
    }
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
        assert!(!log.is_full());
        for _ in 0..3 {
            log.append(Stream::Stdout, b"defg");
        }
        assert!(log.is_full() && log.has_room());
        let mut reader = LogReader::new(&path.log());
        let out = Piece { offset: 0, stream: Stream::Stdout, bytes: b"abcde".to_vec() };
        assert_eq!(reader.next(100).unwrap(), Some(out));
        let end = Piece { offset: 5, stream: Stream::Stderr, bytes: FULL.to_vec() };
        assert_eq!(reader.next(100).unwrap(), Some(end));
        assert_eq!(reader.next(100).unwrap(), None);
    }
}
