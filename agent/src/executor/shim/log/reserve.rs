//! Room on the disk that a log takes before it needs it, so that its last words have some on a full disk.

use std::{fs::File, io};

/// Room is taken in such steps.
const STEP_BYTES: u64 = 64 * 1_024;

/// Room behind the end of a file.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    /// To this length the file can grow.
    reaches: u64,
    /// Some disks cannot do it.
    is_unknown_here: bool,
}

impl Reserve {
    /// Takes room up to this length of the file.
    ///
    /// # Errors
    /// There is none, and nothing was taken.
    pub(super) fn reach(&mut self, file: &File, length: u64) -> io::Result<()> {
        if length <= self.reaches || self.is_unknown_here {
            return Ok(());
        }
        let length = length.next_multiple_of(STEP_BYTES);
        if allocate(file, self.reaches, length - self.reaches)? {
            self.reaches = length;
        } else {
            self.is_unknown_here = true;
        }
        Ok(())
    }

    /// Gives back what a file of this length did not need.
    pub(super) fn give_back(&mut self, file: &File, length: u64) {
        if std::mem::take(&mut self.reaches) > length {
            // Some disks take no notice of a file that is cut to the length that it has.
            let _ = file.set_len(length + 1).and_then(|()| file.set_len(length));
        }
    }
}

/// Takes room without making the file longer; `false` if this disk cannot do that.
#[cfg(target_os = "linux")]
fn allocate(file: &File, from: u64, bytes: u64) -> io::Result<bool> {
    use nix::{
        errno::Errno,
        fcntl::{FallocateFlags, fallocate},
    };
    let (from, bytes) = (from.try_into().map_err(io::Error::other)?, bytes.try_into().map_err(io::Error::other)?);
    loop {
        match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, bytes) {
            Ok(()) => return Ok(true),
            Err(Errno::EINTR) => {}
            Err(e @ (Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG)) => return Err(e.into()),
            Err(_) => return Ok(false),
        }
    }
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
fn allocate(_: &File, _: u64, _: u64) -> io::Result<bool> {
    Ok(false)
}
