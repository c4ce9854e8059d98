//! Where output is read from: the log of a job on the disk, or the answer to a request in memory.

use std::{io, sync::Arc};

use titan_api::output::Stream;

use super::spool::Spool;
use crate::executor::{LogReader, Piece};

/// Output of one attempt, and how far it was read.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Log(LogReader),
    Memory { spool: Arc<Spool>, at: u64 },
}

impl Source {
    /// Whether reading may wait for a disk.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self, Self::Log(_))
    }

    /// Bytes that were not read yet, about.
    pub(super) fn unread_bytes(&self) -> u64 {
        match self {
            Self::Log(log) => log.unread_bytes(),
            Self::Memory { spool, at } => spool.end().saturating_sub(*at),
        }
    }

    pub(super) fn next(&mut self, most: usize) -> io::Result<Option<Piece>> {
        match self {
            Self::Log(log) => log.next(most),
            Self::Memory { spool, at } => {
                let bytes = spool.read(*at, most);
                let offset = *at;
                *at += bytes.len() as u64;
                Ok((!bytes.is_empty()).then_some(Piece { offset, stream: Stream::Stdout, bytes }))
            }
        }
    }

    pub(super) fn seek(&mut self, offset: u64) -> io::Result<bool> {
        match self {
            Self::Log(log) => log.seek(offset),
            Self::Memory { spool, at } => {
                let reached = spool.reaches(offset);
                if reached {
                    *at = offset;
                }
                Ok(reached)
            }
        }
    }

    pub(super) fn seek_near_end(&mut self, most: u64) -> io::Result<()> {
        match self {
            Self::Log(log) => log.seek_near_end(most),
            // No run of the agent goes on with the answers of another.
            Self::Memory { .. } => Ok(()),
        }
    }
}
