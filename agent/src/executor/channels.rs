//! The two named pipes between an agent and a shim. They are found by their names in the attempt's folder, so the next
//! run of the agent can go on where the last one was killed.
//!
//! Each side opens its ends for reading and writing: then neither waits for the other, a pipe does not end because an
//! agent does, and what a shim says while there is no agent waits for the next one.

use std::{fs::File, io, os::unix::fs::OpenOptionsExt, path::Path};

use nix::{fcntl::OFlag, sys::stat::Mode, unistd::mkfifo};
use tokio::net::unix::pipe;

use super::folder::Folder;
use crate::files;

/// Makes both pipes.
pub(super) fn make(folder: &Folder) -> io::Result<()> {
    for path in [folder.commands(), folder.signs()] {
        files::remove(&path)?;
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    }
    Ok(())
}

/// Removes both pipes.
pub(super) fn remove(folder: &Folder) -> io::Result<()> {
    files::remove(&folder.commands())?;
    files::remove(&folder.signs())
}

/// The agent's end for commands.
pub(super) fn commands_to(folder: &Folder) -> io::Result<File> {
    open(&folder.commands())
}

/// The shim's end for commands; it never ends.
pub(super) fn commands_from(folder: &Folder) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_file(open(&folder.commands())?)
}

/// The shim's end for signs.
pub(super) fn signs_to(folder: &Folder) -> io::Result<File> {
    open(&folder.signs())
}

/// The agent's end for signs. It ends when the shim does, or has not opened its own yet.
pub(super) fn signs_from(folder: &Folder) -> io::Result<pipe::Receiver> {
    pipe::OpenOptions::new().open_receiver(folder.signs())
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}
