//! Makes signing keys. The `rsa` crate is used here and for converting public keys only, never to answer a request.

use anyhow::Context;
use aws_lc_rs::signature::Ed25519KeyPair;
use rsa::{
    RsaPrivateKey,
    pkcs8::{EncodePrivateKey, LineEnding},
    rand_core::OsRng,
};

use crate::auth::keys::pem_block;

/// Bits of the RSA key.
const RSA_BITS: usize = 2_048;

/// A fresh Ed25519 key and a fresh RSA key, as PEM blocks in PKCS#8: what `SIGNING_KEY` holds.
///
/// # Errors
/// If the system has no random numbers.
pub fn generate_signing_keys() -> anyhow::Result<String> {
    let ed25519 =
        Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).ok().context("no Ed25519 key was made")?;
    let rsa = RsaPrivateKey::new(&mut OsRng, RSA_BITS).context("no RSA key was made")?;
    let rsa = rsa.to_pkcs8_pem(LineEnding::LF).context("the RSA key could not be written")?;
    Ok(pem_block("PRIVATE KEY", ed25519.as_ref()) + rsa.as_str())
}
