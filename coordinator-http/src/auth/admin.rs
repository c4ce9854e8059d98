//! The administrator's token.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{Digest, SHA256, digest},
};

/// The administrator's token, kept as its hash.
#[derive(Debug, Clone)]
pub struct AdminToken {
    sha256: Digest,
}

impl AdminToken {
    /// The token that is this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { sha256: digest(&SHA256, text.as_bytes()) }
    }

    /// Whether `text` is the token, in a time that does not depend on where they differ.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.has(&digest(&SHA256, text.as_bytes()))
    }

    /// The same of a text with this hash.
    pub(crate) fn has(&self, sha256: &Digest) -> bool {
        verify_slices_are_equal(self.sha256.as_ref(), sha256.as_ref()).is_ok()
    }
}
