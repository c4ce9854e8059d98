//! The coordinator's public keys for tickets. Only RSA keys count, whatever else its set holds.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

/// Keys in one set.
const MOST: usize = 64;

/// A key set, as `/.well-known/jwks.json` has it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct KeySet {
    keys: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    kty: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

/// Keys by their ids.
#[derive(Debug, Default)]
pub(crate) struct Keys(BTreeMap<String, Public>);

#[derive(Debug)]
struct Public {
    n: Vec<u8>,
    e: Vec<u8>,
}

impl From<KeySet> for Keys {
    fn from(set: KeySet) -> Self {
        let rsa = set.keys.into_iter().filter(|key| key.kty == "RSA" && !key.kid.is_empty()).take(MOST);
        Self(rsa.filter_map(|key| Some((key.kid, Public { n: number(&key.n)?, e: number(&key.e)? }))).collect())
    }
}

impl Keys {
    pub(super) fn has(&self, kid: &str) -> bool {
        self.0.contains_key(kid)
    }

    /// Whether the key `kid` has signed `message` with RS256.
    pub(super) fn verify(&self, kid: &str, message: &[u8], signature: &[u8]) -> bool {
        let Some(key) = self.0.get(kid) else { return false };
        let key = RsaPublicKeyComponents { n: &key.n, e: &key.e };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
    }
}

/// A big number without the zeros before it.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let from = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[from..].to_vec())
}
