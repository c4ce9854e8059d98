//! Writing down how it ended, however long the disk is full.

use std::{thread, time::Duration};

use super::complain::complain;
use crate::executor::{exit::Exit, folder::Folder, prepare::words};

const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);

/// Writes the exit record; the agent waits for the shim's end, so this is the last thing it does.
pub(super) fn record(folder: &Folder, exit: &Exit) {
    for _ in 0..TRIES {
        match exit.write(folder) {
            Ok(()) => return,
            // The folder is gone when a later agent has tidied up; nobody is interested any more.
            Err(_) if !folder.path().exists() => return,
            Err(e) => complain(format_args!("exit.json cannot be written: {}", words(&e))),
        }
        thread::sleep(PAUSE);
    }
}
