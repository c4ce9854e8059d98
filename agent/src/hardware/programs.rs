//! Versions of programs that jobs may start, by asking the programs.

use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use titan_api::limits;

use crate::executor::SEARCH_PATH;

/// A program that takes longer to say its version is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);

/// The first thing in what `name --version` says that looks like a version; `None` if the program is not there.
pub(super) fn version(name: &str) -> Option<String> {
    let program = SEARCH_PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())?;
    let mut command = Command::new(program);
    command.arg("--version").env_clear().env("PATH", SEARCH_PATH).stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn().ok()?;
    let end = Instant::now() + PATIENCE;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(LOOK);
    }
    let mut said = String::new();
    child.stdout?.take(limits::TEXT_BYTES as u64).read_to_string(&mut said).ok()?;
    first_version(&said)
}

fn first_version(said: &str) -> Option<String> {
    let looks_like_one = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '~' | ':');
    let word = said.split([' ', ',', '\n']).find(looks_like_one)?;
    (word.len() <= limits::LABEL_BYTES && word.chars().all(plain)).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_from_what_programs_say() {
        assert_eq!(first_version("Docker version 28.2.2, build e6534b4\n").as_deref(), Some("28.2.2"));
        assert_eq!(first_version("podman version 5.4.2\n").as_deref(), Some("5.4.2"));
        assert_eq!(first_version("usage: docker\n"), None);
        assert_eq!(version("no-such-program-here"), None);
    }
}
