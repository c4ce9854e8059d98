//! Starting this same program again.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

/// A command that runs this program again with the leading words of `reexec`.
///
/// Where it can, it names the running file itself instead of its path, so that an upgrade that replaces the file
/// while the agent runs does not mix two versions.
pub(crate) fn command(reexec: &[OsString]) -> Command {
    let program = reexec.first().cloned().unwrap_or_default();
    let mut command = Command::new(if is_own_path(&program) { "/proc/self/exe".into() } else { program.clone() });
    command.arg0(&program).args(reexec.iter().skip(1));
    command
}

fn is_own_path(program: &OsString) -> bool {
    cfg!(target_os = "linux") && std::env::current_exe().is_ok_and(|own| own.as_os_str() == program)
}
