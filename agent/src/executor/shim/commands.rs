//! What the agent says to a shim: lines in a named pipe. Agent and shim may be of different versions, so a line keeps its
//! meaning for ever, and one that is not known is passed over.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::unix::pipe,
};

use super::complain::complain;
use crate::executor::{channels, folder::Folder};

/// An agent that started a shim says at once until when the lease lasts; longer than this it only takes if it is dead.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// After a line that cannot be read.
const LOOK: Duration = Duration::from_millis(100);

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::executor) enum Command {
    /// The lease ends at this time on the box's clock, milliseconds.
    Deadline(u64),
    /// End the program; its processes get this many milliseconds.
    Stop(u64),
    /// End it without grace.
    Kill,
    /// Give the signs again that an earlier run of the agent may have heard.
    Tell,
}

impl Command {
    /// The command as a line.
    pub(in crate::executor) fn line(self) -> String {
        match self {
            Self::Deadline(at_ms) => format!("deadline {at_ms}\n"),
            Self::Stop(grace_ms) => format!("stop {grace_ms}\n"),
            Self::Kill => "kill\n".to_owned(),
            Self::Tell => "tell\n".to_owned(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        match (words.next()?, words.next().map(str::parse)) {
            ("deadline", Some(Ok(at_ms))) => Some(Self::Deadline(at_ms)),
            ("stop", Some(Ok(grace_ms))) => Some(Self::Stop(grace_ms)),
            ("kill", None) => Some(Self::Kill),
            ("tell", None) => Some(Self::Tell),
            _ => None,
        }
    }
}

/// The lines as they come.
pub(super) struct Commands(Lines<BufReader<pipe::Receiver>>);

impl Commands {
    /// Listens.
    pub(super) fn open(folder: &Folder) -> io::Result<Self> {
        Ok(Self(BufReader::new(channels::commands_from(folder)?).lines()))
    }

    /// The next command. There may always be another one: the pipe does not end with the agent.
    pub(super) async fn next(&mut self) -> Command {
        loop {
            match self.0.next_line().await {
                Ok(Some(line)) => match Command::parse(&line) {
                    Some(command) => return command,
                    None => complain(format_args!("the line `{line}` makes no sense")),
                },
                // Not text, perhaps; it cannot end.
                Ok(None) | Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Until when the lease lasts; `None` if the agent wants nothing to be run any more, or is gone.
    pub(super) async fn first_deadline(&mut self) -> Option<u64> {
        let first = async {
            loop {
                match self.next().await {
                    Command::Deadline(at_ms) => return Some(at_ms),
                    Command::Stop(_) | Command::Kill => return None,
                    Command::Tell => {}
                }
            }
        };
        tokio::time::timeout(FIRST_WORD, first).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_its_line() {
        for command in [Command::Deadline(u64::MAX), Command::Stop(0), Command::Kill, Command::Tell] {
            assert_eq!(Command::parse(command.line().trim_end()), Some(command));
        }
        for nonsense in ["", "deadline", "deadline x", "stop -1", "kill 9", "halt"] {
            assert_eq!(Command::parse(nonsense), None, "{nonsense}");
        }
    }
}
