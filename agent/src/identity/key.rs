//! The agent's Ed25519 key, kept as PKCS#8 in PEM so that ordinary tools can read it.

use std::path::Path;

use anyhow::{Context, anyhow};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose};

use crate::files;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// A key pair. It is never shown.
pub(crate) struct Key(Ed25519KeyPair);

impl Key {
    /// The key in `path`; a new one is made and written there (0600) if there is none.
    ///
    /// # Errors
    /// The file cannot be read, written or understood.
    pub(super) fn read_or_make(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        match files::read_if_there(path).with_context(|| format!("{name} cannot be read"))? {
            Some(text) => from_pem(&text).with_context(|| {
                format!("{name} holds no Ed25519 key: put the right file back, or remove it and join as a new agent")
            }),
            None => Self::make(path).with_context(|| format!("{name} cannot be written")),
        }
    }

    fn make(path: &Path) -> anyhow::Result<Self> {
        let key = Ed25519KeyPair::generate().map_err(|_| anyhow!("no key could be made"))?;
        let der = key.to_pkcs8v1().map_err(|_| anyhow!("the key could not be encoded"))?;
        let body = general_purpose::STANDARD.encode(der.as_ref());
        files::write_private(path, format!("{BEGIN}\n{body}\n{END}\n").as_bytes())?;
        Ok(Self(key))
    }

    /// The public half: 32 bytes, base64url without padding.
    pub(crate) fn public(&self) -> String {
        general_purpose::URL_SAFE_NO_PAD.encode(self.0.public_key())
    }

    /// Signs `message`: base64url without padding.
    pub(super) fn sign(&self, message: &[u8]) -> String {
        general_purpose::URL_SAFE_NO_PAD.encode(self.0.sign(message))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.public())
    }
}

fn from_pem(text: &[u8]) -> anyhow::Result<Key> {
    let text = std::str::from_utf8(text)?;
    let body: String = text.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let der = general_purpose::STANDARD.decode(body)?;
    Ed25519KeyPair::from_pkcs8(&der).map(Key).map_err(|e| anyhow!("{e}"))
}
