//! Paths with a query, percent-encoded.

use std::fmt::Write;

use crate::time::Since;

/// A path to which query parameters are added; those without a value are left out.
pub(super) struct Path {
    text: String,
    separator: char,
}

impl Path {
    /// A path without a query.
    pub(super) fn new(path: impl Into<String>) -> Self {
        Self { text: path.into(), separator: '?' }
    }

    /// The same path with `name=value`, if there is a value.
    pub(super) fn with<V: ToString>(mut self, name: &str, value: Option<V>) -> Self {
        if let Some(value) = value {
            self.text.push(self.separator);
            self.text.push_str(name);
            self.text.push('=');
            self.encode(&value.to_string());
            self.separator = '&';
        }
        self
    }

    /// The same path for what there was from then on.
    pub(super) fn with_since(self, since: Option<Since>) -> Self {
        match since {
            None => self,
            Some(Since::At(time)) => self.with("since", Some(time)),
            Some(Since::LastMs(ms)) => self.with("since_ms", Some(ms)),
        }
    }

    /// The path as text.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn encode(&mut self, value: &str) {
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                self.text.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(self.text, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn absent_values_are_left_out_and_others_are_encoded() {
        let path =
            Path::new("/api/v1/jobs").with("state", None::<&str>).with("cursor", Some("a/b=")).with("n", Some(5));
        assert_eq!(path.into_text(), "/api/v1/jobs?cursor=a%2Fb%3D&n=5");
    }
}
