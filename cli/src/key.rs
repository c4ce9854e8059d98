//! Where a key comes from: a file, the environment, a person at a terminal, or a pipe. Never a flag's value.

use std::{
    io::{BufRead, IsTerminal, Read},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use titan_api::secret::Secret;

use crate::{failure::Failure, prompt, target::KeyOrigin};

/// More than this is no key: whatever the file is, it was named by mistake.
const MOST_BYTES: u64 = 4_096;

/// What `source` gave, as a key: one word of visible ASCII characters, whatever surrounds it.
///
/// # Errors
/// [`Failure::Usage`] if that is not what it is.
pub fn checked(text: &str, source: &str) -> Result<Secret, Failure> {
    let text = text.trim();
    if text.lines().count() > 1 {
        return Err(Failure::Usage(format!("{source} holds several lines: a key is a single line")));
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let why = format!("{source} holds no key: it must be one line of visible ASCII characters");
        return Err(Failure::Usage(why));
    }
    Ok(Secret::new(text))
}

/// The key in the file that `--key-file` names.
///
/// # Errors
/// [`Failure`] if the file cannot be read or holds no key.
pub fn of_flag(file: Option<&Path>) -> Result<Option<(Secret, KeyOrigin)>, Failure> {
    file.map(|file| of_file(file).map(|key| (key, KeyOrigin::Flag))).transpose()
}

/// The key of the environment: `TITAN_API_KEY`, else in the file that `TITAN_API_KEY_FILE` names.
///
/// # Errors
/// [`Failure`] if one of them is set and holds no key.
pub fn of_environment() -> Result<Option<(Secret, KeyOrigin)>, Failure> {
    if let Ok(key) = std::env::var("TITAN_API_KEY") {
        return checked(&key, "TITAN_API_KEY").map(|key| Some((key, KeyOrigin::Variable)));
    }
    let file = std::env::var_os("TITAN_API_KEY_FILE").filter(|name| !name.is_empty()).map(PathBuf::from);
    file.map(|file| of_file(&file).map(|key| (key, KeyOrigin::VariableFile(file)))).transpose()
}

/// The key that somebody types without its being shown, or the first line of standard input where that is no terminal.
///
/// # Errors
/// [`Failure`] if no key came, or whoever typed pressed Ctrl-C.
pub fn asked_for(question: &str) -> Result<Secret, Failure> {
    if std::io::stdin().is_terminal() {
        return checked(&prompt::hidden(question)?, "what was typed");
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().take(MOST_BYTES).read_line(&mut line);
    read.context("standard input cannot be read")?;
    checked(&line, "standard input")
}

fn of_file(file: &Path) -> Result<Secret, Failure> {
    let mut text = String::new();
    let name = file.display().to_string();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().lock().take(MOST_BYTES).read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text)),
    };
    read.with_context(|| format!("the key file {name} cannot be read"))?;
    checked(&text, &name)
}
