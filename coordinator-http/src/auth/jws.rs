//! Signed tokens in the compact form of RFC 7515. What is checked here is EdDSA only; tickets, which others check, are RS256.
//!
//! The key decides the algorithm, never the token: a header may name a `kid` out of the configured ones and must carry
//! the expected `typ`. Anything that could change how the rest is to be read (`crit`, `zip`, `enc`) is refused;
//! `jku`, `jwk`, `x5u` and the like are not looked at.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa,
    signature::{Ed25519KeyPair, ParsedPublicKey, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned, de::IgnoredAny};

/// Longest token that is looked at, bytes.
const MAX_TOKEN_BYTES: usize = 4 * 1_024;

/// Why a token is not accepted. Callers learn no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwsError {
    #[error("malformed")]
    Malformed,
    #[error("of another type")]
    Type,
    #[error("of an unknown key")]
    Key,
    #[error("wrongly signed")]
    Signature,
}

#[derive(Serialize)]
struct NewHeader<'a> {
    alg: &'static str,
    typ: &'a str,
    kid: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    #[serde(default, deserialize_with = "present")]
    zip: bool,
    #[serde(default, deserialize_with = "present")]
    enc: bool,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Signs claims; none if they can't be written as JSON.
pub(crate) fn sign<C: Serialize>(key: &Ed25519KeyPair, kid: &str, typ: &str, claims: &C) -> Option<String> {
    let mut token = message("EdDSA", kid, typ, claims)?;
    let signature = key.try_sign(token.as_bytes()).ok()?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Some(token)
}

/// Signs a message with an RSA key. Takes a good part of a millisecond.
pub(super) fn sign_rs256(key: &rsa::KeyPair, message: String) -> Option<String> {
    let mut token = message;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature).ok()?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Some(token)
}

/// What is signed.
pub(super) fn message<C: Serialize>(alg: &'static str, kid: &str, typ: &str, claims: &C) -> Option<String> {
    let header = serde_json::to_vec(&NewHeader { alg, typ, kid }).ok()?;
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims).ok()?, &mut token);
    Some(token)
}

/// The claims of a token that is signed by the key that `key_of` gives for its `kid`, and is of type `typ`.
pub(crate) fn verify<'k, C: DeserializeOwned>(
    token: &str,
    typ: &str,
    key_of: impl FnOnce(Option<&str>) -> Option<&'k ParsedPublicKey>,
) -> Result<C, JwsError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(JwsError::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(JwsError::Malformed)?;
    let header: Header = from_part(header)?;
    if header.alg != "EdDSA" || header.crit || header.zip || header.enc {
        return Err(JwsError::Malformed);
    }
    if !header.typ.eq_ignore_ascii_case(typ) {
        return Err(JwsError::Type);
    }
    let key = key_of(header.kid.as_deref()).ok_or(JwsError::Key)?;
    let signature = decode(signature)?;
    key.verify_sig(message.as_bytes(), &signature).map_err(|_| JwsError::Signature)?;
    from_part(claims)
}

fn from_part<T: DeserializeOwned>(part: &str) -> Result<T, JwsError> {
    serde_json::from_slice(&decode(part)?).map_err(|_| JwsError::Malformed)
}

fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed)
}
