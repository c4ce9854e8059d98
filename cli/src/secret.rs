//! A key or token in memory, which shows itself to nobody by accident.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A secret; printing it for debugging shows nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes what `source` gave: one word of visible ASCII characters, whatever surrounds it.
    ///
    /// # Errors
    /// [`Failure::Usage`] if that is not what it is.
    pub fn new(text: &str, source: &str) -> Result<Self, Failure> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            let why = format!("{source} holds no key: it must be one line of visible ASCII characters");
            return Err(Failure::Usage(why));
        }
        Ok(Self(text.to_owned()))
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
