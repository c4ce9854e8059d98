//! What API keys and join tokens have in common: each is shown once, and lost if nobody takes it.

use std::{fs::File, io::Write, path::PathBuf, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

use crate::{failure::Failure, files::new_secret_file, session::Session, settings::Format};

/// Where a secret is to go. It is made ready before the secret is made, so that none is lost.
#[derive(Debug)]
pub enum Shown {
    /// To standard output.
    Here,
    /// Into a new file.
    File(PathBuf, File),
}

impl Shown {
    /// Makes the file, if there is to be one.
    ///
    /// # Errors
    /// [`Failure`] if the file cannot be made, or the secret would not be shown at all.
    pub fn prepare(session: &Session, out: Option<PathBuf>) -> Result<Self, Failure> {
        match out {
            Some(path) => {
                let file = new_secret_file(&path)?;
                Ok(Self::File(path, file))
            }
            None if session.format == Format::Name => {
                Err(Failure::Usage("with -o name the secret would be lost; add --out FILE, or use -o json".to_owned()))
            }
            None => Ok(Self::Here),
        }
    }

    /// What to say of the secret before it is shown.
    #[must_use]
    pub fn announced(&self) -> &'static str {
        match self {
            Self::Here => "It is shown this once:",
            Self::File(..) => "It is shown nowhere but in the file.",
        }
    }

    /// Shows the secret, or what was made with it.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be written.
    pub fn show<T: Serialize>(self, session: &Session, secret: &str, made: &T) -> Result<(), Failure> {
        match self {
            Self::File(path, mut file) => {
                let written = file.write_all(format!("{secret}\n").as_bytes()).and_then(|()| file.sync_all());
                written.with_context(|| format!("{} cannot be written", path.display()))?;
                session.remark(&format!("written into {}", path.display()));
                Ok(())
            }
            Self::Here if session.format.is_json() => session.print_lines(&[made]),
            Self::Here => session.print(&format!("{secret}\n")),
        }
    }
}

/// Reads how long one is good for: some time, and no longer than `most`, which is called that in words.
pub fn expiry(
    most: Duration,
    words: &'static str,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| {
        let wrong = |why: &str| format!("{why}; write for example 12h or 7d, at most {words}");
        let expires = humantime::parse_duration(text).map_err(|why| wrong(&why.to_string()))?;
        match expires {
            expires if expires < Duration::from_millis(1) => Err(wrong("it would be over at once")),
            expires if expires > most => Err(wrong("it is too long")),
            expires => Ok(expires),
        }
    }
}

/// A duration as the interface takes it.
#[must_use]
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
