//! What the agent says to a shim: lines on its standard input.

use std::{io, os::fd::AsFd, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::unix::pipe,
};

/// An agent that started a shim says at once until when the lease lasts; longer than this it only takes if it is dead.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::executor) enum Command {
    /// The lease ends at this time on the box's clock, milliseconds.
    Deadline(u64),
    /// End the program; its processes get this many milliseconds.
    Stop(u64),
    /// End it without grace.
    Kill,
}

impl Command {
    /// The command as a line.
    pub(in crate::executor) fn line(self) -> String {
        match self {
            Self::Deadline(at_ms) => format!("deadline {at_ms}\n"),
            Self::Stop(grace_ms) => format!("stop {grace_ms}\n"),
            Self::Kill => "kill\n".to_owned(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        match (words.next()?, words.next().map(str::parse)) {
            ("deadline", Some(Ok(at_ms))) => Some(Self::Deadline(at_ms)),
            ("stop", Some(Ok(grace_ms))) => Some(Self::Stop(grace_ms)),
            ("kill", None) => Some(Self::Kill),
            _ => None,
        }
    }
}

/// The lines as they come.
pub(super) struct Commands(Option<Lines<BufReader<pipe::Receiver>>>);

impl Commands {
    /// Listens to standard input.
    pub(super) fn open() -> io::Result<Self> {
        let stdin = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
        Ok(Self(Some(BufReader::new(stdin).lines())))
    }

    /// Whether more may come.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// The next command; `None` once the agent is gone. Lines that make no sense are passed over.
    pub(super) async fn next(&mut self) -> Option<Command> {
        while let Some(lines) = &mut self.0 {
            match lines.next_line().await {
                Ok(Some(line)) => match Command::parse(&line) {
                    Some(command) => return Some(command),
                    None => eprintln!("the line `{line}` makes no sense"),
                },
                Ok(None) | Err(_) => self.0 = None,
            }
        }
        None
    }

    /// Until when the lease lasts; `None` if the agent wants nothing to be run any more, or is gone.
    pub(super) async fn first_deadline(&mut self) -> Option<u64> {
        match tokio::time::timeout(FIRST_WORD, self.next()).await {
            Ok(Some(Command::Deadline(at_ms))) => Some(at_ms),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_its_line() {
        for command in [Command::Deadline(u64::MAX), Command::Stop(0), Command::Kill] {
            assert_eq!(Command::parse(command.line().trim_end()), Some(command));
        }
        for nonsense in ["", "deadline", "deadline x", "stop -1", "kill 9", "halt"] {
            assert_eq!(Command::parse(nonsense), None, "{nonsense}");
        }
    }
}
