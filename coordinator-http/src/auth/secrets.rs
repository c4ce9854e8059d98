//! API keys and join tokens: a public id to find the record by, and a random secret that is stored hashed.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use titan_api::ids::CredentialId;

use crate::error::ApiError;

/// What an API key begins with: `titan_<id>_<secret>`.
pub(crate) const API_KEY: &str = "titan_";
/// What a join token begins with: `titan-join_<id>_<secret>`.
pub(crate) const JOIN_TOKEN: &str = "titan-join_";
/// Bytes of a secret: 256 bits.
const SECRET_BYTES: usize = 32;
/// Bytes of an id, which is shown in hex.
const ID_BYTES: usize = 8;

/// A credential that was just made. The text is shown once.
pub(crate) struct Fresh {
    pub(crate) id: CredentialId,
    pub(crate) text: String,
    pub(crate) secret_sha256: String,
}

/// Makes a credential that begins with `prefix`.
pub(crate) fn fresh(prefix: &str) -> Result<Fresh, ApiError> {
    let id = hex(&random::<ID_BYTES>()?);
    let secret = URL_SAFE_NO_PAD.encode(random::<SECRET_BYTES>()?);
    let text = format!("{prefix}{id}_{secret}");
    let id = CredentialId::new(id).map_err(|e| ApiError::Internal(e.to_string()))?;
    Ok(Fresh { id, text, secret_sha256: sha256_hex(&secret) })
}

/// Takes a credential apart: its id and the hash of its secret. None if it can't be one.
pub(crate) fn take_apart(prefix: &str, text: &str) -> Option<(CredentialId, String)> {
    let (id, secret) = text.strip_prefix(prefix)?.split_once('_')?;
    // One byte more than a secret has, so that what is longer is noticed.
    let mut bytes = [0; SECRET_BYTES + 1];
    if id.len() != 2 * ID_BYTES || URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()? != SECRET_BYTES {
        return None;
    }
    Some((CredentialId::new(id).ok()?, sha256_hex(secret)))
}

/// Whether two hashes are the same, in a time that does not depend on where they differ.
pub(crate) fn same_hash(left: &str, right: &str) -> bool {
    verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

/// SHA-256 of a text, in hex.
pub(crate) fn sha256_hex(text: impl AsRef<[u8]>) -> String {
    hex(digest(&SHA256, text.as_ref()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|n| char::from(b"0123456789abcdef"[usize::from(n)])).collect()
}

/// Random bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], ApiError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ApiError::Internal("no random numbers".to_owned()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_credential_comes_apart_into_its_id_and_the_hash_of_its_secret() {
        let fresh = fresh(JOIN_TOKEN).unwrap();
        let (id, sha256) = take_apart(JOIN_TOKEN, &fresh.text).unwrap();
        assert_eq!(id, fresh.id);
        assert!(same_hash(&sha256, &fresh.secret_sha256));
        assert!(!fresh.text.contains(&fresh.secret_sha256));
        assert!(take_apart(API_KEY, &fresh.text).is_none(), "a join token is no API key");
    }

    #[test]
    fn what_is_no_credential_does_not_come_apart() {
        let good = fresh(API_KEY).unwrap().text;
        for wrong in ["", "titan_", "titan__", "titan_0123456789abcdef", &good[..good.len() - 1], &format!("{good}A")] {
            assert!(take_apart(API_KEY, wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_hash_is_written_as_everybody_writes_it() {
        assert_eq!(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
