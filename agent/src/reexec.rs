//! Starting this same program again.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

/// How to start this program again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reexec {
    /// The program and its leading arguments.
    words: Vec<OsString>,
    /// Whether the program is the file that runs.
    is_own: bool,
}

impl Reexec {
    /// The program and the arguments that lead to the agent's own; to be asked for when the process begins, while its
    /// file is still in its place.
    pub(crate) fn new(words: Vec<OsString>) -> Self {
        let is_own = cfg!(target_os = "linux")
            && std::env::current_exe().is_ok_and(|own| words.first() == Some(&own.into_os_string()));
        Self { words, is_own }
    }

    /// A command that runs this program again with the leading words.
    ///
    /// Where it can, it names the running file itself instead of its path, so that an upgrade that replaces the file
    /// while the agent runs does not mix two versions.
    pub(crate) fn command(&self) -> Command {
        let program = self.words.first().cloned().unwrap_or_default();
        let mut command = Command::new(if self.is_own { "/proc/self/exe".into() } else { program.clone() });
        command.arg0(&program).args(self.words.iter().skip(1));
        command
    }
}
