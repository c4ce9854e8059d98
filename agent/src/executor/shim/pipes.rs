//! The pipes from the program to the shim, and from the shim to the agent.

use std::{fs::File, io, os::fd::OwnedFd};

use titan_api::output::Stream;
use tokio::net::unix::pipe;

use super::log::Log;
use crate::executor::{channels, folder::Folder};

/// As much as a pipe holds by default.
const READ_BYTES: usize = 64 * 1_024;

/// One stream of the program.
pub(super) struct Output {
    stream: Stream,
    pipe: Option<pipe::Receiver>,
}

/// What one reading gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Something was written to the log.
    Some,
    /// Nothing for now, or nothing any more.
    Nothing,
}

impl Output {
    pub(super) fn new(stream: Stream, fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { stream, pipe: Some(pipe::Receiver::from_owned_fd(fd)?) })
    }

    /// Whether anybody may still write.
    pub(super) fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// Waits until there is something to read.
    pub(super) async fn readable(&self) {
        match &self.pipe {
            // An error shows when it is read.
            Some(pipe) => drop(pipe.readable().await),
            None => std::future::pending().await,
        }
    }

    /// Takes what the runtime knows to be there into the log.
    pub(super) fn read_into(&mut self, log: &mut Log, buffer: &mut [u8]) -> Read {
        let Some(pipe) = &self.pipe else { return Read::Nothing };
        let read = pipe.try_read(buffer);
        self.take(read, log, buffer)
    }

    /// Takes what is there into the log, whether the runtime has noticed it yet or not.
    pub(super) fn read_last_into(&mut self, log: &mut Log, buffer: &mut [u8]) -> Read {
        let Some(pipe) = &self.pipe else { return Read::Nothing };
        let read = read_now(pipe, buffer);
        self.take(read, log, buffer)
    }

    fn take(&mut self, read: io::Result<usize>, log: &mut Log, buffer: &[u8]) -> Read {
        match read {
            Ok(0) => self.pipe = None,
            Ok(read) => {
                log.append(self.stream, &buffer[..read]);
                return Read::Some;
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.pipe = None,
        }
        Read::Nothing
    }
}

/// Reads what a pipe holds at this moment. The runtime's own reading would see only what it has been told of.
pub(super) fn read_now(pipe: &pipe::Receiver, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(nix::unistd::read(pipe, buffer)?)
}

/// Room for one reading.
pub(super) fn buffer() -> Vec<u8> {
    vec![0; READ_BYTES]
}

/// A byte to the agent says that there is something to see: `s` the program runs, `o` it wrote.
pub(super) struct Signs(File);

impl Signs {
    /// Speaks through the attempt's named pipe, whether somebody listens or not.
    pub(super) fn open(folder: &Folder) -> io::Result<Self> {
        Ok(Self(channels::signs_to(folder)?))
    }

    /// Never waits: a full pipe means that the agent has enough signs to come and look.
    pub(super) fn give(&self, sign: u8) {
        let _ = nix::unistd::write(&self.0, &[sign]);
    }
}
