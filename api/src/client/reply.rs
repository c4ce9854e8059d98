//! A reply that remembers the text that it was read from.

use std::ops::Deref;

use serde::de::DeserializeOwned;

/// A reply of the coordinator: its value, and the JSON exactly as it came, with fields that this build does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<T> {
    value: T,
    json: String,
}

impl<T> Reply<T> {
    /// The body as it came.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The value alone.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T: DeserializeOwned> Reply<T> {
    /// Reads a body.
    pub(super) fn parse(body: Vec<u8>) -> Result<Self, serde_json::Error> {
        let value = serde_json::from_slice(&body)?;
        let json = String::from_utf8(body).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        Ok(Self { value, json })
    }
}

impl<T> Deref for Reply<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
