//! The join token: where it comes from, and a type that does not show it.

use std::{
    fmt,
    io::{self, BufRead, IsTerminal, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

/// A longer one is none: whatever the file is, it was named by mistake.
const MOST_BYTES: u64 = 4_096;

/// Where the join token is to be had. It is read only when it is needed, since its file may be gone after joining.
#[derive(Clone)]
pub(crate) enum JoinToken {
    /// Nobody named one.
    None,
    /// It stood in the environment.
    Given(String),
    /// It is in a file.
    File(PathBuf),
    /// It comes through standard input.
    Stdin,
}

impl JoinToken {
    /// Of the environment's token and the named file, the file goes first.
    pub(super) fn of(environment: Option<String>, file: Option<PathBuf>) -> Self {
        match (file, environment) {
            (Some(file), _) if file.as_os_str() == "-" => Self::Stdin,
            (Some(file), _) => Self::File(file),
            (None, Some(token)) if !token.trim().is_empty() => Self::Given(token.trim().to_owned()),
            (None, _) => Self::None,
        }
    }

    /// The token; `None` if nobody named one.
    ///
    /// # Errors
    /// The file cannot be read or holds no token.
    pub(crate) fn read(&self) -> anyhow::Result<Option<String>> {
        match self {
            Self::None => Ok(None),
            Self::Given(token) => Ok(Some(token.clone())),
            Self::File(path) => {
                let file = std::fs::File::open(path)
                    .with_context(|| format!("the join token file {} cannot be opened", path.display()))?;
                first_word(file, path).map(Some)
            }
            Self::Stdin if io::stdin().is_terminal() => typed().map(Some),
            Self::Stdin => first_word(io::stdin(), Path::new("standard input")).map(Some),
        }
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no join token",
            Self::Given(_) => "a join token",
            Self::File(_) => "a join token file",
            Self::Stdin => "a join token on standard input",
        })
    }
}

/// The token that somebody types or pastes, up to the end of the line.
fn typed() -> anyhow::Result<String> {
    eprint!("join token: ");
    let mut line = String::new();
    io::stdin().lock().take(MOST_BYTES).read_line(&mut line).context("the terminal cannot be read")?;
    first_word(line.as_bytes(), Path::new("the line"))
}

fn first_word(from: impl Read, name: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(MOST_BYTES).read_to_string(&mut text).with_context(|| format!("{} cannot be read", name.display()))?;
    let token = text.split_whitespace().next().unwrap_or_default();
    ensure!(!token.is_empty(), "{} holds no join token", name.display());
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_before_the_environment_and_loses_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "secret\n").unwrap();
        let token = JoinToken::of(Some("other".into()), Some(path));
        assert_eq!(token.read().unwrap().as_deref(), Some("secret"));
        assert!(!format!("{token:?} {:?}", JoinToken::of(Some("hidden".into()), None)).contains("hidden"));
    }
}
