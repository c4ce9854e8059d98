//! Writing an attempt's log. A full disk stops the reading of the program's output, and so at last the program, but
//! loses nothing: writing goes on when there is room again.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
};

use titan_api::output::Stream;

use crate::executor::{folder::Folder, frames::frame, prepare::words};

/// The log, and what could not be written yet.
pub(super) struct Log {
    file: File,
    waiting: Vec<u8>,
}

impl Log {
    pub(super) fn create(folder: &Folder) -> io::Result<Self> {
        let file = File::options().create(true).append(true).mode(0o600).open(folder.log())?;
        Ok(Self { file, waiting: Vec::new() })
    }

    /// Whether the last bytes are on disk, so that more may come.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn append(&mut self, stream: Stream, bytes: &[u8]) {
        self.waiting = frame(stream, bytes);
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
                    eprintln!("the log cannot be written: {}", words(&e));
                    return false;
                }
            }
        }
        true
    }
}
