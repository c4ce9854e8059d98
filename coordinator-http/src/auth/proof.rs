//! The proof in a registration: that whoever registers holds the private key of the credential, now.
//!
//! It names its credential by a hash, so that one that was made for another deployment, under the same key and id, is
//! worth nothing here.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, ParsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::{jws, tokens::Credential};
use crate::{clock::Clock, error::ApiError};

const PROOF_TYP: &str = "titan-proof+jwt";
const PROOF_AUD: &str = "titan-coordinator/register";
/// How far a proof may be from now, milliseconds.
const MAX_SKEW_MS: i64 = 60_000;

#[derive(Deserialize)]
struct Proof {
    sub: String,
    aud: String,
    jti: String,
    /// SHA-256 of the credential as it is sent, base64url.
    credential_sha256: String,
    iat: i64,
}

/// Bytes of an Ed25519 public key; none if the text is not one, written the one way that is right.
pub(crate) fn public_key_bytes(base64url: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(base64url).ok()?.try_into().ok()
}

/// Checks a proof against the credential that it comes with, as it was read and as it was sent.
pub(crate) fn verify(
    proof: &str,
    credential: &Credential,
    sent: &str,
    instance_id: &str,
    clock: &Clock,
) -> Result<(), ApiError> {
    let wrong = || ApiError::Unauthorized("the proof is not the agent's, for this registration".to_owned());
    let public = public_key_bytes(&credential.public_key).ok_or_else(wrong)?;
    let key = ParsedPublicKey::new(&ED25519, public).map_err(|_| wrong())?;
    let proof: Proof = jws::verify(proof, PROOF_TYP, |_| Some(&key)).map_err(|_| wrong())?;
    let is_for_it = proof.sub == credential.sub.as_str() && proof.credential_sha256 == hash_of(sent);
    if !is_for_it || proof.aud != PROOF_AUD || proof.jti != instance_id {
        return Err(wrong());
    }
    let server_time_ms = clock.now_ms();
    if proof.iat.saturating_mul(1_000).abs_diff(server_time_ms) > MAX_SKEW_MS.unsigned_abs() {
        return Err(ApiError::ClockSkew { server_time_ms });
    }
    Ok(())
}

fn hash_of(credential: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, credential.as_bytes()))
}
